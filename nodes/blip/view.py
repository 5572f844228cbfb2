"""What BLIP is shown of a photo or a cutout."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL.Image import Resampling

from visionweave import Cutout, Fit, Image

from .._paint import parse_colour
from .._squares import in_square

__all__ = ["Pixels", "shown"]

Pixels = npt.NDArray[np.uint8]


def shown(image: Image | Cutout, side: int, background: str) -> Pixels:
    """The square that the network sees, (side, side, 3) RGB.

    A photo is squeezed into it, proportions and all, as in training. A cutout keeps its own, in the
    middle of a square of `background`: transparent pixels have no colour, and a long thin object
    would be squeezed as no photo ever was.
    """
    if isinstance(image, Cutout):
        return in_square(image, side, parse_colour(background), Resampling.BICUBIC)
    rgb = image.shrunk(Fit(short=side))
    return np.asarray(PIL.Image.fromarray(rgb).resize((side, side), Resampling.BICUBIC))
