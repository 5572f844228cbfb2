"""How wide a text is in a picture that brings no fonts: never narrower than viewers draw it.

The widths are those of DejaVu Sans Bold and DejaVu Sans Mono, the widest of the usual fonts, so
that text in Helvetica, Segoe UI, Roboto or Noto takes less.
"""

from __future__ import annotations

import unicodedata

__all__ = ["bold_width", "mono_width"]

_BOLD = {
    0.40: " '.,:;ijlIJ/\\|",
    0.55: '!"()*-[]_`frt',
    0.65: "?cszxL",
    0.75: "$0123456789abdeghknopquvyCEFPSTYZ{}",
    0.85: "#+<=>^~ABDGHKNRUVX",
    0.95: "&OQw",
}
_BOLD_EM = {letter: em for em, letters in _BOLD.items() for letter in letters}
_WIDEST_EM = 1.2
"""Of a letter that is in no table: wider than W, % and the widest Cyrillic letters."""

_MONO_EM = 0.61


def bold_width(text: str, size: float) -> float:
    """The width in pixels of a text in a bold proportional font of `size` pixels."""
    return size * sum(_em(letter, _BOLD_EM.get(letter, _WIDEST_EM)) for letter in text)


def mono_width(text: str, size: float) -> float:
    """The width in pixels of a text in a font in which all Latin letters are equally wide."""
    latin = _MONO_EM
    return size * sum(_em(c, latin if ord(c) < 0x250 else _WIDEST_EM) for c in text)


def _em(letter: str, otherwise: float) -> float:
    if unicodedata.combining(letter):
        return 0.0
    if ord(letter) >= 0x1F000:  # emoji
        return 1.4
    if unicodedata.east_asian_width(letter) in "WF":
        return 1.05
    return otherwise
