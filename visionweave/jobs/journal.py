"""The journal of a job: what came of each photo, a line each, in the order of the photos."""

from __future__ import annotations

import json
import shlex
import traceback
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TextIO

from visionweave.errors import NodeFailed
from visionweave.execution.executor import Result
from visionweave.jobs.outputs import write_result
from visionweave.jobs.photos import Photo, result_folders

__all__ = ["OWN_FILES", "Journal", "Summary"]

OWN_FILES = ("run.json", "items.jsonl", "failures.jsonl")
"""The files of the job itself, at the top of its folder."""


@dataclass(slots=True)
class Summary:
    """What came of a job.

    Attributes:
        counts: the photos by status: "ok"; "partial", with some failures; "failed", without output.
        failures: the number of failures.
        interrupted: whether it was stopped from outside.
        seconds: how long it ran.
    """

    counts: Counter[str] = field(default_factory=Counter)
    failures: int = 0
    interrupted: bool = False
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0 all well, 2 finished with failures, 130 interrupted."""
        return 130 if self.interrupted else 2 if self.failures else 0


class Journal:
    """Writes results and their lines, in order, in a thread of its own."""

    def __init__(
        self, out: Path, photos: Sequence[Photo], retry: str, summary: Summary, ahead: int
    ) -> None:
        """Keep the journal of a job.

        Args:
            out: the job's folder.
            photos: the job's photos.
            retry: the command that runs the job again, but for its photos.
            summary: what is counted up.
            ahead: how many results may wait to be written.
        """
        self._out, self._retry, self._summary, self._ahead = out, retry, summary, ahead
        self._folders = result_folders([photo.name for photo in photos], OWN_FILES)
        self._paths = {photo.name: str(photo.path) for photo in photos}
        self._waiting: deque[tuple[Result, Future[dict[str, Any]]]] = deque()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._items = self._open("items.jsonl")
        self._failures = self._open("failures.jsonl")
        self._writer = self._stack.enter_context(ThreadPoolExecutor(1, "visionweave-write"))
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            # Also after Ctrl-C: what is computed is written.
            if kind is None or issubclass(kind, KeyboardInterrupt):
                self._settle(0)
        finally:
            self._stack.close()

    def add(self, result: Result) -> None:
        """Have a result written; wait for earlier ones, so that few are in memory."""
        folder = self._folders.get(result.name, "")
        write = self._writer.submit(write_result, result, self._out, folder)
        self._waiting.append((result, write))
        self._settle(self._ahead)

    def _open(self, name: str) -> TextIO:
        path = self._out / name
        return self._stack.enter_context(path.open("w", encoding="utf-8"))

    def _settle(self, most: int) -> None:
        while len(self._waiting) > most:
            result, write = self._waiting.popleft()
            files = write.result()
            status = "ok" if result.ok else "partial" if result.outputs else "failed"
            line = {
                "photo": result.name,
                "path": self._paths.get(result.name),
                "status": status,
                "outputs": files,
                "failures": len(result.failures),
            }
            for failure in result.failures:
                _write_line(self._failures, self._failure(failure))
            _write_line(self._items, line)
            self._summary.counts[status] += 1
            self._summary.failures += len(result.failures)

    def _failure(self, failure: NodeFailed) -> dict[str, Any]:
        path = self._paths.get(failure.item)
        cause = failure.__cause__
        return {
            "photo": failure.item,
            "step": failure.step,
            "node": failure.node,
            "object": failure.object,
            "label": failure.label,
            "error": failure.error,
            "message": failure.reason,
            "retry": self._retry if path is None else f"{self._retry} {shlex.quote(path)}",
            "traceback": "".join(traceback.format_exception(cause)) if cause else "",
        }


def _write_line(file: TextIO, line: dict[str, Any]) -> None:
    file.write(json.dumps(line, ensure_ascii=False) + "\n")
    file.flush()
