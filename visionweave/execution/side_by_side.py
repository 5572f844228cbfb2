"""Running the calls of a plain node: one after another, or side by side where they take long.

Cutting an object out of a photo of 12 megapixels takes long enough to be worth a thread; keeping
the boxes that score well takes less than handing it to one. So the calls of a step begin in the
calling thread, and as soon as one of them has taken long, the rest is shared out.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor

from visionweave.contract import ModelNode, Node
from visionweave.execution.batching import THREADS
from visionweave.execution.calls import Call
from visionweave.execution.failures import RAISED, Raised

__all__ = ["run_each"]

LONG = 0.002
"""Seconds: some twenty times what a thread costs that is given something to do."""


def run_each(node: Node, calls: Sequence[Call], pool: Executor | None) -> None:
    """Run `node.run` for each call, and note its outcome and its seconds.

    Args:
        node: a node whose `run` is no coroutine. One with a model runs in the calling thread.
        calls: what it is called with.
        pool: the threads that may help; None for none.
    """
    rest = iter(calls)
    for call in rest:
        _run(node, call)
        if pool is not None and call.seconds > LONG and not isinstance(node, ModelNode):
            _share(node, rest, min(THREADS, len(calls) - 1), pool)


def _share(node: Node, rest: Iterator[Call], threads: int, pool: Executor) -> None:
    futures = [pool.submit(_run_all, node, rest) for _ in range(threads)]
    try:
        for future in futures:
            future.result()
    finally:
        deque(rest, maxlen=0)  # when this thread is interrupted, the others soon end


def _run_all(node: Node, rest: Iterator[Call]) -> None:
    for call in rest:
        _run(node, call)


def _run(node: Node, call: Call) -> None:
    started = time.perf_counter()
    try:
        call.outcome = node.run(*call.arguments)
    except RAISED as error:  # whatever a node raises fails this call alone
        call.outcome = Raised(error)
    call.seconds = time.perf_counter() - started
