"""What a job says of the time that it took, by a clock that only the work moves."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from visionweave import (
    Boxes,
    Image,
    Input,
    ModelNode,
    Node,
    Observer,
    Pipeline,
    Runtime,
    Text,
    batched,
    node,
)
from visionweave.cache import Cache
from visionweave.execution.plan import PlannedStep
from visionweave.jobs import peak
from visionweave.jobs.job import Job, Summary, run_job
from visionweave.jobs.peak import Peak
from visionweave.jobs.photos import find_photos
from visionweave.jobs.timings import Timings, rounded, timed
from visionweave.report.data import read_job


class Clock(threading.local):
    """A clock that stands still, unless somebody takes time; each thread has its own."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


CLOCK = Clock()


@node("timings.find")
class Find(ModelNode):
    """As many boxes as the first pixel says, a second for each photo; 7 seconds to load."""

    def load(self, runtime: Runtime) -> None:
        CLOCK.now += 7

    def forward_context(self) -> AbstractContextManager[None]:
        return nullcontext()

    async def run(self, image: Image) -> Boxes:
        count = await self.forward(int(image.pixels[0, 0, 0]))
        xyxy = np.array([[x, 0, x + 1, 2] for x in range(count)], np.float32).reshape(-1, 4)
        return Boxes(xyxy, image.image_hw, photo=image.origin.photo)

    @batched(size=2)
    def forward(self, counts: list[int]) -> list[int]:
        CLOCK.now += len(counts)
        return counts


@node("timings.split")
class Split(Node):
    """A text for each box."""

    def run(self, boxes: Boxes) -> list[Text]:
        return [Text(str(i), boxes.origin(i)) for i in range(len(boxes))]


@node("timings.name")
class Name(Node):
    """A longer text, in half a second."""

    def run(self, text: Text) -> Text:
        CLOCK.now += 0.5
        return Text(f"box {text.text}", text.origin)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in (("a.png", 2), ("b.png", 0), ("c.png", 1)):
        path = tmp_path / "photos" / name
        path.parent.mkdir(exist_ok=True)
        PIL.Image.fromarray(np.full((4, 8, 3), value, np.uint8)).save(path)
    monkeypatch.setattr("time.perf_counter", CLOCK)
    # In this thread, or the step's own clock would not move with its calls.
    monkeypatch.setattr("visionweave.execution.side_by_side.LONG", float("inf"))
    return tmp_path / "photos"


def run(photos: Path, **options: Any) -> Summary:
    photo = Input("photo", Image)
    boxes = Find()(photo)
    pipeline = Pipeline(boxes=boxes, names=Name()(Split()(boxes)))
    job = Job(
        "t", pipeline, find_photos([str(photos)]), photos.parent / "out", photo_input="photo",
        device="cpu", precision="fp32", chunk=2, overlay=False, **options,
    )  # fmt: skip
    return run_job(job)


def timings(photos: Path) -> list[dict[str, float]]:
    """What the journal says of each photo."""
    lines = (photos.parent / "out/items.jsonl").read_text().splitlines()
    return [json.loads(line)["timings"] for line in lines]


def receipt(photos: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((photos.parent / "out/run.json").read_text())
    return found


WRITTEN = {"(writing)": 0}
EACH = [
    {"boxes": 1, "names": 1} | WRITTEN,
    {"boxes": 1} | WRITTEN,
    {"boxes": 1, "names": 0.5} | WRITTEN,
]


def test_the_journal_says_what_each_step_took_for_each_photo(photos: Path) -> None:
    run(photos)
    assert timings(photos) == EACH


def test_the_receipt_says_what_each_step_took_in_all(photos: Path) -> None:
    run(photos)
    found = receipt(photos)
    assert found["timings"] == {
        "(reading)": {"calls": 3, "seconds": 0},
        "boxes": {"calls": 3, "seconds": 3, "load_seconds": 7},
        "timings_split": {"calls": 3, "seconds": 0},
        "names": {"calls": 3, "seconds": 1.5},
        "(writing)": {"calls": 3, "seconds": 0},
    }
    assert found["photos_per_second"] > 0
    assert found["peak_memory"]["process"] > 10_000_000  # Python alone takes as much
    assert found["runs"][0]["timings"]["names"] == {"calls": 3, "seconds": 1.5}


def test_what_was_known_took_no_time_and_is_counted(photos: Path) -> None:
    with Cache() as cache:
        run(photos, cache=cache)
        run(photos, cache=cache, overwrite=True)
    assert timings(photos) == [{"names": 1} | WRITTEN, WRITTEN, {"names": 0.5} | WRITTEN]
    assert receipt(photos)["timings"]["boxes"] == {"calls": 0, "seconds": 0, "found": 3}


def test_a_photo_that_is_passed_over_keeps_its_times(photos: Path) -> None:
    run(photos)
    (photos / "c.png").unlink()
    journal = (photos.parent / "out/items.jsonl").read_bytes()
    assert run(photos).before == 2
    assert (photos.parent / "out/items.jsonl").read_bytes() == journal
    assert receipt(photos)["timings"] == {}
    assert receipt(photos)["runs"][-1]["timings"]["boxes"]["calls"] == 3


def test_a_report_finds_the_times(photos: Path) -> None:
    run(photos)
    items = read_job(photos.parent / "out").items
    assert [item.seconds for item in items] == EACH


def test_seconds_have_three_digits_that_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.perf_counter", CLOCK)
    # In this thread, or the step's own clock would not move with its calls.
    monkeypatch.setattr("visionweave.execution.side_by_side.LONG", float("inf"))
    times = {"step": 1234.5678}
    with timed(times, "(writing)"):
        CLOCK.now += 0.001234
    assert rounded(times) == {"step": 1230, "(writing)": 0.00123}


def test_the_peak_of_memory_survives_being_set_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    status = tmp_path / "status"
    monkeypatch.setattr(peak, "_STATUS", status)
    seen = Peak()
    for kilobytes in (100, 900, 300):
        status.write_text(f"Name:\tpython\nVmHWM:\t     {kilobytes} kB\nVmRSS:\t 1 kB\n")
        seen.ask()
    assert seen.bytes["process"] == 900 * 1024


def test_timings_are_told_by_events_alone() -> None:
    """What an executor tells of two chunks comes out photo by photo."""
    step: Callable[[str], PlannedStep] = lambda name: type("Step", (), {"name": name})()  # type: ignore[assignment,return-value]  # noqa: E731
    found = Timings()
    assert isinstance(found, Observer)
    found.chunk_started(["a", "b"])
    found.items_timed(None, [0.5, 0.25])
    found.items_timed(step("boxes"), [2, 0])
    found.items_timed(step("boxes"), [1, 0])  # some were known, and lost
    found.chunk_started(["c"])
    found.items_timed(None, [0.125])
    assert [found.next() for _ in range(3)] == [
        {"(reading)": 0.5, "boxes": 3},
        {"(reading)": 0.25},
        {"(reading)": 0.125},
    ]
    assert found.to_json() == {"(reading)": {"calls": 3, "seconds": 0.875}}
