"""Reading image files as a photographer would trust: upright, sRGB, one kind of error."""

from visionweave.photo.decode import (
    REDUCING_GAP,
    Fit,
    Frame,
    Header,
    decode,
    from_pil,
    read_header,
    reduction,
)
from visionweave.photo.files import SUFFIXES

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
