"""Which photos of a job are done, and which are to be run: by their bytes, not by their names."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from visionweave.cache.photos import PhotoHashes
from visionweave.canonical import digest
from visionweave.errors import JobError
from visionweave.jobs.journal import DONE, Entry, Journal
from visionweave.jobs.photos import Photo, result_folders
from visionweave.jobs.writer import Work
from visionweave.photo.state import FileState

__all__ = ["check_names", "deleted_photos", "folders_of", "is_done", "item_key", "works"]

AHEAD = 64
"""How many photos are hashed ahead of those that run; their files are then in memory."""

Seen = tuple[FileState, str]


def item_key(recipe: str, sha256: str = "") -> str:
    """Return what the results of a photo are made from, in one digest."""
    return digest({"recipe": recipe, "photo": sha256})


def is_done(
    entry: Entry | None, key: str, out: Path, *, retry: bool = False, overlay: bool = False
) -> bool:
    """Whether a photo need not be run: it was, by this key, and its files are there.

    One that failed is done too, as it would fail again; unless it is to be tried again (`retry`).
    One without an overlay is not done where there is to be one (`overlay`).
    """
    done = ("ok",) if retry else DONE
    if entry is None or entry.status not in done or (overlay and entry.overlay is None):
        return False
    return entry.key == key and entry.holds(out)


def works(
    photos: Sequence[Photo],
    folders: Mapping[str, str],
    journal: Journal,
    recipe: str,
    hashes: PhotoHashes,
) -> Iterator[Work]:
    """Yield for each photo what is to be made of it.

    Files are hashed in a few threads, some photos ahead.
    """
    with ThreadPoolExecutor(4, "visionweave-hash") as pool:
        waiting: deque[tuple[Photo, Future[Seen]]] = deque()
        rest = iter(photos)
        try:
            while True:
                while len(waiting) < AHEAD and (photo := next(rest, None)) is not None:
                    waiting.append((photo, pool.submit(hashes.of, photo.path)))
                if not waiting:
                    return
                photo, future = waiting.popleft()
                folder, earlier = folders[photo.name], journal.get(photo.name)
                try:
                    state, sha256 = future.result()
                except OSError:  # gone, or not to be read: running it will say so
                    yield Work(photo, folder, earlier=earlier)
                else:
                    key = item_key(recipe, sha256)
                    yield Work(photo, folder, key, sha256, state, earlier)
        finally:
            pool.shutdown(cancel_futures=True)


def folders_of(photos: Sequence[Photo], journal: Journal, taken: Sequence[str]) -> dict[str, str]:
    """Return the folder of each photo's results; those that have one keep it."""
    known = {entry.photo: entry.folder for entry in journal.entries()}
    return result_folders([photo.name for photo in photos], taken, known)


def check_names(photos: Sequence[Photo], journal: Journal) -> None:
    """Refuse photos whose results would take the place of another photo's that is still there.

    Raises:
        JobError: a name stands for two files.
    """
    for photo in photos:
        entry = journal.get(photo.name)
        if entry is None or entry.path is None:
            continue
        before = Path(entry.path)
        if before != photo.path.absolute() and before.exists() and not _same(before, photo.path):
            raise JobError(
                f"{photo.name} is the name of two photos: the results that are here are of "
                f"{before}, and now it is {photo.path}; choose another --out, or give all photos "
                "at once"
            )


def deleted_photos(photos: Sequence[Photo], journal: Journal) -> list[str]:
    """The photos with results here that are not among `photos`, and whose files are gone."""
    names = {photo.name for photo in photos}
    return [
        entry.photo
        for entry in journal.entries()
        if entry.photo not in names and entry.path is not None and not Path(entry.path).exists()
    ]


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
