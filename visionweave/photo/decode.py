"""Reading image files: upright, 8-bit sRGB, straight alpha, and no larger than they are needed.

Every file gives a Frame or an ImageError that says why not. What was read differently from what
the file says (first of several frames, unusable profile, wrong suffix) is an ImageWarning.
All functions may be called from several threads at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import TiffImageFile

from visionweave.errors import ImageError
from visionweave.photo.colour import to_srgb
from visionweave.photo.files import SUFFIXES, opened, reading, remarks

__all__ = [
    "REDUCING_GAP",
    "SUFFIXES",
    "Fit",
    "Frame",
    "Header",
    "decode",
    "from_pil",
    "read_header",
    "reduction",
]

REDUCING_GAP = 2.0
"""How many times larger than needed a JPEG is decoded at least. Pillow's documentation calls the
result of 2.0 "very close" to that of a full decode."""

# What puts a picture of each EXIF orientation upright.
_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class Fit:
    """The size that a consumer shrinks photos to, in pixels.

    The short side becomes `short`, or less where the long side would pass `long`. None sets no
    bound, and nothing is ever enlarged.
    """

    short: int | None = None
    long: int | None = None

    def scale(self, size_wh: tuple[int, int]) -> float:
        """Return the factor in (0, 1] that shrinks a photo of `size_wh` to this fit."""
        bounds = ((self.short, min(size_wh)), (self.long, max(size_wh)))
        return min([1.0, *(bound / side for bound, side in bounds if bound is not None)])


@dataclass(frozen=True, slots=True)
class Header:
    """What is known of a photo before its pixels are decoded.

    Attributes:
        size_wh: width and height in pixels, upright, at full resolution.
        format: Pillow's name for the file format, such as "JPEG".
        orientation: the EXIF orientation, 1 to 8, that the file stores its pixels in.
    """

    size_wh: tuple[int, int]
    format: str
    orientation: int = 1


@dataclass(frozen=True, slots=True)
class Frame:
    """The pixels of one photo, upright.

    Attributes:
        rgb: (h, w, 3) sRGB, read-only; transparent pixels keep the colour that the file gives.
        alpha: (h, w), 0 is transparent, read-only; None when every pixel is opaque.
        size_wh: the photo's width and height at full resolution; `rgb` is smaller when it was
            decoded at a reduced scale.
    """

    rgb: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None
    size_wh: tuple[int, int]


def read_header(path: Path) -> Header:
    """Read the upright size and the format of a photo without decoding its pixels.

    Raises:
        ImageError: the file cannot be read, or is not an image. Damage after the header is
            found by `decode` only.
    """
    with reading(str(path)) as notes, opened(path) as image:
        size_wh = _upright_size(image, notes)
        header = Header(size_wh, image.format or "", _orientation(image, notes))
        notes.clear()  # decode() gives them; once for each photo is enough
    return header


def reduction(header: Header, fits: Sequence[Fit] | None) -> int:
    """Return by how much `decode` reduces the sides of a photo for `fits`: 1, 2, 4 or 8."""
    if not fits or header.format not in ("JPEG", "MPO"):
        return 1
    needed = REDUCING_GAP * max(fit.scale(header.size_wh) for fit in fits)
    fitting = (d for d in (8, 4, 2) if d <= min(header.size_wh) and needed * d <= 1.0)
    return next(fitting, 1)


def decode(path: Path, fits: Sequence[Fit] | None = None) -> Frame:
    """Decode the first picture of a file.

    Args:
        path: the file; its contents decide the format, not its suffix.
        fits: what every consumer will shrink the photo to. A JPEG is then decoded at the
            smallest of 1, 1/2, 1/4 and 1/8 that leaves both sides REDUCING_GAP times what each
            fit needs. None or empty, and every other format: full resolution.

    Raises:
        ImageError: the file cannot be read, is not an image, or is damaged.
    """
    with reading(str(path)) as notes, opened(path) as image:
        notes.extend(remarks(image, path))
        size_wh = _upright_size(image, notes)
        divisor = reduction(Header(image.size, image.format or ""), fits)
        if divisor > 1:
            # draft() takes the scale whose result covers this size: exactly 1 / divisor.
            image.draft(None, (image.width // divisor, image.height // divisor))
        return _frame(image, str(path), notes, size_wh)


def from_pil(image: Image.Image, name: str = "image") -> Frame:
    """Convert a picture in memory just as `decode` converts a file; `name` is for messages.

    Raises:
        ImageError: the picture is empty, cannot be loaded, or has pixels without a defined white.
    """
    with reading(name) as notes:
        return _frame(image, name, notes)


def _frame(
    image: Image.Image, name: str, notes: list[str], size_wh: tuple[int, int] | None = None
) -> Frame:
    if min(image.size) < 1:
        raise ImageError(name, f"it is empty: {image.width} x {image.height} pixels")
    image.load()
    # Pillow's TIFF reader turns the picture as it loads and then forgets the orientation, so
    # asking after load() is what makes it once for every format.
    turn = _TURN.get(_orientation(image, notes))
    upright = image if turn is None else image.transpose(turn)
    rgb, alpha = to_srgb(upright, name, notes)
    return Frame(rgb, alpha, size_wh or upright.size)


def _orientation(image: Image.Image, notes: list[str]) -> int:
    """Return the EXIF orientation, 1 to 8, that is still to be applied to `image`."""
    try:
        # Image's own, because that of PngImageFile decodes the pixels first.
        orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    except Exception as error:  # a damaged block fails in as many ways as a damaged picture
        notes.append(f"its EXIF block is damaged, and its orientation unknown ({error})")
        return 1
    return orientation if orientation in _TURN else 1


def _upright_size(image: Image.Image, notes: list[str]) -> tuple[int, int]:
    """Return the upright (width, height) of an opened file that is not loaded yet."""
    width, height = image.size
    swaps = _orientation(image, notes) >= 5
    if isinstance(image, TiffImageFile):
        # Its size is upright already, unless the orientation is in XMP rather than in a tag.
        swaps = swaps and ExifTags.Base.Orientation not in image.tag_v2
    return (height, width) if swaps else (width, height)
