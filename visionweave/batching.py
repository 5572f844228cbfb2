"""Running a model node's coroutines: many items up to their await, one forward pass for all.

The calls of a step are taken in windows of one batch. While a window's forward pass computes, the
next window is prepared and the one before is finished, in worker threads; the forward passes
themselves run in the calling thread, one at a time, in an order that does not depend on timing.

A batch that raises is split in halves until the payload that cannot be computed stands alone, and
the error is raised at the `await` of its own item. When memory runs out, the half that fits is
remembered, and no larger batch of that method is tried again.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any

from visionweave.contract import Node
from visionweave.deferred import BoundMethod, Call, Calls, batch_sizes
from visionweave.errors import NodeError
from visionweave.runtime import is_out_of_memory

__all__ = ["Batcher", "Limits", "Raised"]

Report = Callable[[str, int, bool], None]
"""Told of each forward pass: the method's name, the batch's size, and whether it failed."""


@dataclass(frozen=True, slots=True)
class Raised:
    """In the place of a result: the error that came instead."""

    error: Exception


@dataclass(slots=True)
class Limits:
    """The largest batches to try.

    Attributes:
        batch: the largest batch of any method, or None for what each method states.
        found: by node id and method, what was found to fit when memory ran out.
    """

    batch: int | None = None
    found: dict[tuple[str, str], int] = field(default_factory=dict)

    def size(self, node: Node, method: str, stated: int) -> int:
        """The largest batch to try for a method that states `stated`."""
        wanted = stated if self.batch is None else self.batch
        return min(wanted, self.found.get((node.spec.id, method), wanted))

    def too_large(self, node: Node, method: str, size: int) -> None:
        """Remember that a batch of `size` did not fit in memory."""
        self.found[node.spec.id, method] = max(1, size // 2)


class _Task:
    """One coroutine on its way: what it waits for, and what became of it."""

    __slots__ = ("coroutine", "future", "outcome", "waiting")

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.coroutine = coroutine
        self.waiting: tuple[Call[Any], ...] = ()
        self.outcome: Any = None
        self.future: Future[None] | None = None

    def resume(self, answers: Sequence[Any] | None) -> None:
        """Run on to the next await or to the end; an answer that is an error is raised there."""
        self.waiting = ()
        error = next((a.error for a in answers or () if isinstance(a, Raised)), None)
        try:
            if error is not None:
                request = self.coroutine.throw(error)
            else:
                request = self.coroutine.send(None if answers is None else list(answers))
            while not isinstance(request, Calls):
                wrong = TypeError(f"run may await batched methods only; it awaited {request!r}")
                request = self.coroutine.throw(wrong)
            self.waiting = request.calls
        except StopIteration as stop:
            self.outcome = stop.value
        except Exception as raised:  # whatever a node raises fails its own item
            self.outcome = Raised(raised)

    def wait(self) -> None:
        """Wait until the worker thread is done with this task."""
        if self.future is not None:
            self.future.result()
            self.future = None


class Batcher:
    """Runs the calls of one step.

    Args:
        limits: the largest batches to try; what is found out is remembered there.
        pool: the threads that prepare and finish items; None does it in the calling thread.
        report: told of each forward pass.
    """

    def __init__(self, limits: Limits, pool: Executor | None, report: Report) -> None:
        self._limits, self._pool, self._report = limits, pool, report

    def run(self, node: Node, calls: Iterable[Sequence[Any]]) -> list[Any]:
        """Run `node.run` once for each of `calls`, a list of arguments each.

        Returns:
            As many results, in order; a `Raised` in the place of each that failed.
        """
        tasks = [_Task(node.run(*arguments)) for arguments in calls]
        sizes = (self._limits.size(node, *stated) for stated in batch_sizes(node).items())
        width = min(sizes, default=1)
        windows = [tasks[start : start + width] for start in range(0, len(tasks), width)]
        before: list[_Task] = []
        try:
            for index, window in enumerate(windows):
                self._start(window if index == 0 else [])
                self._start(windows[index + 1] if index + 1 < len(windows) else [])
                self._forward(window)
                self._finish(before)
                before = window
            self._finish(before)
        finally:
            for task in tasks:
                task.coroutine.close()
        return [task.outcome for task in tasks]

    def _start(self, window: list[_Task]) -> None:
        for task in window:
            self._resume(task, None)

    def _resume(self, task: _Task, answers: Sequence[Any] | None) -> None:
        if self._pool is None:
            task.resume(answers)
        else:
            task.future = self._pool.submit(task.resume, answers)

    def _finish(self, window: list[_Task]) -> None:
        while self._forward(window):
            pass

    def _forward(self, window: list[_Task]) -> bool:
        """Answer all that the tasks of a window wait for, and resume them; False if none waits."""
        for task in window:
            task.wait()
        waiting = [task for task in window if task.waiting]
        answers: dict[_Task, list[Any]] = {task: [None] * len(task.waiting) for task in waiting}
        by_method: dict[str, list[tuple[_Task, int]]] = {}
        for task in waiting:
            for place, call in enumerate(task.waiting):
                by_method.setdefault(call.method.name, []).append((task, place))
        for places in by_method.values():
            calls = [task.waiting[place] for task, place in places]
            for (task, place), answer in zip(places, self._answer(calls), strict=True):
                answers[task][place] = answer
        for task in waiting:
            self._resume(task, answers[task])
        return bool(waiting)

    def _answer(self, calls: list[Call[Any]]) -> list[Any]:
        """Run one method for all its calls, in batches of the size that fits by now."""
        method = calls[0].method
        answers: list[Any] = []
        while len(answers) < len(calls):
            size = self._limits.size(method.node, method.name, method.size)
            batch = calls[len(answers) : len(answers) + size]
            answers += self._batch(method, [call.payload for call in batch])
        return answers

    def _batch(self, method: BoundMethod[Any, Any], payloads: list[Any]) -> list[Any]:
        try:
            with method.node.forward_context():
                results = list(method.forward(payloads))
            if len(results) != len(payloads):
                raise NodeError(
                    f"{method.node.spec.id}: {method.name} must return one result per payload; "
                    f"got {len(results)} for {len(payloads)}"
                )
            self._report(method.name, len(payloads), False)
            return results
        except Exception as error:  # a model may raise anything; the next lines find out for whom
            self._report(method.name, len(payloads), True)
            if len(payloads) == 1:
                return [Raised(error)]
            full = is_out_of_memory(error)
        # Outside the handler, so that the traceback no longer holds the batch's memory.
        if full:
            self._limits.too_large(method.node, method.name, len(payloads))
            _free_memory()
        half = len(payloads) // 2
        return self._batch(method, payloads[:half]) + self._batch(method, payloads[half:])


def _free_memory() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
