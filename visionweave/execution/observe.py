"""Watching a run: progress, timing and journals are observers, not branches in the executor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from visionweave.execution.executor import Result
    from visionweave.execution.plan import Plan, PlannedStep

__all__ = ["Observer"]


class Observer:
    """Does nothing at every event; override what you want to see.

    All events come from the thread that iterates over the results, in order.
    """

    def run_started(self, plan: Plan) -> None:
        """Before the first item is read."""

    def stage_started(self, number: int, of: int) -> None:
        """A run in several stages begins with one, from 1; each goes through all items in chunks.

        Items are finished in the last.
        """

    def chunk_started(self, items: Sequence[str]) -> None:
        """A chunk of items, by name, is decoded and about to go through the steps."""

    def model_loading(self, step: PlannedStep) -> None:
        """A step is about to load its model, before it starts."""

    def model_loaded(self, step: PlannedStep, seconds: float) -> None:
        """It has loaded its model."""

    def results_found(self, step: PlannedStep, calls: int) -> None:
        """Of the step's calls for the current chunk, so many need not run: their results are known.

        Told before the step starts, and only when there are some.
        """

    def step_started(self, step: PlannedStep, calls: int) -> None:
        """A step is about to run `calls` times for the current chunk."""

    def batch_finished(self, step: PlannedStep, method: str, size: int, failed: bool) -> None:
        """A batched method ran on `size` payloads; when it `failed`, parts of them are tried."""

    def step_finished(self, step: PlannedStep, calls: int, seconds: float) -> None:
        """The step has run for the current chunk."""

    def items_timed(self, step: PlannedStep | None, seconds: Sequence[float]) -> None:
        """What a step took for each item of the current chunk; without a step, reading it.

        The calls of a batch share the time that passed until it was done. Items are read beside
        the steps of other chunks.
        """

    def item_finished(self, result: Result) -> None:
        """All that will come of an item is in its result, which is about to be handed out."""

    def item_passed_over(self, name: str) -> None:
        """A job does not run an item, because it was done in an earlier run."""

    def run_finished(self) -> None:
        """After the last result, or when the run is abandoned."""
