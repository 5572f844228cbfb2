"""The look at a run before it begins: its models, the memory they need, the time they take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from visionweave.budget.needs import Need, size_of
from visionweave.budget.request import Request, problem, ways_out
from visionweave.budget.times import duration_text, seconds_for
from visionweave.budget.within import need_text
from visionweave.execution.figures import Figures
from visionweave.memory import free_memory
from visionweave.weights.licenses import short_license
from visionweave.weights.store import folder_of, size_text

__all__ = ["Preflight", "look_ahead"]


@dataclass(frozen=True, slots=True)
class Preflight:
    """What is known of a run.

    Attributes:
        request: what is asked of the machine.
        needs: what its models need, by step.
        groups: the stages that they run in.
        total: the memory that the device has; None where it does not tell.
        free: how much of it is free; None where that is not known.
        seconds: what they take, by earlier jobs; None when these do not tell.
    """

    request: Request
    needs: dict[str, Need]
    groups: Sequence[Sequence[str]]
    total: int | None
    free: int | None
    seconds: float | None

    def lines(self) -> list[str]:
        """What is to be said of it before it begins; nothing where there is no model."""
        if not self.needs:
            return []
        width = max(map(len, self.needs))
        lines = [f"  {step:{width}}  {_model_line(need)}" for step, need in self.needs.items()]
        lines += self._memory()
        if self.seconds is not None:
            time = duration_text(self.seconds)
            lines.append(f"time: about {time} for the models, from earlier jobs on this machine")
        return lines

    def refusal(self) -> list[str]:
        """Why it cannot run on this machine, and how it could; nothing when it can."""
        lines = problem(self.request) if self.needs else []
        ways = list(ways_out(self.request)) if lines else []
        return [*lines, "it could run", *(f"  {way}" for way in ways)] if ways else lines

    def _of(self, group: Sequence[str]) -> list[Need]:
        return [self.needs[step] for step in group if step in self.needs]

    def _memory(self) -> Iterator[str]:
        request = self.request
        total = "an unknown size" if self.total is None else size_text(self.total)
        free = "" if self.free is None else f", {size_text(self.free)} of them free"
        have = f"{request.device}, {request.precision}, has {total}{free}"
        if len(self.groups) > 1:
            within = f"each within {size_text(request.budget or 0)}"
            yield f"memory: {len(self.groups)} stages, {within}; {have}"
            for number, group in enumerate(self.groups, start=1):
                size = size_text(size_of(self._of(group)))
                yield f"  stage {number}: {', '.join(group)} ({size})"
        else:
            yield f"memory: {self._for_all()}; {have}"
        least = max(size_of(self._of(group), least=True) for group in self.groups)
        if self.free is not None and self.free < least <= (self.total or 0):
            yield "  that is more than is free now: it may run out of memory"

    def _for_all(self) -> str:
        known = [need for need in self.needs.values() if need.known]
        if not known:
            return "what the models need is not known"
        which = "all models" if len(known) == len(self.needs) else "the models of which it is known"
        return f"{size_text(size_of(known))} for {which}"


def look_ahead(request: Request, photos: int) -> Preflight:
    """Find out what a run needs; nothing is loaded.

    Args:
        request: what is asked of the machine.
        photos: how many photos its models are to look at.

    Raises:
        WeightsError: a model has no checkpoint.
    """
    device, plan = request.device, request.pipeline.plan
    needs = request.needs()
    free = free_memory("cpu") if device == "cpu" else None  # a GPU would have to be woken
    seconds = seconds_for(plan, photos, Figures(device, request.precision))
    return Preflight(request, needs, request.groups(needs), request.total, free, seconds)


def _model_line(need: Need) -> str:
    entry = need.checkpoint
    name = need.node if entry is None else entry.name
    needed = need_text(need) if need.known else f"{name}: what it needs is not known"
    if entry is None:
        return needed
    folder = folder_of(entry)
    lacks = [file for file in entry.files if not (folder / file.name).is_file()]
    size = sum(file.bytes or 0 for file in lacks)
    state = "here" if not lacks else f"{size_text(size)} to fetch" if size else "not here"
    license = f"; {short_license(entry)}" if entry.restricted else ""
    return f"{needed}; {state}{license}"
