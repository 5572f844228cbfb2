"""Small copies of photos, upright and in sRGB."""

from __future__ import annotations

import io
import os
from pathlib import Path

from visionweave.photo import Fit
from visionweave.values import Image
from visionweave.values.small import small_photo

__all__ = ["PREVIEW", "SHOWABLE", "SIDE", "shrink", "size_of"]

SIDE = 384
"""The long side of a thumbnail in pixels: sharp on dense screens, some 20 kB."""

PREVIEW = 1600
"""The long side of the copy of a photo that browsers cannot show, or that is to travel along."""

SHOWABLE = frozenset(
    [".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".avif"]
)
"""The suffixes of photos that every browser shows."""

QUALITY = 82


def shrink(path: Path, side: int) -> bytes:
    """Return a JPEG of the photo, whose long side has `side` pixels, or fewer if the photo has.

    Raises:
        ImageError: the photo cannot be read.
    """
    small = small_photo(Image.open(path, fits=[Fit(long=side)]), side)
    data = io.BytesIO()
    small.save(data, "JPEG", quality=QUALITY, optimize=True)
    return data.getvalue()


def size_of(path: Path) -> tuple[int, int]:
    """(width, height) of a photo, upright; reads its header.

    Raises:
        ImageError: the photo cannot be read.
    """
    return Image.open(os.fspath(path)).size_wh
