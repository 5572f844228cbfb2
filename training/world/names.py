"""The names of the vocabulary: English, Chinese, keywords; and which drawings show each thing."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from training.world import artwork

__all__ = ["KEYWORDS", "NAMES", "NAMES_ZH", "Drawing", "drawings"]


@dataclass(frozen=True, slots=True)
class Drawing:
    """One drawing of a thing.

    Attributes:
        style: whose it is, such as "twemoji".
        icon: what that style calls it.
        name_index: the thing's place in `NAMES`; -1 for a thing outside the vocabulary.
        colour: its colour, where there are drawings of the thing in several; else "".
    """

    style: str
    icon: str
    name_index: int
    colour: str = ""


_TABLE = tomllib.loads(Path(__file__).with_name("vocabulary.toml").read_text(encoding="utf-8"))

NAMES: tuple[str, ...] = tuple(_TABLE)
"""The English names; a thing's class is its index here."""

NAMES_ZH: tuple[str, ...] = tuple(entry["zh"] for entry in _TABLE.values())
"""The Chinese names, in the same order."""


def _by_colour(icon: str | dict[str, str]) -> dict[str, str]:
    return icon if isinstance(icon, dict) else {"": icon}


def _keywords(name: str) -> tuple[str, ...]:
    icons = _by_colour(_TABLE[name]["icon"])
    colours = set(icons)
    found = dict.fromkeys(word for icon in icons.values() for word in artwork.keywords(icon))
    # A keyword that is another thing's name ("car" for a taxi) would teach the wrong thing.
    return tuple(word for word in found if word not in NAMES and word not in colours)


def drawings(styles: tuple[str, ...], everything: bool = False) -> list[Drawing]:
    """Return the drawings of some styles: of the vocabulary, or of `everything` concrete."""
    known = [
        Drawing(style, icon, index, colour)
        for index, entry in enumerate(_TABLE.values())
        for style in styles
        for colour, icon in _by_colour(
            entry.get("fx" if style == "fxemoji" else "icon", {})
        ).items()
    ]
    if not everything:
        return known
    taken = {drawing.icon for drawing in known}
    others = [icon for icon in artwork.concrete_things() if icon not in taken]
    drawn = [style for style in styles if style != "fxemoji"]
    return known + [Drawing(style, icon, -1) for icon in others for style in drawn]


KEYWORDS: tuple[tuple[str, ...], ...] = tuple(_keywords(name) for name in NAMES)
"""The English keywords of each thing."""
