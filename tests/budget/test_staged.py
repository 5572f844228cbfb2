"""Runs within a memory budget: stage by stage, with the same results, each model loaded once."""

from __future__ import annotations

import dataclasses
import re
import traceback
from pathlib import Path
from typing import Any

import pytest

from visionweave import (
    Boxes,
    Cutout,
    Image,
    Input,
    JobError,
    Masks,
    ModelNode,
    Observer,
    Pipeline,
    Result,
    Runtime,
    Text,
    Value,
    batched,
    node,
)
from visionweave.budget.waiting import WaitingRoom
from visionweave.cache import Cache
from visionweave.execution.plan import PlannedStep
from visionweave.nodes import image
from visionweave.testing import make_boxes, make_image, make_masks

MB = 10**6
LOCK = "".join(
    f"""
[checkpoint.{name}]
family = "staged"
files = [{{ name = "{name}.bin", bytes = {size} }}]
license = "MIT"
commercial = "yes"
"""
    for name, size in (("finder", 100 * MB), ("cutter", 150 * MB), ("namer", 120 * MB))
)


class Ledger:
    """Which models were loaded, in order, and which are."""

    def __init__(self) -> None:
        self.loads: list[str] = []
        self.now: set[str] = set()
        self.together: list[set[str]] = []
        self.calls: list[str] = []

    def load(self, name: str) -> None:
        self.loads.append(name)
        self.now.add(name)
        self.together.append(set(self.now))


LEDGER = Ledger()


@pytest.fixture(autouse=True)
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """An empty ledger; the models are in a list of weights."""
    global LEDGER
    store = tmp_path / "weights"
    store.mkdir()
    (store / "weights.lock").write_text(LOCK)
    monkeypatch.setenv("VISIONWEAVE_WEIGHTS", str(store))
    LEDGER = Ledger()
    return LEDGER


class Model(ModelNode):
    """A model that says when it is loaded."""

    model: str

    def load(self, runtime: Runtime) -> None:
        LEDGER.load(self.model)

    def unload(self) -> None:
        super().unload()
        LEDGER.now.discard(self.model)

    @batched(size=4)
    def look(self, names: list[str]) -> list[str]:
        LEDGER.calls += [f"{self.model} {name}" for name in names]
        if any("cursed" in name and self.model == "finder" for name in names):
            raise LookupError("nothing to be found")
        return names


@node("staged.find")
class Find(Model):
    """Finds three things in every photo."""

    def __init__(self, model: str = "finder") -> None:
        self.model = model

    async def run(self, photo: Image) -> Boxes:
        await self.look(photo.origin.photo)
        count = int(photo.pixels[0, 0, 0]) % 4
        return make_boxes(count, photo.image_hw, photo=photo.origin.photo)


@node("staged.cut")
class Cut(Model):
    def __init__(self, model: str = "cutter") -> None:
        self.model = model

    async def run(self, photo: Image, boxes: Boxes) -> Masks:
        await self.look(photo.origin.photo)
        return make_masks(boxes)


@node("staged.name")
class Name(Model):
    def __init__(self, model: str = "namer") -> None:
        self.model = model

    async def run(self, cutout: Cutout) -> Text:
        await self.look(str(cutout.origin))
        if cutout.origin.object == 1:
            raise ArithmeticError("the second has no name")
        return Text(f"{cutout.origin.label} {cutout.rgba.sum()}", cutout.origin)


@node("staged.first")
class First(Model):
    def __init__(self, model: str = "finder") -> None:
        self.model = model

    async def run(self, photo: Image, text: Text) -> Text:
        return Text(await self.look(text.text))


@node("staged.second")
class Second(Model):
    def __init__(self, model: str = "cutter") -> None:
        self.model = model

    async def run(self, text: Text) -> Text:
        return Text(await self.look(text.text) + "!")


def make_pipeline() -> Pipeline:
    photo = Input("photo", Image)
    boxes = Find()(photo)
    masks = Cut()(photo, boxes)
    cutouts = image.CutOut()(photo, masks)
    return Pipeline(
        boxes=boxes, masks=masks, names=Name()(cutouts), small=image.Resize(longest=8)(photo)
    )


