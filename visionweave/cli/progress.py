"""Progress of a run: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from visionweave.execution.executor import Result
from visionweave.execution.observe import Observer
from visionweave.execution.plan import PlannedStep

__all__ = ["Progress"]

EVERY_SECONDS = 10.0
"""How often a line is printed where there is no terminal."""


class Progress(Observer):
    """Shows photos done, photos per second, the stage and the time left, on standard error."""

    def __init__(self, total: int, console: Console | None = None) -> None:
        self._total = total
        self._console = console or Console(file=sys.stderr, highlight=False)
        self._done, self._before, self._stage = 0, 0, "reading"
        self._of, self._through = "", 0
        self._started = self._printed = time.monotonic()
        self._bar = Bar(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[stage]}", markup=False),
            console=self._console,
            transient=True,
        )
        self._task = self._bar.add_task("", total=total, rate="", stage=self._stage)

    def __enter__(self) -> Self:
        self._started = self._printed = time.monotonic()
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def stage_started(self, number: int, of: int) -> None:
        """Say which stage runs."""
        self._of, self._through = f"stage {number} of {of}, ", 0

    def chunk_started(self, items: Sequence[str]) -> None:
        """Say how many photos have come so far in a stage."""
        self._through += len(items)

    def model_loading(self, step: PlannedStep) -> None:
        """Say that a model loads: it can take a while."""
        self._show(f"{step.name}: loading {step.spec.id}")

    def step_started(self, step: PlannedStep, calls: int) -> None:
        """Say which step runs."""
        self._show(step.name)

    def item_passed_over(self, name: str) -> None:
        """Count a photo that was done before; it says nothing of how fast others will be."""
        self._before += 1
        self._done += 1
        self._show(self._stage)

    def item_finished(self, result: Result) -> None:
        """Count a photo."""
        self._done += 1
        self._show(self._stage)

    def _show(self, stage: str) -> None:
        self._stage = stage
        if self._of:
            stage = f"{self._of}photo {self._through}: {stage}"
        now = time.monotonic()
        ran = self._done - self._before
        rate = ran / max(now - self._started, 1e-9)
        if self._console.is_terminal:
            text = f"{rate:.1f} photos/s" if ran else ""
            self._bar.update(self._task, completed=self._done, rate=text, stage=stage)
        elif now - self._printed >= EVERY_SECONDS:
            self._printed = now
            left = f", {(self._total - self._done) / rate:.0f} s left" if ran else ""
            self._console.print(
                f"{self._done}/{self._total} photos, {rate:.1f} photos/s{left} ({stage})"
            )
