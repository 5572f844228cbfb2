"""Looking at photos' files: which are as they were, and the hashes of the others."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from visionweave.execution.batching import THREADS
from visionweave.index.files import Entry
from visionweave.jobs.photos import Photo

__all__ = ["Seen", "absolute", "look", "size_and_times"]

TOGETHER = 16
"""Photos that a thread looks at in a go."""

AHEAD = 4 * THREADS
"""Such goes that may wait for the models."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A photo's file as it is now.

    Attributes:
        photo: the photo.
        path: its absolute path.
        bytes, mtime_ns, ctime_ns: its size and times.
        sha256: of its bytes; remembered when size and times are as they were; "" where they were
            not to be read.
        error: why it could not be read, else None.
    """

    photo: Photo
    path: str
    bytes: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    sha256: str = ""
    error: OSError | None = None


def look(
    photos: Sequence[Photo], known: Mapping[str, Entry], *, read: bool = True
) -> Iterator[Seen]:
    """Look at photos in threads, some way ahead of who iterates; yield them in order.

    Args:
        photos: the photos.
        known: what was seen of them before, by absolute path.
        read: whether the bytes of those that are not as they were are read, and hashed.
    """

    def several(some: Sequence[Photo]) -> list[Seen]:
        return [_look(photo, known, read) for photo in some]

    goes = (photos[start : start + TOGETHER] for start in range(0, len(photos), TOGETHER))
    waiting: deque[Future[list[Seen]]] = deque()
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="visionweave-look")
    try:
        for some in goes:
            waiting.append(pool.submit(several, some))
            if len(waiting) > AHEAD:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _look(photo: Photo, known: Mapping[str, Entry], read: bool) -> Seen:
    path = absolute(photo.path)
    try:
        state = size_and_times(path)
        before = known.get(path)
        if before is not None and _is_as_it_was(before, state):
            return Seen(photo, path, *state, before.sha256)
        if not read:
            return Seen(photo, path, *state)
        with Path(path).open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return Seen(photo, path, error=error)
    return Seen(photo, path, *state, sha256)


def _is_as_it_was(before: Entry, state: tuple[int, int, int]) -> bool:
    """Whether a file has the size and times that it had.

    Programs that turn a photo by its EXIF tag may leave its size and mtime as they were.
    """
    ctime_ns = before.ctime_ns or state[2]  # an index of before does not know it
    return (before.bytes, before.mtime_ns, ctime_ns) == state


def absolute(path: Path) -> str:
    """The absolute path; links are kept as they are."""
    return os.path.abspath(path)  # noqa: PTH100 - resolve() would follow links


def size_and_times(path: str) -> tuple[int, int, int]:
    """The size of a file in bytes, and its mtime and ctime in nanoseconds.

    Raises:
        OSError: there is none, or it is no regular file.
    """
    found = os.stat(path)  # noqa: PTH116 - there are many
    if not stat.S_ISREG(found.st_mode):
        raise OSError(None, "it is no regular file")  # opening a pipe would wait for ever
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns
