"""Values made of the pixels of one object: its cutout, new views of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import PIL.Image

from visionweave.arrays import freeze
from visionweave.errors import ValueTypeError
from visionweave.values.base import Value, check_stamp, stamp, with_origin
from visionweave.values.checks import Box, check_box, check_number
from visionweave.values.origin import UNKNOWN, Origin, check_origin
from visionweave.values.png import Pixels, composite, open_png, to_png
from visionweave.values.tensors import pack, unpack

__all__ = ["Cutout", "Views"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Cutout(Value):
    """One object on a transparent background.

    Attributes:
        rgba: (h, w, 4) uint8, straight alpha.
        region: the area of the photo that it shows, as a box in the photo's frame; with a margin
            it may stick out of the photo, and its size may differ from w x h when resized.
        origin: the object: photo, index, label, score, box.
    """

    rgba: Pixels
    region: Box
    origin: Origin = UNKNOWN
    SUFFIX = ".png"

    def __post_init__(self) -> None:
        rgba = freeze("Cutout.rgba", self.rgba, np.uint8, "H W 4")
        if 0 in rgba.shape:
            raise ValueTypeError(f"Cutout.rgba must have at least one pixel; got {rgba.shape}")
        region = check_box("Cutout.region", self.region)
        if region[0] == region[2] or region[1] == region[3]:
            raise ValueTypeError(f"Cutout.region must have an area; got {region}")
        check_origin("Cutout.origin", self.origin)
        object.__setattr__(self, "rgba", rgba)
        object.__setattr__(self, "region", region)

    def over(self, colour: tuple[int, int, int]) -> Pixels:
        """(h, w, 3) RGB uint8: the cutout composited over one colour."""
        return composite(self.rgba[:, :, :3], self.rgba[:, :, 3], colour)

    def to_bytes(self) -> bytes:
        """Return an RGBA PNG; region and origin are in a text chunk."""
        note = {"region": self.region, "origin": self.origin.to_json()}
        return to_png(PIL.Image.fromarray(self.rgba), stamp("Cutout") | note)

    @classmethod
    def _read(cls, data: bytes) -> Self:
        picture, note = open_png(data)
        fields = check_stamp("Cutout", note)
        return cls(np.asarray(picture), **with_origin(fields))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Views(Value):
    """Pictures of one object from several cameras, each looking at the object's middle.

    Attributes:
        images: (N, H, W, 3) RGB uint8.
        azimuth_deg: (N,) float32, 0 in front of the object, 90 at its right-hand side.
        elevation_deg: (N,) float32 in [-90, 90], positive above.
        distance: (N,) float32, above 0, in units of the object's frame.
        fov_deg: the vertical field of view.
        origin: the object.
    """

    images: Pixels
    azimuth_deg: npt.NDArray[np.float32]
    elevation_deg: npt.NDArray[np.float32]
    distance: npt.NDArray[np.float32]
    fov_deg: float
    origin: Origin = UNKNOWN
    SUFFIX = ".safetensors"

    def __post_init__(self) -> None:
        images = freeze("Views.images", self.images, np.uint8, "N H W 3")
        if 0 in images.shape[1:]:
            raise ValueTypeError(f"Views.images must have at least one pixel; got {images.shape}")
        fov_deg = check_number("Views.fov_deg", self.fov_deg)
        check_origin("Views.origin", self.origin)
        object.__setattr__(self, "images", images)
        object.__setattr__(self, "fov_deg", fov_deg)
        for name in _VIEWS_ARRAYS[1:]:
            array = freeze(f"Views.{name}", getattr(self, name), np.float32, "N", N=len(images))
            object.__setattr__(self, name, array)
        if (np.abs(self.elevation_deg) > 90).any():
            raise ValueTypeError("Views.elevation_deg must be in [-90, 90]")
        if (self.distance <= 0).any():
            raise ValueTypeError("Views.distance must be above 0")
        if not 0 < fov_deg < 180:
            raise ValueTypeError(f"Views.fov_deg must be in (0, 180); got {fov_deg}")

    def __len__(self) -> int:
        return len(self.images)

    def to_bytes(self) -> bytes:
        """Return a safetensors file with the four arrays, and the rest as metadata."""
        arrays = {name: getattr(self, name) for name in _VIEWS_ARRAYS}
        return pack("Views", arrays, {"fov_deg": self.fov_deg, "origin": self.origin.to_json()})

    @classmethod
    def _read(cls, data: bytes) -> Self:
        return cls(**with_origin(unpack("Views", data)))


_VIEWS_ARRAYS = ("images", "azimuth_deg", "elevation_deg", "distance")
