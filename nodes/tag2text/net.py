"""RAM, RAM++ and Tag2Text as torch modules, written from their papers.

Letters: B photos, T image tokens, C classes, D descriptions of a class, E width of a label
embedding, H width of the tagging head, W width of the image tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BlipTextConfig, SwinConfig, SwinModel
from transformers.models.blip.modeling_blip_text import BlipTextLMHeadModel, BlipTextModel

from .config import Config

__all__ = ["Ram", "RamPlus", "Tag2Text", "Tagger", "Writer", "make_tagger"]

CHUNK = 512
"""Classes that go through the tagging head at a time. No class sees another, so that the results
are the same for every number; this one keeps a batch of 16 photos within 200 MB."""

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

Memory = list[tuple[Tensor, Tensor]]
"""For each layer of the head, keys and values of the image tokens, (B, heads, T, H / heads)."""


class CrossLayer(nn.Module):
    """A layer of BERT without self-attention: queries look at the image, never at each other."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        hidden, width = config.hidden, config.token_width
        self.heads = config.head_heads
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(width, hidden)
        self.value = nn.Linear(width, hidden)
        self.out = nn.Linear(hidden, hidden)
        self.norm1 = nn.LayerNorm(hidden, eps=1e-12)
        self.up = nn.Linear(hidden, config.intermediate)
        self.down = nn.Linear(config.intermediate, hidden)
        self.norm2 = nn.LayerNorm(hidden, eps=1e-12)

    def memory(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, W) -> keys and values, which all classes share."""
        return self._split(self.key(tokens)), self._split(self.value(tokens))

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """(B or 1, C, H) -> (B, C, H)."""
        queries = self._split(self.query(x)).expand(len(keys), -1, -1, -1)
        seen = F.scaled_dot_product_attention(queries, keys, values)
        x = self.norm1(x + self.out(seen.transpose(1, 2).flatten(2)))
        y: Tensor = self.norm2(x + self.down(F.gelu(self.up(x))))
        return y

    def _split(self, x: Tensor) -> Tensor:
        return x.view(len(x), x.shape[1], self.heads, -1).transpose(1, 2)


class Tagger(nn.Module):
    """What the three have in common: a Swin backbone and a tagging head (Query2Label)."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.visual_encoder = SwinModel(
            SwinConfig(
                image_size=config.image_size,
                patch_size=config.patch_size,
                embed_dim=config.embed_dim,
                depths=list(config.depths),
                num_heads=list(config.num_heads),
                window_size=config.window_size,
                drop_path_rate=0.0,
            ),
            add_pooling_layer=True,
        )
        self.head = nn.ModuleList(CrossLayer(config) for _ in range(config.head_layers))
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(STD)[:, None, None], persistent=False)

    def encode(self, pixels: Tensor) -> Tensor:
        """(B, S, S, 3) uint8 -> (B, T, W): first the mean of the backbone's tokens, then those."""
        seen = self.visual_encoder(self.normalised(pixels))
        return torch.cat([seen.pooler_output[:, None], seen.last_hidden_state], 1)

    def normalised(self, pixels: Tensor) -> Tensor:
        """(B, S, S, 3) uint8 -> (B, 3, S, S) float32, as the backbone wants them."""
        x = pixels.permute(0, 3, 1, 2).float()
        return x.div_(255).sub_(self.mean).div_(self.std)

    def score(self, tokens: Tensor, labels: Tensor | None = None) -> Tensor:
        """(B, T, W) -> (B, C) float32 in [0, 1].

        Args:
            tokens: what `encode` returned.
            labels: in the place of the checkpoint's own label embeddings; see `labels`.
        """
        labels = self.labels if labels is None else labels
        memory = [layer.memory(tokens) for layer in self.head]  # type: ignore[operator]
        logits = []
        for start in range(0, len(labels), CHUNK):
            x = self.queries(tokens, labels[start : start + CHUNK])
            for layer, (keys, values) in zip(self.head, memory, strict=True):
                x = layer(x, keys, values)
            logits.append(self.logits(x, start))
        return torch.cat(logits, 1).float().sigmoid()

    @property
    def labels(self) -> Tensor:
        """The label embeddings, class by class: (C, ...)."""
        raise NotImplementedError

    def queries(self, tokens: Tensor, labels: Tensor) -> Tensor:
        """Label embeddings as queries of the head, (B or 1, C, H)."""
        raise NotImplementedError

    def logits(self, x: Tensor, start: int) -> Tensor:
        """(B, C, H), of the classes from `start` on -> (B, C)."""
        raise NotImplementedError


