"""Objects as the page draws them: boxes and masks brought together, small masks, geometry."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from visionweave import Boxes, Masks
from visionweave.report.meshes import mesh_script
from visionweave.report.objects import merge, small_masks
from visionweave.testing import make_boxes, make_masks, make_mesh


def test_a_box_and_a_mask_of_the_same_object_are_one_object() -> None:
    boxes = make_boxes(2)
    tight = boxes.replace(xyxy=boxes.xyxy + np.array([1, 1, -1, -1], np.float32))
    things, elsewhere = merge([("boxes", boxes), ("masks", make_masks(tight)[[1]])], (64, 48))
    assert [(thing.id, thing.outputs) for thing in things] == [
        (0, ["boxes"]),
        (1, ["boxes", "masks"]),
    ]
    assert things[1].box == tuple(tight.xyxy[1].tolist())
    assert elsewhere == []


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"labels": ("cat", "cat")}, id="another label"),
        pytest.param({"ids": [7, 8]}, id="another id"),
        pytest.param({"xyxy": make_boxes(2).xyxy[::-1]}, id="another place"),
    ],
)
def test_objects_that_differ_stay_two(other: dict[str, Any]) -> None:
    boxes = make_boxes(2, labels=["apple", "apple"])
    things, _ = merge([("one", boxes), ("two", boxes.replace(**other))], (64, 48))
    assert [thing.outputs for thing in things] == [["one"], ["one"], ["two"], ["two"]]


def test_boxes_found_on_a_smaller_copy_are_scaled_and_those_of_a_crop_are_left_out() -> None:
    small, crop = make_boxes(1, (48, 64)), make_boxes(1, (50, 50))
    things, elsewhere = merge([("small", small), ("crop", crop)], (640, 480))
    assert things[0].box == tuple((small.xyxy[0].astype(float) * 10).tolist())
    assert elsewhere == ["crop"]


def test_a_small_mask_holds_the_pixels_in_the_middle() -> None:
    mask = np.random.default_rng(0).random((1, 42, 60)) > 0.5
    (thing,), _ = merge([("masks", Masks.from_array(mask))], (60, 42))
    height, width, counts = small_masks(thing, 20) or (0, 0, "")
    boxes = Boxes(np.zeros((1, 4), np.float32), (height, width))
    assert np.array_equal(Masks((counts.encode(),), boxes).mask(0), mask[0, 1::3, 1::3])


def test_a_mask_as_small_as_a_thumbnail_is_kept_as_it_is() -> None:
    masks = make_masks()
    things, _ = merge([("masks", masks)], (64, 48))
    assert small_masks(things[2], 64) == (48, 64, masks.counts[2].decode())


def test_an_empty_mask_stays_empty() -> None:
    (thing,), _ = merge([("masks", Masks.from_array(np.zeros((1, 48, 64), bool)))], (64, 48))
    assert small_masks(thing, 16) == (
        12,
        16,
        Masks.from_array(np.zeros((1, 12, 16), bool)).counts[0].decode(),
    )


def test_the_script_of_a_mesh_holds_its_geometry() -> None:
    mesh = make_mesh()
    name, form = json.loads(f"[{mesh_script('meshes/1', mesh)[20:-3].decode()}]")
    data, count = base64.b64decode(form["data"]), form["vertices"]
    corners = np.frombuffer(data, "<u2", 3 * count).reshape(-1, 3) / 65535 * 1.0 - 0.5
    colours = np.frombuffer(data, np.uint8, 3 * count, 6 * count).reshape(-1, 3)
    faces = np.frombuffer(data, "<u4", 3 * form["faces"], -(-9 * count // 4) * 4).reshape(-1, 3)
    assert (name, form["size"]) == ("meshes/1", [1, 1, 1])
    assert np.allclose(corners, mesh.vertices, atol=1e-5)
    assert mesh.colours is not None
    assert np.array_equal(colours, mesh.colours[:, :3])
    assert np.array_equal(faces, mesh.faces)
