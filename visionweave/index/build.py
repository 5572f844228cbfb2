"""Making an index, and keeping it up to date: only what is new or changed is embedded.

A photo is as it was when its file has the size and the times that it had; else its bytes are
hashed, and it is embedded when they are new to the index. So a photo that was renamed, moved,
copied or touched costs the reading of its file. What is done is written every half minute, at the
end, and at Ctrl-C.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import filelock

from visionweave.atomic import write_atomic
from visionweave.errors import JobError
from visionweave.execution.executor import CHUNK, Result
from visionweave.execution.observe import Observer
from visionweave.index.files import FAILURES, LOCK, has_index
from visionweave.index.library import PhotoIndex
from visionweave.index.look import Seen, absolute, look, size_and_times
from visionweave.index.space import Space
from visionweave.index.writer import IndexWriter
from visionweave.jobs.photos import Photo
from visionweave.photo.state import is_gone
from visionweave.pipeline import Pipeline
from visionweave.values import Image

__all__ = ["IndexJob", "IndexSummary", "build_index"]

SHARE = 0.05
"""The share of its time that a long run may spend on writing what it has done so far."""


@dataclass(frozen=True, slots=True)
class IndexJob:
    """What to index.

    Attributes:
        pipeline: from one photo, its only input, to an Embedding, its output "embedding".
        space: what makes the embeddings.
        photos: the photos, at least one.
        out: the folder of the index.
        prune: whether to drop also photos that are still there but not among `photos`.
        overwrite: whether to begin anew; an index that is there is replaced when all is done.
        save_seconds: how often to write what is done so far.
        chunk, batch, device, precision: see `Pipeline.map`.
    """

    pipeline: Pipeline
    space: Space
    photos: Sequence[Photo]
    out: Path
    prune: bool = False
    overwrite: bool = False
    save_seconds: float = 30.0
    chunk: int = CHUNK
    batch: int | None = None
    device: str = "auto"
    precision: str = "auto"


@dataclass(slots=True)
class IndexSummary:
    """What came of it.

    Attributes:
        counts: photos that are "new", "changed", "moved" (renamed or in another folder), "gone" or
            the "same".
        failures: the photos that could not be embedded: photo, path, error, message.
        photos: how many photos are in the index now.
        interrupted: whether it was stopped from outside.
        seconds: how long it ran.
    """

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, str]] = field(default_factory=list)
    photos: int = 0
    interrupted: bool = False
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0 all well, 2 finished with failures, 130 interrupted."""
        return 130 if self.interrupted else 2 if self.failures else 0


def build_index(job: IndexJob, observers: Sequence[Observer] = ()) -> IndexSummary:
    """Make an index or bring it up to date, to the end or until it is interrupted.

    Photos whose files are gone are dropped: those below the folder that the given photos share, and
    those that were found elsewhere. Photos of other folders are kept.

    Raises:
        JobError: the folder is no index, was made with another model, cannot be written, or is
            being written by another process.
        WeightsError: the model's weights are not here.
    """
    started = time.monotonic()
    made = not job.out.exists()
    try:
        job.out.mkdir(parents=True, exist_ok=True)
        has_index(job.out)  # which refuses a folder of others, before a lock is put into it
        with filelock.FileLock(job.out / LOCK, timeout=0):
            summary = _Build(job, observers).run()
    except filelock.Timeout:
        raise JobError(f"{job.out}: another process is writing this index; wait for it") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise JobError(f"cannot write to {error.filename or job.out}: {reason}") from error
    finally:
        if made:
            _leave_no_trace(job.out)
    summary.seconds = time.monotonic() - started
    return summary


def _leave_no_trace(out: Path) -> None:
    """Remove the folder that a refused job made, where there is nothing in it but its lock."""
    if out.is_dir() and {path.name for path in out.iterdir()} <= {LOCK}:
        (out / LOCK).unlink(missing_ok=True)
        out.rmdir()


