"""Batches: joined across calls, split around what fails, made smaller when memory is short."""

from __future__ import annotations

import dataclasses
import gc
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest

from visionweave import Input, Node, Pipeline, Text, batched, node
from visionweave.execution.batching import Batcher
from visionweave.execution.failures import Raised
from visionweave.execution.sizing import Sizes


@pytest.fixture(params=["in the calling thread", "in worker threads"])
def pool(request: pytest.FixtureRequest) -> Iterator[Executor | None]:
    with ThreadPoolExecutor(2) as threads:
        yield threads if request.param == "in worker threads" else None


@node("batching.shout")
class Shout(Node):
    """A model: shouts batches of words, whatever `trouble` makes of them first."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.trouble: Callable[[list[str]], object] = len

    async def run(self, text: Text) -> Text:
        if text.text == "unprepared":
            raise LookupError("cannot prepare it")
        loud = await self.shout(text.text)
        if text.text == "unfinished":
            raise ArithmeticError("cannot finish it")
        return Text(loud)

    @batched(size=8)
    def shout(self, words: list[str]) -> list[str]:
        """Shout."""
        self.sizes.append(len(words))
        self.trouble(words)
        return [word.upper() for word in words]


@node("batching.several")
class Several(Shout):
    """Shout the words of a text, and then count the letters of them all at once."""

    async def run(self, text: Text) -> Text:
        words = await self.shout.each(text.text.split())
        total = await self.count("".join(words))
        return Text(f"{' '.join(words)} {total}")

    @batched(size=3)
    def count(self, words: list[str]) -> list[int]:
        self.sizes.append(-len(words))  # to tell it from the other method
        self.trouble(words)
        return [len(word) for word in words]


def run(
    model: Node, words: Sequence[str], pool: Executor | None = None, sizes: Sizes | None = None
) -> list[str]:
    """The results as text, and the errors as "ValueError: what it says"."""
    batcher = Batcher(sizes or Sizes(), pool, lambda method, size, failed: None)
    return [plain(each) for each in batcher.run(model, [[Text(word)] for word in words])]


def plain(outcome: Text | Raised) -> str:
    if isinstance(outcome, Raised):
        return f"{type(outcome.error).__name__}: {outcome.error}"
    return outcome.text


def refuse(bad: str) -> Callable[[list[str]], None]:
    def trouble(words: list[str]) -> None:
        if bad in words:
            raise ValueError(f"no {bad} here")

    return trouble


def numbers(count: int) -> list[str]:
    return [f"n{index}" for index in range(count)]


# Joining --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "sizes"),
    [
        pytest.param(0, [], id="nothing to do"),
        pytest.param(8, [8], id="one full batch"),
        pytest.param(19, [8, 8, 3], id="the last is smaller"),
    ],
)
def test_calls_are_joined_to_full_batches(
    pool: Executor | None, count: int, sizes: list[int]
) -> None:
    model = Shout()
    assert run(model, numbers(count), pool) == [word.upper() for word in numbers(count)]
    assert model.sizes == sizes


def test_each_joins_any_number_of_calls_per_item_and_methods_do_not_mix(
    pool: Executor | None,
) -> None:
    model = Several()
    found = run(model, ["a b c", "", "d", "e f g h i j k l m", "n"], pool)
    assert found == ["A B C 3", " 0", "D 1", "E F G H I J K L M 9", "N 1"]
    assert [size for size in model.sizes if size > 0] == [4, 8, 2]
    assert [-size for size in model.sizes if size < 0] == [1, 2, 2]


def test_a_node_that_awaits_nothing_may_still_be_a_coroutine(pool: Executor | None) -> None:
    @node("batching.idle")
    class Idle(Node):
        async def run(self, text: Text) -> Text:
            return text

    assert run(Idle(), ["a", "b"], pool) == ["a", "b"]


def test_a_node_need_not_be_hashable(pool: Executor | None) -> None:
    @node("batching.plain")
    @dataclasses.dataclass
    class Plain(Node):
        times: int = 2

        async def run(self, text: Text) -> Text:
            return Text(await self.repeat(text.text))

        @batched(size=4)
        def repeat(self, words: list[str]) -> list[str]:
            seen.append(len(words))
            return [word * self.times for word in words]

    seen: list[int] = []
    batcher = Batcher(Sizes(), pool, lambda method, size, failed: None)
    assert batcher.run(Plain(3), [[Text(word)] for word in "abcde"]) == [
        Text(word * 3) for word in "abcde"
    ]
    assert seen == [4, 1]


def test_methods_of_one_name_of_two_nodes_do_not_mix(pool: Executor | None) -> None:
    @node("batching.both")
    class Both(Node):
        def __init__(self) -> None:
            self.whisperer, self.shouter = Shout(), Shout()
            self.whisperer.trouble = refuse("A")

        async def run(self, text: Text) -> Text:
            if text.text == "A":
                return Text(await self.shouter.shout("loud"))
            return Text(await self.whisperer.shout("quiet"))

        @batched(size=2)
        def unused(self, words: list[str]) -> list[str]:
            return words

    model = Both()
    assert run(model, ["A", "b"], pool) == ["LOUD", "QUIET"]
    assert model.whisperer.sizes == model.shouter.sizes == [1]


def test_while_a_batch_computes_the_next_is_prepared_and_the_one_before_finished() -> None:
    prepared, computing = threading.Event(), threading.Event()

    @node("batching.overlap")
    class Overlap(Node):
        async def run(self, text: Text) -> Text:
            if text.text == "second":
                prepared.set()
            word = await self.same(text.text)
            assert word != "first" or computing.wait(timeout=30)
            return Text(word)

        @batched(size=1)
        def same(self, words: list[str]) -> list[str]:
            if words == ["second"]:
                computing.set()
            assert words != ["first"] or prepared.wait(timeout=30)
            return words

    with ThreadPoolExecutor(2) as pool:
        assert run(Overlap(), ["first", "second"], pool) == ["first", "second"]


def test_forward_passes_run_in_the_calling_thread() -> None:
    model, used = Shout(), set[threading.Thread]()
    model.trouble = lambda words: used.add(threading.current_thread())
    list(Pipeline(out=model(Input("text", Text))).map(numbers(20)))
    assert used == {threading.current_thread()}


# Failing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 7, 8])
def test_one_bad_payload_in_a_batch_fails_alone_after_few_forwards(
    pool: Executor | None, count: int
) -> None:
    for bad in numbers(count):
        model = Shout()
        model.trouble = refuse(bad)
        wanted = [w.upper() if w != bad else f"ValueError: no {bad} here" for w in numbers(count)]
        assert run(model, numbers(count), pool) == wanted
        assert len(model.sizes) <= 1 + 2 * math.ceil(math.log2(count))


def test_what_fails_before_or_after_the_batch_fails_alone(pool: Executor | None) -> None:
    model = Shout()
    assert run(model, ["a", "unprepared", "b", "unfinished", "c"], pool) == [
        "A",
        "LookupError: cannot prepare it",
        "B",
        "ArithmeticError: cannot finish it",
        "C",
    ]
    assert model.sizes == [4]


def test_one_bad_payload_of_several_fails_its_item_at_the_await(pool: Executor | None) -> None:
    model = Several()
    model.trouble = refuse("bad")
    assert run(model, ["a b", "c bad d", "e"], pool) == ["A B 2", "ValueError: no bad here", "E 1"]


def test_an_error_can_be_caught_at_the_await(pool: Executor | None) -> None:
    @node("batching.careful")
    class Careful(Shout):
        async def run(self, text: Text) -> Text:
            try:
                return Text(await self.shout(text.text))
            except ValueError as error:
                return Text(f"{await self.shout('instead')} of {error}")

    model = Careful()
    model.trouble = refuse("bad")
    assert run(model, ["a", "bad", "c"], pool) == ["A", "INSTEAD of no bad here", "C"]


def test_an_interrupt_leaves_no_coroutine_and_no_thread_behind() -> None:
    preparing = threading.Event()

    @node("batching.interrupted")
    class Interrupted(Shout):
        async def run(self, text: Text) -> Text:
            if text.text == "n8":  # of the second batch
                preparing.set()
                threading.Event().wait(0.1)  # still on its way when the first is interrupted
            return Text(await self.shout(text.text))

    def interrupt(words: list[str]) -> None:
        assert preparing.wait(timeout=30)
        raise KeyboardInterrupt("enough")

    before = threading.active_count()
    model = Interrupted()
    model.trouble = interrupt
    with pytest.raises(KeyboardInterrupt, match="enough"):
        list(Pipeline(out=model(Input("text", Text))).map(numbers(40)))
    gc.collect()  # a coroutine that was never awaited would warn, and warnings are errors
    assert threading.active_count() == before
    assert model.sizes == [8]