def photos(folder: Path, count: int = 11) -> list[Path]:
    """Photos of 0 to 3 things; one cannot be read, and one is cursed."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{index:02}.png" for index in range(count)]
    for index, path in enumerate(paths):
        make_image(seed=index, photo=path.name).to_pil().save(path)
    paths[3].write_bytes(b"no picture")
    paths[5].rename(folder / "05-cursed.png")
    return [path if path.exists() else folder / "05-cursed.png" for path in paths]


def told(result: Result) -> dict[str, Any]:
    """All there is to a result, with its failures as text, causes and notes included."""
    failures = [
        [str(each), *traceback.format_exception(each.__cause__)] for each in result.failures
    ]
    missing = {name: str(each) for name, each in result.missing.items()}
    return {"name": result.name, "failures": failures, "missing": missing} | result.outputs


@pytest.mark.parametrize(
    ("budget", "stages"),
    [
        pytest.param("740MB", [["finder", "cutter", "namer"]], id="all fit"),
        pytest.param("500MB", [["finder", "cutter"], ["namer"]], id="two fit, and one"),
        pytest.param("300MB", [["finder"], ["cutter"], ["namer"]], id="each alone"),
    ],
)
def test_models_run_in_stages_that_fit_with_the_same_results(
    tmp_path: Path, ledger: Ledger, budget: str, stages: list[list[str]]
) -> None:
    given = photos(tmp_path / "photos")
    whole = [told(each) for each in make_pipeline().map(given, chunk=4, batch=4)]
    assert sum(len(each["failures"]) for each in whole) > 3
    ledger.loads.clear(), ledger.together.clear(), ledger.now.clear()
    calls, ledger.calls = ledger.calls, []
    found = [
        told(each) for each in make_pipeline().map(given, chunk=4, memory_budget=budget, batch=4)
    ]
    assert found == whole
    assert sorted(ledger.calls) == sorted(calls)
    assert ledger.loads == [name for stage in stages for name in stage]
    assert all(any(together <= set(stage) for stage in stages) for together in ledger.together)


def test_nothing_is_left_behind(tmp_path: Path, own_cache: Path, ledger: Ledger) -> None:
    pipeline = make_pipeline()
    list(pipeline.map(photos(tmp_path / "photos"), memory_budget="300MB"))
    assert ledger.now == set()
    assert [path.name for path in (own_cache / "stages").iterdir()] == [".lock"]
    results = pipeline.map(photos(tmp_path / "photos"), memory_budget="300MB")
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert ledger.now == set()
    assert [path.name for path in (own_cache / "stages").iterdir()] == [".lock"]


def test_a_killed_run_of_before_is_cleared_away(tmp_path: Path, own_cache: Path) -> None:
    (own_cache / "stages/tmpkilled/run/1").mkdir(parents=True)
    list(make_pipeline().map(photos(tmp_path / "photos"), memory_budget="300MB"))
    assert [path.name for path in (own_cache / "stages").iterdir()] == [".lock"]


def test_models_of_an_earlier_run_are_unloaded_first(tmp_path: Path, ledger: Ledger) -> None:
    pipeline, given = make_pipeline(), photos(tmp_path / "photos")
    list(pipeline.map(given, batch=4))
    assert ledger.now == {"finder", "cutter", "namer"}
    ledger.together.clear()
    list(pipeline.map(given, memory_budget="300MB"))
    assert ledger.together == [{"finder"}, {"cutter"}, {"namer"}]


def test_pixels_that_are_in_no_file_wait_too(ledger: Ledger) -> None:
    given = [{"photo": make_image(seed=seed, photo=f"{seed}.jpg")} for seed in range(5)]
    whole = [told(each) for each in make_pipeline().map(given, batch=4)]
    assert [told(each) for each in make_pipeline().map(given, memory_budget="300MB")] == whole


class Seen(Observer):
    """Notes the events that concern stages and items."""

    def __init__(self) -> None:
        self.events: list[object] = []

    def stage_started(self, number: int, of: int) -> None:
        self.events.append((number, of))

    def item_finished(self, result: Result) -> None:
        self.events.append(result.name)


def test_items_are_finished_in_the_last_stage() -> None:
    seen = Seen()
    given = [make_image(seed=seed, photo=f"{seed}.jpg") for seed in range(2)]
    list(make_pipeline().map(given, memory_budget="500MB", observers=[seen]))
    assert seen.events == [(1, 2), (2, 2), "0.jpg", "1.jpg"]


def test_what_the_cache_knows_needs_no_model_in_stages_either(
    tmp_path: Path, own_cache: Path, ledger: Ledger
) -> None:
    given = [path for path in photos(tmp_path / "photos") if path.stem not in ("03", "05-cursed")]
    with Cache(own_cache) as cache:
        whole = [told(each) for each in make_pipeline().map(given, cache=cache, batch=4)]
        ledger.loads.clear()
        pipeline = make_pipeline()
        found = [told(e) for e in pipeline.map(given, cache=cache, memory_budget="300MB")]
    assert found == whole
    assert ledger.loads == ["namer"]  # whose failures are not kept


# A run that goes on ---------------------------------------------------------------------------


class StopAt(Observer):
    """Breaks a run off as a step is about to run for the second time."""

    def __init__(self, step: str) -> None:
        self.step, self.seen = step, 0

    def step_started(self, step: PlannedStep, calls: int) -> None:
        self.seen += step.spec.id == self.step
        if self.seen == 2:
            raise KeyboardInterrupt("enough")


def break_off(given: list[Path], folder: Path, ledger: Ledger) -> None:
    """Break a run off in its second stage, after four of its photos."""
    results = make_pipeline().map(
        given,
        chunk=4,
        batch=4,
        memory_budget="300MB",
        observers=[StopAt("staged.cut")],
        waiting=WaitingRoom(folder, "key"),
    )
    with pytest.raises(KeyboardInterrupt, match="enough"):
        list(results)
    assert ledger.loads == ["finder", "cutter"]
    ledger.loads.clear(), ledger.calls.clear()


def go_on(given: list[Path], folder: Path, key: str = "key") -> list[dict[str, Any]]:
    pipeline, room = make_pipeline(), WaitingRoom(folder, key)
    results = pipeline.map(given, chunk=4, batch=4, memory_budget="300MB", waiting=room)
    return [told(each) for each in results]


def test_a_run_that_broke_off_goes_on_where_it_was(tmp_path: Path, ledger: Ledger) -> None:
    given = photos(tmp_path / "photos")
    whole = [told(each) for each in make_pipeline().map(given, batch=4)]
    ledger.loads.clear()
    break_off(given, tmp_path / "waiting", ledger)
    assert go_on(given, tmp_path / "waiting") == whole
    assert ledger.loads == ["cutter", "namer"]
    cut = [name for name in ledger.calls if name.startswith("cutter")]
    assert len(cut) == len(given) - 4 - 1  # the cursed one has no boxes


def test_what_waits_damaged_is_made_again(tmp_path: Path, ledger: Ledger) -> None:
    given = photos(tmp_path / "photos")
    whole = [told(each) for each in make_pipeline().map(given, batch=4)]
    ledger.loads.clear()
    break_off(given, tmp_path / "waiting", ledger)
    waiting = {path: path.read_bytes() for path in (tmp_path / "waiting/1").glob("*/*")}
    (path,) = [path for path, data in waiting.items() if given[0].name.encode() in data]
    path.write_bytes(waiting[path][:-1])
    assert go_on(given, tmp_path / "waiting") == whole
    assert ledger.loads == ["finder", "cutter", "namer"]
    assert [name for name in ledger.calls if name.startswith("finder")] == [f"finder {given[0]}"]


def test_the_same_item_may_be_given_again_and_a_changed_one_is_another(
    tmp_path: Path, ledger: Ledger
) -> None:
    given = photos(tmp_path / "photos", 7) * 2
    whole = [told(each) for each in make_pipeline().map(given, batch=4)]
    ledger.loads.clear()
    break_off(given, tmp_path / "waiting", ledger)
    make_image(seed=9, photo=given[0].name).to_pil().save(given[0])  # was seed 0
    changed = [told(each) for each in make_pipeline().map(given, batch=4)]
    assert changed[0] != whole[0] == whole[7]
    assert go_on(given, tmp_path / "waiting") == changed


def test_items_that_differ_in_another_input_wait_apart(tmp_path: Path) -> None:
    pipeline = Pipeline(out=Second()(First()(Input("photo", Image), Input("text", Text))))
    given = [{"photo": make_image(), "text": word} for word in ("cat", "dog", "cat")]
    room = WaitingRoom(tmp_path / "waiting", "key")
    results = pipeline.map(given, memory_budget="300MB", waiting=room)
    assert [each["out"].text for each in results] == ["cat!", "dog!", "cat!"]


def test_a_photo_that_is_gone_after_the_first_stage_fails_once(
    tmp_path: Path, ledger: Ledger
) -> None:
    class Remove(Observer):
        def stage_started(self, number: int, of: int) -> None:
            if number == 2:
                path.unlink()

    path = photos(tmp_path / "photos", 6)[2]
    photo = Input("photo", Image)
    boxes = Find()(photo)
    pipeline = Pipeline(masks=Cut()(photo, boxes), again=Find("namer")(photo))
    (result,) = pipeline.map([path], memory_budget="300MB", observers=[Remove()])
    assert ledger.loads == ["finder"]
    assert [failure.step for failure in result.failures] == ["photo"]
    assert set(result.missing) == {"masks", "again"}


def test_another_run_finds_nothing_that_waits(tmp_path: Path, ledger: Ledger) -> None:
    given = photos(tmp_path / "photos")
    break_off(given, tmp_path / "waiting", ledger)
    go_on(given, tmp_path / "waiting", "another")
    assert ledger.loads == ["finder", "cutter", "namer"]


def test_stages_stay_those_that_the_run_began_with(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = photos(tmp_path / "photos")
    break_off(given, tmp_path / "waiting", ledger)
    monkeypatch.setattr("visionweave.budget.needs.MOST_GUESSED", MB)  # now two would fit together
    go_on(given, tmp_path / "waiting")
    assert ledger.loads == ["cutter", "namer"]


# Refusals -------------------------------------------------------------------------------------


def test_a_model_that_does_not_fit_even_alone_is_refused_before_anything(ledger: Ledger) -> None:
    guess = "(guessed)"
    wanted = f"""\
