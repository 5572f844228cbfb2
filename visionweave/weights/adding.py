"""Adding checkpoints: the user's own, and listed ones whose hash was not known."""

from __future__ import annotations

__all__ = ["add_files", "add_urls", "trust_listed"]
