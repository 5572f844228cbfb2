"""Which photos of a job are done, and which are to be run: by their bytes, not by their names."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from visionweave.cache.photos import PhotoHashes
from visionweave.canonical import digest
from visionweave.errors import JobError
from visionweave.jobs.journal import DONE, Entry, Journal
from visionweave.jobs.lines import read_lines
from visionweave.jobs.photos import Photo, result_folders
from visionweave.jobs.writer import Work
from visionweave.photo.state import FileState, is_gone

__all__ = [
    "check_names",
    "deleted_photos",
    "folders_of",
    "hashed",
    "item_key",
    "why_run",
    "with_known_names",
    "works",
]

AHEAD = 64
"""How many photos are hashed ahead of those that run; their files are then in memory."""

T = TypeVar("T")

Seen = tuple[FileState, str]
"""The state of a file, and the sha256 of its bytes."""


def item_key(recipe: str, sha256: str = "") -> str:
    """Return what the results of a photo are made from, in one digest."""
    return digest({"recipe": recipe, "photo": sha256})


def why_run(
    entry: Entry | None, key: str, out: Path, *, retry: bool = False, overlay: bool = False
) -> str:
    """Say why a photo is to be run; "" where it was, by this key, and its files are there.

    One that failed is done too, as it would fail again. What is said of another key is for a photo
    whose bytes are as they were.

    Args:
        entry: what came of it in an earlier run.
        key: what its results would be made from now.
        out: the job's folder.
        retry: whether one that failed is to be tried again.
        overlay: whether there is to be an overlay.
    """
    if entry is None:
        return "it is new"
    if entry.status not in DONE:
        return "it was not finished"
    if not entry.key and key:
        return f"its file changed in run {entry.run}, or could not be read"
    if entry.key != key:
        return f"it was done in run {entry.run}, by another recipe"
    if overlay and entry.overlay is None:
        return f"it was done in run {entry.run}, without an overlay"
    if not entry.holds(out):
        gone = [name for name, size in entry.files.items() if not _is_right(out / name, size)]
        return f"{', '.join(gone[:3])} is missing, or was changed"
    return "it failed, and is to be tried again" if retry and entry.status != "ok" else ""


def _is_right(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def works(
    photos: Sequence[Photo],
    folders: Mapping[str, str],
    journal: Journal,
    recipe: str,
    hashes: PhotoHashes,
) -> Iterator[Work]:
    """Yield for each photo what is to be made of it."""
    for photo, seen in hashed(((photo, photo.path) for photo in photos), hashes):
        folder, earlier = folders[photo.name], journal.get(photo.name)
        if seen is None:  # gone, or not to be read: running it will say so
            yield Work(photo, folder, earlier=earlier)
        else:
            state, sha256 = seen
            yield Work(photo, folder, item_key(recipe, sha256), sha256, state, earlier)


def hashed(files: Iterable[tuple[T, Path]], hashes: PhotoHashes) -> Iterator[tuple[T, Seen | None]]:
    """Hash files in a few threads, some ahead, and yield them in order by what they are called.

    None is seen of a file that cannot be read.
    """
    with ThreadPoolExecutor(4, "visionweave-hash") as pool:
        waiting: deque[tuple[T, Future[Seen]]] = deque()
        rest = iter(files)
        try:
            while True:
                while len(waiting) < AHEAD and (file := next(rest, None)) is not None:
                    waiting.append((file[0], pool.submit(hashes.of, file[1])))
                if not waiting:
                    return
                name, future = waiting.popleft()
                try:
                    seen = future.result()
                except OSError:
                    yield name, None
                else:
                    yield name, seen
        finally:
            pool.shutdown(cancel_futures=True)


def folders_of(photos: Sequence[Photo], journal: Journal, taken: Sequence[str]) -> dict[str, str]:
    """Return the folder of each photo's results; those that have one keep it."""
    known = {entry.photo: entry.folder for entry in journal.entries()}
    return result_folders([photo.name for photo in photos], taken, known)


def with_known_names(photos: Sequence[Photo], out: Path) -> Sequence[Photo]:
    """Return photos under the names that they have in a job's folder, which stays as it is.

    Names depend on what else was given: with another folder, street/1.jpg was 1.jpg. Whose name is
    that of another photo now gets the new one.
    """
    names = {photo.name for photo in photos}
    try:
        paths = {
            line["photo"]: line["path"]
            for line, _ in read_lines(out / "items.jsonl")
            if line["photo"] not in names and line.get("path") and line.get("status") in DONE
        }
    except OSError:  # which the job will run into, too, and explain
        return photos
    if not paths:
        return photos
    known = {path: name for name, path in paths.items()}
    renamed = [
        replace(photo, name=known.get(str(photo.path.absolute()), photo.name)) for photo in photos
    ]
    return sorted(renamed, key=lambda photo: photo.name)


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
        if before == photo.path.absolute() or is_gone(before):
            continue
        if not _same(before, photo.path):
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
        if entry.photo not in names and entry.path is not None and is_gone(Path(entry.path))
    ]


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