a memory budget of 220 MB is too little, each model alone, for
  step 'masks': cutter needs 300 MB: 150 MB of weights, 150 MB to work in {guess}
  step 'names': namer needs 240 MB: 120 MB of weights, 120 MB to work in {guess}
the least that would do is 300MB"""
    with pytest.raises(JobError, match=f"^{re.escape(wanted)}$"):
        make_pipeline().map([], memory_budget="220MB")
    assert ledger.loads == []


def test_a_budget_that_is_no_size_is_refused() -> None:
    with pytest.raises(
        JobError, match=r"^the memory budget must be a size such as .*; got 'much'$"
    ):
        make_pipeline().map([], memory_budget="much")


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Sketch(Value):
    """A value of another package, which files do not know."""

    text: str


@node("staged.draw")
class Draw(Model):
    def __init__(self, model: str = "finder") -> None:
        self.model = model

    async def run(self, photo: Image) -> Sketch:
        return Sketch("lines")


@node("staged.read")
class Read(Model):
    def __init__(self, model: str = "cutter") -> None:
        self.model = model

    async def run(self, sketch: Sketch) -> Text:
        return Text(sketch.text)


class Shout(Text):
    """A text of another package; nobody can tell from the node that it is one."""


@node("staged.shout")
class Shouted(Model):
    def __init__(self, model: str = "finder") -> None:
        self.model = model

    async def run(self, photo: Image) -> Text:
        return Shout("lines")


def test_a_value_of_a_kind_that_its_node_does_not_tell_cannot_wait_either() -> None:
    pipeline = Pipeline(out=Second()(Shouted()(Input("photo", Image))))
    with pytest.raises(JobError, match=r"the Shout that a step gives would have to wait"):
        list(pipeline.map([make_image()], memory_budget="300MB"))


def test_a_value_that_only_one_package_knows_cannot_wait() -> None:
    pipeline = Pipeline(text=Read()(Draw()(Input("photo", Image))))
    assert next(pipeline.map([make_image()], memory_budget="1GB"))["text"] == Text("lines")
    with pytest.raises(
        JobError, match=r"the Sketch that 'staged_draw' gives would have to wait .*larger"
    ):
        pipeline.map([make_image()], memory_budget="300MB")
