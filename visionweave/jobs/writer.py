"""Writing what comes out of a job: files, then the lines that say so."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Self

from visionweave.errors import NodeFailed
from visionweave.execution.executor import Result
from visionweave.jobs import overlay
from visionweave.jobs.failures import describe_failures, write_tracebacks
from visionweave.jobs.journal import Entry, Journal, remove_files
from visionweave.jobs.lines import append_line, is_torn
from visionweave.jobs.outputs import name_files, write_files
from visionweave.jobs.photos import Photo
from visionweave.jobs.timings import OVERLAY, WRITING, rounded, timed
from visionweave.photo import Fit
from visionweave.photo.state import FileState, is_in
from visionweave.values import Image, Value

__all__ = ["NAMELESS", "Work", "Writer"]

NAMELESS = "item 0"
"""What a job without photos is called in its journal."""

THREADS = 4
"""Files are written side by side: most of the time is waiting for the disk."""


@dataclass(frozen=True, slots=True)
class Work:
    """A photo on its way.

    Attributes:
        photo: the photo; None in a job without photos.
        folder: where its results go, below the job's folder.
        key: what its results are made from; "" when its file cannot be read.
        sha256: of its file.
        state: the state that its file was hashed in; None when it cannot be read.
        earlier: what came of it in an earlier run.
    """

    photo: Photo | None
    folder: str = ""
    key: str = ""
    sha256: str = ""
    state: FileState | None = None
    earlier: Entry | None = None

    @property
    def failed_key(self) -> str:
        """Its key, if it has failed: "" when its file changed meanwhile, which may be why."""
        steady = self.photo is None or (self.state and is_in(self.photo.path, self.state))
        return self.key if steady else ""

    def not_read(self, result: Result) -> NodeFailed | None:
        """Why it could not be read for now, if good results of an earlier run are there."""
        before = self.earlier
        if self.failed_key or before is None:
            return None
        if before.status != "ok" and not (before.status == "partial" and before.key):
            return None
        return next((each for each in result.failures if not each.node), None)

    @property
    def name(self) -> str:
        """What it is called in journals."""
        return NAMELESS if self.photo is None else self.photo.name

    def image(self, *fits: Fit) -> Image:
        """The photo, unread, and held to the state that it was hashed in."""
        assert self.photo is not None
        image = Image.open(self.photo.path, self.photo.name, fits or None)
        return image if self.state is None else image.held_to(self.state, self.sha256)


_Lines = tuple[Entry, list[dict[str, Any]]]
"""The line of a photo, and those of its failures."""


@dataclass(frozen=True, slots=True)
class _Writing:
    """A result whose files are being written: its line to be, and those of its failures."""

    lines: Future[_Lines]
    earlier: Entry | None


class Writer:
    """Writes results in threads of its own, and their lines in order, when their files are safe.

    Args:
        out: the job's folder.
        journal: the job's journal.
        recipe: the key of the recipe.
        run: which run of the job this is.
        ahead: how many results may wait to be written.
        done: told of each line that is written.
        overlay: draws the overlays; None where there are none.
    """

    def __init__(
        self,
        out: Path,
        journal: Journal,
        recipe: str,
        run: int,
        ahead: int,
        done: Callable[[Entry], None],
        overlay: overlay.Overlay | None = None,
    ) -> None:
        self._out, self._journal, self._ahead, self._done = out, journal, ahead, done
        self._recipe, self._run, self._overlay = recipe, run, overlay
        self._waiting: deque[_Writing] = deque()
        self._failures: io.FileIO | None = None

    def __enter__(self) -> Self:
        self._threads = ThreadPoolExecutor(THREADS, "visionweave-write")
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            # Also after Ctrl-C: what is computed is written.
            if kind is None or issubclass(kind, KeyboardInterrupt):
                self._settle(0)
        finally:
            self._threads.shutdown(cancel_futures=True)
            if self._failures is not None:
                self._failures.close()

    def add(self, work: Work, result: Result, timings: Mapping[str, float]) -> None:
        """Have a result written; wait for earlier ones, so that few are in memory.

        Of a photo that cannot be read for now, as its disk is away, the earlier results stay.

        Args:
            work: whose result it is.
            result: what came of it.
            timings: what its steps took, in seconds.
        """
        failure = work.not_read(result)
        lines = (
            self._replace(work, result, timings) if failure is None else self._keep(work, failure)
        )
        self._waiting.append(_Writing(lines, work.earlier))
        self._settle(self._ahead)

    def _keep(self, work: Work, failure: NodeFailed) -> Future[_Lines]:
        assert work.earlier is not None
        lines = self._describe([failure], work)
        entry = work.earlier.not_read(self._run, lines[0]["traceback"])
        self._journal.append(entry)

        def write() -> _Lines:
            write_tracebacks(self._out, [failure], lines)
            return entry, lines

        return self._threads.submit(write)

    def _replace(self, work: Work, result: Result, timings: Mapping[str, float]) -> Future[_Lines]:
        outputs, values = name_files(result, work.folder)
        draws = self._overlay is not None and work.photo is not None
        drawn = str(PurePosixPath(work.folder, overlay.NAME)) if draws else None
        possible = [*result.failures, overlay.overlay_failure(work.name, Exception())]
        entry = Entry(
            photo=work.name,
            status="writing",
            outputs=outputs,
            files=dict.fromkeys([*values, *([drawn] if drawn else [])], 0),
            recipe=self._recipe,
            sha256=work.sha256,
            path=None if work.photo is None else str(work.photo.path.absolute()),
            folder=work.folder,
            run=self._run,
            tracebacks=[line["traceback"] for line in self._describe(possible, work)],
            overlay=drawn,
            timings=dict(timings),
        )
        self._journal.append(entry)
        if work.earlier is not None:  # else a power failure could leave its line, and other files
            self._journal.sync(now=True)
        return self._threads.submit(self._write, entry, work, result, values)

    def _describe(self, failures: Sequence[NodeFailed], work: Work) -> list[dict[str, Any]]:
        return describe_failures(failures, work.name, work.folder, self._out)

    def _write(self, entry: Entry, work: Work, result: Result, values: dict[str, Value]) -> _Lines:
        """Draw and write the files of a result; return its line, and those of its failures."""
        failures, times = list(result.failures), dict(entry.timings)
        files: dict[str, Value | bytes] = dict(values)
        if entry.overlay is not None:
            with timed(times, OVERLAY):
                files |= self._draw(entry.overlay, work, result, failures)
        with timed(times, WRITING):
            lines = self._describe(failures, work)
            write_tracebacks(self._out, failures, lines)
            sizes = write_files(self._out, files)
        done = replace(
            entry,
            status="ok" if not failures else "partial" if result.outputs else "failed",
            files=sizes,
            failures=len(lines),
            key=work.failed_key if failures else work.key,
            tracebacks=[line["traceback"] for line in lines],
            overlay=entry.overlay and (entry.overlay if entry.overlay in sizes else ""),
            timings=rounded(times),
        )
        return done, lines

    def _draw(
        self, name: str, work: Work, result: Result, failures: list[NodeFailed]
    ) -> dict[str, bytes]:
        assert self._overlay is not None
        try:
            data = self._overlay.draw(work.image(Fit(long=overlay.SIDE)), result.outputs)
        except Exception as error:  # whatever goes wrong, the results are good
            failures.append(overlay.overlay_failure(work.name, error))
            return {}
        return {} if data is None else {name: data}

    def _settle(self, most: int) -> None:
        """Write the lines of results until at most so many wait."""
        while len(self._waiting) > most:
            writing = self._waiting[0]
            entry, failures = writing.lines.result()
            for failure in failures:
                self._append_failure(failure)
            self._journal.append(entry)
            self._waiting.popleft()
            if writing.earlier is not None:
                kept = set(entry.all_files())
                old = [name for name in writing.earlier.all_files() if name not in kept]
                remove_files(self._out, old)
            self._done(entry)
        self._journal.sync()

    def _append_failure(self, failure: dict[str, Any]) -> None:
        if self._failures is None:
            path = self._out / "failures.jsonl"
            torn = is_torn(path)
            self._failures = io.FileIO(path, "a")
            if torn:  # else the next line would be lost with what is left of the last one
                self._failures.write(b"\n")
        append_line(self._failures, failure | {"run": self._run})
