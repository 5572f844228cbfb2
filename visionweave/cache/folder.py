"""Where the cache lies, and how large it may become."""

from __future__ import annotations

import os
import re
from pathlib import Path

from visionweave.errors import JobError
from visionweave.folders import kept_folder

__all__ = ["DEFAULT_SIZE", "cache_folder", "cache_size", "parse_size"]

DEFAULT_SIZE = 20_000_000_000
"""Bytes: the results of some hundred thousand photos."""

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def cache_folder() -> Path:
    """The folder of the result cache: $VISIONWEAVE_CACHE, else one in the user's cache folder."""
    return kept_folder("VISIONWEAVE_CACHE", "results")


def cache_size() -> int:
    """The largest size of the cache in bytes: $VISIONWEAVE_CACHE_SIZE, else 20 GB.

    Raises:
        JobError: the setting is no size.
    """
    chosen = os.environ.get("VISIONWEAVE_CACHE_SIZE")
    return parse_size(chosen, "VISIONWEAVE_CACHE_SIZE") if chosen else DEFAULT_SIZE


def parse_size(text: str, what: str) -> int:
    """Read a size such as "500 MB" or "1.5G", in powers of a thousand.

    Raises:
        JobError: it is none; the message calls it `what`.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)b?\s*", text, re.IGNORECASE)
    if match is None:
        raise JobError(f"{what} must be a size such as 500MB or 20GB; got {text!r}")
    return int(float(match[1]) * _UNITS[match[2].lower()])
