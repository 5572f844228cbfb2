"""When memory runs out, batches become smaller and stay so; nothing else changes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from visionweave import Input, Node, Pipeline, Text, batched, node
from visionweave.execution.batching import Batcher
from visionweave.execution.failures import Raised
from visionweave.execution.sizing import Sizes
from visionweave.runtime import is_out_of_memory


class OutOfMemoryError(Exception):
    """Called as torch calls its own."""


@node("memory.upper")
class Upper(Node):
    """A model that has room for `room` words at a time, of which a "giant" takes more than all."""

    def __init__(self, room: int = 100) -> None:
        self.room = room
        self.error: BaseException = MemoryError()
        self.sizes: list[int] = []

    async def run(self, text: Text) -> Text:
        return Text(await self.upper(text.text))

    @batched(size=8)
    def upper(self, words: list[str]) -> list[str]:
        self.sizes.append(len(words))
        if len(words) > self.room or "giant" in words:
            raise self.error
        return [word.upper() for word in words]


def run(model: Node, words: Sequence[str], sizes: Sizes) -> list[str]:
    batcher = Batcher(sizes, None, lambda method, size, failed: None)
    outcomes = batcher.run(model, [[Text(word)] for word in words])
    return [type(o.error).__name__ if isinstance(o, Raised) else o.text for o in outcomes]


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(MemoryError(), id="of the machine"),
        pytest.param(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), id="of CUDA"),
        pytest.param(OutOfMemoryError("full"), id="by its name"),
    ],
)
def test_out_of_memory_halves_the_batch_and_remembers_the_size(error: Exception) -> None:
    model, sizes = Upper(room=3), Sizes()
    model.error = error
    assert run(model, "abcdefghijklm", sizes) == list("ABCDEFGHIJKLM")
    assert model.sizes == [8, 4, 2, 2, 2, 2, 2, 2, 1]
    assert list(sizes.caps.values()) == [2]


def test_no_batch_is_larger_than_what_was_found_not_even_the_other_half() -> None:
    model, sizes = Upper(room=3), Sizes(batch=7)
    assert run(model, "abcdefghij", sizes) == list("ABCDEFGHIJ")
    assert model.sizes == [7, 3, 3, 1, 3]


def test_later_chunks_keep_to_the_size_that_was_found() -> None:
    model = Upper(room=2)
    results = Pipeline(out=model(Input("text", Text))).map(list("abcdefgh"), chunk=4)
    assert [result["out"].text for result in results] == list("ABCDEFGH")
    assert model.sizes == [4, 2, 2, 2, 2]


def test_what_is_found_for_one_node_says_nothing_of_another() -> None:
    model, sizes = Upper(room=1), Sizes()
    run(model, "ab", sizes)
    assert list(sizes.caps.values()) == [1]
    assert sizes.width(model, 8) == 1
    assert sizes.width(Upper(), 8) == 8


def test_a_payload_too_large_even_alone_fails_alone_and_leaves_the_batches_as_they_were() -> None:
    model, sizes = Upper(), Sizes()
    words = [*"abc", "giant", *"efgh", *"ijklmnop"]
    found = run(model, words, sizes)
    assert found == ["A", "B", "C", "MemoryError", *"EFGHIJKLMNOP"]
    assert model.sizes == [8, 4, 2, 2, 1, 1, 4, 8]
    assert sizes.caps == {}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(MemoryError(), True, id="MemoryError"),
        pytest.param(OutOfMemoryError(), True, id="the class's name"),
        pytest.param(RuntimeError("CUDA error: out of memory"), True, id="CUDA"),
        pytest.param(RuntimeError("DefaultCPUAllocator: can't allocate memory"), True, id="torch"),
        pytest.param(RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"), True, id="cuBLAS"),
        pytest.param(OSError(12, "Cannot allocate memory"), True, id="the system"),
        pytest.param(ValueError("out of memory"), False, id="a word in another error"),
        pytest.param(RuntimeError("sizes do not match"), False, id="another RuntimeError"),
    ],
)
def test_out_of_memory_is_told_from_other_errors(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) == expected
