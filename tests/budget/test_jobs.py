"""Jobs within a memory budget: the same files, also after SIGKILL in any stage."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from visionweave import (
    Cutout,
    Image,
    Input,
    Masks,
    ModelNode,
    Pipeline,
    Runtime,
    Text,
    batched,
    node,
)
from visionweave.cache.photos import PhotoHashes
from visionweave.jobs.job import Job, Summary, run_job
from visionweave.jobs.photos import find_photos
from visionweave.nodes import image
from visionweave.testing import make_boxes, make_image, make_masks

MB = 10**6
LOCK = "".join(
    f"""
[checkpoint.{name}]
family = "jobs"
files = [{{ name = "{name}.bin", bytes = {100 * MB} }}]
license = "MIT"
commercial = "yes"
"""
    for name in ("cutter", "namer")
)


@pytest.fixture(autouse=True)
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that loads and calls are noted in, by whatever process."""
    store = tmp_path / "weights"
    store.mkdir()
    (store / "weights.lock").write_text(LOCK)
    monkeypatch.setenv("VISIONWEAVE_WEIGHTS", str(store))
    monkeypatch.setenv("TEST_CALLS", str(tmp_path / "calls.txt"))
    (tmp_path / "calls.txt").touch()
    return tmp_path / "calls.txt"


def note(text: str) -> None:
    """Note something; and die at the call that TEST_KILL names."""
    with Path(os.environ["TEST_CALLS"]).open("a") as file:
        file.write(f"{text}\n")
    if text == os.environ.get("TEST_KILL"):
        os.kill(os.getpid(), signal.SIGKILL)


class Model(ModelNode):
    model: str

    def load(self, runtime: Runtime) -> None:
        note(f"load {self.model}")

    @batched(size=2)
    def look(self, names: list[str]) -> list[str]:
        for name in names:
            note(f"{self.model} {name}")
        return names


@node("jobs.cut")
class Cut(Model):
    def __init__(self, model: str = "cutter") -> None:
        self.model = model

    async def run(self, photo: Image) -> Masks:
        await self.look(photo.origin.photo)
        return make_masks(make_boxes(2, photo.image_hw, photo=photo.origin.photo))


@node("jobs.name")
class Name(Model):
    def __init__(self, model: str = "namer") -> None:
        self.model = model

    async def run(self, cutout: Cutout) -> Text:
        await self.look(f"{cutout.origin.photo}#{cutout.origin.object}")
        if (cutout.origin.photo, cutout.origin.object) == ("02.png", 1):
            raise ArithmeticError("the second has no name")
        return Text(f"{cutout.origin.label} {cutout.rgba.sum()}", cutout.origin)


def run(folder: Path, out: str, budget: int | None, **options: Any) -> Summary:
    photo = Input("photo", Image)
    masks = Cut()(photo)
    cutouts = image.CutOut()(photo, masks)
    pipeline = Pipeline(masks=masks, cutouts=cutouts, names=Name()(cutouts))
    photos = find_photos([str(folder / "photos")])
    job = Job(
        "jobs",
        pipeline,
        photos,
        folder / out,
        photo_input="photo",
        chunk=4,
        batch=2,
        memory_budget=budget,
        hashes=PhotoHashes(),
        **options,
    )
    return run_job(job)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for index in range(10):
        made = make_image(seed=index).to_pil()
        made.save(tmp_path / f"photos/{index:02}.png")
    (tmp_path / "photos/07.png").write_bytes(b"no picture")
    return tmp_path


def results(out: Path) -> dict[str, bytes]:
    """The files of a job, but for those that tell of times; whichever folder and run it is."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        .replace(str(out).encode(), b"OUT")
        .replace(b'"run": 2', b'"run": 1')
        for path in out.rglob("*")
        if path.is_file() and path.name not in ("run.json", "items.jsonl")
    }


def test_a_job_in_stages_writes_the_same_files(folder: Path, calls: Path) -> None:
    whole = run(folder, "whole", None)
    in_one_go = sorted(calls.read_text().split("\n"))
    calls.write_text("")
    staged = run(folder, "staged", 250 * MB)
    assert staged.counts == whole.counts == {"ok": 8, "partial": 1, "failed": 1}
    assert results(folder / "staged") == results(folder / "whole")
    assert not (folder / "staged/.stages").exists()
    assert sorted(calls.read_text().split("\n")) == in_one_go
    assert in_one_go.count("load cutter") == in_one_go.count("load namer") == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    ("at", "redone"),
    [
        pytest.param("cutter 06.png", ["cutter"], id="in the first stage"),
        pytest.param("namer 06.png#1", [], id="in the second"),
    ],
)
def test_a_job_that_was_killed_goes_on_and_does_no_stage_again(
    folder: Path, calls: Path, at: str, redone: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(folder, "whole", None)
    calls.write_text("")
    child = os.fork()
    if child == 0:
        os.environ["TEST_KILL"] = at
        run(folder, "staged", 250 * MB)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert (folder / "staged/.stages").exists()
    journal = folder / "staged/items.jsonl"
    done = journal.read_text().count('"status": "ok"') if journal.exists() else 0
    calls.write_text("")
    summary = run(folder, "staged", 250 * MB)
    assert (summary.before, summary.counts.total()) == (done, 10)
    assert results(folder / "staged") == results(folder / "whole")
    again = calls.read_text().splitlines()
    assert ("load cutter" in again) == bool(redone)
    assert "cutter 00.png" not in again
    assert "load namer" in again


def test_a_job_without_a_budget_takes_away_what_waits(folder: Path, calls: Path) -> None:
    (folder / "out/.stages/1").mkdir(parents=True)
    (folder / "out/run.json").write_text('{"form": 1, "pipeline": {}}')
    run(folder, "out", None)
    assert not (folder / "out/.stages").exists()


def test_a_budget_that_is_too_little_leaves_no_trace(folder: Path, calls: Path) -> None:
    from visionweave import JobError

    with pytest.raises(JobError, match=r"^a memory budget of 150 MB is too little, each model"):
        run(folder, "out", 150 * MB)
    assert not (folder / "out").exists()
    assert calls.read_text() == ""
