"""Running a plan stage by stage, so that models that do not fit together run one after another.

All items go through the first stage; what later ones need of them is written to a folder
(`waiting.py`), the stage's models are unloaded, and the items go through the next. The results come
out of the last. They are those of a run in one go: chunks and batches are the same, unless some
items wait already because an earlier run was killed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from visionweave.budget.spill import pack, unpack
from visionweave.budget.waiting import WaitingRoom
from visionweave.contract import ModelNode
from visionweave.errors import JobError, NodeFailed, ValueTypeError
from visionweave.execution.batching import THREADS
from visionweave.execution.executor import Options, Result, Run, tell, watched
from visionweave.execution.failures import Failed
from visionweave.execution.items import Item, make_item
from visionweave.execution.plan import Plan
from visionweave.memory import give_back

__all__ = ["Stage", "execute_in_stages"]

AHEAD = 64
"""How many items may wait to be written."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a plan, and how many bytes its forward passes may take."""

    plan: Plan
    room: int


@dataclass(slots=True)
class _Waiting(Item):
    """An item between two stages.

    Attributes:
        key: by what it is known.
        bytes: how much memory its photos take.
        known: how many of its failures earlier stages have written.
        read: returns its values, and adds its failures to the list that it is given.
    """

    key: str = ""
    bytes: int = 0
    known: int = 0
    read: Callable[[str, list[NodeFailed]], list[Any]] | None = field(default=None, repr=False)

    def fetch(self) -> None:
        """Read its values, unless it has them."""
        if self.read is not None:
            self.values = self.read(self.key, self.failures)
            self.known = len(self.failures)

    def pixel_bytes(self) -> int:
        """What was found in the first stage, so that its chunks are those of all stages."""
        return self.bytes


def execute_in_stages(
    plan: Plan, stages: Sequence[Stage], source: Iterable[Any], options: Options, room: WaitingRoom
) -> Iterator[Result]:
    """Run `plan` as `execute` does, in stages; all of `source` is read before a result comes."""
    run = _Stages(plan, stages, options, room)
    with watched(plan, options), run:
        yield from run.results(source)


class _Stages:
    """The state of a run in stages."""

    def __init__(
        self, plan: Plan, stages: Sequence[Stage], options: Options, room: WaitingRoom
    ) -> None:
        self._plan, self._stages, self._options, self._room = plan, stages, options, room
        self._items: list[_Waiting] = []
        self._writing: deque[Future[None]] = deque()

    def __enter__(self) -> None:
        _unload(self._plan)  # what an earlier run has left takes room, too
        self._writers = ThreadPoolExecutor(THREADS, "visionweave-spill")

    def __exit__(self, *error: object) -> None:
        self._writers.shutdown()
        _unload(self._plan)

    def results(self, source: Iterable[Any]) -> Iterator[Result]:
        """Take all items through all stages, and yield their results."""
        last = len(self._stages)
        for number, stage in enumerate(self._stages, start=1):
            tell(self._options, "stage_started", number, last)
            self._options.sizes.room = stage.room
            items = self._first(source) if number == 1 else self._later(number, stage.plan)
            with Run(stage.plan, self._options) as run:
                if number == last:
                    yield from run.results(items)
                else:
                    self._run(number, run, items)
            _unload(stage.plan)

    def _run(self, number: int, run: Run, items: Iterable[_Waiting]) -> None:
        """Take items through a stage that is not the last."""
        inputs = {each.slot for each in self._plan.inputs}
        kept = run.plan.outputs.values()
        value = self._options.keeper.value
        for chunk, columns in run.chunks(items):
            for place, item in enumerate(chunk):
                assert isinstance(item, _Waiting)
                slots = {slot: value(columns[slot][place]) for slot in kept}
                for slot in inputs & slots.keys():
                    if not _has_failed(slots[slot]):  # it waits as it was given
                        del slots[slot]
                self._write(number, item, slots)
            del columns
        self._settle(0)

    def _first(self, source: Iterable[Any]) -> Iterator[_Waiting]:
        """Note all items, and yield those that are to go through the first stage."""
        for index, given in enumerate(source):
            made = make_item(self._plan, given, index)
            item = _Waiting(
                made.name,
                made.values,
                made.failures,
                key=self._room.key(made, index),
                bytes=made.pixel_bytes(),
            )
            self._write(0, item, dict(zip(self._plan.given, item.values, strict=True)))
            item.known = len(item.failures)
            self._items.append(_Waiting(item.name, [], key=item.key, bytes=item.bytes))
            if not self._room.has(1, item.key):
                yield item

    def _later(self, number: int, plan: Plan) -> Iterator[_Waiting]:
        """Yield the items that are to go through a later stage."""
        self._settle(0)
        read = partial(self._read, number, plan)
        last = number == len(self._stages)
        for each in self._items:
            if last or not self._room.has(number, each.key):
                yield _Waiting(each.name, [], key=each.key, bytes=each.bytes, read=read)

    def _read(self, number: int, plan: Plan, key: str, failures: list[NodeFailed]) -> list[Any]:
        values: dict[int, Any] = {}
        try:
            for stage in range(number):
                values |= unpack(self._room.get(stage, key), plan.given, failures)
        except (OSError, ValueTypeError) as error:
            raise JobError(
                f"{self._room.folder}: what waits here for the next stage was changed or removed "
                f"while it was needed ({error}); run the same command again"
            ) from None
        return [values[slot] for slot in plan.given]

    def _write(self, number: int, item: _Waiting, slots: dict[int, Any]) -> None:
        failures, known = list(item.failures), item.known

        def write() -> None:
            self._room.put(number, item.key, pack(slots, failures, known))

        self._writing.append(self._writers.submit(write))
        self._settle(AHEAD)

    def _settle(self, most: int) -> None:
        """Wait until at most so many items are to be written."""
        while len(self._writing) > most:
            self._writing.popleft().result()


def _has_failed(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_has_failed, value))
    return type(value) is Failed


def _unload(plan: Plan) -> None:
    """Unload the models of a plan, and give their memory back."""
    loaded = [step.node for step in plan.steps if isinstance(step.node, ModelNode)]
    loaded = [node for node in loaded if node.runtime is not None]
    for node in loaded:
        node.unload()
    if loaded:
        give_back()
