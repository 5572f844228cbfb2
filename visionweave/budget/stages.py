"""Stages: a plan cut into parts whose models fit together into a budget of memory.

All items go through the first stage, then through the second; what a later one needs waits on the
disk. Steps keep their order, but those of a model that is there already, or that fits beside it, go
ahead of one that does not fit, where they need nothing of it. So each model is in one stage, unless
a step of it needs what another model makes of its own answers, and the two do not fit together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from visionweave.budget.needs import Need, size_of
from visionweave.execution.plan import Plan, PlannedStep

__all__ = ["group_steps", "parts_of"]


def group_steps(plan: Plan, needs: Mapping[str, Need], budget: int) -> list[list[str]]:
    """Return the names of the steps of each stage; a step that does not fit alone has its own.

    Args:
        plan: the plan.
        needs: what the steps with models need, by name.
        budget: how many bytes the models of a stage may take, with what they work in.
    """
    left = list(plan.steps)
    made = set(plan.given)
    groups: list[list[str]] = []
    while left:
        group: list[str] = []
        while (step := _next(left, made, group, needs, budget)) is not None:
            left.remove(step)
            made |= set(step.slots.values())
            group.append(step.name)
        groups.append(group)
    return groups


def _next(
    left: Sequence[PlannedStep],
    made: set[int],
    group: list[str],
    needs: Mapping[str, Need],
    budget: int,
) -> PlannedStep | None:
    """The first step that can run and fits into a stage; into an empty one, any fits."""
    for step in left:
        if reads_of([step]) <= made:
            wanted = [needs[name] for name in (*group, step.name) if name in needs]
            if step.name not in needs or len(wanted) == 1 or size_of(wanted) <= budget:
                return step
    return None


def parts_of(plan: Plan, groups: Sequence[Sequence[str]]) -> list[Plan]:
    """Cut a plan into parts, one per stage.

    The outputs of all but the last are the slots, named by their numbers, that it fills and that
    later ones need; inputs among them.
    """
    by_name = {step.name: step for step in plan.steps}
    stages = [[by_name[name] for name in group] for group in groups]
    order = {step.name: place for place, step in enumerate(plan.steps)}
    outputs = set(plan.outputs.values())
    parts = []
    for number, steps in enumerate(stages):
        first, last = number == 0, number == len(stages) - 1
        read = reads_of(steps)
        later = reads_of(step for stage in stages[number + 1 :] for step in stage) | outputs
        own = {slot for step in steps for slot in step.slots.values()}
        own |= set(plan.given) if first else read & set(plan.given)
        kept = outputs if last else own & later
        wanted = read | outputs if last else read
        inputs = tuple(
            dataclasses.replace(each, read=first or each.slot in read)
            for each in plan.inputs
            if first or each.slot in wanted
        )
        carried = wanted - own - {each.slot for each in inputs}
        parts.append(
            Plan(
                inputs,
                tuple(_release(steps, kept)),
                plan.outputs if last else {str(slot): slot for slot in sorted(kept)},
                plan.slots,
                tuple(sorted(carried)),
                order,
            )
        )
    return parts


def reads_of(steps: Iterable[PlannedStep]) -> set[int]:
    """The slots that some steps read."""
    return {a.slot for step in steps for a in step.arguments if a.slot is not None}


def _release(steps: Sequence[PlannedStep], kept: set[int]) -> list[PlannedStep]:
    """The steps of a stage, each with the slots that nobody reads after it."""
    found = []
    for place, step in enumerate(steps):
        done = reads_of([step]) | set(step.slots.values())
        done -= reads_of(steps[place + 1 :]) | kept
        found.append(dataclasses.replace(step, releases=tuple(sorted(done))))
    return found
