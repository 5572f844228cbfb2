"""Pixels and PNG files, for the values made of pixels."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL.PngImagePlugin import PngInfo

from visionweave.errors import ValueTypeError

__all__ = ["Pixels", "composite", "open_png", "to_png"]

Pixels = npt.NDArray[np.uint8]

PNG_COMPRESSION = 1
"""zlib level: a smooth 12-megapixel photo in a quarter of the time of level 6, and 25% larger."""


def composite(rgb: Pixels, alpha: Pixels, colour: tuple[int, int, int]) -> Pixels:
    """Lay straight-alpha pixels over one colour; (h, w, 3) uint8, rounded to nearest."""
    opacity = alpha[:, :, None].astype(np.uint16)
    mixed = rgb * opacity + np.array(colour, np.uint16) * (255 - opacity)
    pixels = ((mixed + 127) // 255).astype(np.uint8)
    pixels.flags.writeable = False
    return pixels


def to_png(picture: PIL.Image.Image, note: dict[str, Any]) -> bytes:
    """Return a PNG of `picture`, with `note` as JSON in a text chunk."""
    info = PngInfo()
    info.add_itxt("visionweave", json.dumps(note, ensure_ascii=False, allow_nan=False))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=info, compress_level=PNG_COMPRESSION)
    return buffer.getvalue()


def open_png(data: bytes) -> tuple[PIL.Image.Image, Any]:
    """Return the picture in `data`, loaded, and the note of `to_png`; None when there is none.

    Raises:
        ValueTypeError: it is no PNG.
        Exception: whatever Pillow makes of a damaged one.
    """
    try:
        picture = PIL.Image.open(io.BytesIO(data), formats=["PNG"])
    except PIL.UnidentifiedImageError:  # its message is an address in memory
        raise ValueTypeError("expected a PNG; got other data, or a damaged header") from None
    picture.load()
    return picture, json.loads(picture.info.get("visionweave", "null"))
