"""A contact sheet: what a search found, as one picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import PIL.Image
from PIL import ImageDraw, ImageFont

from visionweave.errors import ImageError
from visionweave.index.library import Match
from visionweave.photo import Fit
from visionweave.values import Image

__all__ = ["contact_sheet"]

COLUMNS, SIDE, CAPTION, GAP = 5, 240, 28, 8
"""Photos in a row; the side of a photo's square, the height of what stands below it, and the space
around both, in pixels."""

PAPER, INK, EMPTY = (255, 255, 255), (32, 32, 32), (224, 224, 224)


def contact_sheet(found: Sequence[Match]) -> PIL.Image.Image:
    """Draw photos in the order of their ranks, with rank and score below each.

    A photo that is gone or cannot be read leaves a grey square that says so.
    """
    columns = max(1, min(COLUMNS, len(found)))
    rows = max(1, math.ceil(len(found) / columns))
    size_wh = (columns * (SIDE + GAP) + GAP, rows * (SIDE + CAPTION + GAP) + GAP)
    sheet = PIL.Image.new("RGB", size_wh, PAPER)
    if not found:
        _write(sheet, (size_wh[0] // 2, size_wh[1] // 2), "nothing found")
    for place, match in enumerate(found):
        x = GAP + place % columns * (SIDE + GAP)
        y = GAP + place // columns * (SIDE + CAPTION + GAP)
        _place(sheet, (x, y), match.path)
        caption = f"{place + 1}    {match.score:.3f}"
        _write(sheet, (x + SIDE // 2, y + SIDE + CAPTION // 2), caption)
    return sheet


def _place(sheet: PIL.Image.Image, corner: tuple[int, int], path: Path) -> None:
    """Draw a photo in the middle of its square, as large as fits."""
    x, y = corner
    fit = Fit(long=SIDE)
    image = Image.open(path, fits=[fit])
    try:
        pixels = image.shrunk(fit)
        scale = fit.scale(image.size_wh)
    except ImageError:
        ImageDraw.Draw(sheet).rectangle((x, y, x + SIDE - 1, y + SIDE - 1), fill=EMPTY)
        state = "cannot be read" if path.exists() else "gone"
        _write(sheet, (x + SIDE // 2, y + SIDE // 2), state)
        return
    width, height = (max(1, round(side * scale)) for side in image.size_wh)
    small = PIL.Image.fromarray(pixels).resize((width, height), PIL.Image.Resampling.LANCZOS)
    sheet.paste(small, (x + (SIDE - width) // 2, y + (SIDE - height) // 2))


def _write(sheet: PIL.Image.Image, middle: tuple[int, int], text: str) -> None:
    font = ImageFont.load_default(CAPTION // 2)
    ImageDraw.Draw(sheet).text(middle, text, INK, font, anchor="mm")
