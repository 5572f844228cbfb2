"""How large the batches are: as stated, as given, or as was found to be best.

`Sizes` takes what each method states, or one size that was given for all. `TriedSizes` tries: each
method climbs from what it states to the size with the most payloads per second (`climb.py`), as
long as memory is enough, and the end of the climb is remembered for this machine and this model
(`figures.py`). In both, what did not fit in memory is not tried again.

Memory is enough for a batch of twice the size when twice what the last one took at its peak leaves
a share of what is free. A batch is no larger than half of what a step has to do for a chunk, so
that there is always one to prepare while another computes; but as large as the method states.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Protocol, TypeGuard

from visionweave.contract import ModelNode, Node
from visionweave.deferred import BoundMethod, batch_sizes
from visionweave.execution.climb import WAYS, Climb
from visionweave.execution.figures import Figures
from visionweave.memory import Gauge
from visionweave.runtime import Runtime

__all__ = ["Sizes", "TriedSizes"]

USED = 0.7
"""The share of the free memory that a batch may take, by the estimate."""

MORE = 1.25
"""What once did not fit is tried again when so many times the memory of then is free."""

Key = tuple[int, str]
"""A node, by its identity, and a method of it."""


class Measure(Protocol):
    """What measures a forward pass: see `visionweave.memory.Gauge`."""

    def free(self) -> int | None:
        """How many bytes are free now."""

    def start(self, *, afresh: bool = False) -> None:
        """The work begins; `afresh`: its bytes are wanted, whatever that does to its seconds."""

    def stop(self) -> tuple[float, int | None]:
        """The work has ended: its seconds, and its bytes where they are known."""


class Sizes:
    """The sizes of batches: what each method states, or one size for all.

    Args:
        batch: the largest batch of any method, or None for what each states.

    Attributes:
        caps: by node and method, what was found to fit when memory ran out.
        room: how many bytes forward passes may take, if that can be seen to; None for all there is.
    """

    def __init__(self, batch: int | None = None) -> None:
        self.batch = batch
        self.room: int | None = None
        self.caps: Mapping[Key, int] = {}

    def width(self, node: Node, calls: int) -> int:
        """Return how many calls of `run` go together, of `calls` that a step has for a chunk."""
        stated = batch_sizes(node)
        return min((self._width(node, *method, calls) for method in stated.items()), default=1)

    def size(self, method: BoundMethod[Any, Any], payloads: int) -> int:
        """Return the size of a method's next batch, of `payloads` that are there."""
        return min(self._stated(method.node, method.name, method.size), payloads)

    def started(self, method: BoundMethod[Any, Any], size: int) -> None:
        """A batch begins."""

    def ended(self, method: BoundMethod[Any, Any], size: int, failed: bool) -> None:
        """A batch has ended."""

    def too_large(self, method: BoundMethod[Any, Any], size: int) -> None:
        """Remember that a batch of `size`, 2 or more, did not fit in memory."""
        self.caps = {**self.caps, _key(method.node, method.name): size // 2}

    def step_finished(self, node: Node) -> None:
        """The calls of a step have run for a chunk."""

    def _stated(self, node: Node, method: str, stated: int) -> int:
        wanted = stated if self.batch is None else self.batch
        return min(wanted, self.caps.get(_key(node, method), wanted))

    def _width(self, node: Node, method: str, stated: int, calls: int) -> int:
        return self._stated(node, method, stated)


class TriedSizes(Sizes):
    """The sizes that are best on this machine, found by trying; of models only.

    Args:
        runtime: where the models run; it is asked when the first of them does.
        measure: measures forward passes; a `Gauge` of the runtime's device when None.
    """

    def __init__(self, runtime: Runtime, measure: Measure | None = None) -> None:
        super().__init__()
        self._runtime, self._given = runtime, measure
        self._climbs: dict[Key, Climb] = {}
        self._bytes: dict[Key, dict[int, int]] = {}  # by size, the most that a batch took
        self._free: dict[Key, int | None] = {}  # when memory ran out
        self._known: dict[Key, Mapping[str, Any]] = {}  # what was found when more memory was free
        self._warm: set[Key] = set()  # what has run: the first time, things are set up that stay
        self._measuring = False

    @functools.cached_property
    def _measure(self) -> Measure:
        return Gauge(self._runtime.device) if self._given is None else self._given

    @functools.cached_property
    def _figures(self) -> Figures:
        return Figures(self._runtime.device, self._runtime.precision)

    def size(self, method: BoundMethod[Any, Any], payloads: int) -> int:
        """As large as the climb says."""
        key = _key(method.node, method.name)
        climb = self._climb(method.node, method.name, method.size)
        if climb is None:
            return super().size(method, payloads)
        size = climb.next(payloads, lambda size: self._fits(key, size))
        return min(size, self.caps.get(key, size))

    def started(self, method: BoundMethod[Any, Any], size: int) -> None:
        """Begin to measure a batch of which something is to be found out."""
        climb = self._climbs.get(key := _key(method.node, method.name))
        if climb is not None:
            unknown = size not in self._bytes[key]
            self._measuring = unknown or climb.measures(size)
            if self._measuring:
                self._measure.start(afresh=unknown)

    def ended(self, method: BoundMethod[Any, Any], size: int, failed: bool) -> None:
        """Take the measure."""
        if not self._measuring:
            return
        self._measuring = False
        seconds, taken = self._measure.stop()
        climb = self._climbs[key := _key(method.node, method.name)]
        if failed:
            climb.failed()
            return
        if taken is not None and key in self._warm:
            self._bytes[key][size] = max(taken, self._bytes[key].get(size, 0))
        self._warm.add(key)
        if climb.measures(size):
            climb.ran(seconds)

    def too_large(self, method: BoundMethod[Any, Any], size: int) -> None:
        """Remember it, with how much memory was free then."""
        super().too_large(method, size)
        self._free[_key(method.node, method.name)] = self._measure.free()

    def step_finished(self, node: Node) -> None:
        """Remember what is new for later runs."""
        ours = {name: key for key in self._climbs for name in key[1:] if key == _key(node, name)}
        if not ours:
            return
        before = self._figures.of(node).get("batches")
        found = {name: self._facts(key) for name, key in ours.items()}
        if found != before:
            self._figures.change(node, {"batches": found})

    def _width(self, node: Node, method: str, stated: int, calls: int) -> int:
        climb = self._climb(node, method, stated)
        if climb is None:
            return super()._width(node, method, stated, calls)
        room = max(stated, calls // 2)
        best = next((size for size in (climb.wanted, climb.size) if size <= room), room)
        width = max(stated, best)
        return min(width, self.caps.get(_key(node, method), width))

    def _climb(self, node: Node, method: str, stated: int) -> Climb | None:
        """The climb of a model's method, going on from where an earlier run ended."""
        key = _key(node, method)
        if key not in self._climbs:
            if not isinstance(node, ModelNode):
                return None
            known = self._figures.of(node).get("batches")
            facts = known.get(method) if isinstance(known, dict) else None
            self._climbs[key] = self._begin(key, stated, facts if isinstance(facts, dict) else {})
        return self._climbs[key]

    def _begin(self, key: Key, stated: int, facts: Mapping[str, Any]) -> Climb:
        self._bytes[key] = {}
        size, cap, then, taken = (facts.get(n) for n in ("size", "cap", "free", "bytes"))
        free = self._measure.free()
        if _number(cap) and not (free and _number(then) and free >= MORE * then):
            self.caps, self._free[key] = {**self.caps, key: cap}, then
        if not _number(size):
            return Climb(stated)
        if _number(taken):
            self._bytes[key][size] = taken
            while size > 1 and not self._fits(key, size):
                self._known[key] = facts
                taken, size = taken // 2, size // 2
                self._bytes[key].setdefault(size, taken)
        return Climb(size, tuple(way for way in WAYS if way in facts.get("open", ())))

    def _fits(self, key: Key, size: int) -> bool:
        """Whether memory is enough for a batch, by what batches took that were measured."""
        known, free = self._bytes[key], self._measure.free()
        taken = known.get(size, 2 * known[size // 2] if size // 2 in known else None)
        if taken is None or free is None or size > self.caps.get(key, size):
            return False
        return taken <= USED * free and (self.room is None or taken <= self.room)

    def _facts(self, key: Key) -> dict[str, Any]:
        """What is to be remembered of a method, in plain data.

        That this run has less memory than an earlier one does not undo what that one found.
        """
        climb, known = self._climbs[key], self._known.get(key, {})
        if climb.size < known.get("size", 0):
            return {**known, **self._limits(key)}
        open = [way for way in WAYS if way in climb.open or (way == "up" and climb.short)]
        facts = {
            "size": climb.size,
            "open": open,
            "bytes": self._bytes[key].get(climb.size),
        }
        return {n: value for n, value in facts.items() if value is not None} | self._limits(key)

    def _limits(self, key: Key) -> dict[str, int]:
        """What did not fit, and how much memory was free then."""
        facts = {"cap": self.caps.get(key), "free": self._free.get(key)}
        return {name: value for name, value in facts.items() if value is not None}


def _key(node: Node, method: str) -> Key:
    return id(node), method


def _number(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and value > 0
