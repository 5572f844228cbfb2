"""The picture that TripoSR sees: the object in the middle of a grey square."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from visionweave import Cutout

from .._regions import visible

__all__ = ["framed", "over_grey"]

Floats = npt.NDArray[np.float32]

GREY = np.float32(0.5)


def framed(cutout: Cutout, foreground_ratio: float, side: int) -> Floats:
    """Put an object into the middle of a transparent square, and resize that to `side` pixels.

    What of the cutout is not fully transparent is the object. Its longer side becomes
    `foreground_ratio` of the square's. Bilinear with antialiasing, as torch and Pillow define it;
    the square's empty margin, which is large for a thin object, is never made.

    Returns:
        (side, side, 4) float32 in [0, 1], RGB premultiplied with alpha.

    Raises:
        ValueTypeError: nothing of the cutout can be seen.
    """
    part = cutout.rgba[visible(cutout)].astype(np.float32) / 255
    part[:, :, :3] *= part[:, :, 3:]
    height, width = part.shape[:2]
    square = max(height, width)
    whole = int(square / foreground_ratio)
    down, across = (
        _resampling(whole, side)[:, start : start + length]
        for length in (height, width)
        for start in [(square - length) // 2 + (whole - square) // 2]
    )
    lines = (down @ part.reshape(height, -1)).reshape(side, width, 4)
    return np.matmul(across, lines)


def over_grey(premultiplied: Floats) -> Floats:
    """Composite what `framed` returned over mid-grey: (side, side, 3) RGB in [0, 1]."""
    return premultiplied[:, :, :3] + (1 - premultiplied[:, :, 3:]) * GREY


def _resampling(length: int, side: int) -> Floats:
    """The weights of `length` pixels in each of `side` new ones, (side, length).

    A triangle around each new pixel's middle, as wide as two pixels of the coarser of both grids.
    """
    scale = length / side
    middles = (np.arange(side) + 0.5) * scale
    distances = np.abs(np.arange(length) + 0.5 - middles[:, None]) / max(scale, 1)
    weights = np.maximum(1 - distances, 0)
    normalised: Floats = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return normalised
