"""Which photos and objects are read from a job's folder, and what is said when it is not plain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from visionweave import Cutout, Embedding, Hits, JobError, Mesh, Origin, Tags, Text
from visionweave.exports import JobObjects, Output, PhotoObject, Results
from visionweave.exports.results import read_stamp
from visionweave.testing import make_boxes, make_cutout, make_masks, make_value

if TYPE_CHECKING:
    from tests.exports.conftest import JobFolder


def test_objects_come_with_all_that_is_known_of_them(job: JobFolder) -> None:
    boxes = make_boxes(2, labels=["cat", "tree"]).replace(
        ids=[3, 5], flags=[("small",), ()], scores=np.array([0.1, 0.9], np.float32)
    )
    masks = make_masks(boxes)
    job.add("street/4.png", masks=masks)
    (photo,) = JobObjects(Results(job.out))
    assert (photo.name, photo.path) == ("street/4.png", job.photos / "street/4.png")
    assert photo.found == masks
    x1, y1, x2, y2 = (float(str(value)) for value in boxes.xyxy[0])
    windows, areas = masks.windows(), masks.areas.tolist()
    cat, tree = photo
    assert cat == PhotoObject(0, 3, "cat", 0.1, (x1, y1, x2, y2), ("small",), windows[0], areas[0])
    assert (tree.id, tree.label, tree.score, tree.area) == (5, "tree", 0.9, areas[1])


def test_the_last_line_of_a_photo_counts(job: JobFolder) -> None:
    job.add("a.png", boxes=make_boxes(1))
    job.add("b.png", boxes=make_boxes(1))
    job.add("c.png", boxes=make_boxes(1))
    job.line("a.png", "failed", {})
    job.line("b.png", "writing", {"boxes": "b/boxes.json"})
    job.line("c.png", "gone", {})
    job.add("d.png", boxes=make_boxes(0))
    results = Results(job.out)
    assert JobObjects(results).names == ["d.png"]
    assert results.failed == {"failed": 1, "unfinished": 1}


def test_a_file_may_be_said_with_its_size(job: JobFolder) -> None:
    job.add("a.png", boxes=make_boxes(2))
    job.line("a.png", "ok", {"boxes": {"file": "a/boxes.json", "bytes": 12}})
    (photo,) = JobObjects(Results(job.out))
    assert photo.found == make_boxes(2)


def test_masks_are_preferred_to_boxes(job: JobFolder) -> None:
    job.add("a.png", boxes=make_boxes(3), masks=make_masks(), tags=Tags(("a",)))
    results = Results(job.out)
    assert JobObjects(results).output == Output("masks", "Masks", many=False)
    assert JobObjects(results, "boxes").output == Output("boxes", "Boxes", many=False)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        pytest.param(None, "several outputs hold Masks: a, b; choose one with --output", id="two"),
        pytest.param("bb", r"there is no output 'bb'; did you mean b\?", id="typing error"),
        pytest.param("c", r"there is no output 'c'; objects are in: a \(Masks\), b ", id="unknown"),
        pytest.param(
            "words", r"output words \(Tags\) holds no Masks or Boxes; a \(Masks\)", id="x"
        ),
        pytest.param("cut", r"output cut \(a list of Cutout\) holds no Masks or Boxes", id="list"),
    ],
)
def test_the_choices_are_listed(job: JobFolder, output: str | None, message: str) -> None:
    job.add("a.png", a=make_masks(), b=make_masks(), words=Tags(("a",)), cut=[make_cutout()])
    with pytest.raises(JobError, match=message):
        JobObjects(Results(job.out), output)


def test_without_objects_there_is_nothing_to_read(job: JobFolder) -> None:
    job.line("a.png", "failed", {})
    with pytest.raises(JobError, match=r"out holds no photo with results \(1 failed\)"):
        JobObjects(Results(job.out))
    job.add("b.png", caption=Text("a cat"))
    with pytest.raises(JobError, match=r"holds Masks or Boxes; it has caption \(Text\)"):
        JobObjects(Results(job.out))


def test_a_folder_without_a_job_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"holds no results of visionweave; expected the --out of"):
        Results(tmp_path)


def test_a_result_that_is_gone_is_named(job: JobFolder) -> None:
    job.add("a.png", boxes=make_boxes(1))
    results = Results(job.out)
    (job.out / "a/boxes.json").unlink()
    with pytest.raises(JobError, match=r"boxes\.json is gone; run the job again"):
        list(JobObjects(results))
    with pytest.raises(JobError, match=r"boxes\.json is gone; run the job again"):
        JobObjects(results).labels()


@pytest.mark.parametrize("text", ['{"type": "Boxes", ', "[]", "{}", '{"boxes": []}'])
def test_a_damaged_result_is_named_whichever_photo_it_is_of(job: JobFolder, text: str) -> None:
    for name in ("a.png", "b.png"):
        job.add(name, boxes=make_boxes(1))
    (job.out / "a/boxes.json").write_text(text)
    objects = JobObjects(Results(job.out))
    assert objects.output == Output("boxes", "Boxes", many=False)
    message = (
        r"a/boxes\.json: expected a visionweave Boxes; got .*; remove it and run the job again"
    )
    with pytest.raises(JobError, match=message):
        objects.labels()


@pytest.mark.parametrize("suffix", [".json", ".png", ".glb", ".safetensors", ".txt"])
@pytest.mark.parametrize("data", [b"", b"nonsense", b"[1]", bytes(range(64))])
def test_a_damaged_file_says_nothing_of_itself(tmp_path: Path, suffix: str, data: bytes) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(data)
    assert read_stamp(path) == {}


def test_files_say_what_they_are_of(tmp_path: Path) -> None:
    origin = Origin("a.png", 3, "cat", 0.5)
    values = [make_value(kind, {"of": make_cutout(origin)}) for kind in (Cutout, Mesh, Embedding)]
    for value in values:
        stamp = read_stamp(value.save(tmp_path / f"a{value.SUFFIX}"))
        assert (stamp["type"], stamp["origin"]["object"]) == (type(value).__name__, 3)


def test_a_result_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(JobError, match=r"cannot read .*a\.json: Is a directory"):
        read_stamp(tmp_path / "a.json")


def test_what_belongs_to_single_objects_is_found_by_its_origin(job: JobFolder) -> None:
    origins = [Origin("a.png", number, "cat") for number in (7, 2)]
    job.add(
        "a.png",
        masks=make_masks(),
        cutouts=[make_cutout(origin) for origin in origins],
        captions=[Text("a cat", origin) for origin in origins],
        opinions=[Hits(("cat",), [0.5])],
        empty=[],
    )
    objects = JobObjects(Results(job.out))
    assert [output.name for output in objects.parts()] == ["captions", "cutouts", "empty"]
    assert objects.parts_of("a.png") == {
        7: {"cutouts": "a/cutouts/0.png", "captions": "a/captions/0.json"},
        2: {"cutouts": "a/cutouts/1.png", "captions": "a/captions/1.json"},
    }
