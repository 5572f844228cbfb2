"""Writing what comes out of a job: files, then the lines that say so."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from visionweave.execution.executor import Result
from visionweave.jobs.failures import describe_failures, write_tracebacks
from visionweave.jobs.journal import Entry, Journal, append_line, remove_files
from visionweave.jobs.outputs import name_files, write_files
from visionweave.jobs.photos import Photo
from visionweave.photo.state import FileState, is_in
from visionweave.values import Value

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

    @property
    def name(self) -> str:
        """What it is called in journals."""
        return NAMELESS if self.photo is None else self.photo.name


@dataclass(frozen=True, slots=True)
class _Writing:
    """A result whose files are being written."""

    entry: Entry
    failures: list[dict[str, Any]]
    earlier: Entry | None
    sizes: Future[dict[str, int]]


class Writer:
    """Writes results in threads of its own, and their lines in order, when their files are safe.

    Args:
        out: the job's folder.
        journal: the job's journal.
        recipe: the key of the recipe.
        run: which run of the job this is.
        ahead: how many results may wait to be written.
        done: told of each line that is written.
    """

    def __init__(
        self,
        out: Path,
        journal: Journal,
        recipe: str,
        run: int,
        ahead: int,
        done: Callable[[Entry], None],
    ) -> None:
        self._out, self._journal, self._ahead, self._done = out, journal, ahead, done
        self._recipe, self._run = recipe, run
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

    def add(self, work: Work, result: Result) -> None:
        """Have a result written; wait for earlier ones, so that few are in memory."""
        outputs, values = name_files(result, work.folder)
        failures = describe_failures(result.failures, work.name, work.folder, self._out)
        entry = Entry(
            photo=work.name,
            status="writing",
            outputs=outputs,
            files=dict.fromkeys(values, 0),
            failures=len(failures),
            key=work.key if result.ok else work.failed_key,
            recipe=self._recipe,
            sha256=work.sha256,
            path=None if work.photo is None else str(work.photo.path.absolute()),
            folder=work.folder,
            run=self._run,
            tracebacks=[line["traceback"] for line in failures],
        )
        self._journal.append(entry)
        if work.earlier is not None:  # else a power failure could leave its line, and other files
            self._journal.sync(now=True)
        status = "ok" if result.ok else "partial" if result.outputs else "failed"
        sizes = self._threads.submit(self._write, values, result, failures)
        done = replace(entry, status=status)
        self._waiting.append(_Writing(done, failures, work.earlier, sizes))
        self._settle(self._ahead)

    def _write(
        self, values: dict[str, Value], result: Result, failures: list[dict[str, Any]]
    ) -> dict[str, int]:
        write_tracebacks(self._out, result.failures, failures)
        return write_files(self._out, values)

    def _settle(self, most: int) -> None:
        """Write the lines of results until at most so many wait."""
        while len(self._waiting) > most:
            writing = self._waiting[0]
            entry = replace(writing.entry, files=writing.sizes.result())
            for failure in writing.failures:
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
            self._failures = io.FileIO(self._out / "failures.jsonl", "a")
        append_line(self._failures, failure | {"run": self._run})
