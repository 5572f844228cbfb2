"""items.jsonl: what came of each photo, a line each; the last line of a photo counts.

    {"photo": "street/004.jpg", "status": "ok", "outputs": {"tags": "street/004/tags.json"}, ...}

Lines are appended, so that a job that is killed loses none. Before the files of a photo are
written, a line says so (status "writing"): whoever finds it as the last of its photo knows that
they may be half of one result and half of another, and removes them. When a job ends, or goes on,
the lines that count no more are taken out.
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, BinaryIO, Self

from visionweave.atomic import remove_halves, sync_folder, write_atomic
from visionweave.jobs.lines import append_line, is_torn, lines_in
from visionweave.photo.state import is_gone

__all__ = ["DONE", "Entry", "Journal", "read_last", "remove_files"]

DONE = ("ok", "partial", "failed")
"""The statuses of a photo that the job has come to an end with."""

SYNC_SECONDS = 1.0
"""How long a line may wait to be forced to the disk; a killed process loses none meanwhile."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line.

    Attributes:
        photo: the photo's name; of a pipeline without photos, the item's.
        status: "ok"; "partial", with some failures; "failed", without output; "writing".
        outputs: by output the path of its file below the job's folder, or (nested) lists of them.
        files: the size of each of these files in bytes; 0 while they are written.
        failures: how many there are in failures.jsonl.
        key: what the results were made from: the recipe and the photo's bytes; "" when those could
            not be read.
        recipe: the key of the recipe, which run.json holds.
        sha256: of the photo's file.
        path: the photo's file.
        folder: where its results lie, below the job's folder.
        run: which run of the job this was, from 1.
        tracebacks: the files of tracebacks of its failures.
        overlay: the file of its overlay; "" where there is nothing to draw, None where none was
            wanted.
        timings: by step, the seconds that it took; see `visionweave.jobs.timings`.
        unread: the latest run in which its file could not be read, so that these results of an
            earlier one still stand; 0 where there is none.
    """

    photo: str
    status: str
    outputs: dict[str, Any] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    failures: int = 0
    key: str = ""
    recipe: str = ""
    sha256: str = ""
    path: str | None = None
    folder: str = ""
    run: int = 1
    tracebacks: list[str] = field(default_factory=list)
    overlay: str | None = None
    timings: dict[str, float] = field(default_factory=dict)
    unread: int = 0

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Restore an entry from the fields of its line; unknown ones are passed over."""
        return cls(**{name: value for name, value in data.items() if name in _FIELDS})

    def holds(self, out: Path) -> bool:
        """Whether its files are there, in the sizes that they had."""
        try:
            return all((out / name).stat().st_size == size for name, size in self.files.items())
        except OSError:
            return False

    def all_files(self) -> list[str]:
        """Its files, with those of tracebacks."""
        return [*self.files, *self.tracebacks]

    def not_read(self, run: int, traceback: str) -> Self:
        """The entry of a photo whose file cannot be read for now; its results stand."""
        before = self.read_again()
        return replace(before, unread=run, tracebacks=[*before.tracebacks, traceback])

    def read_again(self) -> Self:
        """The entry of a photo whose file can be read again."""
        return replace(self, unread=0, tracebacks=self.tracebacks[:-1]) if self.unread else self


_FIELDS = tuple(each.name for each in fields(Entry))


