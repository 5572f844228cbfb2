"""Sprites: the drawings as arrays, at three sizes, cached on disk; and how one varies."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from training.world import artwork
from training.world.names import Drawing

__all__ = ["SIDE", "Rgba", "premultiplied", "recoloured", "smaller", "sprite"]

Rgba = npt.NDArray[np.uint8]
SIDE = 128
"""The longer side of a sprite, in pixels."""


@functools.cache
def sprite(drawing: Drawing, side: int = SIDE) -> Rgba:
    """Return a drawing as RGBA uint8 with straight alpha, its longer side `side`; read-only."""
    name = f"{drawing.style}/{drawing.icon}/{side}"
    path = _cache() / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.npy"
    try:
        pixels: Rgba = np.load(path)
    except (OSError, ValueError, EOFError):
        pixels = artwork.draw(drawing.style, drawing.icon, side)
        _keep(path, pixels)
    pixels.setflags(write=False)
    return pixels


def _keep(path: Path, pixels: Rgba) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{id(pixels)}.tmp")
    with partial.open("wb") as file:
        np.save(file, pixels)
    partial.replace(path)


def _cache() -> Path:
    return artwork.package("emojibase-data").parents[1] / "sprites"


def recoloured(pixels: Rgba, rng: np.random.Generator, keep_hue: bool) -> Rgba:
    """Return a sprite with other brightness, contrast, saturation and a slightly turned hue.

    Args:
        pixels: (H, W, 4) uint8.
        rng: where the chance comes from.
        keep_hue: for a thing whose colour is named: only brightness and contrast change.
    """
    saturation = rng.uniform(0.8, 1.2) if keep_hue else rng.uniform(0.45, 1.4)
    if not keep_hue and rng.random() < 0.05:
        saturation = 0.0
    # About the grey axis: what lies on it stays, what lies off it turns and shrinks or grows.
    turned = saturation * _turn(0.0 if keep_hue else rng.normal(0, 0.18)) @ (np.eye(3) - _GREY)
    gain = rng.uniform(0.75, 1.2) * (np.ones(3) if keep_hue else rng.uniform(0.88, 1.12, 3))
    contrast = rng.uniform(0.75, 1.15)
    offset = 128 - contrast * 128 + rng.uniform(-12, 12)
    matrix = np.column_stack([contrast * gain[:, None] * (_GREY + turned), np.full(3, offset)])
    out = np.empty_like(pixels)
    out[..., :3] = cv2.transform(pixels[..., :3], matrix)
    out[..., 3] = pixels[..., 3]
    return out


# Takes a colour to the grey of its brightness (ITU-R BT.601).
_GREY = np.tile([0.299, 0.587, 0.114], (3, 1))


def _turn(angle: float) -> npt.NDArray[np.float64]:
    """A rotation of colour space about the grey axis, by Rodrigues' formula."""
    cosine, sine = np.cos(angle), np.sin(angle)
    third, root = (1 - cosine) / 3, sine / np.sqrt(3)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    return np.full((3, 3), third) + cosine * np.eye(3) + root * cross


def smaller(pixels: Rgba, longer: float) -> Rgba:
    """Halve a sprite while it stays at least `longer` pixels long, so that warping cannot alias."""
    while max(pixels.shape[:2]) >= 2 * longer and min(pixels.shape[:2]) > 2:
        height, width = pixels.shape[:2]
        pixels = cv2.resize(pixels, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return pixels


def premultiplied(pixels: Rgba) -> Rgba:
    """Return colours times alpha beside alpha, so that warping mixes in nothing from outside."""
    alpha = pixels[..., 3]
    colours = cv2.multiply(pixels[..., :3], cv2.merge([alpha] * 3), scale=1 / 255)
    return np.dstack([colours, alpha])
