"""A file that is arriving: what has come of it, its hash so far, and how it becomes whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Self

from visionweave.atomic import sync_folder

__all__ = ["Part"]

READ_BYTES = 1 << 20


class Part:
    """`NAME.part` beside the file that it will be: bytes are appended, and hashed as they come.

    Opening one that an earlier attempt left hashes what is there, and goes on behind it. Beside it
    lies `NAME.part.etag`: the server's mark of the version that the bytes are of.

    Args:
        path: the file that it will be.

    Attributes:
        size: the bytes that are there.
        continued: whether some of them are an earlier attempt's.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(f"{path.name}.part")
        self._mark = path.with_name(f"{path.name}.part.etag")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._part.open("a+b")
        self._hash = hashlib.sha256()
        self.size = 0
        self._file.seek(0)
        while chunk := self._file.read(READ_BYTES):
            self._hash.update(chunk)
            self.size += len(chunk)
        self.continued = self.size > 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        # After a full disk, closing fails once more on the bytes that found no room.
        with contextlib.suppress(OSError):
            self._file.close()
        if self.size == 0:
            self.remove()

    @property
    def folder(self) -> Path:
        """The folder that it lies in."""
        return self._path.parent

    @property
    def sha256(self) -> str:
        """The hash of what is there."""
        return self._hash.hexdigest()

    @property
    def etag(self) -> str:
        """The server's mark of the version that the bytes are of, or "" when there is none."""
        try:
            return self._mark.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            return ""

    def restart(self, etag: str = "") -> None:
        """Throw away what is there, and begin with a version of which `etag` is the mark."""
        self._file.truncate(0)
        self._hash = hashlib.sha256()
        self.size, self.continued = 0, False
        self._mark.write_text(etag, encoding="ascii", errors="ignore")

    def append(self, data: bytes) -> None:
        """Write bytes behind those that are there."""
        self._file.write(data)
        self._file.flush()
        self._hash.update(data)
        self.size += len(data)

    def finish(self) -> None:
        """Force the bytes to the disk, and give the file its name."""
        os.fsync(self._file.fileno())
        self._file.close()  # some systems rename no open file
        # Before the renaming: after it, nobody would come back to remove what is left.
        self._mark.unlink(missing_ok=True)
        self._part.replace(self._path)
        sync_folder(self._path.parent)

    def remove(self) -> None:
        """Remove what is there."""
        self._file.close()
        self.size = 0
        self._part.unlink(missing_ok=True)
        self._mark.unlink(missing_ok=True)
