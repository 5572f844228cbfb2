"""Observers: what they are told, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from visionweave import Image, Input, ModelNode, Node, Observer, Pipeline, Text, batched, node
from visionweave.execution.executor import Result
from visionweave.execution.plan import Plan, PlannedStep
from visionweave.runtime import Runtime
from visionweave.testing import make_image


@node("observe.split")
class Split(Node):
    """The words of a text."""

    def run(self, text: Text) -> list[Text]:
        return [Text(word) for word in text.text.split()]


@node("observe.shout")
class Shout(ModelNode):
    """A model that shouts, if it is loaded and the text is no "?"."""

    def __init__(self, weights: bool = True) -> None:
        self.weights = weights

    def load(self, runtime: Runtime) -> None:
        if not self.weights:
            raise FileNotFoundError("no weights for observe.shout")

    def forward_context(self) -> AbstractContextManager[None]:
        return nullcontext()

    async def run(self, text: Text) -> Text:
        return await self.shout(text)

    @batched(size=4)
    def shout(self, texts: list[Text]) -> list[Text]:
        if any(text.text == "?" for text in texts):
            raise ValueError("what?")
        return [Text(text.text.upper()) for text in texts]


TEXT = Input("text", Text)


def texts(value: Any) -> Any:
    return [each.text for each in value] if isinstance(value, list) else value.text


class Events(Observer):
    """Every event, as a tuple."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def run_started(self, plan: Plan) -> None:
        self.events.append(("run_started", [step.name for step in plan.steps]))

    def chunk_started(self, items: Sequence[str]) -> None:
        self.events.append(("chunk_started", items))

    def model_loading(self, step: PlannedStep) -> None:
        self.events.append(("model_loading", step.name))

    def step_started(self, step: PlannedStep, calls: int) -> None:
        self.events.append(("step_started", step.name, calls))

    def batch_finished(self, step: PlannedStep, method: str, size: int, failed: bool) -> None:
        self.events.append(("batch_finished", step.name, method, size, failed))

    def step_finished(self, step: PlannedStep, calls: int, seconds: float) -> None:
        assert seconds >= 0
        self.events.append(("step_finished", step.name, calls))

    def item_finished(self, result: Result) -> None:
        self.events.append(("item_finished", result.name, texts(result["out"])))

    def run_finished(self) -> None:
        self.events.append(("run_finished",))


def test_observers_see_every_event_in_order() -> None:
    seen, idle = Events(), Observer()
    pipeline = Pipeline(out=Shout()(Split()(TEXT)))
    assert (
        len(list(pipeline.map(["", "ab cd", "ef"], chunk=2, batch=1, observers=[idle, seen]))) == 3
    )
    assert seen.events == [
        ("run_started", ["observe_split", "out"]),
        ("chunk_started", ["item 0", "item 1"]),
        ("step_started", "observe_split", 2),
        ("step_finished", "observe_split", 2),
        ("model_loading", "out"),
        ("step_started", "out", 2),
        ("batch_finished", "out", "shout", 1, False),
        ("batch_finished", "out", "shout", 1, False),
        ("step_finished", "out", 2),
        ("item_finished", "item 0", []),
        ("item_finished", "item 1", ["AB", "CD"]),
        ("chunk_started", ["item 2"]),
        ("step_started", "observe_split", 1),
        ("step_finished", "observe_split", 1),
        ("step_started", "out", 1),
        ("batch_finished", "out", "shout", 1, False),
        ("step_finished", "out", 1),
        ("item_finished", "item 2", ["EF"]),
        ("run_finished",),
    ]


def test_an_abandoned_run_is_finished_for_its_observers() -> None:
    seen = Events()
    results = Pipeline(out=Shout()(TEXT)).map(["a", "b"], observers=[seen])
    assert texts(next(results)["out"]) == "A"
    results.close()
    assert seen.events[-2:] == [("item_finished", "item 0", "A"), ("run_finished",)]


def test_observers_see_the_parts_of_a_batch_that_failed() -> None:
    seen = Events()
    results = list(
        Pipeline(bad=Shout()(TEXT), out=TEXT).map(["a", "?", "c", "d"], observers=[seen])
    )
    assert [result.ok for result in results] == [True, False, True, True]
    assert [event[2:] for event in seen.events if event[0] == "batch_finished"] == [
        ("shout", 4, True),
        ("shout", 2, True),
        ("shout", 1, False),
        ("shout", 1, True),
        ("shout", 2, False),
    ]


def test_a_run_that_ends_with_an_error_is_finished_for_its_observers() -> None:
    seen = Events()
    results = Pipeline(out=Shout(weights=False)(TEXT)).map(["a"], observers=[seen])
    with pytest.raises(FileNotFoundError, match=r"no weights for observe\.shout"):
        next(results)
    assert seen.events[-2:] == [("model_loading", "out"), ("run_finished",)]


class Clock:
    """A clock that stands still, unless somebody takes time."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


CLOCK = Clock()


@node("observe.ponder")
class Ponder(Shout):
    """A model that takes a second for each letter, and 50 to load."""

    def load(self, runtime: Runtime) -> None:
        CLOCK.now += 50

    @batched(size=2)
    def shout(self, texts: list[Text]) -> list[Text]:
        CLOCK.now += sum(len(text.text) for text in texts)
        return texts


@node("observe.dwell")
class Dwell(Node):
    """The words of a text; each takes ten seconds."""

    def run(self, text: Text) -> list[Text]:
        words = [Text(word) for word in text.text.split()]
        CLOCK.now += 10 * len(words)
        return words


class Times(Observer):
    """What was said of times."""

    def __init__(self) -> None:
        self.loads: dict[str, float] = {}
        self.items: list[tuple[str, list[float]]] = []

    def model_loaded(self, step: PlannedStep, seconds: float) -> None:
        self.loads[step.name] = seconds

    def items_timed(self, step: PlannedStep | None, seconds: Sequence[float]) -> None:
        self.items.append(("" if step is None else step.name, list(seconds)))


def times(monkeypatch: pytest.MonkeyPatch, items: list[Any], pipeline: Pipeline) -> Times:
    monkeypatch.setattr("time.perf_counter", CLOCK)
    seen = Times()
    list(pipeline.map(items, observers=[seen]))
    return seen


def test_calls_take_their_own_time_and_those_of_a_batch_an_equal_part_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipeline = Pipeline(out=Ponder()(Dwell()(TEXT)))
    # batches of two: "a" and "bbb", then "cc" and "ddd", then "eeeee"
    seen = times(monkeypatch, ["a", "bbb cc", "", "ddd eeeee"], pipeline)
    assert seen.loads == {"out": 50}
    assert seen.items == [
        ("", [0, 0, 0, 0]),
        ("observe_dwell", [10, 20, 0, 20]),
        ("out", [2, 4.5, 0, 7.5]),
    ]


def test_reading_an_item_takes_time_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        make_image().save(tmp_path / name)

    def decode(image: Image) -> None:
        CLOCK.now += 3 if image.origin.photo.endswith("b.png") else 2

    monkeypatch.setattr(Image, "decode", decode)
    photo = Input("photo", Image)
    seen = Times()
    monkeypatch.setattr("time.perf_counter", CLOCK)
    paths = sorted(tmp_path.iterdir())
    list(Pipeline(photo=photo).map(paths, chunk=1, observers=[seen]))
    assert seen.items == [("", [2]), ("", [3])]
