"""The network of mini-clip: open_clip's CLIP with small towers, with a head for patches.

The vision tower has the sizes of mini-blip's and no LayerNorm before its layers, so that what BLIP
has learnt to see can be taken over to the last digit.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.models._blip_network import HEADS, LAYERS, RATIO, WIDTH
from training.models._vit_dense import PATCH, PatchNames
from training.models._vit_pictures import SIDE
from training.models._vit_words import END, PAD
from training.world import VOCABULARY_SIZE
from visionweave.nodes.clip.towers_open_clip import build

__all__ = ["Pair", "clip_config", "from_blip"]

_LENGTH = 32
_TEXT_WIDTH = 128

_FROM_BLIP = {
    "class_embedding": "embeddings.class_embedding",
    "positional_embedding": "embeddings.position_embedding",
    "conv1.weight": "embeddings.patch_embedding.weight",
    "ln_post.weight": "post_layernorm.weight",
    "ln_post.bias": "post_layernorm.bias",
}
_OF_A_LAYER = {
    "ln_1.weight": "layer_norm1.weight",
    "ln_1.bias": "layer_norm1.bias",
    "attn.in_proj_weight": "self_attn.qkv.weight",
    "attn.in_proj_bias": "self_attn.qkv.bias",
    "attn.out_proj.weight": "self_attn.projection.weight",
    "attn.out_proj.bias": "self_attn.projection.bias",
    "ln_2.weight": "layer_norm2.weight",
    "ln_2.bias": "layer_norm2.bias",
    "mlp.c_fc.weight": "mlp.fc1.weight",
    "mlp.c_fc.bias": "mlp.fc1.bias",
    "mlp.c_proj.weight": "mlp.fc2.weight",
    "mlp.c_proj.bias": "mlp.fc2.bias",
}


def clip_config() -> dict[str, Any]:
    """Return the configuration of mini-clip, as open_clip has it."""
    return {
        "embed_dim": 128,
        "vision_cfg": {
            "image_size": SIDE,
            "patch_size": PATCH,
            "width": WIDTH,
            "layers": LAYERS,
            "head_width": WIDTH // HEADS,
            "mlp_ratio": float(RATIO),
            "no_ln_pre": True,
            "pool_type": "avg",
        },
        "text_cfg": {
            "context_length": _LENGTH,
            "vocab_size": VOCABULARY_SIZE,
            "width": _TEXT_WIDTH,
            "heads": 4,
            "layers": 2,
            "mlp_ratio": 2.0,
            "pool_type": "eos",
            "eos_id": END,
            "pad_id": PAD,
        },
    }


class Pair(nn.Module):
    """CLIP, and what helps it to learn.

    Attributes:
        clip: what is exported.
        names: names the patches.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clip: Any = build(clip_config())
        self.names = PatchNames(WIDTH)
        nn.init.kaiming_normal_(self.clip.visual.conv1.weight, nonlinearity="linear")
        nn.init.normal_(self.clip.visual.positional_embedding, std=0.2)

    def images(self, pixels: Tensor, kept: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Embed normalised pixels (B, 3, S, S), looking at the `kept` patches or at all.

        Returns:
            (B, D), each of length 1; and the tokens of the patches, (B, T, W).
        """
        visual = self.clip.visual
        tokens = visual._embeds(pixels)
        if kept is not None:
            places = torch.cat([torch.zeros_like(kept[:, :1]), kept + 1], dim=1)
            tokens = tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[2]))
        pooled, patches = visual._pool(visual.transformer(tokens))
        return F.normalize(pooled @ visual.proj, dim=-1), patches

    def texts(self, tokens: Tensor) -> Tensor:
        """Embed token ids (N, L) of any length L that the network can read; (N, D), of length 1.

        Texts are read from left to right, so that what fills them up changes nothing: shorter
        rows than the network's own cost less and give the same.
        """
        clip, length = self.clip, tokens.shape[1]
        words = clip.token_embedding(tokens) + clip.positional_embedding[:length]
        read = clip.ln_final(clip.transformer(words, attn_mask=clip.attn_mask[:length, :length]))
        ends = (tokens == END).int().argmax(dim=1)
        return F.normalize(read[torch.arange(len(read)), ends] @ clip.text_projection, dim=-1)


def from_blip(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return mini-clip's tensors of what mini-blip's training has learnt to see, by name.

    BLIP's patches have a bias and CLIP's have none: it is added to their positions.
    """
    there, here = "blip.vision_model.", "clip.visual."
    names = {here + own: there + other for own, other in _FROM_BLIP.items()}
    for layer in range(LAYERS):
        for own, other in _OF_A_LAYER.items():
            block = f"{here}transformer.resblocks.{layer}.{own}"
            names[block] = f"{there}encoder.layers.{layer}.{other}"
    found = {own: weights[other].clone() for own, other in names.items()}
    for own in ("class_embedding", "positional_embedding"):
        found[here + own] = found[here + own].squeeze(0)
    found[f"{here}class_embedding"] = found[f"{here}class_embedding"].squeeze(0)
    bias = weights[f"{there}embeddings.patch_embedding.bias"]
    found[f"{here}positional_embedding"][1:] += bias
    return found | {name: weights[name] for name in weights if name.startswith("names.")}
