"""Deferred calls of a model: how a node's `run` hands work to the engine to be batched.

A model node writes `run` as a coroutine for one item, and awaits its forward pass:

    async def run(self, image: Image) -> Embedding:
        vector = await self.encode(self._prepare(image))      # CPU work of one item …
        return Embedding.normalised(vector, self.space)        # … and what follows

    @batched(size=32)
    def encode(self, pixels: list[Pixels]) -> list[Vector]:    # the forward pass of a batch
        ...

`self.encode(x)` computes nothing: it makes a `Call`. The engine runs many coroutines up to their
await, passes the calls of one method together as a list, and resumes each with its own result.
There is no event loop, and nothing else can be awaited.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

__all__ = ["BoundMethod", "Call", "Calls", "batch_sizes", "batched"]

P = TypeVar("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Call(Generic[R]):
    """One call of a batched method, waiting to be run; awaiting it gives the result."""

    method: BoundMethod[Any, R]
    payload: Any

    def __await__(self) -> Generator[Calls[R], list[R], R]:
        (result,) = yield Calls((self,))
        return result


@dataclass(frozen=True, slots=True)
class Calls(Generic[R]):
    """Several calls of one item; awaiting them gives the list of their results."""

    calls: tuple[Call[R], ...]

    def __await__(self) -> Generator[Calls[R], list[R], list[R]]:
        return (yield self) if self.calls else []


@dataclass(frozen=True, slots=True, eq=False)
class BoundMethod(Generic[P, R]):
    """A batched method of one node.

    Attributes:
        node: the node it belongs to.
        function: the method as written: takes a list of payloads, returns as many results.
        size: the largest batch it should be given; the engine goes below it when memory is short.
    """

    node: Any
    function: Callable[[Any, list[P]], Sequence[R]]
    size: int

    def __eq__(self, other: object) -> bool:
        """Whether it is the same method of the same node: nodes need not be hashable."""
        if not isinstance(other, BoundMethod):
            return NotImplemented
        return self.node is other.node and self.function is other.function

    def __hash__(self) -> int:
        return hash((id(self.node), self.function))

    def __call__(self, payload: P) -> Call[R]:
        """Defer a call for one payload; await it."""
        return Call(self, payload)

    def each(self, payloads: Sequence[P]) -> Calls[R]:
        """Defer a call for each of `payloads`; awaiting gives the list of their results."""
        return Calls(tuple(Call(self, payload) for payload in payloads))

    def forward(self, payloads: list[P]) -> Sequence[R]:
        """Run the method now."""
        return self.function(self.node, payloads)

    @property
    def name(self) -> str:
        """The method's name."""
        return self.function.__name__


class _Batched(Generic[P, R]):
    """The descriptor that `batched` puts in the place of a method."""

    def __init__(self, function: Callable[[Any, list[P]], Sequence[R]], size: int) -> None:
        self.function, self.size = function, size
        self.__doc__ = function.__doc__

    @overload
    def __get__(self, node: None, owner: type) -> _Batched[P, R]: ...
    @overload
    def __get__(self, node: object, owner: type) -> BoundMethod[P, R]: ...
    def __get__(self, node: object | None, owner: type) -> _Batched[P, R] | BoundMethod[P, R]:
        return self if node is None else BoundMethod(node, self.function, self.size)


def batched(
    size: int,
) -> Callable[[Callable[[Any, list[P]], Sequence[R]]], _Batched[P, R]]:
    """Make a method of a node one that the engine runs on batches of up to `size` payloads.

    The method takes a list of payloads and returns as many results, in order. Each result must
    depend on its own payload alone, whatever the neighbours and however many: the engine splits,
    joins and repeats batches as it likes.
    """
    if size < 1:
        raise ValueError(f"a batch holds at least one payload; got size={size}")
    return lambda function: _Batched(function, size)


def batch_sizes(node: object) -> dict[str, int]:
    """The batched methods of a node by name, with the sizes that they state."""
    found: dict[str, int] = {}
    for cls in reversed(type(node).__mro__):
        found |= {n: m.size for n, m in vars(cls).items() if isinstance(m, _Batched)}
    return found
