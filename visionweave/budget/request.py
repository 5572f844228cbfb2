"""What is asked of a machine, whether it fits, and what else would.

Another way is the same request with one thing changed, and is named only when it would not be
refused itself, by what was measured on this machine, or else by the guess. Two things follow.
Batches: of a model that was not measured, nobody knows what a smaller one saves, so none is named.
Precision: bf16 and fp16 are computed under autocast (`visionweave.runtime`), which leaves the
weights in fp32; what that saves of the rest differs by model. So another precision is named only
where all models have been measured in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from visionweave.budget.needs import Need, needs_of, size_of, weights_bytes
from visionweave.budget.stages import group_steps
from visionweave.budget.within import too_little
from visionweave.errors import WeightsError
from visionweave.execution.figures import Figures
from visionweave.graph import Graph
from visionweave.machine import known_memory
from visionweave.overrides import checkpoints, with_profile, with_settings
from visionweave.pipeline import Pipeline
from visionweave.runtime import PRECISIONS, Runtime
from visionweave.weights.lock import Checkpoint, read_lock
from visionweave.weights.lookup import checkpoint
from visionweave.weights.store import size_text

__all__ = ["Options", "Request", "problem", "ways_out"]


@dataclass(frozen=True, slots=True)
class Options:
    """What the command that asks can be told to do otherwise.

    Attributes:
        profile: how it is given another profile; None: it cannot.
        model: how a step of it is given another checkpoint; None: it cannot.
        machine: whether it can run on another device and in another precision.
    """

    profile: str | None = "--profile {profile}"
    model: str | None = "--set {step}.model={model}"
    machine: bool = True


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a machine.

    Attributes:
        pipeline: what is to run.
        device: where its models run.
        precision: how they compute.
        budget: the memory that they may take; None for all there is.
        batch: the size of their batches; None for what is found to be best.
        options: what could be asked instead.
    """

    pipeline: Pipeline
    device: str
    precision: str
    budget: int | None = None
    batch: int | None = None
    options: Options = Options()

    @property
    def total(self) -> int | None:
        """The memory that the device has; None where it does not tell."""
        return known_memory(self.device)

    def needs(self) -> dict[str, Need]:
        """What the models need, by step.

        Raises:
            WeightsError: a model has no checkpoint.
        """
        figures = Figures(self.device, self.precision)
        found = checkpoints(self.pipeline.graph)
        return needs_of(self.pipeline.plan, found, figures, self.batch)

    def groups(self, needs: Mapping[str, Need]) -> list[list[str]]:
        """The steps of each stage that the models run in, by name."""
        if self.budget is None:
            return [[step.name for step in self.pipeline.plan.steps]]
        return group_steps(self.pipeline.plan, needs, self.budget)


def problem(request: Request) -> list[str]:
    """Say in lines why what is asked cannot be had; nothing when it can."""
    needs, total = request.needs(), request.total
    if request.budget is not None:
        short = too_little(needs.values(), request.budget)
        if short:
            return short
    groups = [[needs[step] for step in g if step in needs] for g in request.groups(needs)]
    needed = max((size_of(group, least=True) for group in groups), default=0)
    if total is None or needed <= total:
        return []
    has = f"{request.device} has {size_text(total)}"
    return [f"{size_text(needed)} of memory are needed, and {has}"]


def ways_out(request: Request) -> Iterator[str]:
    """How else it could run, in words, with what is to be given on the command line."""
    yield from _in_stages(request)
    yield from _in_smaller_batches(request)
    if request.options.machine:
        yield from _in_another_precision(request)
    yield from _with_another_profile(request)
    yield from _with_a_smaller_model(request)
    if request.options.machine:
        yield from _on_the_processor(request)


def _in_stages(request: Request) -> Iterator[str]:
    total = request.total
    if total is not None and (request.budget is None or request.budget > total):
        size = total // 10**6
        if not problem(replace(request, budget=size * 10**6)):
            yield f"in stages, one model after another: --memory-budget {size}MB"


def _in_smaller_batches(request: Request) -> Iterator[str]:
    size = request.batch or 1
    while (size := size // 2) > 0:
        if not problem(replace(request, batch=size)):
            yield f"in smaller batches: --batch {size}"
            return


def _in_another_precision(request: Request) -> Iterator[str]:
    for precision in PRECISIONS:
        if precision in ("auto", request.precision):
            continue
        other = replace(request, precision=precision)
        needs = other.needs().values()
        if all(need.measured for need in needs) and not problem(other):
            yield f"in {precision}, by what was measured in it: --precision {precision}"


def _with_another_profile(request: Request) -> Iterator[str]:
    if request.options.profile is None:
        return
    for profile in read_lock().profiles:
        with suppress(WeightsError):  # it lacks one of the models
            other = _with(request, with_profile(request.pipeline.graph, profile))
            if profile != "mini" and not problem(other):
                option = request.options.profile.format(profile=profile)
                size = size_text(size_of(other.needs().values(), least=True))
                yield f"with smaller models: {option}, which needs {size}"


def _with_a_smaller_model(request: Request) -> Iterator[str]:
    if request.options.model is None:
        return
    profiles = read_lock().profiles
    for step, need in request.needs().items():
        for entry in _smaller_ones(need, profiles):
            graph = with_settings(request.pipeline.graph, {f"{step}.model": entry.name})
            if not problem(_with(request, graph)):
                option = request.options.model.format(step=step, model=entry.name)
                yield f"with a smaller model: {option}"


def _on_the_processor(request: Request) -> Iterator[str]:
    if request.device == "cpu":
        return
    device, precision = Runtime.get("cpu").expected
    other = replace(request, device=device, precision=precision)
    if other.total is not None and not problem(other):
        ram = size_text(other.total)
        yield f"on the processor, which has {ram}, and is slower: --device cpu"


def _with(request: Request, graph: Graph) -> Request:
    return replace(request, pipeline=Pipeline.from_graph(graph))


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
