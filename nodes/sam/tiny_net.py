"""MobileSAM's encoder: a TinyViT, timm's, with SAM's neck.

Papers: Zhang et al. 2023, "Faster Segment Anything", arXiv:2306.14289; Wu et al. 2022, "TinyViT",
arXiv:2207.10666. Imported by `_sam_build_net` alone, because it needs torch.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from segment_anything.modeling.common import LayerNorm2d
from timm.models.tiny_vit import TinyVit
from torch import Tensor, nn

from .shape import SamShape

__all__ = ["TinyEncoder", "renamed"]


class TinyEncoder(nn.Module):
    """From squares (B, 3, S, S) to embeddings (B, C, S / 16, S / 16).

    It differs from TinyViT in its last stage, which does not halve the resolution, and in the neck,
    which stands in the place of the classifier.

    Args:
        shape: its `tiny_…` sizes.
    """

    def __init__(self, shape: SamShape) -> None:
        super().__init__()
        self.img_size = shape.image_size
        with torch.device("cpu"):  # it fills in tables that are not of its state
            vit = TinyVit(
                embed_dims=shape.tiny_embed_dims,
                depths=shape.tiny_depths,
                num_heads=shape.tiny_num_heads,
                window_sizes=shape.tiny_window_sizes,
                num_classes=0,
                drop_path_rate=0.0,
            )
        last: Any = vit.stages[-1]
        last.downsample.conv2.conv.stride = (1, 1)
        self.patch_embed, self.stages = vit.patch_embed, vit.stages
        channels = shape.prompt_embed_dim
        self.neck = nn.Sequential(
            nn.Conv2d(shape.tiny_embed_dims[-1], channels, 1, bias=False),
            LayerNorm2d(channels),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            LayerNorm2d(channels),
        )

    def forward(self, squares: Tensor) -> Tensor:
        """Embed photos that are normalised and padded."""
        result: Tensor = self.neck(self.stages(self.patch_embed(squares)))
        return result


UNUSED = re.compile(r"image_encoder\.((norm_)?head\.|.*\.attention_bias_idxs$)")
"""What a published file holds besides: the classifier that TinyViT came with, and tables that
follow from the sizes."""

NAMES = (
    (r"patch_embed\.seq\.0\.", "patch_embed.conv1."),
    (r"patch_embed\.seq\.2\.", "patch_embed.conv2."),
    (r"layers\.(\d+)\.downsample\.", lambda found: f"stages.{int(found[1]) + 1}.downsample."),
    (r"layers\.", "stages."),
    (r"\.c\.weight$", ".conv.weight"),
)
"""The published names, and timm's: there a stage begins with what ends the one before here."""


def renamed(tensors: dict[str, Any]) -> dict[str, Any]:
    """Return the tensors of a published file by our names; what is not of the encoder keeps its."""
    found = {}
    for name, tensor in tensors.items():
        if UNUSED.match(name):
            continue
        if name.startswith("image_encoder."):
            for published, ours in NAMES:
                name = re.sub(published, ours, name)
        found[name] = tensor
    return found
