"""What Zero-1-to-3 is told: the object's picture, and where the camera goes."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt
import PIL.Image

from visionweave import Cutout

from .._regions import visible

__all__ = ["framed", "pose"]

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

WHITE = (255, 255, 255)


def framed(cutout: Cutout, foreground_ratio: float, side: int) -> Pixels:
    """Put an object into the middle of a white square of `side` pixels.

    What of the cutout is not fully transparent is the object. Its longer side becomes
    `foreground_ratio` of the square's.

    Returns:
        (side, side, 3) RGB uint8.

    Raises:
        ValueTypeError: nothing of the cutout can be seen.
    """
    part = cutout.over(WHITE)[visible(cutout)]
    height, width = part.shape[:2]
    scale = side * foreground_ratio / max(height, width)
    size_wh = max(1, round(width * scale)), max(1, round(height * scale))
    object_ = PIL.Image.fromarray(part).resize(size_wh, PIL.Image.Resampling.LANCZOS)
    square = PIL.Image.new("RGB", (side, side), WHITE)
    square.paste(object_, ((side - size_wh[0]) // 2, (side - size_wh[1]) // 2))
    return np.asarray(square)


def pose(
    fourth: Literal["radius", "polar"],
    azimuth_deg: float,
    elevation_deg: float,
    photo_elevation_deg: float,
    distance_change: float,
) -> Floats:
    """Where a view's camera stands, as seen from the photo's.

    Zero-1-to-3 measures a camera's height from the top down, and its direction counter-clockwise as
    seen from the top. `Views` measures heights up from the middle, and directions clockwise: from
    the front to the object's right-hand side, which is on the left for who faces it.

    Args:
        fourth: what the fourth number is, by the checkpoint.
        azimuth_deg: the view's, as in `Views`; the photo's is 0.
        elevation_deg: the view's.
        photo_elevation_deg: the photo's.
        distance_change: how much farther away the view is; unused where `fourth` is "polar".

    Returns:
        (4,): the change of the polar angle in radians, sine and cosine of the change of azimuth,
        and the change of distance ("radius") or the photo's polar angle in radians ("polar").
    """
    down = math.radians(photo_elevation_deg - elevation_deg)
    turn = math.radians(-azimuth_deg)
    last = distance_change if fourth == "radius" else math.radians(90 - photo_elevation_deg)
    return np.array([down, math.sin(turn), math.cos(turn), last], np.float32)
