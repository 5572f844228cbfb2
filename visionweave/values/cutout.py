"""Values made of the pixels of one object: its cutout, new views of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import PIL.Image

from visionweave.arrays import freeze
from visionweave.errors import ValueTypeError
from visionweave.values.base import UNKNOWN, Box, Origin, Value
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
        region = freeze("Cutout.region", self.region, np.float64, "4").tolist()
        if not (region[0] < region[2] and region[1] < region[3]):
            raise ValueTypeError(f"Cutout.region must be a box x1, y1, x2, y2; got {region}")
        object.__setattr__(self, "rgba", rgba)
        object.__setattr__(self, "region", tuple(region))

    def over(self, colour: tuple[int, int, int]) -> Pixels:
        """(h, w, 3) RGB uint8: the cutout composited over one colour."""
        return composite(self.rgba[:, :, :3], self.rgba[:, :, 3], colour)

    def to_bytes(self) -> bytes:
        """Return an RGBA PNG; region and origin are in a text chunk."""
        note = {"type": "Cutout", "region": self.region, "origin": self.origin.to_json()}
        return to_png(PIL.Image.fromarray(self.rgba), note)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Restore a cutout from `to_bytes`; see `Value.from_bytes`."""
        picture, note = open_png(data, "Cutout")
        if note.get("type") != "Cutout" or picture.mode != "RGBA":
            raise ValueTypeError("expected a visionweave Cutout in an RGBA PNG")
        rgba = np.asarray(picture)
        return cls(rgba, tuple(note["region"]), Origin.from_json(note["origin"]))


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
        object.__setattr__(self, "images", images)
        for name in ("azimuth_deg", "elevation_deg", "distance"):
            array = freeze(f"Views.{name}", getattr(self, name), np.float32, "N", N=len(images))
            object.__setattr__(self, name, array)
        if (np.abs(self.elevation_deg) > 90).any():
            raise ValueTypeError("Views.elevation_deg must be in [-90, 90]")
        if (self.distance <= 0).any():
            raise ValueTypeError("Views.distance must be above 0")
        if not 0 < self.fov_deg < 180:
            raise ValueTypeError(f"Views.fov_deg must be in (0, 180); got {self.fov_deg!r}")

    def __len__(self) -> int:
        return len(self.images)

    def to_bytes(self) -> bytes:
        """Return a safetensors file with the four arrays, and the rest as metadata."""
        arrays = {name: getattr(self, name) for name in _VIEWS_ARRAYS}
        return pack("Views", arrays, {"fov_deg": self.fov_deg, "origin": self.origin.to_json()})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Restore views from `to_bytes`; see `Value.from_bytes`."""
        arrays, note = unpack("Views", data, _VIEWS_ARRAYS, ("fov_deg", "origin"))
        return cls(
            arrays["images"],
            arrays["azimuth_deg"],
            arrays["elevation_deg"],
            arrays["distance"],
            note["fov_deg"],
            Origin.from_json(note["origin"]),
        )


_VIEWS_ARRAYS = ("images", "azimuth_deg", "elevation_deg", "distance")
