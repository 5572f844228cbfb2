"""Captions as BLIP's decoder learns them: their tokens, and which thing each token names."""

from __future__ import annotations

import re
from typing import Any

import numpy.typing as npt

from training.models._vit_words import padded, tokenizer
from training.world.captions import caption, phrase
from training.world.scenes import Scene

__all__ = ["LENGTH", "captioned", "named"]

LENGTH = 24
"""Tokens of a caption at most, those at its ends included: three things of three words fit."""


def captioned(scenes: list[Scene]) -> dict[str, npt.NDArray[Any]]:
    """Return the captions of scenes.

    Returns:
        tokens: int64 (B, L), from [CLS] to [SEP], then padding.
        things: int64 (B, L): k where a token is part of what `objects[k - 1]` is called, else 0.
    """
    tokens, things = [], []
    for scene in scenes:
        text = caption(scene)
        read = tokenizer().encode(text)
        places = _places(text, scene)
        tokens.append(read.ids)
        things.append([_number(places, *offsets) for offsets in read.offsets])
    return {"tokens": padded(tokens), "things": padded(things)}


def _number(places: dict[int, tuple[int, int]], start: int, end: int) -> int:
    """The number of the thing whose name holds some characters; 0 for none."""
    inside = (k for k, (first, last) in places.items() if first <= start < end <= last)
    return next(inside, 0)


def _places(text: str, scene: Scene) -> dict[int, tuple[int, int]]:
    """Where a caption names each thing, by number; without those that are called the same."""
    found = {}
    for number, thing in enumerate(scene.objects, start=1):
        places = [match.span() for match in re.finditer(rf"\b{re.escape(phrase(thing))}\b", text)]
        if len(places) == 1:
            found[number] = places[0]
    return found


def named(text: str, name: str) -> bool:
    """Whether a caption names a thing. The tokenizer parts words at hyphens."""
    joined = re.sub(r" ?- ?", "-", text)
    return re.search(rf"\b{re.escape(name)}\b", joined) is not None
