"""Every example runs, and says what it promises; the samples are what they say they are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from visionweave import Boxes, Image, Masks, Pipeline
from visionweave.weights.lock import shipped_lock

EXAMPLES = Path(__file__).parent.parent / "examples"
STICKERS = EXAMPLES / "images" / "stickers"
SCENES = EXAMPLES / "images" / "scenes"
SHIPS = {"mini-ram", "mini-grounding-dino", "mini-sam", "mini-triposr"}


def run(script: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "error", str(EXAMPLES / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


PROMISES = {
    "call_a_node.py": [
        "small: 100 x 31",
        "4 stickers, [11273, 13612, 12562, 15307] pixels large",
        "the large ones: [1, 2, 3], boxes [[244, 63, 397, 212], [461, 43, 582, 201], [650, 64, 785",
        "none is left: 0",
        "for a detector: ('cat', 'a sunny day')",
        "[(10, 3), (10, 3)]",
    ],
    "map_a_folder.py": [
        "breakfast.png: 3 objects, 150 x 169, 166 x 146, 163 x 163 pixels",
        "outdoors.png: 4 objects, ",
    ],
    "batch_over_objects.py": [
        "Pipeline(photo: Image, boxes: Boxes -> crops: list[Image], small: list[Image])",
        "2 of mugs.png\n  sticker 1.00, object 0 of mugs.png: 32 x 32\n  sticker 1.00, object 1 of",
        "0 of breakfast.png",
    ],
    "own_node.py": [
        "breakfast.png: [2] of 3\nmugs.png: [] of 2\noutdoors.png: [3] of 4\n",
        "examples.round: cannot connect input 'photo' to port 'masks'\n  expected: Masks",
    ],
    "chaining.py": [
        "Pipeline(photo: Image -> masks: Masks, cutouts: list[Cutout], overlay: Image)",
        "sticker 1.00, object 2 of ",
    ],
}


@pytest.mark.parametrize("script", PROMISES)
def test_an_example_runs_and_says_what_it_promises(script: str) -> None:
    printed = run(script)
    for promise in PROMISES[script]:
        assert promise in printed
    if "visionweave: 1" in printed:
        pipeline = Pipeline.from_yaml(printed[printed.index("visionweave: 1") :])
        assert pipeline.outputs.keys() == {"masks", "cutouts", "overlay"}


def test_no_example_is_forgotten() -> None:
    scripts = {path.name for path in EXAMPLES.glob("*.py")}
    assert scripts == {*PROMISES, "draw_samples.py", "objects_to_3d.py"}


@pytest.mark.skipif(
    SHIPS - shipped_lock().checkpoints.keys(), reason="the mini models do not ship yet"
)
def test_the_flagship_example_makes_closed_meshes() -> None:
    printed = run("objects_to_3d.py")
    photos = [line for line in printed.splitlines() if not line.startswith(" ")]
    meshes = [line for line in printed.splitlines() if line.startswith(" ")]
    assert [line.partition(":")[0] for line in photos] == [f"scene-0{n}.jpg" for n in (1, 2, 3)]
    assert len(meshes) >= 2
    assert all(": watertight, " in line for line in meshes)


def test_the_stickers_are_what_their_script_draws(tmp_path: Path) -> None:
    run("draw_samples.py", str(tmp_path))
    drawn = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.png"))
    assert drawn == sorted(path.relative_to(STICKERS) for path in STICKERS.rglob("*.png"))
    for name in drawn:
        again, shipped = Image.open(tmp_path / name), Image.open(STICKERS / name)
        assert np.array_equal(again.alpha, shipped.alpha)
        assert np.array_equal(again.pixels, shipped.pixels)


def test_every_scene_has_its_truth_as_coco_has_it() -> None:
    truth = json.loads((SCENES / "truth.coco.json").read_text(encoding="utf-8"))
    names = {each["id"]: each["name"] for each in truth["categories"]}
    assert [each["file_name"] for each in truth["images"]] == sorted(
        path.name for path in SCENES.glob("*.jpg")
    )
    for each in truth["images"]:
        photo = Image.open(SCENES / each["file_name"])
        assert photo.size_wh == (each["width"], each["height"]) == (640, 480)
        own = [row for row in truth["annotations"] if row["image_id"] == each["id"]]
        assert [names[row["category_id"]] in each["caption"] for row in own] == [True] * len(own)
        if not own:
            assert each["caption"] == "nothing"
            continue
        xywh = np.array([row["bbox"] for row in own], np.float32)
        boxes = Boxes(np.hstack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]]), photo.image_hw)
        counts = tuple(row["segmentation"]["counts"].encode() for row in own)
        masks = Masks(counts, boxes)
        assert np.array_equal(masks.tight_xyxy, boxes.xyxy)
        assert masks.areas.tolist() == [row["area"] for row in own]
        assert not np.triu(masks.intersections(), 1).any()
    assert [
        sum(row["image_id"] == number for row in truth["annotations"]) for number in range(12)
    ] == [*(1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 5, 0)]
