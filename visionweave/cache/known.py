"""What is known of a result, without it being read; and how a lost one is computed again."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

from visionweave.cache.blob import Leaf, leaves, map_leaves, outlined, unpack
from visionweave.cache.owner import Owners
from visionweave.cache.store import Found, ResultCache
from visionweave.errors import ValueTypeError, WeaveError
from visionweave.execution.calls import Call
from visionweave.execution.failures import Failed
from visionweave.execution.plan import PlannedStep
from visionweave.values import Image, Value

__all__ = ["Kept", "Known", "Question", "outputs_of", "values_for"]


class Question:
    """What the cache is asked for: a key, and the owners of the arguments."""

    __slots__ = ("key", "owners")

    def __init__(self, key: str, owners: Owners) -> None:
        self.key, self.owners = key, owners


class Kept:
    """In the place of a value: what is known of it, until it is read.

    Attributes:
        fingerprint: the value's.
        owner: the value's.
    """

    __slots__ = ("_known", "_place", "fingerprint", "owner")

    def __init__(self, known: Known, place: int, leaf: Leaf) -> None:
        _, self.fingerprint, owner = leaf
        self.owner = known.question.owners.at(owner)
        self._known, self._place = known, place

    def value(self) -> Value | Failed:
        """Read the value; a Failed where it was lost, and could not be computed again."""
        value: Value | Failed = self._known.values()[self._place]
        return value


class Known:
    """The result of one call, found in the cache.

    Args:
        cache: the cache.
        step: the call's step.
        call: the call.
        question: what the cache was asked.
        found: what it answered.
        again: computes the call, should the result be lost meanwhile.
    """

    def __init__(
        self,
        cache: ResultCache,
        step: PlannedStep,
        call: Call,
        question: Question,
        found: Found,
        again: Callable[[PlannedStep, Call, Question], None],
    ) -> None:
        self._cache, self._step, self._compute = cache, step, again
        self.question, self._outline = question, found.outline
        # A photo that is decoded would stay in memory for as long as this is here.
        self._call = Call(call.item, call.place, [_closed(value) for value in call.arguments])
        self._values: list[Any] | None = None

    def outcome(self) -> Any:
        """What stands in the place of the node's result: its outputs, of values to be read."""
        count = 0

        def kept(leaf: Leaf) -> Kept:
            nonlocal count
            count += 1
            return Kept(self, count - 1, leaf)

        made = {field: map_leaves(each, kept) for field, each in self._outline.items()}
        return made[""] if "" in made else types.SimpleNamespace(**made)

    def values(self) -> list[Any]:
        """Read the values, in the order of the outline."""
        if self._values is None:
            self._values = self._read() or self._again()
        return self._values

    def _read(self) -> list[Value] | None:
        data = self._cache.read(self.question.key)
        try:
            return None if data is None else unpack(data, self.question.owners)
        except ValueTypeError:
            return None

    def _again(self) -> list[Any]:
        """Compute a result that is damaged, or that another process dropped meanwhile."""
        self._cache.drop(self.question.key)
        call = self._call
        call.arguments = [values_for(value) for value in call.arguments]
        lost = next((each for each in call.arguments if type(each) is Failed), None)
        if lost is None:
            self._compute(self._step, call, self.question)
        failed = lost or call.outcome
        count = len(list(leaves(self._outline)))
        if type(failed) is Failed:
            return [failed] * count
        values: list[Any] = []
        outlined(outputs_of(self._step, call.outcome), values.append)
        if len(values) != count:
            raise WeaveError(
                f"step '{self._step.name}' gave {count} values before, which the cache has lost, "
                f"and gives {len(values)} now; run the same command again"
            )
        return values


def values_for(value: Any) -> Any:
    """Return values in the place of what is known of them, in any lists."""
    if isinstance(value, list):
        return [values_for(each) for each in value]
    return value.value() if type(value) is Kept else value


def outputs_of(step: PlannedStep, outcome: Any) -> dict[str, Any]:
    """Return what a call of a step gave, by output field."""
    return {field: getattr(outcome, field) if field else outcome for field in step.slots}


def _closed(value: Any) -> Any:
    if isinstance(value, list):
        return [_closed(each) for each in value]
    return value.closed() if isinstance(value, Image) else value
