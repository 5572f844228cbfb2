"""The calls of one step: expanded along its axes, checked, and folded back into lists."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import repeat
from typing import Any

from visionweave.errors import NodeError, NodeFailed
from visionweave.execution.failures import Failed, Raised, words
from visionweave.execution.items import Item
from visionweave.execution.plan import PlannedStep
from visionweave.types import PortType
from visionweave.values import Origin, Value

__all__ = ["Call", "by_item", "expand", "resolve", "settle", "without_failures"]


class Call:
    """One call of a node's `run`.

    Attributes:
        item: the index of its item in the chunk.
        place: its index along the innermost axis; None for a step that runs once.
        arguments: what `run` is given.
        outcome: what came of it: a result or a Raised, and after `settle` a result or a Failed.
        seconds: what it took, or its share of a batch.
    """

    __slots__ = ("arguments", "item", "outcome", "place", "seconds")

    def __init__(self, item: int, place: int | None, arguments: list[Any]) -> None:
        self.item = item
        self.place = place
        self.arguments = arguments
        self.outcome: Any = None
        self.seconds = 0.0


def expand(step: PlannedStep, columns: list[list[Any]], count: int) -> tuple[list[Any], list[Call]]:
    """Return the calls of a step for a chunk of `count` items.

    Returns:
        For each item its calls in the shape of the step's axes: a Call for a step that runs once,
        else (nested) lists of Calls; where an argument has failed, the Failed stands in the call's
        place. And all the calls in one list.
    """
    arguments = step.arguments
    sources = [repeat(a.constant) if a.slot is None else columns[a.slot] for a in arguments]
    rows = zip(range(count), *sources, strict=False)  # constants have no end
    lists = [index for index, argument in enumerate(arguments) if argument.many]
    calls: list[Call] = []
    if step.depth == 0:
        return [_call(item, None, values, lists, calls) for item, *values in rows], calls
    depths, depth = [argument.depth for argument in arguments], step.depth
    shapes = [_repeat(item, values, depths, depth, lists, calls) for item, *values in rows]
    return shapes, calls


def _repeat(
    item: int,
    values: list[Any],
    depths: list[int],
    depth: int,
    lists: list[int],
    calls: list[Call],
) -> list[Any] | Failed:
    for value in values:
        if type(value) is Failed:
            return value
    # An argument lies along the outermost axes; at each level those with depth left are indexed.
    length = len(values[depths.index(depth)])
    inner = [max(0, d - 1) for d in depths]
    shape: list[Any] = []
    for place in range(length):
        row = [value[place] if d else value for value, d in zip(values, depths, strict=True)]
        if depth == 1:
            shape.append(_call(item, place, row, lists, calls))
        else:
            shape.append(_repeat(item, row, inner, depth - 1, lists, calls))
    return shape


def _call(
    item: int, place: int | None, values: list[Any], lists: list[int], calls: list[Call]
) -> Call | Failed:
    for value in values:
        if type(value) is Failed:
            return value
    for index in lists:
        values[index] = without_failures(values[index])
    call = Call(item, place, values)
    calls.append(call)
    return call


def settle(step: PlannedStep, calls: list[Call], items: list[Item]) -> None:
    """Check the types of the results, and turn each error into a recorded Failed."""
    outputs = step.spec.outputs
    for call in calls:
        outcome = call.outcome
        error = outcome.error if type(outcome) is Raised else _wrong_type(step, outputs, outcome)
        if error is not None:
            item = items[call.item]
            failure = _failure(step, call, item, error)
            item.failures.append(failure)
            call.outcome = Failed(failure)


def by_item(calls: list[Call], count: int, seconds: float) -> list[float]:
    """What a step took for each of `count` items: its calls, and an equal part of the rest.

    Calls that ran side by side took longer, together, than the step: each counts for its part.

    Args:
        calls: the calls of the step.
        count: the items of the chunk.
        seconds: what the step took for all of them.
    """
    found = [0.0] * count
    together = sum(call.seconds for call in calls)
    part = min(1.0, seconds / together) if together else 1.0
    rest = (seconds - part * together) / max(1, len(calls))
    for call in calls:
        found[call.item] += part * call.seconds + rest
    return found


def _failure(step: PlannedStep, call: Call, item: Item, error: BaseException) -> NodeFailed:
    origins = [getattr(value, "origin", None) for value in call.arguments]
    objects = [o for o in origins if isinstance(o, Origin) and o.object is not None]
    index = objects[0].object if objects else call.place
    label = objects[0].label if objects else ""
    failure = NodeFailed(
        step.name, step.spec.id, item.name, index, label, type(error).__name__, words(error)
    )
    failure.__cause__ = error
    return failure


def _wrong_type(
    step: PlannedStep, outputs: Mapping[str, PortType], outcome: Any
) -> NodeError | None:
    """The error of a node that does not return what it says, or None."""
    for field, kind in outputs.items():
        # Of any other value, an attribute of the same name is no output.
        several = isinstance(outcome, tuple) and hasattr(outcome, field)
        value = getattr(outcome, field) if several else outcome
        good = _is_list_of(kind.kinds, value) if kind.many else isinstance(value, kind.kinds)
        if not good or several != bool(field):
            said = f"{field}: {kind}" if field else str(kind)
            return NodeError(
                f"{step.spec.id}.run must return {said}, as it is annotated; got {_describe(value)}"
            )
    return None


def _is_list_of(kinds: tuple[type[Value], ...], value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, kinds) for each in value)


def _describe(value: Any) -> str:
    if isinstance(value, list):
        return f"list of {', '.join(sorted({type(each).__name__ for each in value})) or 'nothing'}"
    return type(value).__name__


def resolve(shape: Any, field: str) -> Any:
    """Return the results of calls, in their shape; of one field, for a node with several."""
    if type(shape) is Call:
        outcome = shape.outcome
        return getattr(outcome, field) if field and type(outcome) is not Failed else outcome
    return [resolve(each, field) for each in shape] if type(shape) is list else shape


def without_failures(value: Any) -> Any:
    """Return (nested) lists without the elements that failed; other values as they are."""
    if type(value) is not list:
        return value
    return [without_failures(each) for each in value if type(each) is not Failed]
