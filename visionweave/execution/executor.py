"""The executor: runs a plan over a stream of items.

The policy, all of it:

- Items are taken in **chunks** (`items.py`): a chunk goes through the graph step by step, each step
  over all its items and all their objects. The next chunk is decoded meanwhile.
- A step that repeats along axes is expanded into one **call** per element, in order; a node with a
  model gets the calls of the whole chunk at once and batches them (`batching.py`).
- A value is **dropped after its last reader**; what an output needs is kept until its item is
  handed out. So memory is bounded by the chunk, however long the stream.
- Each model is **loaded** when its step first has something to do, once.
- What is **known** already is not computed: the `Keeper` (`keeper.py`) is asked for every step.
- A call that **fails** leaves a `Failed` in its place. Steps that need it pass it on and are not
  run; a step that takes a whole list gets the elements that did not fail. Everything else goes on.
- Results come **in the order** of the items, and depend on neither chunk nor batch size.

Whatever wants to watch is an `Observer`, and whatever keeps results a `Keeper`; nothing here prints
or stores.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Self

from visionweave.contract import ModelNode
from visionweave.errors import NodeFailed
from visionweave.execution.batching import THREADS, Batcher
from visionweave.execution.calls import Call, by_item, expand, resolve, settle, without_failures
from visionweave.execution.failures import Failed
from visionweave.execution.items import Item, make_item, read_chunks
from visionweave.execution.keeper import Keeper
from visionweave.execution.observe import Observer
from visionweave.execution.plan import Plan, PlannedStep
from visionweave.execution.side_by_side import run_each
from visionweave.execution.sizing import Sizes
from visionweave.runtime import Runtime

__all__ = ["CHUNK", "Options", "Result", "Run", "execute", "tell", "watched"]

CHUNK = 64
"""Items in a chunk: two batches of the smallest models, and few enough to hold."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to run, none of which changes what comes out.

    Attributes:
        runtime: the device and precision.
        chunk: the largest number of items in a chunk.
        sizes: how large the batches are.
        observers: who is told what happens.
        keeper: who may know results already.
    """

    runtime: Runtime = field(default_factory=Runtime.get)
    chunk: int = CHUNK
    sizes: Sizes = field(default_factory=Sizes)
    observers: Sequence[Observer] = ()
    keeper: Keeper = field(default_factory=Keeper)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one item.

    `result["masks"]` is an output; it raises the NodeFailed because of which there is none.

    Attributes:
        name: the photo's name, or "item 3".
        outputs: the outputs by name: a value, or a (nested) list with those that did not fail.
            An output that failed as a whole is missing.
        failures: all that failed on the way, objects and whole steps, in order.
    """

    name: str
    outputs: dict[str, Any]
    failures: tuple[NodeFailed, ...] = ()
    missing: dict[str, NodeFailed] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.failures

    def __getitem__(self, output: str) -> Any:
        if output in self.missing:
            raise self.missing[output]
        if output not in self.outputs:
            known = ", ".join([*self.outputs, *self.missing])
            raise KeyError(f"there is no output {output!r}; the outputs are {known}")
        return self.outputs[output]


def execute(plan: Plan, source: Iterable[Any], options: Options) -> Iterator[Result]:
    """Run `plan` over `source`, whose elements are as `items.make_item` takes them.

    Yields:
        One result per item, in order. A result is handed out when its chunk is done.
    """
    items = (make_item(plan, given, index) for index, given in enumerate(source))
    with watched(plan, options), Run(plan, options) as run:
        yield from run.results(items)


@contextmanager
def watched(plan: Plan, options: Options) -> Iterator[None]:
    """Within this, a plan runs, as a whole or in parts: the keeper is open, observers are told."""
    tell(options, "run_started", plan)
    try:
        with options.keeper:
            yield
    finally:
        tell(options, "run_finished")


def tell(options: Options, event: str, *details: Any) -> None:
    """Tell all observers of something."""
    for observer in options.observers:
        getattr(observer, event)(*details)


