"""What a job's steps took: of each photo, for the journal; of all, for the receipt.

What the job itself does is in brackets, which no step's name has: "(reading)" photos, drawing an
"(overlay)" and "(writing)" results. It is done in threads beside the steps.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from visionweave.execution.observe import Observer
from visionweave.execution.plan import PlannedStep

__all__ = ["OVERLAY", "READING", "WRITING", "Timings", "rounded", "timed"]

READING, OVERLAY, WRITING = "(reading)", "(overlay)", "(writing)"


class Timings(Observer):
    """Adds up seconds.

    Attributes:
        totals: by step, over all photos that were run: its "calls", how many more were "found" in
            the cache, its "seconds", and the "load_seconds" of its model.
    """

    def __init__(self) -> None:
        self.totals: dict[str, dict[str, float]] = {}
        self._items: deque[dict[str, float]] = deque()
        self._chunk: list[dict[str, float]] = []
        self._waiting: dict[str, dict[str, float]] = {}  # of photos between two stages
        self._last = True  # photos come out of this stage

    def next(self) -> dict[str, float]:
        """What the steps took for the next photo, in the order in which photos come out."""
        return self._items.popleft()

    def stage_started(self, number: int, of: int) -> None:
        """Note whether photos come out of this stage."""
        self._last = number == of

    def chunk_started(self, items: Sequence[str]) -> None:
        """Begin with the times of some photos, or go on with those of an earlier stage."""
        self._chunk = [self._waiting.pop(name, {}) for name in items]
        if self._last:
            self._items.extend(self._chunk)
        else:
            self._waiting.update(zip(items, self._chunk, strict=True))

    def items_timed(self, step: PlannedStep | None, seconds: Sequence[float]) -> None:
        """Take note of a step's seconds for each of them."""
        name = READING if step is None else step.name
        for times, each in zip(self._chunk, seconds, strict=True):
            if each:
                times[name] = times.get(name, 0.0) + each
        if step is None:
            self._add(name, calls=len(seconds), seconds=sum(seconds))

    def results_found(self, step: PlannedStep, calls: int) -> None:
        """Count results that were known."""
        self._add(step.name, found=calls)

    def model_loaded(self, step: PlannedStep, seconds: float) -> None:
        """Add the seconds of loading."""
        self._add(step.name, load_seconds=seconds)

    def step_finished(self, step: PlannedStep, calls: int, seconds: float) -> None:
        """Add the calls of a step, and their seconds."""
        self._add(step.name, calls=calls, seconds=seconds)

    def written(self, times: Mapping[str, float]) -> None:
        """Add what it took to write a photo's results."""
        for name in (OVERLAY, WRITING):
            if name in times:
                self._add(name, calls=1, seconds=times[name])

    def to_json(self) -> dict[str, Any]:
        """Return the totals, rounded, for run.json."""
        return {
            name: {what: round(amount, 3) for what, amount in total.items()}
            for name, total in self.totals.items()
        }

    def _add(self, name: str, **amounts: float) -> None:
        total = self.totals.setdefault(name, {"calls": 0, "seconds": 0.0})
        for what, amount in amounts.items():
            total[what] = total.get(what, 0) + amount


@contextmanager
def timed(times: dict[str, float], name: str) -> Iterator[None]:
    """Put into `times` the seconds that this takes."""
    started = time.perf_counter()
    yield
    times[name] = time.perf_counter() - started


def rounded(times: Mapping[str, float]) -> dict[str, float]:
    """Return seconds with three digits that count."""
    return {name: float(f"{each:.3g}") for name, each in times.items()}
