"""What BLIP is shown of a photo or a cutout."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL.Image import Resampling

from visionweave import Cutout, Fit, Image

from .._paint import parse_colour

__all__ = ["Pixels", "shown"]

Pixels = npt.NDArray[np.uint8]


def shown(image: Image | Cutout, side: int, background: str) -> Pixels:
    """The square that the network sees, (side, side, 3) RGB.

    A photo is squeezed into it, proportions and all, as in training. A cutout keeps its own, in the
    middle of a square of `background`: transparent pixels have no colour, and a long thin object
    would be squeezed as no photo ever was.
    """
    rgb = image.shrunk(Fit(short=side)) if isinstance(image, Image) else _laid(image, background)
    return np.asarray(PIL.Image.fromarray(rgb).resize((side, side), Resampling.BICUBIC))


def _laid(cutout: Cutout, background: str) -> Pixels:
    colour = parse_colour(background)
    rgb = cutout.over(colour)
    height, width = rgb.shape[:2]
    longer = max(height, width)
    top, left = (longer - height) // 2, (longer - width) // 2
    square = np.full((longer, longer, 3), colour, np.uint8)
    square[top : top + height, left : left + width] = rgb
    return square
