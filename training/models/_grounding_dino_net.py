"""The network of mini-grounding-dino: its sizes, how it begins, and what it answers in training.

transformers' layers, put together by the node's own `Detector`, so that what is trained is what is
run. Beside it stand heads that say the class of a cell or a query: they teach names quickly (the
class of every pixel is known) and are dropped at the end.
Letters: B scenes · h w cells of a feature map · N cells of all maps · T tokens · Q queries of all
groups · L layers of the decoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from tokenizers.implementations import BertWordPieceTokenizer
from torch import Tensor, nn
from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection

from training.world import NAMES, VOCABULARY_SIZE, vocabulary
from visionweave.nodes.grounding_dino.fast_net import Fusion
from visionweave.nodes.grounding_dino.net import Detector, geometry_of
from visionweave.nodes.grounding_dino.photos import Preparation
from visionweave.nodes.grounding_dino.prompts import PromptWriter

__all__ = ["GROUPS", "PREPARATION", "QUERIES", "WRITER", "Answers", "Learner", "shipped"]

QUERIES = 20
GROUPS = 2
"""Groups of queries in training. Each finds every object once, unaware of the others, so that an
object teaches several queries (Chen et al. 2022, "Group DETR", arXiv:2207.13085); one is kept."""

SIDE = 160
STEP = 32
"""Photos have their long side at `SIDE`, and both at a multiple of the coarsest cell."""

PREPARATION = Preparation(SIDE, SIDE, step=STEP)
TOKENS = 96
WIDTH = 128

SWIN = {
    "model_type": "swin",
    "image_size": SIDE,
    "patch_size": 8,
    "embed_dim": 64,
    "depths": [1, 2, 2],
    "num_heads": [4, 8, 8],
    "window_size": 5,
    "drop_path_rate": 0.0,
    "out_indices": [2, 3],
    "initializer_range": 0.05,
}
"""Mini-ram's, but for the two maps that are read: 16 and 32 pixels a cell."""

BERT = {
    "model_type": "bert",
    "vocab_size": VOCABULARY_SIZE,
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 2 * WIDTH,
    "max_position_embeddings": TOKENS,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.05,
}

WRITER = PromptWriter(
    BertWordPieceTokenizer({t: n for n, t in enumerate(vocabulary())}, lowercase=True),  # type: ignore[arg-type]
    limit=len(NAMES) * TOKENS,
)
BOOK = WRITER.phrases(NAMES).prompts[0]
"""All names in one prompt. No part of a prompt sees another in the text encoder: read once a step,
its features serve the prompts of all scenes."""


def configuration(groups: int) -> GroundingDinoConfig:
    """Return the sizes of the network, with the queries of some groups."""
    return GroundingDinoConfig(
        backbone_config=dict(SWIN),
        text_config=dict(BERT),
        num_feature_levels=2,
        d_model=WIDTH,
        encoder_layers=1,
        encoder_ffn_dim=2 * WIDTH,
        encoder_attention_heads=4,
        decoder_layers=2,
        decoder_ffn_dim=2 * WIDTH,
        decoder_attention_heads=4,
        num_queries=QUERIES * groups,
        max_text_len=TOKENS,
        dropout=0.0,
        fusion_droppath=0.0,
    )


@dataclass(frozen=True, eq=False)
class Answers:
    """What the network says of B scenes in training.

    Attributes:
        cells: for each map of the backbone what each of its cells shows: the scores of the names
            and, last, of background, (B, h * w, names + 1).
        grid: the centres of all cells and their sizes as parts of the photo, (N, 4).
        fit: the proposals' logits, (B, N, T).
        proposed: their boxes, (B, N, 4): centre and size as parts of the photo.
        logits: of each layer of the decoder, L times (B, Q, T).
        boxes: L times (B, Q, 4).
        named: the scores of the classes for each query, L times (B, Q, names).
    """

    cells: list[Tensor]
    grid: Tensor
    fit: Tensor
    proposed: Tensor
    logits: list[Tensor]
    boxes: list[Tensor]
    named: list[Tensor]


class Learner(nn.Module):
    """The network with its groups of queries and the heads of its training."""

    def __init__(self) -> None:
        super().__init__()
        self.network = GroundingDinoForObjectDetection(configuration(GROUPS))
        initialise(self.network)
        for layer in self.network.model.encoder.layers:
            layer.fusion_layer.attn = Fusion(layer.fusion_layer.attn)
        self.cell_heads = nn.ModuleList(
            nn.Linear(width, len(NAMES) + 1)
            for width in self.network.model.backbone.conv_encoder.intermediate_channel_sizes
        )
        self.query_head = nn.Linear(WIDTH, len(NAMES))
        apart = torch.arange(QUERIES * GROUPS) // QUERIES
        mask = (apart[:, None] != apart) * torch.finfo(torch.float32).min
        self._teacher = _Teacher(self.network, PREPARATION.mean, PREPARATION.std)
        self.register_buffer("groups", mask[None, None], persistent=False)

    def forward(self, pixels: Tensor, tokens: Tensor, is_token: Tensor) -> Answers:
        """Look for the names of each scene's prompt.

        Args:
            pixels: (B, H, W, 3) uint8.
            tokens: (B, T) places in `BOOK`; 0 beyond a prompt's end.
            is_token: (B, T) bool.
        """
        return self._teacher.answers(self, pixels, tokens, is_token)


