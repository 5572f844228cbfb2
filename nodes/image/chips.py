"""Label chips: small coloured plates with an object's name, set where they hide least."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL import ImageDraw, ImageFont
from pydantic import AfterValidator

from .._paint import RGB, ink_on
from .._regions import Region, Size, moved_inside

__all__ = ["FONTS", "Chip", "FontFile", "make_chip", "paint_chip", "place"]

Floats = npt.NDArray[np.float64]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

FONTS = (
    # Latin, Greek, Cyrillic and more
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "LiberationSans-Regular.ttf",
    "Arial Unicode.ttf",
    "segoeui.ttf",
    "arial.ttf",
    # Chinese, Japanese, Korean
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf",
    "SourceHanSansSC-Regular.otf",
    "wqy-microhei.ttc",
    "wqy-zenhei.ttc",
    "DroidSansFallbackFull.ttf",
    "PingFang.ttc",
    "Hiragino Sans GB.ttc",
    "STHeiti Light.ttc",
    "AppleSDGothicNeo.ttc",
    "msyh.ttc",
    "simsun.ttc",
    "YuGothM.ttc",
    "malgun.ttf",
)
"""Fonts of common systems, in the order in which they are tried."""

BUILT_IN = ""
"""The name here of the font inside Pillow: Aileron, with the letters of ASCII only."""

MIN_TEXT = 9
"""The smallest size of letters that can be read, in pixels."""

SMOOTHING = 4
"""How many times larger a plate is drawn before it is reduced, for smooth corners."""


@dataclass(frozen=True, slots=True)
class Chip:
    """A label that can be written with what is at hand, and fits into the picture.

    Attributes:
        text: what stands on it.
        font: writes every letter of the text.
        size_wh: of the whole plate, in pixels.
    """

    text: str
    font: Font
    size_wh: Size


def make_chip(words: Sequence[str], size: int, room_wh: Size, font: str | None) -> Chip | None:
    """The chip of the first of `words` that can be written and fits; None when none does.

    Letters are made smaller before a word is given up, down to MIN_TEXT. A chip may take up a third
    of the picture's height: one that is lower than 40 pixels or so gets none.

    Args:
        words: what to write, best first.
        size: of the letters, in pixels.
        room_wh: of the picture.
        font: the file or name of a font to try before all others.
    """
    for word in words:
        name = _font_for(word, (font or BUILT_IN, BUILT_IN, *FONTS))
        for pixels in _sizes(size):
            if name is None:
                break
            chip = _chip(word, _open(name, pixels))
            if chip.size_wh[0] <= room_wh[0] and chip.size_wh[1] <= room_wh[1] / 3:
                return chip
    return None


def _sizes(size: int) -> Iterator[int]:
    while size > MIN_TEXT:
        yield size
        size = round(size * 0.85)
    yield MIN_TEXT


def _chip(text: str, font: Font) -> Chip:
    _, top, _, bottom = font.getbbox("|")  # as tall as any letter
    height = round(bottom - top)
    width = round(font.getlength(text))
    return Chip(text, font, (width + 2 * round(0.4 * height), height + 2 * round(0.25 * height)))


def place(size_wh: Size, around: Region, room_wh: Size, taken: Sequence[Region]) -> Region:
    """Find a place for a chip of `size_wh` at an object, clear of the places that are taken.

    Tried in turn: above the object, inside at its top, below it, inside at its bottom, each at the
    left and at the right; then the free place that is nearest. Where there is none, the least
    covered place is given. It always lies in the picture of `room_wh`.
    """
    occupied = np.array(taken, np.float64).reshape(-1, 4)
    beside = list(_beside(size_wh, around, room_wh))
    free = next((spot for spot in beside if _shared(spot, occupied) == 0), None)
    if free is not None:
        return free
    anywhere = [*_freest(size_wh, around, room_wh, occupied), _at(*around[:2], size_wh, room_wh)]
    return min(beside + anywhere, key=lambda spot: _shared(spot, occupied))  # the first of equals


def _at(x: int, y: int, size_wh: Size, room_wh: Size) -> Region:
    """The place whose top left corner is (x, y), or the nearest one in the picture."""
    return moved_inside((x, y, x + size_wh[0], y + size_wh[1]), room_wh)


def _beside(size_wh: Size, around: Region, room_wh: Size) -> Iterator[Region]:
    """The places at an object, best first."""
    (width, height), (x1, y1, x2, y2) = size_wh, around
    for y in (y1 - height, y1, y2, y2 - height):
        if 0 <= y <= room_wh[1] - height:
            yield _at(x1, y, size_wh, room_wh)
            yield _at(x2 - width, y, size_wh, room_wh)


def _freest(size_wh: Size, around: Region, room_wh: Size, occupied: Floats) -> list[Region]:
    """The least covered place of a grid, of equal ones the nearest; none where no grid fits.

    All places are looked at in one step: what two rectangles share is what their columns share
    times what their rows do.
    """
    (width, height), (x1, y1, _, _) = size_wh, around
    columns = np.arange(x1 % width, room_wh[0] - width + 1, width)
    rows = np.arange(y1 % height, room_wh[1] - height + 1, height)
    if columns.size == 0 or rows.size == 0:
        return []
    covered = _overlaps(columns, width, occupied[:, ::2]).T @ _overlaps(
        rows, height, occupied[:, 1::2]
    )
    away = (columns[:, None] - x1) ** 2 + (rows - (y1 - height)) ** 2
    best = np.where(covered == covered.min(), away, np.inf).argmin()
    column, row = divmod(int(best), rows.size)
    return [_at(int(columns[column]), int(rows[row]), size_wh, room_wh)]


def _overlaps(starts: npt.NDArray[np.int_], length: int, spans: Floats) -> Floats:
    """(N, M): how much each of N spans, (N, 2), shares with each of M of one length."""
    low, high = np.maximum(spans[:, :1], starts), np.minimum(spans[:, 1:], starts + length)
    return np.maximum(high - low, 0)


def _shared(spot: Region, occupied: Floats) -> float:
    """How many pixels of a spot are taken; those that are taken twice count twice."""
    low, high = np.maximum(occupied[:, :2], spot[:2]), np.minimum(occupied[:, 2:], spot[2:])
    return float(np.maximum(high - low, 0).prod(axis=1).sum())


def paint_chip(picture: PIL.Image.Image, chip: Chip, region: Region, colour: RGB) -> None:
    """Draw a plate with round corners in `region`, and its text in black or white."""
    x1, y1, x2, y2 = region
    width, height = chip.size_wh
    plate = PIL.Image.new("L", (width * SMOOTHING, height * SMOOTHING))
    corners = (0, 0, plate.width - 1, plate.height - 1)
    ImageDraw.Draw(plate).rounded_rectangle(corners, SMOOTHING * height // 5, fill=255)
    picture.paste(colour, region, plate.reduce(SMOOTHING))
    middle = ((x1 + x2) / 2, (y1 + y2) / 2)
    ImageDraw.Draw(picture).text(middle, chip.text, ink_on(colour), chip.font, anchor="mm")


def _check_font(name: str) -> str:
    try:
        _open(name, MIN_TEXT)
    except OSError as error:
        raise ValueError(f"no font can be read from {name!r}: {error}") from None
    return name


FontFile = Annotated[str, AfterValidator(_check_font)]
"""A setting: the path of a TrueType or OpenType font, or the file name of an installed one."""


@functools.lru_cache(maxsize=256)
def _open(name: str, size: int) -> Font:
    return ImageFont.truetype(name, size) if name else ImageFont.load_default(size)


@functools.lru_cache(maxsize=1024)
def _font_for(text: str, names: tuple[str, ...]) -> str | None:
    """The first font that has all letters of a text; None when none has."""
    for name in names:
        try:
            font = _open(name, MIN_TEXT)
        except OSError:  # not on this system
            continue
        absent = _glyph(font, "\uffff")  # no character: fonts draw their empty box
        if all(char.isspace() or _glyph(font, char) != absent for char in set(text)):
            return name
    return None


def _glyph(font: Font, char: str) -> bytes:
    mask = font.getmask(char)
    return bytes(str(mask.size), "ascii") + bytes(mask)
