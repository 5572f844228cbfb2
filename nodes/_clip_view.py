"""How a CLIP model sees a picture: resized and cropped as it was when the model was trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL.Image import Resampling

from visionweave import Cutout, Fit
from visionweave.errors import WeightsError

__all__ = ["RGB", "Pixels", "View", "squared"]

Pixels = npt.NDArray[np.uint8]
RGB = tuple[int, int, int]

FILTERS = {"bicubic": Resampling.BICUBIC, "bilinear": Resampling.BILINEAR}
MODES = ("shortest", "squash")

STRIP = 64
"""A photo this many times longer than wide is cut to its middle before it is resized, not after:
a line of one pixel would else be enlarged to gigabytes."""


@dataclass(frozen=True, slots=True)
class View:
    """The preprocessing of one model; the defaults are those of OpenAI's CLIP.

    Attributes:
        size: the side of the square that the model takes, in pixels.
        mean, std: of red, green and blue, on a scale from 0 to 1.
        interpolation: "bicubic" or "bilinear", of Pillow, which smooths where it shrinks.
        resize_mode: "shortest" shrinks the shorter side to `size` and crops the middle; "squash"
            brings both sides to `size` and keeps no proportions.
    """

    size: int = 224
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"

    @classmethod
    def read(cls, checkpoint: str, size: int, *tables: Mapping[str, Any]) -> View:
        """Make a view from tables with "mean", "std", "interpolation" and "resize_mode".

        Args:
            checkpoint: its name, for messages.
            size: the side of the square that the network takes.
            tables: of two that give the same, the later counts; other keys are not looked at.

        Raises:
            WeightsError: a table asks for what is not one of the above.
        """
        names = ("mean", "std", "interpolation", "resize_mode")
        given = {name: table[name] for table in tables for name in names if name in table}
        for name in {"mean", "std"} & given.keys():
            given[name] = tuple(map(float, given[name]))
        view = cls(size, **given)
        for name, value, known in (
            ("interpolation", view.interpolation, tuple(FILTERS)),
            ("resize_mode", view.resize_mode, MODES),
        ):
            if value not in known:
                raise WeightsError(
                    f"{checkpoint}: {name} must be one of {', '.join(known)}; got {value!r}"
                )
        return view

    @property
    def fit(self) -> Fit:
        """The size that photos are shrunk to."""
        return Fit(short=self.size)

    def of(self, rgb: Pixels) -> Pixels:
        """Return what the model sees of (h, w, 3) RGB pixels: (size, size, 3) uint8."""
        picture, side = PIL.Image.fromarray(rgb), self.size
        resample = FILTERS[self.interpolation]
        if self.resize_mode == "squash":
            return np.asarray(picture.resize((side, side), resample))
        short, long = sorted(picture.size)
        if long > STRIP * short:
            picture = _middle(picture, min(picture.width, STRIP * short), STRIP * short)
            short, long = sorted(picture.size)
        longer = int(side * long / short)  # rounded down, as torchvision does
        size_wh = (longer, side) if picture.width > picture.height else (side, longer)
        return np.asarray(_middle(picture.resize(size_wh, resample), side, side))


def _middle(picture: PIL.Image.Image, width: int, height: int) -> PIL.Image.Image:
    """Crop the middle, at most as large as the picture; half a pixel is rounded to even."""
    width, height = min(width, picture.width), min(height, picture.height)
    left, top = round((picture.width - width) / 2), round((picture.height - height) / 2)
    return picture.crop((left, top, left + width, top + height))


def squared(cutout: Cutout, background: RGB) -> Pixels:
    """Lay a cutout on the middle of a square of one colour, (s, s, 3), so that nothing is cropped.

    A bottle that stands upright would else be seen without its neck and its foot.
    """
    height, width = cutout.rgba.shape[:2]
    side = max(height, width)
    square = np.empty((side, side, 3), np.uint8)
    square[:] = background
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = cutout.over(background)
    return square
