"""Photos that cannot be read for now, as their disk is away: their earlier results stand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from visionweave import Image, Input, Node, Pipeline, Text, node
from visionweave.jobs.job import Job, Summary, run_job
from visionweave.jobs.photos import find_photos
from visionweave.jobs.repeat import failed_photos


@node("unread.size")
class Size(Node):
    """The size of a photo."""

    def run(self, image: Image) -> Text:
        return Text(f"{image.pixels.shape}", image.origin)


@node("unread.refuse")
class Refuse(Node):
    """Nothing of any photo."""

    def run(self, size: Text) -> Text:
        raise ValueError("no more today")


PHOTO = Input("photo", Image)
WHOLE = Pipeline(size=Size()(PHOTO))
PARTLY = Pipeline(size=(size := Size()(PHOTO)), more=Refuse()(size))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A photo, and a link to one on a disk of its own."""
    for name in ("photos/a.png", "disk/b.png"):
        (tmp_path / name).parent.mkdir()
        PIL.Image.new("RGB", (8, 4)).save(tmp_path / name)
    (tmp_path / "photos/b.png").symlink_to(tmp_path / "disk/b.png")
    return tmp_path / "photos"


def run(photos: Path, pipeline: Pipeline, **options: Any) -> Summary:
    found = find_photos([str(photos)])
    return run_job(
        Job("sizes", pipeline, found, photos.parent / "out", photo_input="photo", **options)
    )


def files(out: Path) -> dict[str, bytes]:
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and path.name != "run.json"
    }


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("pipeline", [WHOLE, PARTLY], ids=["good", "good in part"])
def test_results_stand_while_their_photo_cannot_be_read(photos: Path, pipeline: Pipeline) -> None:
    disk, out = photos.parent / "disk", photos.parent / "out"
    first = run(photos, pipeline)
    before = files(out)
    disk.rename(photos.parent / "away")
    for _ in range(2):
        summary = run(photos, pipeline)
        assert (summary.counts["failed"], summary.before, summary.exit_code) == (1, 1, 2)
        failures = lines(out / "failures.jsonl")
        assert summary.failures == len(failures) == 1 + first.failures
        assert (failures[-1]["photo"], failures[-1]["step"]) == ("b.png", "photo")
        assert failures[-1]["message"] == "there is no such file"
        assert (out / failures[-1]["traceback"]).exists()
        assert "b.png" in [photo.name for photo in failed_photos(out)]
        results = {name for name in before if not name.endswith(".jsonl")}
        assert {name: files(out)[name] for name in results} == {n: before[n] for n in results}
    (photos.parent / "away").rename(disk)
    summary = run(photos, pipeline)
    assert (summary.counts, summary.before) == (first.counts, 2), "it is done, as it was"
    assert files(out) == before


def test_results_of_another_recipe_stand_too_and_are_made_anew_later(photos: Path) -> None:
    disk, out = photos.parent / "disk", photos.parent / "out"
    run(photos, WHOLE)
    disk.rename(photos.parent / "away")
    other = Pipeline(length=Size()(PHOTO))
    assert run(photos, other).counts == {"ok": 1, "failed": 1}
    assert (out / "b/size.json").exists()
    (photos.parent / "away").rename(disk)
    assert run(photos, other).counts == {"ok": 2}
    assert sorted(path.name for path in (out / "b").iterdir()) == ["length.json"]
    assert lines(out / "failures.jsonl") == []
    assert not (out / "failures").exists()


def test_a_photo_that_can_be_read_and_is_damaged_now_loses_its_results(photos: Path) -> None:
    run(photos, WHOLE)
    (photos.parent / "disk/b.png").write_bytes(b"<html>not found</html>")
    assert run(photos, WHOLE).counts == {"ok": 1, "failed": 1}
    assert not (photos.parent / "out/b").exists()
