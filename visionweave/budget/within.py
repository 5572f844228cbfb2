"""Running a plan within a budget of memory: in one go where its models fit, else in stages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from visionweave.budget.needs import Need, needs_of, size_of
from visionweave.budget.spill import check_kind
from visionweave.budget.staged import Stage, execute_in_stages
from visionweave.budget.stages import group_steps, parts_of
from visionweave.budget.waiting import PassingRoom, WaitingRoom
from visionweave.cache.folder import parse_size
from visionweave.errors import JobError
from visionweave.execution.executor import Options, Result, execute
from visionweave.execution.figures import Figures
from visionweave.execution.plan import Plan
from visionweave.graph import Graph
from visionweave.overrides import checkpoints
from visionweave.weights.store import size_text

__all__ = ["execute_within", "need_text", "read_budget", "too_little"]


def read_budget(budget: int | str) -> int:
    """Return a budget in bytes, of bytes or of a size such as "4GB".

    Raises:
        JobError: it is none.
    """
    return parse_size(budget, "the memory budget") if isinstance(budget, str) else budget


def execute_within(
    budget: int,
    graph: Graph,
    plan: Plan,
    source: Iterable[Any],
    options: Options,
    room: WaitingRoom | None = None,
) -> Iterator[Result]:
    """Run a plan as `execute` does, with models that together never need more than `budget` bytes.

    Args:
        budget: how many bytes the models may take, with what their forward passes take.
        graph: the graph that the plan is of.
        plan: the plan.
        source: as for `execute`.
        options: as for `execute`.
        room: where items wait between stages; None: in the cache folder, for this run alone.

    Raises:
        JobError: a model does not fit even alone.
        WeightsError: a model has no checkpoint.
    """
    figures = Figures(*options.runtime.expected)
    needs = needs_of(plan, checkpoints(graph), figures, options.sizes.batch)
    waiting = PassingRoom() if room is None else room
    # Stages stay as they are, though by now more may be known of what the models need.
    groups = waiting.earlier(budget) or _new_groups(plan, needs, budget)
    if len(groups) < 2:
        options.sizes.room = _room(budget, plan, needs)
        return execute(plan, source, options)
    _check_kinds(plan, groups)
    return _in_stages(budget, plan, needs, groups, source, options, waiting)


def _new_groups(plan: Plan, needs: Mapping[str, Need], budget: int) -> list[list[str]]:
    lines = too_little(needs.values(), budget)
    if lines:
        raise JobError("\n".join(lines))
    return group_steps(plan, needs, budget)


def _in_stages(
    budget: int,
    plan: Plan,
    needs: Mapping[str, Need],
    groups: list[list[str]],
    source: Iterable[Any],
    options: Options,
    waiting: WaitingRoom,
) -> Iterator[Result]:
    with waiting:
        waiting.begin(budget, groups)
        parts = parts_of(plan, groups)
        stages = [Stage(part, _room(budget, part, needs)) for part in parts]
        yield from execute_in_stages(plan, stages, source, options, waiting)


def _room(budget: int, part: Plan, needs: Mapping[str, Need]) -> int:
    """What the weights of a part's models leave of the budget."""
    weights = {needs[s.name].model: needs[s.name].weights for s in part.steps if s.name in needs}
    return budget - sum(weights.values())


def too_little(needs: Iterable[Need], budget: int) -> list[str]:
    """Say in lines which models do not fit into a budget, each alone; nothing when all do."""
    short = [need for need in needs if size_of([need], least=True) > budget]
    if not short:
        return []
    most = max(size_of([need], least=True) for need in short)
    lines = [f"a memory budget of {size_text(budget)} is too little, each model alone, for"]
    lines += [f"  step '{need.step}': {need_text(need, least=True)}" for need in short]
    return [*lines, f"the least that would do is {_rounded_up(most)}"]


def need_text(need: Need, *, least: bool = False) -> str:
    """Say what a model needs, in words."""
    working = need.least if least else need.working
    how = "measured" if need.measured else "guessed"
    return (
        f"{need.model} needs {size_text(need.weights + working)}: {size_text(need.weights)} of "
        f"weights, {size_text(working)} to work in ({how})"
    )


def _rounded_up(size: int) -> str:
    """A size that `parse_size` reads, no smaller than this one."""
    return f"{-(-size // 10**6)}MB"


def _check_kinds(plan: Plan, groups: Sequence[Sequence[str]]) -> None:
    """Refuse values that have no file form, so that they cannot wait.

    Raises:
        JobError: there are some.
    """
    kinds = {each.slot: (each.given.name, each.given.type.kinds) for each in plan.inputs}
    for step in plan.steps:
        for field, slot in step.slots.items():
            kinds[slot] = (step.name, step.spec.outputs[field].kinds)
    for part in parts_of(plan, groups)[:-1]:
        for slot in part.outputs.values():
            name, types = kinds[slot]
            for kind in types:
                check_kind(kind, f"'{name}'")