class Run:
    """Runs a plan, or a part of one: the state, and the threads that read, prepare and finish."""

    def __init__(self, plan: Plan, options: Options) -> None:
        self.plan, self.options = plan, options
        self._items: list[Item] = []  # of the current chunk
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        plan, several = self.plan, self.options.chunk > 1  # a single item needs no threads
        # Two pools, so that the next chunk's photos do not stand in line before this one's batches.
        self._readers = self._pool() if several and plan.reads_images else None
        self._workers = self._pool() if several else None
        self.options.keeper.run_started(plan)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _pool(self) -> Executor:
        pool = ThreadPoolExecutor(THREADS, thread_name_prefix="visionweave")
        self._stack.callback(pool.shutdown, cancel_futures=True)
        return pool

    def results(self, items: Iterable[Item]) -> Iterator[Result]:
        """Run items, and yield the result of each."""
        for chunk, columns in self.chunks(items):
            outputs = {name: columns[slot] for name, slot in self.plan.outputs.items()}
            del columns
            for index, item in enumerate(chunk):
                yield self._result(item, index, outputs)

    def chunks(self, items: Iterable[Item]) -> Iterator[tuple[list[Item], list[list[Any]]]]:
        """Run items in chunks; yield those of each, and the columns of what is left of them.

        There is one column of values per slot, with one value per item in each.
        """
        for chunk in read_chunks(items, self.options.chunk, self._readers, self._ready):
            yield chunk, self._chunk(chunk)

    def _ready(self, item: Item) -> Item:
        """Make an item ready to be run. Photos of which the keeper knows enough are not decoded;
        they are when somebody asks for their pixels after all.
        """
        started = time.perf_counter()
        item.fetch()
        if self.options.keeper.wants_pixels(item):
            item.decode(self.plan.inputs)
        item.seconds = time.perf_counter() - started
        return item

    def _chunk(self, items: list[Item]) -> list[list[Any]]:
        """Take a chunk through all steps."""
        self._items = items
        self._tell("chunk_started", [item.name for item in items])
        self._tell("items_timed", None, [item.seconds for item in items])
        columns: list[list[Any]] = [[] for _ in range(self.plan.slots)]
        for place, slot in enumerate(self.plan.given):
            columns[slot] = [item.values[place] for item in items]
        for item in items:
            item.values.clear()
        for step in self.plan.steps:
            self._step(step, columns)
            for slot in step.releases:
                columns[slot] = []
        return columns

    def _tell(self, event: str, *details: Any) -> None:
        tell(self.options, event, *details)

    def _step(self, step: PlannedStep, columns: list[list[Any]]) -> None:
        """Run one step over a chunk, and put its results into their columns."""
        shapes, calls = expand(step, columns, len(self._items))
        left = self.options.keeper.left(step, calls, self._again)
        if len(left) < len(calls):
            self._tell("results_found", step, len(calls) - len(left))
        if left:
            self._load(step)
        self._tell("step_started", step, len(left))
        started = time.perf_counter()
        self._compute(step, left)
        for name, slot in step.slots.items():
            columns[slot] = [resolve(shape, name) for shape in shapes]
        self._tell("step_finished", step, len(left), time.perf_counter() - started)

    def _compute(self, step: PlannedStep, calls: list[Call]) -> None:
        """Run calls of a step; batch by batch, so that what an interrupted one has done is kept."""
        started = time.perf_counter()
        if step.spec.is_async:
            for done in self._run_batched(step, calls):
                self._settle(step, done)
        else:
            run_each(step.node, calls, self._workers)
            self._settle(step, calls)
        if self.options.observers:
            seconds = by_item(calls, len(self._items), time.perf_counter() - started)
            self._tell("items_timed", step, seconds)

    def _settle(self, step: PlannedStep, calls: list[Call]) -> None:
        settle(step, calls, self._items)
        self.options.keeper.keep(step, calls)

    def _again(self, step: PlannedStep, calls: list[Call]) -> None:
        """Run calls whose results the keeper knew and has lost."""
        self._load(step)
        self._compute(step, calls)

    def _load(self, step: PlannedStep) -> None:
        node, runtime = step.node, self.options.runtime
        if isinstance(node, ModelNode) and node.runtime is not runtime:
            self._tell("model_loading", step)
            started = time.perf_counter()
            node.ensure_loaded(runtime)
            self._tell("model_loaded", step, time.perf_counter() - started)

    def _run_batched(self, step: PlannedStep, calls: list[Call]) -> Iterator[list[Call]]:
        def report(method: str, size: int, failed: bool) -> None:
            self._tell("batch_finished", step, method, size, failed)

        batcher = Batcher(self.options.sizes, self._workers, report)
        rest = iter(calls)
        # A window comes out when the next one has computed: what it took passed before that.
        times = deque([time.perf_counter()] * 3, maxlen=3)
        for outcomes in batcher.windows(step.node, [call.arguments for call in calls]):
            times.append(time.perf_counter())
            done = list(islice(rest, len(outcomes)))
            for call, outcome in zip(done, outcomes, strict=True):
                call.outcome, call.seconds = outcome, (times[1] - times[0]) / len(done)
            yield done

    def _result(self, item: Item, index: int, columns: dict[str, list[Any]]) -> Result:
        """Take the outputs of an item out of their columns, so that only its receiver has them."""
        value = self.options.keeper.value
        given = {name: value(column[index]) for name, column in columns.items()}
        for column in columns.values():
            column[index] = None
        missing = {n: value.error for n, value in given.items() if isinstance(value, Failed)}
        outputs = {n: without_failures(value) for n, value in given.items() if n not in missing}
        order = self.plan.order
        failures = sorted(item.failures, key=lambda failure: order.get(failure.step, -1))
        result = Result(item.name, outputs, tuple(failures), missing)
        item.failures.clear()
        self._tell("item_finished", result)
        return result
