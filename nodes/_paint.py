"""Painting objects into a picture: colours, translucent masks with a contour, outlines of boxes."""

from __future__ import annotations

import math
import operator
from typing import Annotated, Any, SupportsIndex

import numpy as np
import PIL.Image
from PIL import ImageColor, ImageDraw, ImageFilter
from pydantic import BeforeValidator, WithJsonSchema

from ._regions import Mask, Pixels, Region, Size, clipped, grown, window

__all__ = ["PALETTE", "RGB", "Colour", "colour_of", "ink_on", "line_width", "outline_width"]
__all__ += ["paint_mask", "paint_outline", "parse_colour", "soften"]

RGB = tuple[int, int, int]

BLACK, WHITE = (0, 0, 0), (255, 255, 255)

PALETTE: tuple[RGB, ...] = (
    (230, 159, 0),  # orange
    (86, 180, 233),  # sky blue
    (0, 158, 115),  # bluish green
    (240, 228, 66),  # yellow
    (0, 114, 178),  # blue
    (213, 94, 0),  # vermilion
    (204, 121, 167),  # reddish purple
)
"""Colours that people with any kind of colour blindness tell apart: Okabe and Ito 2008, "Color
Universal Design", without its black, which is kept for the dark lines."""

ONE_SIGMA = 0.8413
"""How bright a blurred edge is one standard deviation inside: the normal distribution there."""


def _hex(value: Any) -> str:
    if isinstance(value, (list, tuple)) and len(value) == 3:
        if all(type(part) is int and 0 <= part <= 255 for part in value):
            return "#{:02x}{:02x}{:02x}".format(*value)
    elif isinstance(value, str):
        rgb = ImageColor.getrgb(value)
        if len(rgb) == 3:
            return "#{:02x}{:02x}{:02x}".format(*rgb)
    raise ValueError('a colour is a name, "#rrggbb" or three numbers, 0 to 255; it is opaque')


_COLOUR_SCHEMA = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "array",
            "items": {"type": "integer", "minimum": 0, "maximum": 255},
            "minItems": 3,
            "maxItems": 3,
        },
    ]
}

Colour = Annotated[str, BeforeValidator(_hex), WithJsonSchema(_COLOUR_SCHEMA)]
"""A setting: a name such as "white", "#rrggbb", or [r, g, b]; kept as "#rrggbb"."""


def parse_colour(colour: str) -> RGB:
    """The red, green and blue of a `Colour`, 0 to 255."""
    red, green, blue = ImageColor.getrgb(colour)[:3]
    return red, green, blue


def colour_of(object: SupportsIndex) -> RGB:
    """The colour of an object: the same in every picture of it."""
    return PALETTE[operator.index(object) % len(PALETTE)]


def ink_on(colour: RGB) -> RGB:
    """Black or white, whichever is read better on `colour`.

    Its contrast is at least 4.58 on any colour, above the 4.5 that WCAG 2.2 asks of text.
    """
    return BLACK if luminance(colour) > 0.179 else WHITE  # where both contrast equally


def luminance(colour: RGB) -> float:
    """The relative luminance of an sRGB colour, 0 to 1, as WCAG 2.2 defines it."""
    parts = [part / 255 for part in colour]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def line_width(size_wh: Size) -> int:
    """The width of lines that look equally thin in pictures of every size, in pixels."""
    return max(1, round(math.hypot(*size_wh) / 400))


def outline_width(line: int) -> int:
    """The width of a whole outline: the dark, the coloured and the light line together."""
    return line + 2 * _hairline(line)


def _hairline(line: int) -> int:
    return max(1, line // 3)


def soften(mask: Mask, sigma: float) -> Pixels:
    """Blur a mask, (h, w) bool, with a Gaussian; (h, w) uint8.

    Beyond the array's border the mask goes on as it is there. The blur ends 3 sigma away.
    """
    picture = PIL.Image.fromarray(mask.view(np.uint8) * np.uint8(255))
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(sigma)))


def paint_mask(
    picture: PIL.Image.Image, mask: Mask, region: Region, colour: RGB, opacity: float, line: int
) -> None:
    """Fill a mask with a translucent colour; draw its contour inside, and a dark line around.

    Args:
        picture: RGB; it is painted on.
        mask: (h, w), the part of the photo's mask in `region`.
        region: where it lies; all of it in the picture.
        colour: of the fill and of the contour.
        opacity: of the fill, 0 to 1.
        line: the contour's width in pixels.
    """
    reach = 3 * line
    frame = grown(region, reach)
    inside = clipped(frame, picture.size)
    assert inside is not None
    shape = np.pad(mask, reach)
    soft = soften(shape, line)  # says how far from the contour a pixel is
    contour = shape & (soft < 255 * ONE_SIGMA)
    # A line of half the width is half a sigma outside, or a whole one where that is a pixel.
    around = ~shape & (soft > 255 * (0.31 if line > 1 else 1 - ONE_SIGMA))
    tint = shape * np.uint8(round(255 * opacity))
    tint[contour] = 255
    for ink, cover in ((colour, tint), (BLACK, around * np.uint8(153))):
        picture.paste(ink, inside, PIL.Image.fromarray(cover[window(inside, frame)]))


def paint_outline(picture: PIL.Image.Image, region: Region, colour: RGB, line: int) -> None:
    """Draw a box around a region: a dark, a coloured and a light line, from outside to inside.

    One of the three stands out from any picture. They lie outside of the region, so that nothing
    of the object is covered, except where the region meets the picture's border.
    """
    outer = clipped(grown(region, outline_width(line)), picture.size)
    assert outer is not None
    hairline = _hairline(line)
    draw = ImageDraw.Draw(picture)
    for width, ink in ((hairline, BLACK), (line, colour), (hairline, WHITE)):
        x1, y1, x2, y2 = outer
        if x1 >= x2 or y1 >= y2:
            return
        draw.rectangle((x1, y1, x2 - 1, y2 - 1), outline=ink, width=width)
        outer = grown(outer, -width)
