"""The look at a run before it begins: its models, the memory they need, the time they take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from visionweave.budget.needs import Need, guessed, needs_of, size_of, weights_bytes
from visionweave.budget.stages import group_steps
from visionweave.budget.times import duration_text, seconds_for
from visionweave.budget.within import need_text, too_little
from visionweave.contract import ModelNode
from visionweave.errors import WeightsError
from visionweave.execution.figures import Figures
from visionweave.machine import known_memory
from visionweave.memory import free_memory
from visionweave.overrides import checkpoints, with_profile
from visionweave.pipeline import Pipeline
from visionweave.runtime import Runtime
from visionweave.weights.licenses import short_license
from visionweave.weights.lock import Checkpoint, read_lock
from visionweave.weights.lookup import checkpoint
from visionweave.weights.store import folder_of, size_text

__all__ = ["Preflight", "look_ahead"]


@dataclass(frozen=True, slots=True)
class Preflight:
    """What is known of a run.

    Attributes:
        pipeline: what is run.
        device: where its models run.
        precision: how they compute.
        needs: what they need, by step.
        groups: the stages that they run in.
        budget: the memory that they may take; None for all there is.
        total: the memory that the device has; None where it does not tell.
        free: how much of it is free; None where that is not known.
        seconds: what they take, by earlier jobs; None when these do not tell.
    """

    pipeline: Pipeline
    device: str
    precision: str
    needs: dict[str, Need]
    groups: Sequence[Sequence[str]]
    budget: int | None
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
        if self.budget is not None:
            short = too_little(self.needs.values(), self.budget)
            if short:
                return [*short, *_list(self._smaller(self.budget))]
        if self.total is None:
            return []
        needed = max((size_of(self._of(g), least=True) for g in self.groups), default=0)
        if needed <= self.total:
            return []
        what = f"{size_text(needed)} of memory are needed, and {self.device} has {self._size()}"
        return [what, *_list(self._ways_out(self.total))]

    def _of(self, group: Sequence[str]) -> list[Need]:
        return [self.needs[step] for step in group if step in self.needs]

    def _size(self) -> str:
        return "an unknown size" if self.total is None else size_text(self.total)

    def _memory(self) -> Iterator[str]:
        where = f"{self.device}, {self.precision}"
        free = "" if self.free is None else f", {size_text(self.free)} of them free"
        have = f"{where}, has {self._size()}{free}"
        if len(self.groups) > 1:
            within = f"each within {size_text(self.budget or 0)}"
            yield f"memory: {len(self.groups)} stages, {within}; {have}"
            for number, group in enumerate(self.groups, start=1):
                size = size_text(size_of(self._of(group)))
                yield f"  stage {number}: {', '.join(group)} ({size})"
        else:
            yield f"memory: {size_text(size_of(self.needs.values()))} for all models; {have}"
        least = max(size_of(self._of(group), least=True) for group in self.groups)
        if self.free is not None and self.free < least <= (self.total or 0):
            yield "  that is more than is free now: it may run out of memory"

    def _ways_out(self, total: int) -> Iterator[str]:
        """How else it could run, each of which would fit."""
        if self.budget is None and not too_little(self.needs.values(), total):
            yield f"in stages, one model after another: --memory-budget {total // 10**6}MB"
        yield from self._smaller(total)
        ram = known_memory("cpu")
        if self.device != "cpu" and ram and size_of(self.needs.values(), least=True) <= ram:
            yield f"on the processor, which has {size_text(ram)}, and is slower: --device cpu"

    def _smaller(self, room: int) -> Iterator[str]:
        """Smaller checkpoints with which it would fit: those of a profile, or one for a step."""
        profiles, figures = read_lock().profiles, Figures(self.device, self.precision)
        for profile in profiles:
            needs = _needs_with(self.pipeline, profile, figures)
            if profile != "mini" and needs and self._fits(needs.values(), room):
                size = size_text(size_of(needs.values(), least=True))
                yield f"with smaller models: --profile {profile}, which needs {size}"
        for step, need in self.needs.items():
            for entry in _smaller_ones(need, profiles):
                other = guessed(step, need.node, entry)
                if self._fits((self.needs | {step: other}).values(), room):
                    yield f"with a smaller model: --set {step}.model={entry.name}"

    def _fits(self, needs: Iterable[Need], room: int) -> bool:
        """Whether models fit: together, or one after another where there is a budget."""
        if self.budget is None:
            return size_of(needs, least=True) <= room
        return not too_little(needs, room)


def look_ahead(
    pipeline: Pipeline, photos: int, runtime: Runtime, budget: int | None = None
) -> Preflight:
    """Find out what a run needs; nothing is loaded.

    Args:
        pipeline: what is to run.
        photos: on how many photos.
        runtime: what it is to run on.
        budget: the memory that its models may take.

    Raises:
        DeviceError: the device is not on this machine.
        WeightsError: a model has no checkpoint.
    """
    found = checkpoints(pipeline.graph)
    if not any(isinstance(step.node, ModelNode) for step in pipeline.plan.steps):
        return Preflight(pipeline, "", "", {}, [], budget, None, None, None)
    device, precision = runtime.expected
    figures = Figures(device, precision)
    needs = needs_of(pipeline.plan, found, figures)
    everything = [[step.name for step in pipeline.plan.steps]]
    groups = everything if budget is None else group_steps(pipeline.plan, needs, budget)
    free = free_memory("cpu") if device == "cpu" else None  # a GPU would have to be woken
    seconds = seconds_for(pipeline.plan, photos, figures)
    total = known_memory(device)
    return Preflight(pipeline, device, precision, needs, groups, budget, total, free, seconds)


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


def _list(ways: Iterator[str]) -> list[str]:
    found = list(ways)
    return ["it could run", *(f"  {way}" for way in found)] if found else []


def _needs_with(pipeline: Pipeline, profile: str, figures: Figures) -> dict[str, Need]:
    """What a pipeline needs with the checkpoints of a profile; nothing when that lacks one."""
    try:
        graph = with_profile(pipeline.graph, profile)
        return needs_of(Pipeline.from_graph(graph).plan, checkpoints(graph), figures)
    except WeightsError:
        return {}


def _smaller_ones(need: Need, profiles: Iterable[str]) -> list[Checkpoint]:
    """The checkpoints that profiles have for a step's node, if the step's own is one of them."""
    found = {}
    for profile in profiles:
        with suppress(WeightsError):
            entry = checkpoint(profile, need.node)
            found[entry.name] = entry
    if need.checkpoint is None or need.checkpoint.name not in found:
        return []  # it may be of another kind
    smaller = [each for each in found.values() if weights_bytes(each) < need.weights]
    return [each for each in smaller if not each.shipped]