class _Teacher(Detector):
    """The node's detector, which here tells of all its layers."""

    def answers(
        self, learner: Learner, pixels: Tensor, tokens: Tensor, is_token: Tensor
    ) -> Answers:
        features = self._features(pixels)
        maps = self._project(features)
        words = self.read(BOOK)
        geometry = geometry_of(maps)
        text, places = words.features[tokens], words.places[tokens] * is_token
        vision, text = self._encode(maps, text, places, is_token, geometry)
        fit, moved = self._propose(vision, text, is_token, geometry)
        start = self._start(fit.detach(), moved.detach())
        decoded = self._decode(
            start, vision, text, is_token, geometry, self_attn_mask=learner.groups
        )
        hidden = decoded.intermediate_hidden_states
        found = [
            self._answer(decoded, layer, start, text, is_token) for layer in range(hidden.shape[1])
        ]
        heads = zip(learner.cell_heads, features, strict=True)
        return Answers(
            cells=[head(level.flatten(2).mT) for head, level in heads],
            grid=cell_grid(geometry["spatial_shapes_list"], fit.device),
            fit=fit,
            proposed=moved.sigmoid(),
            logits=[logits for logits, _ in found],
            boxes=[boxes for _, boxes in found],
            named=[learner.query_head(each) for each in hidden.unbind(1)],
        )

    def _start(self, fit: Tensor, moved: Tensor) -> Tensor:
        """Every group begins at the same places."""
        best = fit.amax(-1).topk(QUERIES).indices[:, :, None]
        return moved.gather(1, best.expand(-1, -1, 4)).sigmoid().repeat(1, GROUPS, 1)


def cell_grid(shapes: list[tuple[int, int]], device: torch.device) -> Tensor:
    """Return the centres (x, y) and sizes (w, h) of all cells as parts of the photo, (N, 4)."""
    grids = []
    for height, width in shapes:
        y = (torch.arange(height, device=device) + 0.5) / height
        x = (torch.arange(width, device=device) + 0.5) / width
        rows, columns = torch.meshgrid(y, x, indexing="ij")
        sizes = torch.ones_like(rows)
        grids.append(torch.stack([columns, rows, sizes / width, sizes / height], -1).flatten(0, 1))
    return torch.cat(grids)


@torch.no_grad()
def initialise(network: Any) -> None:
    """Put weights where training from nothing begins well; the library's serve fine-tuning.

    - Layers of encoder and decoder are Xavier's, as in the published code.
    - The layer scale of the fusion is 0.1: at the library's 1e-4 the text stays unheard for long.
    - Proposals begin with a third of the photo's sides; the library's are a 20th, for small things.
    - A logit is the product of two layer norms' outputs, and has no bias. With small text and
      opposed shifts of both it begins near -4.6, a score of 0.01 (Lin et al. 2017,
      arXiv:1708.02002, section 4.1).
    """
    model = network.model
    spared = ("sampling_offsets", "attention_weights", "bbox_embed", "layer_norm")
    for part in (model.encoder, model.decoder):
        for name, parameter in part.named_parameters():
            if parameter.ndim > 1 and not any(each in name for each in spared):
                nn.init.xavier_uniform_(parameter)
    nn.init.xavier_uniform_(model.enc_output.weight)
    nn.init.xavier_uniform_(model.text_projection.weight)
    nn.init.normal_(model.query_position_embeddings.weight)
    for projection in model.input_proj_vision:
        nn.init.xavier_uniform_(projection[0].weight)
    for layer in model.encoder.layers:
        layer.fusion_layer.vision_param.fill_(0.1)
        layer.fusion_layer.text_param.fill_(0.1)
    model.encoder_output_bbox_embed.layers[-1].bias[2:] = 1.9
    shift = (4.6 / WIDTH) ** 0.5
    last = model.encoder.layers[-1].text_enhancer_layer.layer_norm_after
    last.weight.fill_(0.1)
    last.bias.fill_(-shift)
    for norm in (model.enc_output_norm, model.decoder.layer_norm):
        norm.bias.fill_(shift)


def shipped(learner: Learner) -> GroundingDinoForObjectDetection:
    """Return the network as it is shipped: one group of queries, no heads, the library's layers."""
    queries = "model.query_position_embeddings.weight"
    tensors = {
        name.replace(".fusion_layer.attn.attention.", ".fusion_layer.attn."): tensor
        for name, tensor in learner.network.state_dict().items()
    }
    tensors[queries] = tensors[queries][:QUERIES]
    network = GroundingDinoForObjectDetection(configuration(1))
    network.load_state_dict(tensors)
    return network.to(learner.network.device).eval()
