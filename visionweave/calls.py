"""The calls of one step: expanded along its axes, checked, and folded back into lists."""

from __future__ import annotations

from typing import Any

from visionweave.batching import Raised
from visionweave.errors import NodeError, NodeFailed
from visionweave.items import Failed, Item
from visionweave.plan import Argument, PlannedStep
from visionweave.types import PortType
from visionweave.values import Origin

__all__ = ["Call", "expand", "resolve", "without_failures"]


class Call:
    """One call of a node's `run`; after `settle`, `outcome` is its result or a Failed."""

    __slots__ = ("arguments", "item", "outcome", "place")

    def __init__(self, item: int, place: int | None, arguments: list[Any]) -> None:
        self.item = item  # its index in the chunk
        self.place = place  # its index along the innermost axis; None without one
        self.arguments = arguments
        self.outcome: Any = None

    def settle(self, step: PlannedStep, item: Item) -> None:
        """Check the type of the result, and turn an error into a recorded Failed."""
        outcome = self.outcome
        if not isinstance(outcome, Raised):
            wrong = _wrong_type(step, outcome)
            if wrong is not None:
                outcome = Raised(wrong)
        if isinstance(outcome, Raised):
            failure = self._failure(step, item, outcome.error)
            item.failures.append(failure)
            self.outcome = Failed(failure)
        self.arguments = []  # so that only columns hold values

    def _failure(self, step: PlannedStep, item: Item, error: Exception) -> NodeFailed:
        origins = [getattr(value, "origin", None) for value in self.arguments]
        objects = [o for o in origins if isinstance(o, Origin) and o.object is not None]
        index = objects[0].object if objects else self.place
        label = objects[0].label if objects else ""
        failure = NodeFailed(
            step.name, step.spec.id, item.name, index, label, type(error).__name__, str(error)
        )
        failure.__cause__ = error
        return failure


def expand(step: PlannedStep, item: int, columns: list[list[Any]], calls: list[Call]) -> Any:
    """Append the calls of one item to `calls`; return them in the shape of the step's axes.

    The shape is a Call for a step that runs once, else (nested) lists of Calls; where an argument
    has failed, the Failed stands in the call's place.
    """
    arguments = step.arguments
    values = [a.constant if a.slot is None else columns[a.slot][item] for a in arguments]
    if not step.depth:
        return _leaf(arguments, item, None, values, calls)
    depths = [argument.depth for argument in arguments]
    return _expand(arguments, item, step.depth, values, depths, calls)


def _expand(
    arguments: tuple[Argument, ...],
    item: int,
    depth: int,
    values: list[Any],
    depths: list[int],
    calls: list[Call],
) -> Any:
    for value in values:
        if type(value) is Failed:
            return value
    # An argument lies along the outermost axes; at each level those with depth left are indexed.
    length = len(values[depths.index(depth)])
    inner = [max(0, d - 1) for d in depths]
    shape = []
    for place in range(length):
        row = [v[place] if d else v for v, d in zip(values, depths, strict=True)]
        if depth == 1:
            shape.append(_leaf(arguments, item, place, row, calls))
        else:
            shape.append(_expand(arguments, item, depth - 1, row, inner, calls))
    return shape


def _leaf(
    arguments: tuple[Argument, ...],
    item: int,
    place: int | None,
    values: list[Any],
    calls: list[Call],
) -> Call | Failed:
    for index, value in enumerate(values):
        if type(value) is Failed:
            return value
        if arguments[index].many and type(value) is list:
            values[index] = without_failures(value)
    call = Call(item, place, values)
    calls.append(call)
    return call


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


def _wrong_type(step: PlannedStep, outcome: Any) -> NodeError | None:
    """The error of a node that does not return what it says, or None."""
    for field, kind in step.spec.outputs.items():
        value = getattr(outcome, field, None) if field else outcome
        if not _fits(kind, value):
            said = f"{field}: {kind}" if field else str(kind)
            return NodeError(
                f"{step.spec.id}.run must return {said}, as it is annotated; "
                f"got {type(value).__name__}"
            )
    return None


def _fits(kind: PortType, value: Any) -> bool:
    if kind.many:
        return isinstance(value, list) and all(isinstance(each, kind.kinds) for each in value)
    return isinstance(value, kind.kinds)
