"""How a photo lies in SAM's square, and the way back to the photo.

SAM looks at a square of `side` pixels. The photo is scaled until its long side fills it and lies at
the top left; what is right of it or below is padding. SAM 2 and SAM 3 see it `Squashed` instead.
Masks come out, and rough masks go in, at a low resolution of `low` pixels a side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL.Image import Resampling

from visionweave import Fit

from .._regions import Mask, Pixels

__all__ = ["Floats", "Frame", "Squashed", "tight"]

Floats = npt.NDArray[np.floating]

FAINTEST = 1e-3
"""A rough mask is told to SAM as the logit of each pixel's coverage, kept this far from 0 and 1:
6.9 on the object, -6.9 beside it, as sure as SAM's own logits are."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a photo lies in a model's square.

    Attributes:
        image_hw: (height, width) of the photo.
        side: the square's, in pixels.
        low: the side of the square of low-resolution masks; it divides `side`.
    """

    image_hw: tuple[int, int]
    side: int
    low: int

    @property
    def fit(self) -> Fit:
        """The size that the photo is shrunk to."""
        return Fit(long=self.side)

    @property
    def scaled_hw(self) -> tuple[int, int]:
        """(height, width) of the photo in the square, in whole pixels."""
        height, width = self.image_hw
        scale = self.side / max(height, width)
        return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))

    def scaled(self, pixels: Pixels) -> Pixels:
        """Return the photo, given at any size, as it lies in the square, without the padding."""
        height, width = self.scaled_hw
        picture = PIL.Image.fromarray(pixels).resize((width, height), Resampling.BILINEAR)
        return np.array(picture)

    def xy(self, xy: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return places in the photo, (..., 2) x and y, as places in the square."""
        (height, width), (scaled_height, scaled_width) = self.image_hw, self.scaled_hw
        ratio = np.array([scaled_width / width, scaled_height / height])
        return np.asarray(xy, np.float64) * ratio

    def box(self, xyxy: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return a box of the photo, (4,), as a box of the square."""
        return self.xy(np.reshape(xyxy, (2, 2))).reshape(4)

    def low_logits(self, mask: Mask) -> npt.NDArray[np.float32]:
        """Return a mask of the photo, (H, W), as SAM is told a rough mask: (low, low) logits.

        What is not photo is not object.
        """
        height, width = self.scaled_hw
        picture = PIL.Image.fromarray(mask.astype(np.uint8) * 255)
        scaled = np.asarray(picture.resize((width, height), Resampling.BILINEAR), np.float32) / 255
        square = np.pad(scaled, ((0, self.side - height), (0, self.side - width)))
        step = self.side // self.low
        coverage = square.reshape(self.low, step, self.low, step).mean(axis=(1, 3))
        coverage = np.clip(coverage, FAINTEST, 1 - FAINTEST)
        return np.log(coverage / (1 - coverage)).astype(np.float32)

    def full_logits(self, low: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return one mask's (low, low) logits at the photo's full size: (H, W).

        As published: up to the square, the padding off, on to the photo, bilinear both times.
        """
        import torch
        from torch.nn.functional import interpolate

        logits = torch.from_numpy(low)[None, None]
        logits = interpolate(logits, (self.side, self.side), mode="bilinear")
        height, width = self.scaled_hw
        logits = logits[..., :height, :width]
        full: npt.NDArray[np.float32] = interpolate(logits, self.image_hw, mode="bilinear").numpy()
        return full[0, 0]


@dataclass(frozen=True, slots=True)
class Squashed(Frame):
    """Where a photo lies that fills the square, whatever its proportions: there is no padding."""

    @property
    def fit(self) -> Fit:
        """The short side becomes the square's, so that neither is enlarged."""
        return Fit(short=self.side)

    @property
    def scaled_hw(self) -> tuple[int, int]:
        """All of the square."""
        return self.side, self.side

    def scaled(self, pixels: Pixels) -> Pixels:
        """Return the photo, given at any size, as it lies in the square.

        By torchvision, as transformers does it, whose rounding is not Pillow's.
        """
        import torch
        from torchvision.transforms.v2.functional import resize

        chw = torch.tensor(pixels).permute(2, 0, 1).contiguous()
        square: Pixels = (
            resize(chw, [self.side, self.side], antialias=True).permute(1, 2, 0).numpy()
        )
        return square

    def full_logits(self, low: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return one mask's (low, low) logits at the photo's full size: (H, W), bilinear."""
        import torch
        from torch.nn.functional import interpolate

        logits = torch.from_numpy(low)[None, None]
        full: npt.NDArray[np.float32] = interpolate(logits, self.image_hw, mode="bilinear").numpy()
        return full[0, 0]


def tight(mask: Mask) -> tuple[int, int, Mask]:
    """Return the part of a mask (H, W) that is not empty, and where it is: x, y, the part."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if len(columns) == 0:
        return 0, 0, mask[:0, :0]
    x, y = int(columns[0]), int(rows[0])
    return x, y, mask[y : rows[-1] + 1, x : columns[-1] + 1]
