"""Counts in words."""

from __future__ import annotations

__all__ = ["counted"]


def counted(count: int, one: str) -> str:
    """Return "1 photo", "2 photos"."""
    return f"{count} {one}" if count == 1 else f"{count} {one}s"
