"""Plain nodes: calls that take long run in threads, with the results of one after another."""

from __future__ import annotations

import _thread
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from visionweave import Input, Node, Observer, Pipeline, Text, node
from visionweave.execution import executor, side_by_side
from visionweave.execution.calls import Call, by_item
from visionweave.execution.plan import PlannedStep

DO: dict[str, Callable[[], object]] = {}
"""What a call does when it meets a text."""


@node("sides.shout")
class Shout(Node):
    def run(self, text: Text) -> Text:
        DO.get(text.text, DO["else"])()
        return Text(f"{text.text}!", text.origin)


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads, whatever the machine; and calls that take no time, until a test says more."""
    monkeypatch.setattr(executor, "THREADS", 2)
    monkeypatch.setattr(side_by_side, "THREADS", 2)
    DO.clear()
    DO["else"] = lambda: None


def shouted(count: int, **options: object) -> list[str]:
    pipeline = Pipeline(loud=Shout()(Input("text", Text)))
    given = [Text(str(number)) for number in range(count)]
    results = pipeline.map(given, **options)  # type: ignore[arg-type]
    return [each["loud"].text if each.ok else str(each.failures[0]) for each in results]


def slow() -> None:
    time.sleep(2 * side_by_side.LONG)


def test_calls_that_take_long_run_side_by_side() -> None:
    meet = threading.Barrier(2)
    DO.update({"0": slow, "1": lambda: meet.wait(30), "2": lambda: meet.wait(30)})
    assert shouted(5) == ["0!", "1!", "2!", "3!", "4!"]


def test_calls_that_take_no_time_stay_in_the_thread_that_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(side_by_side, "LONG", 60)  # on a busy machine anything may take a while
    seen = set()
    DO["else"] = lambda: seen.add(threading.current_thread())
    shouted(40)
    assert seen == {threading.current_thread()}


def test_a_single_item_is_run_in_the_thread_that_asks() -> None:
    seen = set()
    DO["else"] = lambda: [seen.add(threading.current_thread()), slow()]
    shouted(3, chunk=1)
    assert seen == {threading.current_thread()}


def test_what_fails_in_a_thread_fails_in_its_own_place() -> None:
    def fail() -> None:
        raise LookupError("no voice")

    DO.update({"else": slow, "3": fail})
    found = shouted(6)
    assert found[:3] + found[4:] == ["0!", "1!", "2!", "4!", "5!"]
    assert "item 3" in found[3]
    assert "no voice" in found[3]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A process that a shell has started in the background ignores Ctrl-C: not here."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_ends_the_threads_after_their_calls() -> None:
    done = []

    def interrupt() -> None:
        _thread.interrupt_main()
        time.sleep(0.1)

    DO.update({"else": lambda: [done.append(1), slow()], "1": interrupt})
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        shouted(1000, chunk=1000)
    assert len(done) < 900


def test_the_seconds_of_photos_add_up_to_those_of_the_step() -> None:
    class Times(Observer):
        def __init__(self) -> None:
            self.photos: list[float] = []
            self.step = 0.0

        def items_timed(self, step: PlannedStep | None, seconds: list[float]) -> None:
            if step is not None:
                self.photos += seconds

        def step_finished(self, step: PlannedStep, calls: int, seconds: float) -> None:
            self.step += seconds

    times = Times()
    DO["else"] = slow
    shouted(20, observers=[times])
    assert min(times.photos) > 0
    assert sum(times.photos) <= times.step


def test_of_calls_side_by_side_each_counts_for_its_part() -> None:
    calls = [Call(0, None, []), Call(1, 0, []), Call(1, 1, [])]
    for call, seconds in zip(calls, (4.0, 1.0, 3.0), strict=True):
        call.seconds = seconds
    assert by_item(calls, 3, 4.0) == [2.0, 2.0, 0.0]
    assert by_item(calls, 3, 11.0) == [5.0, 6.0, 0.0]