class Ram(Tagger):
    """RAM: a class is known by the CLIP embedding of its name, averaged over templates."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.label_embed = nn.Parameter(torch.empty(self._label_shape(config)))
        self.image_proj = nn.Linear(config.image_width, config.label_width)
        self.wordvec_proj = nn.Linear(config.label_width, config.hidden)
        self.fc = nn.Linear(config.hidden, 1)

    def _label_shape(self, config: Config) -> tuple[int, ...]:
        return config.classes, config.label_width

    def encode(self, pixels: Tensor) -> Tensor:
        projected: Tensor = self.image_proj(super().encode(pixels))
        return projected

    @property
    def labels(self) -> Tensor:
        """(C, E)."""
        return self.label_embed

    def queries(self, tokens: Tensor, labels: Tensor) -> Tensor:
        return F.relu(self.wordvec_proj(labels))[None]

    def logits(self, x: Tensor, start: int) -> Tensor:
        y: Tensor = self.fc(x)
        return y.squeeze(2)


class RamPlus(Ram):
    """RAM++: a class has many descriptions, weighed anew by each photo's own average token."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.descriptions = config.descriptions
        self.reweight_scale = nn.Parameter(torch.empty(()))  # a logarithm

    def _label_shape(self, config: Config) -> tuple[int, ...]:
        return config.classes * config.descriptions, config.label_width

    @property
    def labels(self) -> Tensor:
        """(C, D, E)."""
        return self.label_embed.view(-1, self.descriptions, self.label_embed.shape[1])

    def queries(self, tokens: Tensor, labels: Tensor) -> Tensor:
        # In float32: the scale multiplies what bf16 loses, and the cost is a thousandth of Swin's.
        with torch.autocast(tokens.device.type, enabled=False):
            photo = F.normalize(tokens[:, 0].float(), dim=1)
            alike = torch.einsum("be,cde->bcd", photo, labels)
            weights = (self.reweight_scale.exp() * alike).softmax(2)
            mixed = torch.einsum("bcd,cde->bce", weights, labels)
        return F.relu(self.wordvec_proj(mixed))


class Tag2Text(Tagger):
    """Tag2Text's tagger: learnt label embeddings, and a linear output for each class."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.label_embed = nn.Parameter(torch.empty(config.classes, config.hidden))
        self.weight = nn.Parameter(torch.empty(config.classes, config.hidden))
        self.bias = nn.Parameter(torch.empty(config.classes))

    @property
    def labels(self) -> Tensor:
        """(C, H)."""
        return self.label_embed

    def queries(self, tokens: Tensor, labels: Tensor) -> Tensor:
        return labels[None]

    def logits(self, x: Tensor, start: int) -> Tensor:
        some = slice(start, start + x.shape[1])
        return (self.weight[some] * x).sum(2) + self.bias[some]


def make_tagger(config: Config) -> Tagger:
    """The network of a variant, with weights still to be filled in."""
    kinds = {"ram_plus": RamPlus, "ram": Ram, "tag2text": Tag2Text}
    return kinds[config.variant](config)


class Writer(nn.Module):
    """Tag2Text's caption half: an encoder of tags that sees the photo, a decoder that sees those.

    Both are BERT with cross-attention as BLIP has it; transformers' classes of BLIP serve.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.tag_encoder = BlipTextModel(
            _text_config(config, config.image_width), add_pooling_layer=False
        )
        self.text_decoder = BlipTextLMHeadModel(_text_config(config, config.hidden))

    def read_tags(self, tokens: Tensor, ids: Tensor, known: Tensor) -> Tensor:
        """(B, T, W) tokens, (B, L) ids of tags, (B, L) bool: no padding -> (B, L, H)."""
        read = self.tag_encoder(
            input_ids=ids, attention_mask=known.long(), encoder_hidden_states=tokens
        )
        states: Tensor = read.last_hidden_state
        return states

    def forward(
        self, tokens: Tensor, ids: Tensor, known: Tensor, prompt: Tensor, **search: Any
    ) -> Tensor:
        """Write a caption for each photo: (B, at most max_length) ids, the prompt's included.

        `prompt` (P,) is what every caption begins with, `search` are settings of transformers'
        `generate`; the rest is as in `read_tags`.
        """
        # The decoder sees the places of padding too: so it was trained.
        states = self.read_tags(tokens, ids, known)
        start = prompt.expand(len(ids), -1)
        decoder: Any = self.text_decoder  # transformers does not type `generate` for this class
        written: Tensor = decoder.generate(
            input_ids=start,
            attention_mask=torch.ones_like(start),
            encoder_hidden_states=states,
            do_sample=False,
            **search,
        )
        return written


def _text_config(config: Config, seen_width: int) -> BlipTextConfig:
    return BlipTextConfig(
        vocab_size=config.text_tokens,
        hidden_size=config.hidden,
        encoder_hidden_size=seen_width,
        intermediate_size=config.intermediate,
        num_hidden_layers=config.text_layers,
        num_attention_heads=config.text_heads,
        max_position_embeddings=config.text_positions,
        tie_word_embeddings=False,  # the file has both, and they are equal
        bos_token_id=config.text_tokens - 2,
        eos_token_id=None,  # the writer is told
        sep_token_id=None,
    )
