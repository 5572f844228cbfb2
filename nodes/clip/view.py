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

from .._paint import RGB
from .._squares import in_square

__all__ = ["Pixels", "View"]

Pixels = npt.NDArray[np.uint8]

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
        """Make a view from tables with "mean", "std", "interpolation", and "resize_mode".

        Args:
            checkpoint: its name, for messages.
            size: the side of the square that the network takes.
            tables: of two that give the same, the later counts; other keys are not looked at.
                weights.lock says "resize" for "resize_mode".

        Raises:
            WeightsError: a table asks for what is not one of the above.
        """
        given: dict[str, Any] = {}
        for table in tables:
            given |= {key: tuple(map(float, table[key])) for key in ("mean", "std") if key in table}
            for key in ("interpolation", "resize_mode", "resize"):
                if key in table:
                    given["resize_mode" if key == "resize" else key] = table[key]
        view = cls(size, **given)
        for what, value, known in (
            ("interpolation", view.interpolation, FILTERS),
            ("resize", view.resize_mode, MODES),
        ):
            if value not in known:
                raise WeightsError(
                    f"{checkpoint}: {what} must be one of {', '.join(known)}; got {value!r}"
                )
        return view

    @property
    def fit(self) -> Fit:
        """The size that photos are shrunk to."""
        return Fit(short=self.size)

    def of(self, rgb: Pixels, size_wh: tuple[int, int] | None = None) -> Pixels:
        """Return what the model sees of a photo: (size, size, 3) uint8.

        Args:
            rgb: (h, w, 3); the photo, decoded in full or at a reduced scale.
            size_wh: the photo's full size; that of `rgb` when None.
        """
        picture = PIL.Image.fromarray(rgb)
        full_wh = picture.size if size_wh is None else size_wh
        if self.resize_mode == "shortest" and max(full_wh) > STRIP * min(full_wh):
            picture = _middle(picture, STRIP * min(picture.size))
            full_wh = picture.size
        resized = picture.resize(
            self._target(full_wh), FILTERS[self.interpolation], _extent(picture, full_wh)
        )
        return np.asarray(_middle(resized, self.size))

    def of_cutout(self, cutout: Cutout, background: RGB) -> Pixels:
        """Return what the model sees of a cutout: (size, size, 3) uint8, on a square of one colour.

        So nothing is cropped: a bottle that stands upright would else be seen without its neck and
        its foot.
        """
        return in_square(cutout, self.size, background, FILTERS[self.interpolation])

    def _target(self, size_wh: tuple[int, int]) -> tuple[int, int]:
        """The size to which a photo is resized."""
        if self.resize_mode == "squash":
            return self.size, self.size
        width, height = size_wh
        longer = int(self.size * max(size_wh) / min(size_wh))  # rounded down, as torchvision does
        return (longer, self.size) if width > height else (self.size, longer)


def _extent(
    picture: PIL.Image.Image, full_wh: tuple[int, int]
) -> tuple[float, float, float, float]:
    """The part of a picture that the photo takes up.

    At a reduced scale the last pixel of a row may lie in the photo in part only: 700 pixels at 1/8
    are 88, of which 87.5 are in it. To stretch all 88 would shift the others.
    """
    scale = round(max(full_wh) / max(picture.size))
    width, height = full_wh
    return 0, 0, min(picture.width, width / scale), min(picture.height, height / scale)


def _middle(picture: PIL.Image.Image, side: int) -> PIL.Image.Image:
    """Crop the middle, `side` at most each way; half a pixel is rounded to even."""
    width, height = min(side, picture.width), min(side, picture.height)
    left, top = round((picture.width - width) / 2), round((picture.height - height) / 2)
    return picture.crop((left, top, left + width, top + height))