class _Build:
    """One run: what is on its way to the model, and what came of the photos so far."""

    def __init__(self, job: IndexJob, observers: Sequence[Observer]) -> None:
        self.job, self.observers = job, observers
        self.summary = IndexSummary()
        before = _opened(job)
        self.writer = IndexWriter(job.out, job.space, before)
        self.old = dict(self.writer.entries)
        self.common = _common(job.photos)
        # What is being embedded, in order; and all photos that wait for it, by their hash.
        self.order: deque[str] = deque()
        self.waiting: dict[str, list[Seen]] = {}
        self.failed: set[str] = set()

    def run(self) -> IndexSummary:
        """Look at all photos, embed what is new, and write the index."""
        try:
            self._embed()
        except KeyboardInterrupt:
            self.summary.interrupted = True
        else:
            self._drop_gone()
        self.writer.commit(self.common, tidy=True)
        lines = [json.dumps(each, ensure_ascii=False) for each in self.summary.failures]
        write_atomic(self.job.out / FAILURES, "".join(f"{line}\n" for line in lines).encode())
        self.summary.photos = len(self.writer.entries)
        self._count()
        return self.summary

    def _embed(self) -> None:
        job, due = self.job, time.monotonic() + self.job.save_seconds
        results = job.pipeline.map(
            self._images(),
            chunk=job.chunk,
            batch=job.batch,
            device=job.device,
            precision=job.precision,
            observers=self.observers,
        )
        for result in results:
            self._take(result)
            if (begun := time.monotonic()) >= due:
                self.writer.commit(self.common)
                took = time.monotonic() - begun
                due = time.monotonic() + max(job.save_seconds, took / SHARE)

    def _images(self) -> Iterator[Image]:
        """Yield the photos whose bytes are new to the index, each once."""
        for seen in look(self.job.photos, self.old):
            if seen.error is not None:
                self._unreadable(seen, seen.error)
            elif self.writer.holds(seen.sha256):
                self._place(seen)
            elif seen.sha256 in self.waiting:
                self.waiting[seen.sha256].append(seen)
                continue
            else:
                self.waiting[seen.sha256] = [seen]
                self.order.append(seen.sha256)
                yield Image.open(seen.photo.path, seen.photo.name)
                continue
            self._tell(seen)

    def _take(self, result: Result) -> None:
        """Take what came of the next photo for all that have its bytes."""
        seen = self.waiting.pop(self.order.popleft())
        cause = [(each.error, each.reason) for each in result.failures]
        if not cause and not _is_as_seen(seen[0]):
            cause = [("OSError", "it changed while it was read; index it again")]
        if not cause:
            self.writer.add(seen[0].sha256, result["embedding"])
        for each in seen:
            if cause:
                self._fail(each, *cause[0])
            else:
                self._place(each)
        for copy in seen[1:]:
            self._tell(copy)

    def _place(self, seen: Seen) -> None:
        self.writer.place(seen.path, seen.bytes, seen.mtime_ns, seen.sha256, seen.ctime_ns)

    def _unreadable(self, seen: Seen, error: OSError) -> None:
        """List a photo whose file cannot be read, which may be for now only: its entry is kept."""
        kept = self.writer.entries.get(seen.path)
        self._fail(seen, type(error).__name__, error.strerror or str(error))
        if kept is not None and not isinstance(error, FileNotFoundError):
            self.writer.entries[seen.path] = kept

    def _fail(self, seen: Seen, error: str, message: str) -> None:
        """List a photo that could not be embedded; what it was before is not there any more."""
        self.writer.entries.pop(seen.path, None)
        self.failed.add(seen.path)
        names = {"photo": seen.photo.name, "path": seen.path}
        shown = {key: n.encode("utf-8", "backslashreplace").decode() for key, n in names.items()}
        self.summary.failures.append(shown | {"error": error, "message": message})

    def _tell(self, seen: Seen) -> None:
        """Tell the observers of a photo that did not go through the pipeline itself."""
        for observer in self.observers:
            observer.item_finished(Result(seen.photo.name, {}))

    def _drop_gone(self) -> None:
        """Drop photos that were not given: with `prune` all of them, else those that are gone."""
        entries = self.writer.entries
        given = {absolute(photo.path) for photo in self.job.photos}
        here = {entry.sha256 for path, entry in entries.items() if path in given}
        inside = os.path.join(self.common, "")  # noqa: PTH118 - a Path ends in no separator
        for path in entries.keys() - given:
            missed = path.startswith(inside) or entries[path].sha256 in here
            if self.job.prune or (missed and is_gone(path)):
                del entries[path]

    def _count(self) -> None:
        """Compare the entries with those of before."""
        old, new = self.old, self.writer.entries
        arrived = Counter(entry.sha256 for path, entry in new.items() if path not in old)
        kept = new.keys() | self.failed
        left = Counter(entry.sha256 for path, entry in old.items() if path not in kept)
        both = [(old[path].sha256, entry.sha256) for path, entry in new.items() if path in old]
        moved = (arrived & left).total()
        self.summary.counts.update(
            new=arrived.total() - moved,
            changed=sum(before != after for before, after in both),
            moved=moved,
            gone=left.total() - moved,
            same=sum(before == after for before, after in both),
        )


def _opened(job: IndexJob) -> PhotoIndex | None:
    """The index that is there; None where there is none, or it is to be replaced."""
    if not has_index(job.out) or job.overwrite:
        return None
    index = PhotoIndex.open(job.out)
    index.check_space(job.space)
    return index


def _common(photos: Sequence[Photo]) -> Path:
    """The folder that the photos' names are relative to."""
    first = photos[0]
    return Path(absolute(first.path)).parents[len(Path(first.name).parts) - 1]


def _is_as_seen(seen: Seen) -> bool:
    try:
        return size_and_times(seen.path) == (seen.bytes, seen.mtime_ns, seen.ctime_ns)
    except OSError:
        return False
