"""Plain data: what JSON and YAML can hold, and how messages show it."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["is_plain", "show"]

LONGEST = 60
"""Characters of a piece of data that a message shows."""


def is_plain(data: Any) -> bool:
    """Whether `data` is text, numbers, true, false, null, and lists and tables of those alone.

    Subclasses, such as numpy's float64 and enums, are not plain: a file cannot hold them.
    """
    if isinstance(data, (list, tuple)):
        return all(map(is_plain, data))
    if isinstance(data, dict):
        return all(type(key) is str and is_plain(value) for key, value in data.items())
    return data is None or type(data) in (str, int, float, bool)


def show(data: Any) -> str:
    """Return `data` on one line for people, as JSON writes it: text in quotes, cut when long."""
    if data is None:
        return "nothing (null)"
    if not is_plain(data):
        return f"a value of type {type(data).__name__}"
    text = json.dumps(data, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
