"""Draws the sample photos in `examples/images/scenes/`, with the truth about each of them.

    python -m training.samples [FOLDER]

A dozen pictures of 640 x 480 from the test split: none was ever trained on, the last shows nothing.
The truth is in `truth.coco.json`, as COCO has it: boxes as x, y, width, height; masks run-length
encoded, of what is visible; each image with its `caption`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from training.world import NAMES, NAMES_ZH, TRAINED, Scene, World
from training.world.captions import caption
from visionweave import Boxes, Masks

__all__ = ["TRUTH", "draw", "samples", "truth"]

FOLDER = Path(__file__).parents[1] / "examples" / "images" / "scenes"
TRUTH = "truth.coco.json"

SIZE_WH = (640, 480)
COUNTS = (1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 5, 0)
"""How many things each shows."""

_IN_SIGHT = 0.9
_SEED = 640_481  # no other seeds are of two numbers that begin with this one


def samples() -> list[Scene]:
    """Return the scenes, 640 wide and 480 high: every thing once, and in sight."""
    world = World(TRAINED, "test")
    return [_sample(world, number, count) for number, count in enumerate(COUNTS)]


def _sample(world: World, number: int, count: int) -> Scene:
    """Take the first scene whose things all lie within 480 rows, and cut it to those."""
    width, height = SIZE_WH
    for attempt in range(10_000):
        rng = np.random.default_rng((_SEED, number, attempt))
        scene = world.scene(rng, width, (count, count), (0.22, 0.42))
        plain = {thing.name_index for thing in scene.objects if thing.visible >= _IN_SIGHT}
        if len(plain) < count:  # hidden in part, or two of one name, which no caption tells apart
            continue
        top = min((int(thing.xyxy[1]) for thing in scene.objects), default=0)
        bottom = max((int(thing.xyxy[3]) for thing in scene.objects), default=height)
        if bottom - top <= height:
            middle = (top + bottom - height) // 2
            return _cut(scene, min(max(middle, 0), width - height), height)
    raise RuntimeError(f"no scene of {count} things fits into {width} x {height}")


def _cut(scene: Scene, top: int, height: int) -> Scene:
    rows = slice(top, top + height)
    for thing in scene.objects:
        thing.xyxy[[1, 3]] -= top
    return Scene(scene.image[rows], scene.ids[rows], scene.objects)


def truth(scenes: list[Scene]) -> dict[str, Any]:
    """Return what is in the scenes, as COCO has it."""
    images, annotations = [], []
    for number, scene in enumerate(scenes):
        height, width = scene.ids.shape
        image = {"id": number, "file_name": file_name(number), "width": width, "height": height}
        images.append({**image, "caption": caption(scene)})
        for each in _annotations(scene):
            annotations.append({"id": len(annotations), "image_id": number, **each})
    pairs = zip(NAMES, NAMES_ZH, strict=True)
    categories = [
        {"id": index, "name": name, "name_zh": chinese}
        for index, (name, chinese) in enumerate(pairs)
    ]
    info = {"description": "Composed by visionweave's training/samples.py; see NOTICE"}
    return {
        "info": info,
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }


def file_name(number: int) -> str:
    """What a scene's picture is called."""
    return f"scene-{number + 1:02}.jpg"


def _annotations(scene: Scene) -> list[dict[str, Any]]:
    if not scene.objects:
        return []
    boxes = Boxes(np.stack([thing.xyxy for thing in scene.objects]), scene.ids.shape)
    visible = [scene.ids == number + 1 for number in range(len(scene.objects))]
    masks = Masks.from_array(np.stack(visible), boxes)
    rows = zip(scene.objects, masks.areas.tolist(), masks.rles(), strict=True)
    return [
        {
            "category_id": int(thing.name_index),
            "bbox": [*map(float, (*thing.xyxy[:2], *(thing.xyxy[2:] - thing.xyxy[:2])))],
            "area": area,
            "iscrowd": 0,
            "segmentation": {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")},
            "style": thing.style,
            "visible": round(float(thing.visible), 3),
        }
        for thing, area, rle in rows
    ]


def draw(folder: Path) -> None:
    """Write the pictures and the truth into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    scenes = samples()
    for number, scene in enumerate(scenes):
        picture = PIL.Image.fromarray(scene.image)
        picture.save(folder / file_name(number), quality=90, subsampling=0, optimize=True)
    text = json.dumps(truth(scenes), ensure_ascii=False, indent=1)
    (folder / TRUTH).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
