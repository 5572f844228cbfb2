"""What a file is known by, so that it is not hashed again as long as nobody touched it."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from visionweave.errors import ImageError

__all__ = ["FileState", "is_gone", "is_in", "look", "look_settled", "unchanged"]

TICK_NS = 50_000_000
"""A change so soon after another may leave a file's times as they were."""


@dataclass(frozen=True, slots=True)
class FileState:
    """A file's size, times and place on the disk, each in the system's words.

    Its ctime changes with its content, whatever its mtime says: programs that turn a photo by its
    EXIF tag may leave size and mtime as they were.
    """

    bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @property
    def age_ns(self) -> int:
        """How long ago it was changed; negative by a clock that goes wrong."""
        return time.time_ns() - max(self.mtime_ns, self.ctime_ns)

    @property
    def settled(self) -> bool:
        """Whether a later change would show: the last one is long enough ago."""
        return self.age_ns > TICK_NS


def look(path: str | os.PathLike[str]) -> FileState:
    """Return the state of a file.

    Raises:
        OSError: there is none.
    """
    state = Path(path).stat()
    return FileState(state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)


def look_settled(path: str | os.PathLike[str]) -> FileState:
    """Return the state of a file, in which a later change would show: wait for that if need be.

    Raises:
        OSError: there is none.
    """
    state = look(path)
    if 0 <= state.age_ns <= TICK_NS:
        time.sleep((TICK_NS - state.age_ns + 1_000_000) / 1e9)
        state = look(path)
    return state


@contextmanager
def unchanged(path: Path, state: FileState | None) -> Iterator[None]:
    """Within this, a file is read that must be in `state` before and after; None: in any.

    Raises:
        ImageError: it is in another state, or gone; also when reading it failed for that reason.
    """
    try:
        yield
    finally:
        if state is not None and not is_in(path, state):
            reason = "the file was changed, moved or deleted while the job ran"
            raise ImageError(str(path), reason) from None


def is_in(path: Path, state: FileState) -> bool:
    """Whether a file is there, in this state."""
    try:
        return look(path) == state
    except OSError:
        return False


def is_gone(path: str | os.PathLike[str]) -> bool:
    """Whether there is no such file, nor a link: of a folder that cannot be read nobody knows.

    A name that is too long for a file is none's.
    """
    try:
        Path(path).lstat()
    except OSError as error:
        return error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
    return False
