"""COCO: what pycocotools reads is what the job has found, bit by bit."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy import ndimage

from visionweave import Boxes, JobError, Masks, Tags
from visionweave.exports import export_job, write_annotations
from visionweave.testing import make_boxes, make_masks

if TYPE_CHECKING:
    from tests.exports.conftest import JobFolder

# pycocotools 2.0.11 decodes with numpy's old way of copying.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

stacks = arrays(bool, array_shapes(min_dims=3, max_dims=3, max_side=9))


def read(path: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def exported(job: JobFolder, **options: Any) -> dict[str, Any]:
    path = export_job(job.out, "coco", overwrite=True, **options).path
    found = json.loads(path.read_text("utf-8"))
    assert isinstance(found, dict)
    return found


def round_trip(
    stack: NDArray[np.bool_], job_folder: type[JobFolder], **options: Any
) -> NDArray[np.bool_]:
    """Masks through a job's folder, an export, and pycocotools."""
    with tempfile.TemporaryDirectory() as folder:
        job = job_folder(Path(folder))
        job.add("a.png", masks=Masks.from_array(stack, photo="a.png"))
        coco = read(export_job(job.out, "coco", **options).path)
    return np.stack([coco.annToMask(each) for each in coco.loadAnns(coco.getAnnIds())]) > 0


@given(stacks)
@settings(deadline=None, max_examples=50)
def test_masks_are_the_same_in_pycocotools(
    job_folder: type[JobFolder], stack: NDArray[np.bool_]
) -> None:
    assert np.array_equal(round_trip(stack, job_folder), stack)


@given(stacks)
@settings(deadline=None, max_examples=50)
def test_polygons_lose_holes_and_nothing_else(
    job_folder: type[JobFolder], stack: NDArray[np.bool_]
) -> None:
    whole = np.stack([ndimage.binary_fill_holes(mask, np.ones((3, 3))) for mask in stack])
    full = whole.any(axis=(1, 2))  # pycocotools reads no polygon at all for an empty mask
    if full.all():
        assert np.array_equal(round_trip(stack, job_folder, polygons=True), whole)


def test_holes_that_polygons_lose_are_counted(job: JobFolder) -> None:
    ring = np.ones((1, 9, 9), bool)
    ring[:, 2:4, 2:4] = ring[:, 6:8, 6:8] = False
    job.add("a.png", masks=Masks.from_array(ring, photo="a.png"))
    notes = export_job(job.out, "coco", polygons=True).notes
    assert notes == {"holes filled, as polygons cannot have any": 2}
    assert export_job(job.out, "coco").notes == {}


def test_the_whole_file(job: JobFolder) -> None:
    boxes = Boxes(
        [[-2, 1, 4, 3.5]],
        (6, 8),
        ("cat",),
        [0.25],
        ids=[7],
        flags=[("truncated",)],
        photo="b/1.png",
    )
    mask = np.zeros((1, 6, 8), bool)
    mask[0, 1:3, 0:4] = True
    job.add("b/1.png", masks=Masks.from_array(mask, boxes), tags=Tags(("cat", "dog")))
    job.add("a.png", masks=Masks.empty((3, 5), "a.png"))
    found = exported(job)
    (annotation,) = found["annotations"]
    empty, photo = found["images"]
    assert photo == {"id": photo["id"], "file_name": "b/1.png", "width": 8, "height": 6}
    assert empty == {"id": empty["id"], "file_name": "a.png", "width": 5, "height": 3}
    assert annotation == {
        "id": annotation["id"],
        "image_id": photo["id"],
        "category_id": 1,
        "bbox": [0, 1, 4, 2.5],
        "area": 8,
        "segmentation": annotation["segmentation"],
        "iscrowd": 0,
        "score": 0.25,
        "object": 7,
        "flags": ["truncated"],
    }
    assert found["categories"] == [{"id": 1, "name": "cat"}]
    assert found["info"]["pipeline"] == "ab" * 32


def test_ids_stay_when_photos_and_objects_are_added(job: JobFolder) -> None:
    job.add("m.png", boxes=make_boxes(2, photo="m.png"))
    before = exported(job)
    job.add("a.png", boxes=make_boxes(3, photo="a.png"))
    job.add("z.png", boxes=make_boxes(3, photo="z.png"))
    after = exported(job)
    assert before["images"] == after["images"][1:2]
    assert before["annotations"] == after["annotations"][3:5]
    ids = [each["id"] for each in after["annotations"] + after["images"]]
    assert len(set(ids)) == len(ids)
    assert 0 < min(ids) < max(ids) < 2**53


def test_the_same_results_give_the_same_bytes(job: JobFolder) -> None:
    job.add("m.png", masks=make_masks(), boxes=make_boxes())
    first = export_job(job.out, "coco", job.root / "1.json").path.read_bytes()
    assert export_job(job.out, "coco", job.root / "2.json").path.read_bytes() == first


