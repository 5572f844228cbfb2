"""Draws the sheets of stickers in `examples/images/stickers/`, on a transparent background.

    python examples/draw_samples.py [FOLDER]

The same pictures come out every time. They are ours, drawn by this script, under the project's
licence.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

SIDE = 200
"""The side of one sticker's square, in pixels; stickers are drawn four times as large."""

BIG = 4 * SIDE
Pen = ImageDraw.ImageDraw


def apple(pen: Pen) -> None:
    """A red apple with a leaf."""
    pen.ellipse((150, 240, 470, 680), "#d6322d")
    pen.ellipse((330, 240, 650, 680), "#d6322d")
    pen.ellipse((220, 330, 300, 450), "#f08a80")
    pen.line((400, 280, 430, 130), "#6b4226", 34)
    pen.ellipse((430, 130, 600, 215), "#4c9a3b")


def mug(pen: Pen) -> None:
    """A blue mug: its handle has a real hole."""
    pen.ellipse((470, 300, 710, 560), "#2f6fb5")
    pen.ellipse((530, 360, 650, 500), (0, 0, 0, 0))
    pen.rounded_rectangle((150, 220, 560, 660), 60, "#2f6fb5")
    pen.ellipse((150, 180, 560, 280), "#8db8e2")
    pen.ellipse((190, 200, 520, 262), "#5a3a24")


def doughnut(pen: Pen) -> None:
    """A doughnut, with a hole in the middle."""
    pen.ellipse((120, 120, 680, 680), "#d79a4f")
    pen.ellipse((150, 140, 650, 640), "#ef7fa8")
    for x, y, colour in ((230, 300, "#fff3b0"), (420, 190, "#9be0d0"), (560, 340, "#fff3b0")):
        pen.rounded_rectangle((x, y, x + 60, y + 22), 11, colour)
    for x, y, colour in ((250, 480, "#9be0d0"), (430, 570, "#fff3b0"), (330, 210, "#ffffff")):
        pen.rounded_rectangle((x, y, x + 22, y + 60), 11, colour)
    pen.ellipse((310, 310, 490, 490), (0, 0, 0, 0))


def fish(pen: Pen) -> None:
    """An orange fish that swims to the left."""
    pen.polygon(((520, 400), (720, 240), (680, 400), (720, 560)), "#e8792b")
    pen.ellipse((90, 250, 600, 550), "#f39a3d")
    pen.chord((250, 250, 420, 550), 270, 90, "#ffffff")
    pen.ellipse((170, 340, 230, 400), "#ffffff")
    pen.ellipse((185, 355, 220, 390), "#1c1c1c")


def mushroom(pen: Pen) -> None:
    """A red mushroom with white spots."""
    pen.rounded_rectangle((310, 400, 490, 690), 80, "#f3e3c9")
    pen.pieslice((110, 130, 690, 720), 180, 360, "#c8262f")
    for x, y, r in ((240, 330, 42), (400, 230, 55), (560, 330, 42), (400, 380, 24)):
        pen.ellipse((x - r, y - r, x + r, y + r), "#fff6e9")


def cactus(pen: Pen) -> None:
    """A cactus in a pot."""
    pen.rounded_rectangle((330, 110, 470, 560), 70, "#3f8f52")
    pen.rounded_rectangle((180, 260, 270, 430), 45, "#3f8f52")
    pen.rounded_rectangle((180, 370, 400, 450), 40, "#3f8f52")
    pen.rounded_rectangle((530, 200, 620, 380), 45, "#3f8f52")
    pen.rounded_rectangle((400, 320, 620, 400), 40, "#3f8f52")
    pen.polygon(((250, 520), (550, 520), (510, 700), (290, 700)), "#c4683f")
    pen.rectangle((230, 490, 570, 550), "#a9522e")


SHEETS: dict[str, list[Callable[[Pen], None]]] = {
    "kitchen/breakfast.png": [apple, mug, doughnut],
    "kitchen/mugs.png": [mug, mug],
    "outdoors.png": [fish, mushroom, cactus, apple],
}


def sticker(draw: Callable[[Pen], None]) -> Image.Image:
    """Draw one thing, with the white border of a sticker; SIDE x SIDE, RGBA."""
    art = Image.new("RGBA", (BIG, BIG))
    draw(ImageDraw.Draw(art))
    art = art.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    border = art.getchannel("A").filter(ImageFilter.MaxFilter(9))
    backing = Image.new("RGBA", art.size, "white")
    backing.putalpha(border.filter(ImageFilter.GaussianBlur(0.7)))
    return Image.alpha_composite(backing, art)


def sheet(things: list[Callable[[Pen], None]]) -> Image.Image:
    """Lay stickers out side by side, a little turned."""
    page = Image.new("RGBA", (SIDE * len(things) + 40, SIDE + 60))
    for index, thing in enumerate(things):
        turned = sticker(thing).rotate(8 - 6 * index, Image.Resampling.BICUBIC)
        page.alpha_composite(turned, (20 + SIDE * index, 20 + 15 * (index % 2)))
    return page


def main(folder: Path) -> None:
    """Draw all sheets into a folder."""
    for name, things in SHEETS.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet(things).save(path, optimize=True)
        print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images" / "stickers")
