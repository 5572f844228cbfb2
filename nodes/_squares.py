"""Cutouts as models see them that take squares."""

from __future__ import annotations

import numpy as np
import PIL.Image
from PIL.Image import Resampling

from visionweave import Cutout

from ._paint import RGB
from ._regions import Pixels

__all__ = ["in_square"]

AT_ONCE = 1 << 20
"""So many pixels of the square are held at a time, or one row."""


def in_square(cutout: Cutout, side: int, background: RGB, way: Resampling) -> Pixels:
    """Lay a cutout on the middle of a square of one colour; resize that to (side, side, 3) uint8.

    The square is never there as a whole: that of a long thin cutout is far larger than the cutout.
    Its rows are resized a few at a time, then its columns. That is Pillow's own order, so that the
    result is the same.
    """
    rgb = cutout.over(background)
    height, width = rgb.shape[:2]
    longer = max(height, width)
    top, left = (longer - height) // 2, (longer - width) // 2
    columns = np.empty((longer, side, 3), np.uint8)
    columns[:] = background
    count = max(1, AT_ONCE // longer)
    for start in range(0, height, count):
        part = rgb[start : start + count]
        rows = np.empty((len(part), longer, 3), np.uint8)
        rows[:] = background
        rows[:, left : left + width] = part
        y = top + start
        columns[y : y + len(part)] = PIL.Image.fromarray(rows).resize((side, len(part)), way)
    return np.asarray(PIL.Image.fromarray(columns).resize((side, side), way))
