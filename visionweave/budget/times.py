"""How long models take: seconds a call, calls a photo, from the jobs that ran on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from visionweave.contract import ModelNode, Node
from visionweave.execution.figures import Figures
from visionweave.execution.observe import Observer
from visionweave.execution.plan import Plan, PlannedStep
from visionweave.runtime import Runtime

__all__ = ["Times", "duration_text", "seconds_for"]

MANY = 5_000
"""Of more photos than these, earlier ones count half, so that what changed shows in the end."""

_NONE = {"photos": 0, "calls": 0, "found": 0, "seconds": 0.0}


class Times(Observer):
    """Adds up what a job's models take, and remembers it when the run ends.

    Args:
        runtime: where the models run.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._sums: dict[str, tuple[Node, dict[str, float]]] = {}
        self._photos = 0  # of the current chunk

    def chunk_started(self, items: Sequence[str]) -> None:
        """Note how many photos there are."""
        self._photos = len(items)

    def results_found(self, step: PlannedStep, calls: int) -> None:
        """Count calls that need not run."""
        self._add(step, found=calls)

    def step_finished(self, step: PlannedStep, calls: int, seconds: float) -> None:
        """Count calls that ran."""
        self._add(step, photos=self._photos, calls=calls, seconds=seconds)

    def run_finished(self) -> None:
        """Remember it, for the models that ran."""
        ran = [(node, sums) for node, sums in self._sums.values() if sums["calls"]]
        if not ran:
            return
        figures = Figures(*self._runtime.expected)
        for node, sums in ran:
            before = _sums(figures.of(node).get("time"))
            share = 1.0 if before["photos"] < MANY else 0.5
            figures.change(node, {"time": {n: share * before[n] + sums[n] for n in _NONE}})
        self._sums = {}

    def _add(self, step: PlannedStep, **amounts: float) -> None:
        if isinstance(step.node, ModelNode):
            _, sums = self._sums.setdefault(step.name, (step.node, dict(_NONE)))
            for name, amount in amounts.items():
                sums[name] += amount


def seconds_for(plan: Plan, photos: int, figures: Figures) -> float | None:
    """Return what the models of a plan are to take for so many photos, by what they took before.

    None when one of them has not run here yet, or there is none.
    """
    models = [step.node for step in plan.steps if isinstance(step.node, ModelNode)]
    total = 0.0
    for node in models:
        sums = _sums(figures.of(node).get("time"))
        if not (sums["photos"] and sums["calls"]):
            return None
        calls = (sums["calls"] + sums["found"]) / sums["photos"]
        total += photos * calls * sums["seconds"] / sums["calls"]
    return total if models else None


def duration_text(seconds: float) -> str:
    """Return a duration for people: "12 min"."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def _sums(found: Any) -> dict[str, float]:
    """What was remembered, if it is what `Times` writes."""
    if isinstance(found, dict) and all(isinstance(found.get(n), (int, float)) for n in _NONE):
        return {name: found[name] for name in _NONE}
    return dict(_NONE)
