"""Batched methods: what they are to the node that awaits them, and how they are misused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from visionweave import Node, Text, batched, node
from visionweave.deferred import Call, Calls, batch_sizes
from visionweave.execution.batching import Batcher
from visionweave.execution.failures import Raised
from visionweave.execution.sizing import Sizes


class Shout(Node):
    @batched(size=8)
    def shout(self, words: list[str]) -> list[str]:
        """Shout the words."""
        return [word.upper() for word in words]

    @batched(size=2)
    def whisper(self, words: list[str]) -> list[str]:
        return [word.lower() for word in words]


class ShoutMore(Shout):
    @batched(size=4)
    def shout(self, words: list[str]) -> list[str]:
        return [f"{word}!" for word in super().shout.forward(words)]


def run(model: Node, words: Sequence[str]) -> list[str]:
    batcher = Batcher(Sizes(), None, lambda method, size, failed: None)
    outcomes = batcher.run(model, [[Text(word)] for word in words])
    return [f"{type(o.error).__name__}: {o.error}" for o in outcomes if isinstance(o, Raised)]


def test_a_call_of_a_batched_method_computes_nothing_yet() -> None:
    model = Shout()
    call = model.shout("a")
    assert (call.method.name, call.method.size, call.payload) == ("shout", 8, "a")
    assert call == Call(model.shout, "a")
    assert model.shout.each(["a", "b"]) == Calls((Call(model.shout, "a"), Call(model.shout, "b")))
    assert model.shout.forward(["a", "b"]) == ["A", "B"]


def test_a_subclass_may_change_a_batched_method() -> None:
    assert ShoutMore().shout.forward(["a"]) == ["A!"]
    assert batch_sizes(Shout()) == {"shout": 8, "whisper": 2}
    assert batch_sizes(ShoutMore()) == {"shout": 4, "whisper": 2}


def test_a_batched_method_keeps_its_docstring() -> None:
    assert Shout.shout.__doc__ == "Shout the words."


def test_a_batch_holds_something() -> None:
    with pytest.raises(ValueError, match="a batch holds at least one payload; got size=0"):
        batched(size=0)


class Other:
    def __await__(self) -> Iterator[Any]:
        yield self

    def __repr__(self) -> str:
        return "<a future of another library>"


@pytest.mark.parametrize(
    ("awaited", "said"),
    [
        pytest.param(lambda: asyncio.sleep(0), "None", id="asyncio.sleep"),
        pytest.param(Other, "<a future of another library>", id="another library's future"),
    ],
)
def test_awaiting_anything_else_is_an_error(awaited: Callable[[], Any], said: str) -> None:
    @node("deferred.elsewhere")
    class Elsewhere(Node):
        async def run(self, text: Text) -> Text:
            await awaited()
            return text

    error = f"TypeError: run may await batched methods only; it awaited {said}"
    assert run(Elsewhere(), ["a", "b"]) == [error, error]


@pytest.mark.parametrize(
    ("results", "got"),
    [
        pytest.param(["A"], 1, id="too few"),
        pytest.param(["A", "B", "C"], 3, id="too many"),
        pytest.param(None, 0, id="no return"),
    ],
)
def test_a_method_returns_one_result_per_payload(results: list[str] | None, got: int) -> None:
    @node("deferred.miscounts")
    class Miscounts(Node):
        async def run(self, text: Text) -> Text:
            return Text(await self.shout(text.text))

        @batched(size=2)
        def shout(self, words: list[str]) -> Any:
            return results

    what = "deferred.miscounts: shout must return one result per payload"
    assert run(Miscounts(), ["a", "b"]) == [f"NodeError: {what}; got {got} for 2"] * 2
