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

__all__ = [
    "SIDE",
    "Rgba",
    "premultiplied",
    "recoloured",
    "recolouring",
    "scaled",
    "sprite",
]

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


@functools.cache
def _halved(drawing: Drawing, side: int) -> tuple[Rgba, ...]:
    """A drawing, premultiplied, at `side` pixels and halved again and again."""
    levels = [premultiplied(sprite(drawing, side))]
    while min(levels[-1].shape[:2]) > 2 and max(levels[-1].shape[:2]) > 8:
        height, width = levels[-1].shape[:2]
        half = (width // 2, height // 2)
        levels.append(cv2.resize(levels[-1], half, interpolation=cv2.INTER_AREA))
    return tuple(levels)


def scaled(drawing: Drawing, longer: float) -> Rgba:
    """Return a drawing, premultiplied, the smallest at which warping to `longer` cannot alias.

    The longer side is at least `longer` pixels and less than twice that, where the drawing has
    so many.
    """
    levels = _halved(drawing, SIDE if longer <= SIDE else 4 * SIDE)
    return next((each for each in reversed(levels) if max(each.shape[:2]) >= longer), levels[0])


def recolouring(rng: np.random.Generator, keep_hue: bool) -> npt.NDArray[np.float64]:
    """Return a change of brightness, contrast and saturation and a slight turn of the hue.

    Args:
        rng: where the chance comes from.
        keep_hue: for a thing whose colour is named: only brightness and contrast change.

    Returns:
        (4, 4), for `recoloured`.
    """
    saturation = rng.uniform(0.8, 1.2) if keep_hue else rng.uniform(0.45, 1.4)
    if not keep_hue and rng.random() < 0.05:
        saturation = 0.0
    # About the grey axis: what lies on it stays, what lies off it turns and shrinks or grows.
    turned = saturation * _turn(0.0 if keep_hue else rng.normal(0, 0.18)) @ (np.eye(3) - _GREY)
    gain = rng.uniform(0.75, 1.2) * (np.ones(3) if keep_hue else rng.uniform(0.88, 1.12, 3))
    contrast = rng.uniform(0.75, 1.15)
    offset = 128 - contrast * 128 + rng.uniform(-12, 12)
    matrix = np.eye(4)
    matrix[:3, :3] = contrast * gain[:, None] * (_GREY + turned)
    matrix[:3, 3] = offset / 255  # of alpha: the colours are premultiplied
    return matrix


def recoloured(pixels: Rgba, matrix: npt.NDArray[np.float64]) -> Rgba:
    """Return a premultiplied sprite (H, W, 4) in the colours of a `recolouring`."""
    changed = cv2.transform(pixels, matrix)
    # No colour is brighter than white, which premultiplied is alpha.
    return cv2.min(changed, cv2.merge([changed[..., 3]] * 4))


# Takes a colour to the grey of its brightness (ITU-R BT.601).
_GREY = np.tile([0.299, 0.587, 0.114], (3, 1))


def _turn(angle: float) -> npt.NDArray[np.float64]:
    """A rotation of colour space about the grey axis, by Rodrigues' formula."""
    cosine, sine = np.cos(angle), np.sin(angle)
    third, root = (1 - cosine) / 3, sine / np.sqrt(3)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    return np.full((3, 3), third) + cosine * np.eye(3) + root * cross


def premultiplied(pixels: Rgba) -> Rgba:
    """Return colours times alpha beside alpha, so that warping mixes in nothing from outside."""
    alpha = pixels[..., 3]
    colours = cv2.multiply(pixels[..., :3], cv2.merge([alpha] * 3), scale=1 / 255)
    return np.dstack([colours, alpha])