def test_categories_are_sorted_or_as_given(job: JobFolder) -> None:
    job.add("a.png", boxes=make_boxes(3, labels=["pear", "", "apple"]))
    names = [each["name"] for each in exported(job)["categories"]]
    assert names == ["apple", "object", "pear"]
    given_ = ("object", "pear", "plum", "apple")
    categories = exported(job, classes=given_)["categories"]
    assert categories == [{"id": index + 1, "name": name} for index, name in enumerate(given_)]
    with pytest.raises(JobError, match="objects of other classes: apple, object; add them"):
        exported(job, classes=("pear",))


def test_boxes_alone_have_no_segmentation(job: JobFolder) -> None:
    job.add("a.png", boxes=Boxes([[1, 2, 3, 5]], (8, 8)))
    (annotation,) = exported(job)["annotations"]
    assert (annotation["bbox"], annotation["area"]) == ([1, 2, 2, 3], 6)
    assert annotation["segmentation"] == []


def test_results_agree_with_themselves_by_cocos_own_measure(job: JobFolder) -> None:
    job.add("a.png", masks=make_masks(make_boxes(3, (480, 640), photo="a.png")))
    job.add("b.png", masks=make_masks(make_boxes(2, (480, 640), photo="b.png")))
    coco = read(export_job(job.out, "coco").path)
    with contextlib.redirect_stdout(io.StringIO()):
        same = coco.loadRes(copy.deepcopy(coco.dataset["annotations"]))
        score = COCOeval(coco, same, "segm")
        score.evaluate()
        score.accumulate()
        score.summarize()
    assert score.stats[0] == pytest.approx(1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_and_sizes_follow_the_frame(job: JobFolder, orientation: int) -> None:
    job.photo("a.jpg", (64, 48), orientation)
    upright_hw = (48, 64) if orientation < 5 else (64, 48)
    boxes = make_boxes(2, upright_hw, photo="a.jpg")
    job.add("a.jpg", masks=make_masks(boxes.replace(xyxy=boxes.xyxy / 2)))
    upright, raw = exported(job), exported(job, frame="raw")
    assert upright["annotations"][0]["segmentation"]["size"] == list(upright_hw)
    assert (upright["images"][0]["height"], upright["images"][0]["width"]) == upright_hw
    assert (raw["images"][0]["height"], raw["images"][0]["width"]) == (48, 64)
    assert raw["annotations"][0]["area"] == upright["annotations"][0]["area"]
    assert (raw["annotations"] == upright["annotations"]) == (orientation == 1)


def test_a_picture_without_a_file_is_stored_upright(job: JobFolder) -> None:
    job.add("item 0", boxes=make_boxes(1))
    journal = job.out / "items.jsonl"
    journal.write_text(journal.read_text().replace(f'"{job.photos}/item 0"', "null"))
    upright, raw = exported(job), exported(job, frame="raw")
    assert raw["annotations"] == upright["annotations"]


def test_it_is_said_that_photos_carry_an_orientation(job: JobFolder) -> None:
    job.photo("a.jpg", (64, 48), 6)
    job.add("a.jpg", boxes=make_boxes(1, (64, 48)))
    (note,) = export_job(job.out, "coco").notes
    assert note.startswith("photos with an EXIF orientation, whose objects are in the frame of the")
    (note,) = export_job(job.out, "coco", frame="raw").notes
    assert note.endswith("in the frame that the file stores: read them without EXIF")


def test_the_stored_frame_of_a_photo_that_is_gone_is_not_known(job: JobFolder) -> None:
    job.add("a.jpg", boxes=make_boxes(1))
    with pytest.raises(JobError, match=r"a\.jpg: cannot .* --frame raw asks for its EXIF"):
        export_job(job.out, "coco", frame="raw")


def test_objects_in_a_picture_of_another_size_are_noted(job: JobFolder) -> None:
    job.photo("a.png", (640, 480))
    job.add("a.png", boxes=make_boxes(1, (48, 64)))
    (note,) = export_job(job.out, "coco").notes
    assert note.startswith("photos whose objects were found in a picture of another size")


def test_the_jobs_own_annotations_are_replaced_or_taken_away(job: JobFolder) -> None:
    job.add("a.png", masks=make_masks(), boxes=make_boxes())
    path = write_annotations(job.out)
    assert path == job.out / "annotations.coco.json"
    assert len(json.loads(path.read_text())["annotations"]) == 3
    job.add("a.png", masks=Masks.empty((48, 64)), boxes=make_boxes())
    assert write_annotations(job.out) == path
    assert json.loads(path.read_text())["annotations"] == []
    job.add("a.png", masks=make_masks(), more=make_masks())
    assert write_annotations(job.out) is None
    assert not path.exists()