class Journal:
    """The journal of a job's folder.

    Reading it removes what a killed run has left half-written, so only one process may do it at a
    time: the job's lock sees to it. Of a folder of a million photos only the places of the lines
    are in memory: the byte that each begins with.

    Args:
        out: the job's folder.
    """

    def __init__(self, out: Path) -> None:
        self._out, self._path = out, out / "items.jsonl"
        self._file: io.FileIO | None = None
        self._synced = time.monotonic()
        self._places: dict[str, int] = {}
        self._clean()

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, photo: str) -> bool:
        return photo in self._places

    def get(self, photo: str) -> Entry | None:
        """Return what came of a photo in an earlier run, or None."""
        start = self._places.get(photo)
        if start is None:
            return None
        with self._path.open("rb") as file:  # quick, and nothing is left open
            return _entry_at(file, start)

    def entries(self) -> Iterator[Entry]:
        """What came of each photo in earlier runs."""
        return _entries_at(self._path, self._places.values())

    def append(self, entry: Entry) -> None:
        """Write a line."""
        if self._file is None:
            self._file = io.FileIO(self._path, "a")
        append_line(self._file, {name: getattr(entry, name) for name in _FIELDS})

    def sync(self, *, now: bool = False) -> None:
        """Force the lines to the disk; if not `now`, when it was not done for a while."""
        if self._file is not None and (now or time.monotonic() - self._synced > SYNC_SECONDS):
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def close(self) -> None:
        """End the journal: what counts no more is taken out of it."""
        if self._file is not None:
            self.sync(now=True)
            self._file.close()
            self._file = None
            self._clean()

    def _clean(self) -> None:
        """Read the lines; remove the files of those that count no more, then these lines."""
        last: dict[str, int] = {}
        halves: dict[str, None] = {}  # photos whose last line is not of an end
        old: set[str] = set()
        count = 0
        with (
            suppress(FileNotFoundError),
            self._path.open("rb") as file,
            self._path.open("rb") as at,
        ):
            for found, start in _entries_in(file):
                count += 1
                entry = Entry.from_json(found)
                if entry.photo in last:
                    old.update(self._left_of(_entry_at(at, last[entry.photo]), entry))
                last[entry.photo] = start
                halves.pop(entry.photo, None)
                if entry.status not in DONE:
                    halves[entry.photo] = None
            for photo in halves:
                old.update(_entry_at(at, last.pop(photo)).all_files())
        if old:
            for entry in _entries_at(self._path, last.values()):
                old.difference_update(entry.all_files())
            remove_files(self._out, sorted(old))
        if count != len(last) or is_torn(self._path):
            self._rewrite(last)
        self._places = last

    def _left_of(self, before: Entry, entry: Entry) -> Iterator[str]:
        """The files of a line that its photo's next line has not, if they are there.

        Few are: what a photo might have needed, such as a file for a traceback, was not made.
        """
        for name in set(before.all_files()).difference(entry.all_files()):
            if not is_gone(self._out / name):
                yield name

    def _rewrite(self, places: dict[str, int]) -> None:
        """Write some of the lines anew, sorted, and no others; note their new places."""

        def lines() -> Iterator[bytes]:
            start = 0
            with self._path.open("rb") as file:
                for photo in sorted(places):
                    file.seek(places[photo])
                    line = file.readline()
                    places[photo] = start
                    start += len(line)
                    yield line

        write_atomic(self._path, lines())
        sync_folder(self._out)


def read_last(path: Path) -> Iterator[Entry]:
    """The last line of each photo of a journal, which stays as it is; few are in memory at once.

    Raises:
        OSError: it is there, and cannot be read.
    """
    with suppress(FileNotFoundError), path.open("rb") as file:
        last = {found["photo"]: start for found, start in _entries_in(file)}
        for start in last.values():
            yield _entry_at(file, start)


def _entries_in(file: BinaryIO) -> Iterator[tuple[dict[str, Any], int]]:
    """The fields of each line that is an entry, and where it begins; others' lines are none."""
    for found, _, start in lines_in(file):
        if isinstance(found.get("status"), str):
            yield found, start


def _entries_at(path: Path, starts: Iterable[int]) -> Iterator[Entry]:
    with suppress(FileNotFoundError), path.open("rb") as file:
        for start in starts:
            yield _entry_at(file, start)


def _entry_at(file: BinaryIO, start: int) -> Entry:
    file.seek(start)
    return Entry.from_json(json.loads(file.readline()))


def remove_files(out: Path, names: Iterable[str]) -> None:
    """Remove files below a folder, what was half-written of them, and folders left empty."""
    for name in names:
        path = out / name
        remove_halves(path)
        if not is_gone(path):
            path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == out or not folder.is_dir() or any(folder.iterdir()):
                break
            folder.rmdir()
