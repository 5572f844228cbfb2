"""Hashes of photos, remembered by path, so that a photo that nobody touched is not read again."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from dataclasses import astuple
from pathlib import Path
from typing import Any

from visionweave.cache.base import MEMORY, Base
from visionweave.photo.state import FileState, look, look_settled
from visionweave.values import Image

__all__ = ["PhotoHashes"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS photos (
    path TEXT PRIMARY KEY, bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL, inode INTEGER NOT NULL, sha256 TEXT NOT NULL
) WITHOUT ROWID;
"""
_FIND = "SELECT bytes, mtime_ns, ctime_ns, inode, sha256 FROM photos WHERE path = ?"
_KEEP = "INSERT OR REPLACE INTO photos VALUES (?, ?, ?, ?, ?, ?)"

TOGETHER = 64
"""How many new hashes are written down at once."""


class PhotoHashes:
    """The sha256 of photos.

    Args:
        folder: where they are remembered; None: as long as this lives.
    """

    def __init__(self, folder: Path | None = None) -> None:
        path = MEMORY if folder is None else folder / "photos.sqlite"
        self._base = Base(path, _SCHEMA, "photos are hashed whenever they are asked for")
        self._new: list[tuple[str | int, ...]] = []

    def of(self, path: Path) -> tuple[FileState, str]:
        """Return the state of a photo's file, and the sha256 of its bytes. From any thread.

        Raises:
            OSError: it cannot be read.
        """
        state, name = look_settled(path), _name(path)
        row = self._base.row(_FIND, name)
        if row is not None and row[:-1] == _columns(state):
            return state, row[-1]
        sha256 = _hash(path)
        if look(path) != state:
            raise OSError(errno.EBUSY, "it is being written while it is read", name)
        if state.settled:
            self._new.append((name, *_columns(state), sha256))
        if len(self._new) >= TOGETHER:
            self.flush()
        return state, sha256

    def hold(self, value: Any) -> Any:
        """Return a photo, or those in a list, held to the bytes of its file; else what is given.

        A file that cannot be read is not held; decoding it will say why.
        """
        if isinstance(value, list):
            return [self.hold(each) for each in value]
        if isinstance(value, Image) and value.path is not None and value.held is None:
            with contextlib.suppress(OSError):
                return value.held_to(*self.of(value.path))
        return value

    def flush(self) -> None:
        """Write down what is new."""
        new, self._new = self._new, []
        self._base.change(_KEEP, new)

    def close(self) -> None:
        """Write down what is new, and let go of the file."""
        self.flush()
        self._base.close()


def _hash(path: Path) -> str:
    if not path.is_file():
        raise OSError(errno.EINVAL, "it is no regular file", str(path))  # a pipe has no end
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _columns(state: FileState) -> tuple[int, ...]:
    # SQLite's integers have 64 bits with a sign, some systems' inodes 64 without.
    return tuple(value if value < 2**63 else value - 2**64 for value in astuple(state))


def _name(path: Path) -> str:
    """The absolute path, with escapes where it is no Unicode."""
    absolute = os.path.abspath(path)  # noqa: PTH100 - resolve() would follow links
    return absolute.encode("utf-8", "backslashreplace").decode()
