"""Batch sizes found by trying: which sizes are run, where it ends, and what is remembered of it.

The clock and the memory are made up: a batch takes what a function of its size says.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from visionweave import Input, ModelNode, Node, Pipeline, Runtime, Text, batched, node
from visionweave.execution.batching import Batcher
from visionweave.execution.climb import Climb
from visionweave.execution.executor import Options, execute
from visionweave.execution.sizing import Sizes, TriedSizes

CPU = Runtime("cpu", "fp32")
GB = 10**9


class Machine:
    """Measures with a clock and a memory that are made up.

    Args:
        seconds: what a batch takes, by its size.
        each: the bytes that each payload of a batch takes.
        free: the bytes that are free.
    """

    def __init__(
        self, seconds: Callable[[int], float], each: int | None = GB, free: int | None = 1000 * GB
    ) -> None:
        self.seconds, self.each, self.memory = seconds, each, free
        self.size = 0

    def free(self) -> int | None:
        return self.memory

    def start(self, *, afresh: bool = False) -> None:
        self.size = 0

    def stop(self) -> tuple[float, int | None]:
        return self.seconds(self.size), None if self.each is None else self.size * self.each


@node("sizing.upper")
class Upper(ModelNode):
    """A model with room for `room` words at a time."""

    def __init__(self, room: int = 10_000, extra: str = "") -> None:
        self.room = room
        self.sizes: list[int] = []
        self.machine: Machine | None = None

    def load(self, runtime: Runtime) -> None:
        """There is nothing to load."""

    async def run(self, text: Text) -> Text:
        return Text(await self.upper(text.text))

    @batched(size=4)
    def upper(self, words: list[str]) -> list[str]:
        self.sizes.append(len(words))
        if len(words) > self.room:
            raise MemoryError
        if self.machine is not None:
            self.machine.size = len(words)
        return [word.upper() for word in words]


def climb(machine: Machine, chunks: Iterable[int], model: Upper | None = None) -> list[int]:
    """Run a model over chunks of so many words; return the sizes of its batches."""
    model = model or Upper()
    model.machine = machine
    sizes = TriedSizes(CPU, machine)
    batcher = Batcher(sizes, None, lambda method, size, failed: None)
    for count in chunks:
        words = [f"w{index}" for index in range(count)]
        found = batcher.run(model, [[Text(word)] for word in words])
        assert [each.text for each in found] == [word.upper() for word in words]
    return model.sizes


def overhead(size: int) -> float:
    """A GPU: a batch takes 10 ms, and 1 ms for each payload."""
    return 0.010 + 0.001 * size


def linear(size: int) -> float:
    return 0.010 * size


def caches(size: int) -> float:
    """A processor whose caches hold two payloads."""
    return (0.010 if size <= 2 else 0.015) * size


# Climbing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("machine", "end"),
    [
        pytest.param(Machine(overhead), 64, id="up, until doubling gains less than a tenth"),
        pytest.param(Machine(linear), 4, id="nothing is gained, up or down"),
        pytest.param(Machine(caches), 2, id="down"),
        pytest.param(Machine(lambda size: 1e-5), 4, id="what takes no time is left alone"),
        pytest.param(Machine(overhead, GB, 30 * GB), 16, id="memory is enough for sixteen"),
        pytest.param(Machine(overhead, GB, 3 * GB), 4, id="memory is short from the beginning"),
        pytest.param(Machine(overhead, None), 4, id="what a batch takes is not known"),
        pytest.param(Machine(overhead, GB, None), 4, id="what is free is not known"),
    ],
)
def test_a_batch_grows_while_that_pays_and_memory_is_enough(machine: Machine, end: int) -> None:
    sizes = climb(machine, [4000])
    assert sizes[-11:-1] == [end] * 10
    assert max(sizes) <= max(8, 2 * end)
    if machine.each is not None and machine.memory is not None:
        assert max(sizes[1:]) * machine.each <= max(4 * GB, 0.7 * machine.memory)


def test_two_sizes_are_measured_in_turn_three_times() -> None:
    sizes = climb(Machine(linear), [400])
    up, down = [4, 4, 8], [2, 2, 4]
    assert sizes[:18] == up * 3 + down * 3
    assert set(sizes[18:]) == {4}


def test_one_measure_in_three_may_go_wrong() -> None:
    for wrong in range(9):
        runs = 0

        def seconds(size: int, wrong: int = wrong) -> float:
            nonlocal runs
            runs += 1
            return 5.0 if runs == wrong else linear(size)

        assert climb(Machine(seconds), [400])[-1] == 4


def test_an_end_is_never_slower_than_what_is_stated() -> None:
    for bend in (1, 2, 3, 5, 8, 13, 21, 34):
        for steep in (0.5, 0.9, 1.1, 2.0):

            def seconds(size: int, bend: int = bend, steep: float = steep) -> float:
                return 0.01 + 0.01 * size if size < bend else 0.01 + 0.01 * size**steep

            model = Upper(extra=f"{bend} {steep}")
            end = climb(Machine(seconds), [1000], model)[-2]
            assert seconds(end) / end <= seconds(4) / 4


@pytest.mark.parametrize(
    ("calls", "widest"),
    [
        pytest.param(4, 4, id="all at once, as stated"),
        pytest.param(15, 4, id="too few for two windows of eight"),
        pytest.param(16, 8, id="enough for eight"),
        pytest.param(100, 32, id="enough for thirty-two"),
    ],
)
def test_there_is_always_a_window_to_prepare_while_another_computes(
    calls: int, widest: int
) -> None:
    assert max(climb(Machine(overhead), [calls] * 60)) == widest


def test_a_climb_goes_on_from_chunk_to_chunk() -> None:
    assert climb(Machine(overhead), [40] * 10)[-3:] == [16, 16, 8]


def test_an_odd_size_is_halved_as_if_it_were_even() -> None:
    found = Climb(3, ("down",))
    for _ in range(3):
        assert [found.next(9, lambda size: True) for _ in range(1)] == [1]
        for seconds, size in ((0.1, 1), (0.1, 1), (0.4, 2)):
            assert found.next(9, lambda size: True) == size
            found.ran(seconds)
    assert (found.size, found.open) == (1, ())


def test_a_batch_that_fails_is_no_measure() -> None:
    found = Climb(4)
    for size in (4, 4, 8, 4):
        assert found.next(100, lambda size: True) == size
        found.ran(0.1)
    found.failed()  # the second half
    for size in (4, 4, 8, 4, 4, 8):
        assert found.next(100, lambda size: True) == size
        found.ran(0.1)
    assert (found.size, found.open) == (8, ("up",))


def test_only_models_are_tried() -> None:
    @node("sizing.plain")
    class Plain(Node):
        async def run(self, text: Text) -> Text:
            return Text(await self.same(text.text))

        @batched(size=4)
        def same(self, words: list[str]) -> list[str]:
            done.append(len(words))
            return words

    done: list[int] = []
    sizes = TriedSizes(CPU, Machine(overhead))
    batcher = Batcher(sizes, None, lambda method, size, failed: None)
    batcher.run(Plain(), [[Text("w")] for _ in range(400)])
    assert done == [4] * 100


# Memory running out ---------------------------------------------------------------------------


def test_what_did_not_fit_ends_the_climb_below_it() -> None:
    sizes = climb(Machine(overhead), [2000], Upper(room=20))
    assert sizes.count(32) == 1
    assert sizes[-11:-1] == [16] * 10


# What is remembered ---------------------------------------------------------------------------


def known(own_cache: Path) -> dict[str, Any]:
    """What is remembered of the only model."""
    (found,) = json.loads((own_cache / "models.json").read_text())["known"].values()
    facts: dict[str, Any] = found["batches"]["upper"]
    return facts


def test_a_later_run_begins_where_an_earlier_one_ended(own_cache: Path) -> None:
    climb(Machine(overhead), [4000])
    assert known(own_cache) == {"size": 64, "open": [], "bytes": 64 * GB}
    assert climb(Machine(overhead), [400]) == [64, 64, 64, 64, 64, 64, 16]


def test_a_climb_that_was_cut_short_goes_on(own_cache: Path) -> None:
    climb(Machine(overhead), [100])
    assert known(own_cache)["open"] == ["up"]
    assert climb(Machine(overhead), [4000])[-2] == 64


def test_another_process_begins_there_too(own_cache: Path) -> None:
    climb(Machine(overhead), [4000])
    (key,) = json.loads((own_cache / "models.json").read_text())["known"]
    code = (
        "from visionweave.machine import Memo; import sys;"
        "print(Memo('models.json').read()[sys.argv[1]]['batches']['upper']['size'])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, key], capture_output=True, text=True, check=True
    )
    assert found.stdout == "64\n"


def test_what_memory_taught_is_remembered_until_there_is_more(own_cache: Path) -> None:
    climb(Machine(overhead), [2000], Upper(room=20))
    facts = known(own_cache)
    assert (facts["size"], facts["cap"], facts["free"]) == (16, 16, 1000 * GB)
    assert max(climb(Machine(overhead), [2000], Upper(room=20))) == 16
    assert max(climb(Machine(overhead, GB, 2000 * GB), [2000], Upper(room=20))) == 32


def test_with_less_memory_than_then_batches_begin_smaller(own_cache: Path) -> None:
    climb(Machine(overhead), [4000])
    assert climb(Machine(overhead, GB, 30 * GB), [200])[0] == 16


def test_one_run_with_less_memory_does_not_undo_what_was_found(own_cache: Path) -> None:
    climb(Machine(overhead), [4000])
    before = (own_cache / "models.json").read_bytes()
    assert set(climb(Machine(overhead, GB, 30 * GB), [200])) == {16, 8}
    assert (own_cache / "models.json").read_bytes() == before
    assert climb(Machine(overhead), [200])[0] == 64


def test_what_did_not_fit_is_remembered_also_of_a_run_with_less_memory(own_cache: Path) -> None:
    climb(Machine(overhead), [4000])
    climb(Machine(overhead, GB, 30 * GB), [200], Upper(room=8))
    assert climb(Machine(overhead, GB, 30 * GB), [200], Upper(room=8))[0] == 8


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"extra": "other"}, id="another model"),
        pytest.param({"precision": "bf16"}, id="another precision"),
        pytest.param({"seen": "7"}, id="another machine"),
    ],
)
def test_what_was_found_out_holds_for_one_model_on_one_machine(
    own_cache: Path, change: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    climb(Machine(overhead), [4000])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", change.get("seen", ""))
    sizes = TriedSizes(Runtime("cpu", change.get("precision", "fp32")), Machine(overhead))
    assert sizes.width(Upper(extra=change.get("extra", "")), 8) == 4


@pytest.mark.parametrize(
    "facts",
    [
        {"batches": 3},
        {"batches": {"upper": []}},
        {"batches": {"upper": {"size": "many", "open": 3, "cap": -1}}},
        3,
    ],
)
def test_what_is_damaged_is_not_known(own_cache: Path, facts: object) -> None:
    climb(Machine(overhead), [8])
    memo = json.loads((own_cache / "models.json").read_text())
    memo["known"] = dict.fromkeys(memo["known"], facts)
    (own_cache / "models.json").write_text(json.dumps(memo))
    assert climb(Machine(overhead), [8]) == [4, 4]


# In a pipeline --------------------------------------------------------------------------------


def test_a_pipeline_tries_unless_it_is_told_a_size(own_cache: Path) -> None:
    model = Upper()
    pipeline = Pipeline(out=model(Input("text", Text)))
    for sizes in (Sizes(7), Sizes()):
        options = Options(CPU, chunk=64, sizes=sizes)
        list(execute(pipeline.plan, [f"w{index}" for index in range(64)], options))
    assert set(model.sizes) == {7, 1, 4}
    assert not (own_cache / "models.json").exists()
    list(pipeline.map((f"w{index}" for index in range(64)), device="cpu", precision="fp32"))
    assert known(own_cache)["size"] == 4
