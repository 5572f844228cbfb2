"""How large a photo may be: the option --max-megapixels."""

from __future__ import annotations

import math
from typing import Annotated

import typer

__all__ = ["MaxMegapixels", "allow_photos"]

MaxMegapixels = Annotated[
    float | None, typer.Option(help="Read photos of up to this size; inf for any.")
]


def allow_photos(megapixels: float | None) -> None:
    """Let photos of up to this size be read from now on; None leaves the limit as it is.

    Raises:
        JobError: it is no size.
    """
    import PIL.Image

    from visionweave.errors import JobError

    if megapixels is None:
        return
    if not megapixels > 0:  # nan is not, either
        raise JobError(f"--max-megapixels must be above 0, or inf for no limit; got {megapixels:g}")
    any_size = math.isinf(megapixels)
    PIL.Image.MAX_IMAGE_PIXELS = None if any_size else int(megapixels * 1e6 / 2)  # refused: twice
