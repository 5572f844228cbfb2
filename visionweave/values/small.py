"""Smaller copies of photos, and of what was found in them, to look at."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt
import PIL.Image

from visionweave.photo import Fit
from visionweave.values.geometry import Boxes
from visionweave.values.image import Image
from visionweave.values.masks import Masks

__all__ = ["small_objects", "small_photo"]

Found = TypeVar("Found", Boxes, Masks)


def small_photo(photo: Image, side: int) -> PIL.Image.Image:
    """Return the photo, upright and opaque, its long side of `side` pixels, or fewer if it has.

    Open it with `fits=[Fit(long=side)]`, and no more of a JPEG is decoded than that needs.

    Raises:
        ImageError: the photo cannot be read.
    """
    fit = Fit(long=side)
    pixels = photo.shrunk(fit)
    width, height = (max(1, round(length * fit.scale(photo.size_wh))) for length in photo.size_wh)
    small = PIL.Image.fromarray(pixels)
    if small.size == (width, height):
        return small
    return small.resize((width, height), PIL.Image.Resampling.LANCZOS, reducing_gap=2.0)


def small_objects(found: Found, image_hw: tuple[int, int]) -> Found:
    """Return boxes or masks as they lie in a copy of their photo that is `image_hw` in size.

    A pixel is in a mask where the middle of what it stands for is.
    """
    if isinstance(found, Boxes):
        (height, width), (h, w) = found.image_hw, image_hw
        scale = np.array([w / width, h / height] * 2, np.float32)
        return found.replace(xyxy=found.xyxy * scale, image_hw=image_hw)
    ys, xs = (_middles(*sides) for sides in zip(image_hw, found.image_hw, strict=True))
    crops = []
    for index, window in enumerate(found.windows()):
        x1, y1, x2, y2 = window
        top, bottom = np.searchsorted(ys, [y1, y2]).tolist()
        left, right = np.searchsorted(xs, [x1, x2]).tolist()
        rows, columns = ys[top:bottom] - y1, xs[left:right] - x1
        crops.append((left, top, found.crop(index, window)[np.ix_(rows, columns)]))
    return Masks.from_crops(crops, small_objects(found.boxes, image_hw))


def _middles(count: int, full: int) -> npt.NDArray[np.int64]:
    return np.minimum((np.arange(count) + 0.5) * full / count, full - 1).astype(np.int64)
