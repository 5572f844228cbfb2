"""YOLO: numbers that were worked out by hand."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ruamel.yaml import YAML

from visionweave import Boxes, JobError, Masks
from visionweave.exports import Exported, export_job
from visionweave.testing import make_boxes, make_masks

if TYPE_CHECKING:
    from tests.exports.conftest import JobFolder

SCORES = "objects whose score, number and flags are not in this format"
LABELS_ONLY = "photos to be put into images/ beside labels/ (--photos link or copy does that)"

IMAGES = "photos in a folder called images, which is images_ here, so that YOLO finds their labels"


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def label(exported: Exported, name: str = "a") -> str:
    return (exported.path / f"labels/{name}.txt").read_text()


def test_boxes_are_the_middle_and_size_as_shares_of_the_photo(job: JobFolder) -> None:
    boxes = [[10, 20, 50, 40], [-10, -10, 20, 25], [90, 0, 120, 50], [0, 0, 100, 50]]
    job.add("a.png", boxes=Boxes(boxes, (50, 100), ("pear", "apple", "apple", "pear")))
    exported = export_job(job.out, "yolo")
    assert label(exported).splitlines() == [
        "1 0.300000 0.600000 0.400000 0.400000",
        "0 0.100000 0.250000 0.200000 0.500000",
        "0 0.950000 0.500000 0.100000 1.000000",
        "1 0.500000 0.500000 1.000000 1.000000",
    ]
    assert (exported.count, exported.notes) == (4, {SCORES: 4, LABELS_ONLY: 1})


def test_a_box_outside_the_photo_is_left_out_and_counted(job: JobFolder) -> None:
    job.add("a.png", boxes=Boxes([[200, 0, 220, 10], [5, 5, 5, 9], [0, 0, 1, 1]], (50, 100)))
    exported = export_job(job.out, "yolo")
    assert len(label(exported).splitlines()) == exported.count == 1
    assert exported.notes["objects left out, as no part of their box lies in the photo"] == 2


def test_the_folder_of_a_data_set(job: JobFolder) -> None:
    job.photo("street/4.png")
    job.photo("empty.png")
    job.add("street/4.png", boxes=make_boxes(2, labels=["c: 'd'", "Äpfel"]))
    job.add("empty.png", boxes=make_boxes(0))
    job.line("bad.png", "failed", {})
    exported = export_job(job.out, "yolo", job.root / "set", photos="copy")
    assert files(job.root / "set") == [
        "classes.txt",
        "data.yaml",
        "export.json",
        "images/empty.png",
        "images/street/4.png",
        "labels/empty.txt",
        "labels/street/4.txt",
    ]
    assert label(exported, "empty") == ""
    assert (exported.path / "classes.txt").read_text("utf-8") == "c: 'd'\nÄpfel\n"
    data = YAML(typ="safe").load((exported.path / "data.yaml").read_text("utf-8"))
    names = {0: "c: 'd'", 1: "Äpfel"}
    assert data == {"train": "images", "val": "images", "names": names}
    copied = exported.path / "images/street/4.png"
    assert copied.read_bytes() == (job.photos / "street/4.png").read_bytes()
    assert (exported.photos, exported.left_out) == (2, {"failed": 1})
    assert exported.notes == {SCORES: 2, "photos without objects": 1}


def test_photos_may_be_linked(job: JobFolder) -> None:
    photo = job.photo("street/4.png")
    job.add("street/4.png", boxes=make_boxes(1))
    for _ in range(2):  # the second time, the first one's link is there
        export_job(job.out, "yolo", job.root / "set", photos="link")
    assert (job.root / "set/images/street/4.png").readlink() == photo


@pytest.mark.parametrize("photos", ["link", "copy"])
def test_photos_that_changed_since_the_job_are_counted(job: JobFolder, photos: str) -> None:
    for name in ("a.png", "b.png", "c.png"):
        sha256 = hashlib.sha256(job.photo(name).read_bytes()).hexdigest()
        job.add(name, boxes=make_boxes(1))
        job.line(name, "ok", {"boxes": f"{name[0]}/boxes.json"}, sha256=sha256)
    job.photo("a.png", (32, 24))
    (job.photos / "b.png").touch()
    exported = export_job(job.out, "yolo", photos=photos)
    changed = "photos that changed since the job, whose objects are those of before: run it again"
    assert exported.notes[changed] == 1


def test_a_photo_that_is_gone_cannot_come_along(job: JobFolder) -> None:
    job.add("a.png", boxes=make_boxes(1))
    with pytest.raises(JobError, match=r"a\.png is not there; export with --photos none"):
        export_job(job.out, "yolo", photos="link")
    assert not (job.out / "exports/yolo").exists()


def test_no_objects_at_all_are_a_data_set_too(job: JobFolder) -> None:
    job.add("a.png", boxes=make_boxes(0))
    exported = export_job(job.out, "yolo")
    data = YAML(typ="safe").load((exported.path / "data.yaml").read_text())
    assert data["names"] == {}
    assert (exported.path / "classes.txt").read_text() == ""


def test_photos_that_would_share_a_label_file_are_refused(job: JobFolder) -> None:
    job.add("s/a.jpg", boxes=make_boxes(1))
    job.line("s/a.png", "ok", {"boxes": "s/a/boxes.json"})
    with pytest.raises(JobError, match=r"s/a\.jpg and s/a\.png would share labels/s/a\.txt"):
        export_job(job.out, "yolo")


def test_labels_are_where_yolo_looks_for_them(job: JobFolder) -> None:
    names = ["train/images/a.png", "images/images/a.png", "images.png", "labels/a.png"]
    for name in names:
        job.photo(name)
        job.add(name, boxes=make_boxes(1))
    exported = export_job(job.out, "yolo", photos="link")
    photos = sorted((exported.path / "images").rglob("*.png"))
    assert len(photos) == len(names)
    for photo in photos:  # as Ultralytics' img2label_paths has it
        labels = "/labels/".join(str(photo).rsplit("/images/", 1)).rsplit(".", 1)[0] + ".txt"
        assert len(Path(labels).read_text().splitlines()) == 1
    assert exported.notes == {SCORES: 4, IMAGES: 2}


def test_photos_that_would_share_a_name_are_refused(job: JobFolder) -> None:
    job.add("images/a.png", boxes=make_boxes(1))
    job.line("images_/a.png", "ok", {"boxes": "images/a/boxes.json"})
    with pytest.raises(JobError, match=r"images_/a\.png would share labels/images_/a\.txt"):
        export_job(job.out, "yolo")


def test_outlines_are_corners_as_shares_of_the_photo(job: JobFolder) -> None:
    mask = np.zeros((1, 10, 20), bool)
    mask[0, 2:4, 5:15] = True
    job.add("a.png", masks=Masks.from_array(mask, photo="a.png"))
    (line,) = label(export_job(job.out, "yolo-seg")).splitlines()
    number, *shares = line.split()
    corners = set(zip(shares[::2], shares[1::2], strict=True))
    assert number == "0"
    assert corners == {(x, y) for x in ("0.250000", "0.750000") for y in ("0.200000", "0.400000")}


def test_parts_are_one_line_that_begins_with_the_largest_and_losses_are_counted(
    job: JobFolder,
) -> None:
    masks = np.zeros((3, 10, 20), bool)
    masks[0, 1, 1] = True
    masks[0, 3:9, 10:16] = True
    masks[0, 5, 12] = False
    masks[1, 0, 0] = True
    job.add("a.png", masks=Masks.from_array(masks, photo="a.png"))
    exported = export_job(job.out, "yolo-seg")
    first, second = label(exported).splitlines()
    shares = np.array(first.split()[1:], float).reshape(-1, 2) * [20, 10]
    assert len(second.split()) == 1 + 2 * 4
    assert len(shares) == 4 + 4 + 2
    assert shares[0].tolist() in [[10, 3], [16, 3], [16, 9], [10, 9]]
    assert exported.notes == {
        "holes filled, as polygons cannot have any": 1,
        "objects of several parts, joined by lines without width": 1,
        "objects left out, as their mask has no pixel": 1,
        SCORES: 2,
        LABELS_ONLY: 1,
    }


def test_outlines_need_masks(job: JobFolder) -> None:
    job.add("a.png", boxes=make_boxes(1))
    with pytest.raises(JobError, match="yolo-seg needs masks, and output 'boxes' holds Boxes; --"):
        export_job(job.out, "yolo-seg")


def test_a_tolerance_makes_files_smaller(job: JobFolder) -> None:
    job.add("a.png", masks=make_masks(make_boxes(1, (480, 640))))
    exact = len(label(export_job(job.out, "yolo-seg")))
    assert len(label(export_job(job.out, "yolo-seg", tolerance=1.0))) < exact / 5


def test_boxes_follow_the_stored_frame(job: JobFolder) -> None:
    job.photo("a.jpg", (100, 50), orientation=6)  # 50 wide and 100 high when upright
    job.add("a.jpg", boxes=Boxes([[0, 0, 10, 20]], (100, 50)))
    exported = export_job(job.out, "yolo", frame="raw")
    assert label(exported) == "0 0.100000 0.900000 0.200000 0.200000\n"
