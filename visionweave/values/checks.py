"""Checks for what values hold besides arrays: words, numbers, one box, the size of a photo."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from visionweave.arrays import freeze
from visionweave.errors import ValueTypeError

__all__ = [
    "Box",
    "check_box",
    "check_hw",
    "check_number",
    "check_phrases",
    "check_scores",
    "check_text",
    "check_texts",
    "describe",
    "short",
]

Box = tuple[float, float, float, float]
"""One box: (x1, y1, x2, y2) in pixels of the upright photo, x right, y down, x2/y2 exclusive."""


def check_text(name: str, text: object) -> str:
    """Return `text`, any Unicode that UTF-8 can write, or raise ValueTypeError."""
    if not isinstance(text, str):
        raise ValueTypeError(f"{name} must be a str; got {describe(text)}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueTypeError(
            f"{name} must be valid Unicode; got {short(text)}: {error.reason}"
        ) from None
    return str.__str__(text)  # numpy's strings are a subclass, which JSON would not give back


def check_texts(name: str, texts: Iterable[str]) -> tuple[str, ...]:
    """Return `texts` as a tuple of str, or raise ValueTypeError."""
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise ValueTypeError(f"{name} must be several str; got the one {describe(texts)}")
    return tuple(check_text(name, text) for text in texts)


def check_phrases(name: str, phrases: Iterable[str]) -> tuple[str, ...]:
    """Return `phrases` as a tuple of str that are not blank, or raise ValueTypeError."""
    checked = check_texts(name, phrases)
    for phrase in checked:
        if not phrase.strip():
            raise ValueTypeError(f"{name} must hold no blank str; got {short(phrase)}")
    return checked


def check_scores(name: str, scores: npt.ArrayLike | None, count: int) -> npt.NDArray[np.float32]:
    """Return `scores` as read-only (count,) float32 in [0, 1]; None stands for all ones."""
    given = np.ones(count, np.float32) if scores is None else scores
    array = freeze(name, given, np.float32, "N", N=count)
    if array.size and not (array.min() >= 0 and array.max() <= 1):
        raise ValueTypeError(
            f"{name} must be in [0, 1]; got {array.min():.4g} to {array.max():.4g}"
        )
    return array


def check_number(name: str, value: Any) -> float:
    """Return `value` as a finite float, or raise ValueTypeError."""
    return float(freeze(name, value, np.float64, ""))


def check_box(name: str, box: npt.ArrayLike) -> Box:
    """Return one box x1, y1, x2, y2 as four floats, or raise ValueTypeError."""
    x1, y1, x2, y2 = freeze(name, box, np.float64, "4").tolist()
    if x2 < x1 or y2 < y1:
        raise ValueTypeError(
            f"{name} must be x1, y1, x2, y2 with x1 <= x2 and y1 <= y2; got {[x1, y1, x2, y2]} "
            "(is it x, y, width, height?)"
        )
    return x1, y1, x2, y2


def check_hw(name: str, image_hw: Any) -> tuple[int, int]:
    """Return `image_hw` as (height, width), both at least 1, or raise ValueTypeError."""
    good = (
        isinstance(image_hw, (tuple, list))
        and len(image_hw) == 2
        and all(isinstance(side, (int, np.integer)) and side >= 1 for side in image_hw)
    )
    if not good:
        raise ValueTypeError(f"{name} must be (height, width) in pixels; got {short(image_hw)}")
    return int(image_hw[0]), int(image_hw[1])


def short(value: Any) -> str:
    """A repr that never prints a whole array or a long list, 80 characters at most."""
    if isinstance(value, np.ndarray):
        return f"<{value.dtype} {value.shape}>"
    if isinstance(value, (tuple, list, dict)) and len(value) > 4:
        return f"<{type(value).__name__} of {len(value)}>"
    if isinstance(value, tuple):
        text = f"({', '.join(map(short, value))}{',' if len(value) == 1 else ''})"
    elif isinstance(value, list):
        text = f"[{', '.join(map(short, value))}]"
    else:
        text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def describe(data: Any) -> str:
    """Say what `data` is, for a message: its type, and itself in short."""
    if isinstance(data, np.ndarray):
        return f"an array of {data.dtype} {data.shape}"
    kind, text = type(data).__name__, short(data)
    if data is None or text.startswith(kind):
        return text
    return text.strip("<>") if text.startswith(f"<{kind} of") else f"{kind} {text}"
