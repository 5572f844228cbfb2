"""Running a model node's coroutines: many items up to their await, one forward pass for all.

The calls of a step are taken in windows of one batch. While a window's forward pass computes, the
next window is prepared and the one before is finished, in worker threads; the forward passes
themselves run in the calling thread, one at a time. How large a window and a batch are, `sizing.py`
is asked whenever one begins.

A batch that raises is split in halves until the payload that cannot be computed stands alone, and
the error is raised at the `await` of its own item. When memory runs out, half the size is
remembered, and no larger batch of that method is tried again; unless a payload is too large even
alone, which says nothing of the others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, wait
from itertools import chain
from typing import Any

from visionweave.contract import Node
from visionweave.deferred import BoundMethod, Call, Calls
from visionweave.errors import NodeError
from visionweave.execution.failures import RAISED, Raised
from visionweave.execution.sizing import Sizes
from visionweave.memory import give_back
from visionweave.runtime import is_out_of_memory

__all__ = ["THREADS", "Batcher"]

THREADS = os.cpu_count() or 1
"""The worker threads of a pool."""

Report = Callable[[str, int, bool], None]
"""Told of each forward pass: the method's name, the batch's size, and whether it failed."""


class _Task:
    """One coroutine on its way: what it waits for, and what became of it."""

    __slots__ = ("answers", "coroutine", "outcome", "waiting")

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.coroutine = coroutine
        self.waiting: tuple[Call[Any], ...] = ()
        self.answers: list[Any] | None = None  # to what it waits for
        self.outcome: Any = None

    def resume(self) -> None:
        """Run on to the next await or to the end; an answer that is an error is raised there."""
        answers, self.answers, self.waiting = self.answers, None, ()
        error = next((a.error for a in answers or () if isinstance(a, Raised)), None)
        try:
            if error is not None:
                request = self.coroutine.throw(error)
            else:
                request = self.coroutine.send(answers)
            while not isinstance(request, Calls):
                wrong = TypeError(f"run may await batched methods only; it awaited {request!r}")
                request = self.coroutine.throw(wrong)
            self.waiting = request.calls
        except StopIteration as stop:
            self.outcome = stop.value
        except RAISED as raised:  # whatever a node raises fails its own item
            self.outcome = Raised(raised)


class _Window:
    """The tasks of one batch, which the worker threads share among them."""

    def __init__(self, tasks: list[_Task], pool: Executor | None) -> None:
        self.tasks, self._pool = tasks, pool
        self._futures: list[Future[None]] = []

    def resume(self, tasks: list[_Task]) -> None:
        """Resume some of the tasks: now, or in the worker threads."""
        if self._pool is None:
            _resume(iter(tasks))
        else:
            shared = iter(tasks)
            count = min(THREADS, len(tasks))
            self._futures = [self._pool.submit(_resume, shared) for _ in range(count)]

    def wait(self) -> list[_Task]:
        """Wait for the worker threads; return the tasks that now wait for answers."""
        for future in self._futures:
            future.result()
        self._futures = []
        return [task for task in self.tasks if task.waiting]

    def close(self) -> None:
        """Wait until no worker thread runs the tasks any more."""
        wait([future for future in self._futures if not future.cancel()])


def _resume(tasks: Iterator[_Task]) -> None:
    for task in tasks:
        task.resume()


class Batcher:
    """Runs the calls of one step.

    Args:
        sizes: says how large the batches are, and is told what came of them.
        pool: the threads that prepare and finish items; None does it in the calling thread.
        report: told of each forward pass.
    """

    def __init__(self, sizes: Sizes, pool: Executor | None, report: Report) -> None:
        self._sizes, self._pool, self._report = sizes, pool, report

    def run(self, node: Node, calls: Iterable[Sequence[Any]]) -> list[Any]:
        """Run `node.run` once for each of `calls`, a list of arguments each.

        Returns:
            As many results, in order; a `Raised` in the place of each that failed.
        """
        return list(chain.from_iterable(self.windows(node, calls)))

    def windows(self, node: Node, calls: Iterable[Sequence[Any]]) -> Iterator[list[Any]]:
        """Yield what `run` returns in parts, each as soon as its calls have ended."""
        tasks = [_Task(node.run(*arguments)) for arguments in calls]
        windows: list[_Window] = []
        try:
            for window in self._finished(self._cut(node, tasks, windows)):
                yield [task.outcome for task in window.tasks]
            self._sizes.step_finished(node)
        finally:
            for window in windows:
                window.close()
            for task in tasks:  # wherever they are; also those that no window holds yet
                task.coroutine.close()

    def _cut(self, node: Node, tasks: list[_Task], windows: list[_Window]) -> Iterator[_Window]:
        """Cut tasks into windows as wide as is best by then, and add each to `windows`."""
        start = 0
        while start < len(tasks):
            width = self._sizes.width(node, len(tasks))
            windows.append(_Window(tasks[start : start + width], self._pool))
            start += width
            yield windows[-1]

    def _finished(self, windows: Iterator[_Window]) -> Iterator[_Window]:
        none = _Window([], None)
        before = window = none
        for after in chain(windows, [none, none]):
            after.resume(after.tasks)
            self._answer_all(window)
            self._finish(before)
            yield before
            before, window = window, after

    def _finish(self, window: _Window) -> None:
        while self._answer_all(window):
            pass

    def _answer_all(self, window: _Window) -> bool:
        """Answer all that the tasks of a window wait for, and resume them; False if none waits."""
        waiting = window.wait()
        by_method: dict[BoundMethod[Any, Any], list[tuple[Any, list[Any], int]]] = {}
        for task in waiting:
            task.answers = answers = [None] * len(task.waiting)
            for place, call in enumerate(task.waiting):
                by_method.setdefault(call.method, []).append((call.payload, answers, place))
        for method, asked in by_method.items():
            found = self._answer(method, [payload for payload, _, _ in asked])
            for (_, answers, place), answer in zip(asked, found, strict=True):
                answers[place] = answer
        window.resume(waiting)
        return bool(waiting)

    def _answer(self, method: BoundMethod[Any, Any], payloads: list[Any]) -> list[Any]:
        """Run a method for all payloads, in batches of the size that fits by now."""
        answers: list[Any] = []
        while len(answers) < len(payloads):
            size = self._sizes.size(method, len(payloads) - len(answers))
            answers += self._batch(method, payloads[len(answers) : len(answers) + size])
        return answers

    def _batch(self, method: BoundMethod[Any, Any], payloads: list[Any]) -> list[Any]:
        """Run a method on one batch, and on parts of it when that fails."""
        count = len(payloads)
        self._sizes.started(method, count)
        results = _forward(method, payloads)
        failed = isinstance(results, Raised)
        self._sizes.ended(method, count, failed)
        self._report(method.name, count, failed)
        if not isinstance(results, Raised):
            return results
        if is_out_of_memory(results.error):
            give_back()
            if count > 1:
                return self._smaller(method, payloads)
        if count == 1:
            return [results]
        half = count // 2
        return self._batch(method, payloads[:half]) + self._batch(method, payloads[half:])

    def _smaller(self, method: BoundMethod[Any, Any], payloads: list[Any]) -> list[Any]:
        """Run a batch that did not fit in memory in smaller ones, and learn from it."""
        caps = self._sizes.caps
        self._sizes.too_large(method, len(payloads))
        answers = self._answer(method, payloads)
        if any(isinstance(each, Raised) and is_out_of_memory(each.error) for each in answers):
            self._sizes.caps = caps
        return answers


def _forward(method: BoundMethod[Any, Any], payloads: list[Any]) -> list[Any] | Raised:
    with method.node.forward_context():
        try:
            returned = method.forward(payloads)
            results = list(() if returned is None else returned)  # a `return` is soon forgotten
        except RAISED as error:  # a model may raise anything; the caller finds out for whom
            return Raised(error)
    if len(results) == len(payloads):
        return results
    what = (
        f"{method.node.spec.id}: {method.name} must return one result per payload; "
        f"got {len(results)} for {len(payloads)}"
    )
    return [Raised(NodeError(what)) for _ in payloads]
