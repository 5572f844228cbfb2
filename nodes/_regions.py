"""Regions: rectangles of whole pixels, x1, y1, x2, y2 in a photo's frame, x2 and y2 exclusive.

A region may stick out of its photo on any side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from visionweave import Boxes, Cutout, Image, Masks, ValueTypeError

__all__ = ["Margin", "Mask", "Pixels", "Region", "Size", "check_frame", "check_frames", "clipped"]
__all__ += ["covering", "grown", "moved_inside", "padded", "squared", "union", "visible", "window"]

Mask = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.uint8]
Region = tuple[int, int, int, int]
Size = tuple[int, int]
"""Width and height."""

Margin = Annotated[float, Field(ge=0, le=10)]
"""A setting: room around an object, as a fraction of the longer side of its box."""


def check_frame(image: Image, objects: Boxes | Masks | None) -> None:
    """Refuse objects of another photo, or of this one at another size.

    Raises:
        ValueTypeError: the sizes differ.
    """
    if objects is not None and objects.image_hw != image.image_hw:
        kind = type(objects).__name__
        (height, width), (h, w) = image.image_hw, objects.image_hw
        raise ValueTypeError(
            f"{kind} must be of the image they are used with: expected {kind} of an image "
            f"{width} x {height} (width x height); got {kind} of one {w} x {h}; "
            "connect the image that they were found in"
        )


def check_frames(image: Image, boxes: Boxes | None, masks: Masks | None) -> None:
    """Refuse neither of boxes and masks, and those that `check_frame` refuses.

    Raises:
        ValueTypeError: there are none of both, or their sizes are not the image's.
    """
    if boxes is None and masks is None:
        raise ValueTypeError("expected boxes, masks or both; got neither; connect one of the ports")
    check_frame(image, boxes)
    check_frame(image, masks)


def visible(cutout: Cutout) -> tuple[slice, slice]:
    """The rows and columns of a cutout in which something is not fully transparent.

    Raises:
        ValueTypeError: nothing of it can be seen.
    """
    seen = cutout.rgba[:, :, 3] > 0
    rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
    if rows.size == 0:
        raise ValueTypeError("the cutout is empty: every pixel of it is fully transparent")
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def covering(box: Sequence[float]) -> Region:
    """The pixels that a box touches."""
    x1, y1, x2, y2 = box
    return math.floor(x1), math.floor(y1), math.ceil(x2), math.ceil(y2)


def grown(region: Region, pixels: int) -> Region:
    """The region, larger by `pixels` on every side."""
    x1, y1, x2, y2 = region
    return x1 - pixels, y1 - pixels, x2 + pixels, y2 + pixels


def padded(region: Region, margin: float) -> Region:
    """The region, larger on every side by `margin` times its longer side."""
    x1, y1, x2, y2 = region
    return grown(region, round(margin * max(x2 - x1, y2 - y1)))


def squared(region: Region) -> Region:
    """The smallest square around the region, with the region in its middle.

    An odd difference leaves one pixel more to the right or below.
    """
    x1, y1, x2, y2 = region
    side = max(x2 - x1, y2 - y1)
    left, top = x1 - (side - (x2 - x1)) // 2, y1 - (side - (y2 - y1)) // 2
    return left, top, left + side, top + side


def clipped(region: Region, size_wh: Size) -> Region | None:
    """The part of the region that lies in a photo of `size_wh`; None when nothing does."""
    x1, y1 = max(region[0], 0), max(region[1], 0)
    x2, y2 = min(region[2], size_wh[0]), min(region[3], size_wh[1])
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def moved_inside(region: Region, size_wh: Size) -> Region:
    """The region, moved as little as it takes to stick out of the photo as little as it can."""
    x1, y1, x2, y2 = region
    left = min(max(x1, 0), max(size_wh[0] - (x2 - x1), 0))
    top = min(max(y1, 0), max(size_wh[1] - (y2 - y1), 0))
    return left, top, left + x2 - x1, top + y2 - y1


def union(a: Region, b: Region) -> Region:
    """The smallest region that holds both."""
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def window(region: Region, frame: Region = (0, 0, 0, 0)) -> tuple[slice, slice]:
    """What cuts the region out of an (H, W) array that shows `frame`: rows, columns."""
    x1, y1, x2, y2 = region
    left, top = frame[:2]
    return slice(y1 - top, y2 - top), slice(x1 - left, x2 - left)
