"""The sample scenes: cut to size with all they show, and told as COCO has it."""

from __future__ import annotations

import numpy as np

from training.samples import SIZE_WH, _cut, truth
from training.world import NAMES, Placed, Scene
from visionweave import Boxes, Masks


def scene() -> Scene:
    """An apple and a cat beside each other, below the middle of 640 x 640."""
    image, ids = np.zeros((640, 640, 3), np.uint8), np.zeros((640, 640), np.uint8)
    ids[400:500, 100:180], ids[420:560, 300:410] = 1, 2
    image[ids > 0] = 200
    objects = [
        Placed(NAMES.index("apple"), "noto", np.float32([100, 400, 180, 500]), 1.0),
        Placed(NAMES.index("cat"), "fluent", np.float32([300, 420, 410, 560]), 0.93),
    ]
    return Scene(image, ids, objects)


def test_cutting_a_scene_moves_what_it_shows() -> None:
    cut = _cut(scene(), 120, 480)
    assert cut.image.shape == (*SIZE_WH[::-1], 3)
    assert np.array_equal(cut.image[..., 0] > 0, cut.ids > 0)
    assert [thing.xyxy.tolist() for thing in cut.objects] == [
        [100, 280, 180, 380],
        [300, 300, 410, 440],
    ]


def test_the_truth_is_what_coco_readers_expect() -> None:
    empty = Scene(np.zeros((480, 640, 3), np.uint8), np.zeros((480, 640), np.uint8))
    found = truth([_cut(scene(), 120, 480), empty])
    assert found["images"] == [
        {
            "id": 0,
            "file_name": "scene-01.jpg",
            "width": 640,
            "height": 480,
            "caption": "an apple left of a cat",
        },
        {
            "id": 1,
            "file_name": "scene-02.jpg",
            "width": 640,
            "height": 480,
            "caption": "nothing",
        },
    ]
    apple, cat = found["annotations"]
    assert (apple["id"], cat["id"], apple["image_id"], cat["image_id"]) == (0, 1, 0, 0)
    assert found["categories"][cat["category_id"]]["name"] == "cat"
    assert (cat["bbox"], cat["area"], cat["visible"]) == ([300, 300, 110, 140], 15_400, 0.93)
    boxes = Boxes(np.float32([[300, 300, 410, 440]]), (480, 640))
    mask = Masks((cat["segmentation"]["counts"].encode(),), boxes).mask(0)
    assert np.array_equal(mask, scene().ids[120:600] == 2)
