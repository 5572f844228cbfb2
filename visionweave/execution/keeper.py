"""Keeping results: what a run knows already, it need not compute.

A `Keeper` stands between a step and its calls. This one knows nothing and keeps nothing, so that
every call runs; the result cache is another (`visionweave.cache.keeper`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from visionweave.execution.calls import Call
    from visionweave.execution.items import Item
    from visionweave.execution.plan import Plan, PlannedStep

__all__ = ["Compute", "Keeper"]

Compute = Callable[["PlannedStep", list["Call"]], None]
"""Runs some calls of a step now: afterwards each has a result or a Failed as its outcome."""


class Keeper:
    """Knows no result, and keeps none."""

    def __enter__(self) -> Self:
        """A run begins."""
        return self

    def __exit__(self, *error: object) -> None:
        """A run has ended; what is to be kept of it is kept when this returns."""

    def run_started(self, plan: Plan) -> None:
        """A plan is about to run."""

    def wants_pixels(self, item: Item) -> bool:
        """Whether an item's photos are decoded ahead. Asked in worker threads."""
        return True

    def left(self, step: PlannedStep, calls: list[Call], compute: Compute) -> list[Call]:
        """Give the calls whose results are known their outcomes, and return the others, to be run.

        Args:
            step: the step.
            calls: all its calls for a chunk.
            compute: runs calls, should a known result turn out to be lost.
        """
        return calls

    def keep(self, step: PlannedStep, calls: Sequence[Call]) -> None:
        """Some calls have run, and have their outcomes."""

    def value(self, value: Any) -> Any:
        """Return what goes out of the run for what stands in a column."""
        return value
