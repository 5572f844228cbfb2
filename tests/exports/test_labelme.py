"""LabelMe: what it shows is what was found, and masks survive bit by bit."""

from __future__ import annotations

import base64
import io
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from visionweave import Boxes, Masks
from visionweave.exports import export_job
from visionweave.testing import make_boxes, make_masks

if TYPE_CHECKING:
    from tests.exports.conftest import JobFolder


def read(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text("utf-8"))
    assert isinstance(found, dict)
    return found


def mask_of(shape: dict[str, Any], height: int, width: int) -> NDArray[np.bool_]:
    """A mask as LabelMe restores it: its picture, with its first pixel at the first point."""
    patch = np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(shape["mask"])))).astype(bool)
    (x1, y1), (x2, y2) = shape["points"]
    assert patch.shape == (y2 - y1 + 1, x2 - x1 + 1)
    mask = np.zeros((height, width), bool)
    mask[y1 : y2 + 1, x1 : x2 + 1] = patch
    return mask


@given(arrays(bool, array_shapes(min_dims=3, max_dims=3, max_side=9)))
@settings(deadline=None, max_examples=50)
def test_masks_are_the_same_in_labelme(
    job_folder: type[JobFolder], stack: NDArray[np.bool_]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        job = job_folder(Path(folder))
        job.add("a.png", masks=Masks.from_array(stack, photo="a.png"))
        found = read(export_job(job.out, "labelme").path / "a.json")
    height, width = found["imageHeight"], found["imageWidth"]
    masks = [mask_of(shape, height, width) for shape in found["shapes"]]
    assert np.array_equal(np.stack(masks), stack)


def test_a_file_says_all_that_is_known(job: JobFolder) -> None:
    job.photo("street/4.png")
    boxes = make_boxes(1, labels=["cat"]).replace(
        xyxy=[[1.5, 2, 3, 4]], ids=[7], flags=[("small",)], scores=np.array([0.1], np.float32)
    )
    job.add("street/4.png", masks=make_masks(boxes))
    job.add("empty.png", masks=Masks.empty((48, 64)))
    path = export_job(job.out, "labelme").path
    found = read(path / "street/4.json")
    (shape,) = found.pop("shapes")
    photo = (path / "street" / found.pop("imagePath")).resolve()
    assert photo == (job.photos / "street/4.png").resolve()
    flags: dict[str, bool] = {}
    assert found == {
        "version": "5.5.0",
        "flags": flags,
        "imageData": None,
        "imageHeight": 48,
        "imageWidth": 64,
    }
    assert shape == shape | {
        "label": "cat",
        "group_id": 7,
        "shape_type": "mask",
        "flags": {"small": True},
        "score": 0.1,
        "box": [1.5, 2, 3, 4],
    }
    assert read(path / "empty.json")["shapes"] == []


def test_boxes_are_rectangles(job: JobFolder) -> None:
    job.add("a.png", boxes=Boxes([[-1, 2, 30, 90]], (48, 64), ("",)))
    (shape,) = read(export_job(job.out, "labelme").path / "a.json")["shapes"]
    assert (shape["shape_type"], shape["label"]) == ("rectangle", "object")
    assert shape["points"] == [[0, 2], [30, 48]]
    assert shape["box"] == [-1, 2, 30, 90]


def test_polygons_have_a_shape_for_each_part(job: JobFolder) -> None:
    masks = np.zeros((2, 9, 9), bool)
    masks[0, 1:3, 1:3] = masks[0, 5:8, 5:8] = True
    job.add("a.png", masks=Masks.from_array(masks, photo="a.png"))
    exported = export_job(job.out, "labelme", polygons=True)
    shapes = read(exported.path / "a.json")["shapes"]
    assert [(shape["shape_type"], shape["group_id"]) for shape in shapes] == [("polygon", 0)] * 2
    corners = {tuple(point) for shape in shapes for point in shape["points"]}
    assert corners == {(x, y) for side in ((1, 3), (5, 8)) for x in side for y in side}
    assert exported.count == 1
    assert exported.notes == {"objects left out, as their mask has no pixel": 1}


def test_photos_with_one_stem_keep_their_suffix(job: JobFolder) -> None:
    job.add("a.jpg", boxes=make_boxes(1))
    job.line("a.png", "ok", {"boxes": "a/boxes.json"})
    path = export_job(job.out, "labelme").path
    assert sorted(each.name for each in path.iterdir()) == [
        "a.jpg.json",
        "a.png.json",
        "export.json",
    ]


def test_no_photo_has_the_file_of_another(job: JobFolder) -> None:
    names = ["x.png", "x.webp", "x.png.png", "x.png.png.jpg", "y.png", "export.png"]
    for count, name in enumerate(names):
        job.add(f"{count}.png", boxes=make_boxes(count))
        job.line(name, "ok", {"boxes": f"{count}/boxes.json"})
        job.line(f"{count}.png", "gone", {})
    path = export_job(job.out, "labelme").path
    files = [f"{name}.json" for name in names[:4]] + ["y.json", "export.png.json"]
    assert [len(read(path / file)["shapes"]) for file in files] == [0, 1, 2, 3, 4, 5]
    assert [read(path / file)["imagePath"].rpartition("/")[2] for file in files] == names


def test_a_path_that_is_no_unicode_leads_to_the_photo(job: JobFolder) -> None:
    strange = os.fsdecode(b"caf\xe9 \xe4\xbd\xa0.png")
    try:
        photo = job.photo(strange)
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    job.add("cafe.png", boxes=make_boxes(1))
    job.line("cafe.png", "ok", {"boxes": "cafe/boxes.json"}, path=str(photo))
    exported = export_job(job.out, "labelme")
    assert (exported.path / read(exported.path / "cafe.json")["imagePath"]).samefile(photo)
    assert exported.notes == {
        "photos whose path is no Unicode: LabelMe can read it from imagePath, others may not": 1
    }


def test_photos_come_along_beside_their_files(job: JobFolder) -> None:
    job.photo("s/a.png")
    job.add("s/a.png", boxes=make_boxes(1))
    path = export_job(job.out, "labelme", photos="copy").path
    assert (path / "s" / read(path / "s/a.json")["imagePath"]).is_file()
