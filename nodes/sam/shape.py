"""The sizes of a SAM, as the `config` of its entry in weights.lock gives them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

from visionweave import WeightsError

from .frame import Frame

__all__ = ["SamShape"]

_SIZES: dict[str, dict[str, Any]] = {
    "vit_b": {},
    "vit_l": {
        "encoder_embed_dim": 1024,
        "encoder_depth": 24,
        "encoder_num_heads": 16,
        "encoder_global_attn_indexes": (5, 11, 17, 23),
    },
    "vit_h": {
        "encoder_embed_dim": 1280,
        "encoder_depth": 32,
        "encoder_num_heads": 16,
        "encoder_global_attn_indexes": (7, 15, 23, 31),
    },
}

VARIANTS = (
    _SIZES
    | {f"hq_{name}": sizes | {"hq": True} for name, sizes in _SIZES.items()}
    | {"vit_t": {"tiny": True}}
)
"""The published models, by what they differ in from ViT-B, which the defaults below are."""

NOTES = {"library", "model_type", "naming"}
"""What a config may say besides; here one loader reads all that it can read."""


@dataclass(frozen=True, slots=True)
class SamShape:
    """The sizes of a SAM; the defaults are those of the published ViT-B.

    Attributes:
        image_size: the side of the square that it looks at, in pixels.
        pixel_mean, pixel_std: of RGB from 0 to 255.
        hq: whether it is an HQ-SAM, which draws finer masks (Ke et al. 2023, arXiv:2306.01567).
        encoder_global_attn_indexes: the blocks that attend over the whole square, not in windows.
        tiny: whether its encoder is MobileSAM's TinyViT, which the `tiny_…` sizes are of, and not
            the `encoder_…` ones (Zhang et al. 2023, arXiv:2306.14289).
    """

    image_size: int = 1024
    patch_size: int = 16
    encoder_embed_dim: int = 768
    encoder_depth: int = 12
    encoder_num_heads: int = 12
    encoder_global_attn_indexes: tuple[int, ...] = (2, 5, 8, 11)
    window_size: int = 14
    mlp_ratio: float = 4.0
    use_rel_pos: bool = True
    prompt_embed_dim: int = 256
    mask_in_chans: int = 16
    decoder_depth: int = 2
    decoder_num_heads: int = 8
    decoder_mlp_dim: int = 2048
    iou_head_depth: int = 3
    iou_head_hidden_dim: int = 256
    pixel_mean: tuple[float, ...] = (123.675, 116.28, 103.53)
    pixel_std: tuple[float, ...] = (58.395, 57.12, 57.375)
    hq: bool = False
    tiny: bool = False
    tiny_embed_dims: tuple[int, ...] = (64, 128, 160, 320)
    tiny_depths: tuple[int, ...] = (2, 2, 6, 2)
    tiny_num_heads: tuple[int, ...] = (2, 4, 5, 10)
    tiny_window_sizes: tuple[int, ...] = (7, 7, 14, 7)

    def frame(self, image_hw: tuple[int, int]) -> Frame:
        """Where a photo, or a crop of one, lies in the model's square."""
        return Frame(image_hw, self.image_size, self.low_size)

    @property
    def low_size(self) -> int:
        """The side of a low-resolution mask: four pixels for each cell of the embedding."""
        return 4 * (self.image_size // self.patch_size)

    @classmethod
    def from_config(cls, config: dict[str, Any], name: str) -> Self:
        """Return the shape that a config stands for: a `variant`, and what differs from it.

        Args:
            config: such as {"variant": "vit_l"}, or fields of this class by name.
            name: the checkpoint's, for messages.

        Raises:
            WeightsError: there is no such variant or field.
        """
        fields = {key: value for key, value in config.items() if key not in NOTES}
        variant = fields.pop("variant", "vit_b")
        known = {field.name for field in dataclasses.fields(cls)}
        wrong = sorted(fields.keys() - known)
        if variant not in VARIANTS or wrong:
            got = f"variant {variant!r}" if variant not in VARIANTS else ", ".join(wrong)
            raise WeightsError(
                f"{name} is no SAM that sam.segment and sam.everything can run: its config in "
                f"weights.lock should give a variant ({', '.join(VARIANTS)}) or sizes "
                f"({', '.join(sorted(known))}); got {got}"
            )
        fields = {key: tuple(v) if isinstance(v, list) else v for key, v in fields.items()}
        return cls(**(VARIANTS[variant] | fields))
