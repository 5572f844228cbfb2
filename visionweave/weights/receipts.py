"""Hashes of files, and remembering which files were found to be right.

Hashing some gigabytes takes seconds, so a file is hashed once, and from then on known by its size,
its times and its place on the disk. A file that was touched since is hashed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visionweave.atomic import remove_halves, write_atomic

__all__ = ["Receipts", "sha256_of"]

TICK_SECONDS = 0.02
"""A change so soon after another may leave a file's times as they were."""


@dataclass(frozen=True, slots=True)
class Receipts:
    """What is remembered of the files in a folder.

    Attributes:
        folder: the folder.
        memo: the JSON file that remembers. Where it cannot be written, nothing is remembered, and
            files are hashed whenever they are asked for.
    """

    folder: Path
    memo: Path

    def verify(self, name: str, sha256: str) -> str | None:
        """Hash a file, remember it when it is right, and forget it when it is not.

        Args:
            name: the file's path below the folder.
            sha256: what its hash should be.

        Returns:
            None when it is right, else the hash that it has.

        Raises:
            OSError: it cannot be read.
        """
        path = self.folder / name
        _let_settle(path)
        before = _look(path)
        got = sha256_of(path)
        if got != sha256:
            self._change(name, None)
            return got
        if _look(path) == before:
            self._change(name, before | {"sha256": sha256})
        return None

    def remember(self, name: str, sha256: str) -> None:
        """Remember a file as right that was hashed while it was written."""
        _let_settle(self.folder / name)
        self._change(name, _look(self.folder / name) | {"sha256": sha256})

    def holds(self, name: str, sha256: str) -> bool:
        """Whether a file was found to be right, and was not touched since."""
        try:
            return bool(self._read().get(name) == _look(self.folder / name) | {"sha256": sha256})
        except OSError:
            return False

    def _read(self) -> dict[str, Any]:
        try:
            memo = json.loads(self.memo.read_bytes())
        except (OSError, ValueError):
            return {}
        return memo if isinstance(memo, dict) else {}

    def _change(self, name: str, entry: dict[str, Any] | None) -> None:
        memo = self._read()
        changed = {key: value for key, value in memo.items() if key != name}
        if entry is not None:
            changed[name] = entry
        if changed != memo:
            with contextlib.suppress(OSError):
                # Another process that remembers at this very moment fails, and hashes again.
                remove_halves(self.memo)
                write_atomic(self.memo, json.dumps(changed, indent=1).encode())


def sha256_of(path: Path) -> str:
    """Return the hash of a file, in 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _look(path: Path) -> dict[str, Any]:
    """What a file is known by. Its ctime changes with its content, whatever its mtime says."""
    state = path.stat()
    return {
        "bytes": state.st_size,
        "mtime_ns": state.st_mtime_ns,
        "ctime_ns": state.st_ctime_ns,
        "inode": state.st_ino,
    }


def _let_settle(path: Path) -> None:
    state = path.stat()
    age = time.time() - max(state.st_mtime, state.st_ctime)
    if 0 <= age < TICK_SECONDS:
        time.sleep(TICK_SECONDS - age)
