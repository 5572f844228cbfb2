"""The ready pipelines with the models that ship, on the sample scenes: what comes out is right.

The bounds lie below what was measured when the models were shipped: they tell that a pipeline
means something, and notice when a change makes it much worse. `training/evaluate.py` has figures.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from visionweave import Boxes, Image, Masks, Pipeline, Result, Tags, Text
from visionweave.cli import main
from visionweave.nodes.mesh import measure
from visionweave.weights.lock import shipped_lock

SCENES = Path(__file__).parents[2] / "examples" / "images" / "scenes"
ABSENT = ("crocodile", "umbrella", "pizza")
"""Things that none of the scenes shows."""

DETECTOR, SEGMENTER = "mini-grounding-dino", "mini-sam"


def needs(*models: str) -> pytest.MarkDecorator:
    """Skip a test, only while a model that it runs does not ship."""
    missing = [name for name in models if name not in shipped_lock().checkpoints]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} does not ship yet")


@dataclass(frozen=True)
class Scene:
    """A sample, and the truth about it."""

    path: Path
    names: tuple[str, ...]
    masks: Masks

    @property
    def phrases(self) -> Tags:
        """What it shows, and what it does not."""
        return Tags((*self.names, *ABSENT))


@functools.cache
def scenes() -> tuple[Scene, ...]:
    """The dozen samples; the last shows nothing."""
    truth = json.loads((SCENES / "truth.coco.json").read_text(encoding="utf-8"))
    names = {each["id"]: each["name"] for each in truth["categories"]}
    found = []
    for image in truth["images"]:
        own = [row for row in truth["annotations"] if row["image_id"] == image["id"]]
        labels = tuple(names[row["category_id"]] for row in own)
        xywh = np.array([row["bbox"] for row in own], np.float32).reshape(-1, 4)
        xyxy = np.hstack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]])
        boxes = Boxes(xyxy, (image["height"], image["width"]), labels)
        counts = tuple(row["segmentation"]["counts"].encode() for row in own)
        found.append(Scene(SCENES / image["file_name"], labels, Masks(counts, boxes)))
    return tuple(found)


@functools.cache
def results(name: str) -> tuple[Result, ...]:
    """What a ready pipeline gives for every scene; phrases are what it shows, and three absent."""
    pipeline = Pipeline.load(name)
    items = [{"photo": each.path, "phrases": each.phrases} for each in scenes()]
    items = [{key: item[key] for key in pipeline.inputs} for item in items]
    found = tuple(pipeline.map(items))
    assert [failure for result in found for failure in result.failures] == []
    return found


def overlaps(truth: Masks, found: Masks) -> npt.NDArray[np.float64]:
    """(T, F) intersection over union of masks of the same name; 0 for other names."""
    ious = np.zeros((len(truth), len(found)))
    for t, one in enumerate(truth):
        for f, other in enumerate(found):
            if truth.boxes.labels[t] == found.boxes.labels[f]:
                ious[t, f] = (one & other).sum() / max(1, (one | other).sum())
    return ious


def shares(found: list[Masks], least: float) -> tuple[float, float]:
    """The share of all true objects that were found, and false objects per scene.

    A false one has the name of nothing that it shows: no overlap of a half with such a thing.
    """
    pairs = zip(scenes(), found, strict=True)
    ious = [overlaps(scene.masks, masks) for scene, masks in pairs]
    right = sum(int((each >= least).any(axis=1).sum()) for each in ious)
    false = sum(int((~(each >= 0.5).any(axis=0)).sum()) for each in ious)
    return right / sum(len(scene.names) for scene in scenes()), false / len(scenes())


def is_named(text: Text, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", text.text) is not None


@needs("mini-ram")
def test_tags_says_what_is_there() -> None:
    pairs = [
        (set(scene.names), set(result["tags"].phrases))
        for scene, result in zip(scenes(), results("tags"), strict=True)
    ]
    given = sum(len(tags) for _, tags in pairs)
    right = sum(len(names & tags) for names, tags in pairs)
    assert right / given >= 0.85
    assert right / sum(len(names) for names, _ in pairs) >= 0.85
    assert len(pairs[-1][1]) <= 1


@needs(DETECTOR)
def test_detect_finds_what_is_named_and_nothing_else() -> None:
    right = false = 0
    for scene, result in zip(scenes(), results("detect"), strict=True):
        found: Boxes = result["boxes"]
        same = np.array(scene.names)[:, None] == np.array(found.labels)[None, :]
        hits = (scene.masks.boxes.iou(found) >= 0.5) & same.reshape(len(scene.names), len(found))
        right += int(hits.any(axis=1).sum())
        false += int((~hits.any(axis=0)).sum())
    assert right / sum(len(scene.names) for scene in scenes()) >= 0.8
    assert false / len(scenes()) <= 0.2


@needs(DETECTOR, SEGMENTER)
@pytest.mark.parametrize("name", ["segment", "label"])
def test_masks_lie_on_what_is_named(name: str) -> None:
    found, false = shares([result["masks"] for result in results(name)], 0.6)
    assert found >= 0.8
    assert false <= 0.2


@needs(DETECTOR, SEGMENTER, "mini-clip")
def test_label_has_a_second_opinion_that_mostly_agrees() -> None:
    agree = []
    for result in results("label"):
        assert len(result["opinions"]) == len(result["masks"])
        for label, opinion in zip(result["masks"].boxes.labels, result["opinions"], strict=True):
            assert opinion.origin.label == label
            agree.append(opinion.phrases[0] == label)
    assert np.mean(agree) >= 0.85


@needs("mini-ram", DETECTOR, SEGMENTER)
def test_cutouts_show_the_objects_and_nothing_around_them() -> None:
    found, false = shares([result["masks"] for result in results("cutouts")], 0.6)
    assert found >= 0.82
    assert false <= 0.25
    for scene, result in zip(scenes(), results("cutouts"), strict=True):
        photo = Image.open(scene.path).pixels
        for cutout in result["cutouts"]:
            x1, y1, x2, y2 = map(int, cutout.region)
            inside = (slice(max(y1, 0), y2), slice(max(x1, 0), x2))
            own = cutout.rgba[max(-y1, 0) :, max(-x1, 0) :]
            part = photo[inside]
            own = own[: part.shape[0], : part.shape[1]]
            opaque = own[..., 3] == 255
            assert opaque.any()
            assert not opaque.all()
            assert np.array_equal(own[opaque][:, :3], part[opaque])


@needs("mini-ram", DETECTOR, SEGMENTER, "mini-triposr")
def test_objects_to_3d_gives_closed_meshes_in_the_objects_colours() -> None:
    found, false = shares([result["masks"] for result in results("objects-to-3d")], 0.7)
    assert found >= 0.75
    assert false <= 0.25
    for result in results("objects-to-3d"):
        assert len(result["meshes"]) == len(result["cutouts"])
        for mesh, cutout in zip(result["meshes"], result["cutouts"], strict=True):
            assert mesh.origin == cutout.origin
            measured = measure(mesh)
            assert measured.watertight
            assert measured.volume is not None
            assert measured.volume > 0
            own = cutout.rgba[cutout.rgba[..., 3] > 127][:, :3].mean(axis=0)
            assert np.abs(mesh.colours[:, :3].mean(axis=0) - own).mean() < 60


@needs("mini-ram", DETECTOR, "mini-blip")
def test_describe_objects_speaks_of_each_object() -> None:
    named = []
    for scene, result in zip(scenes(), results("describe-objects"), strict=True):
        assert len(result["captions"]) == len(result["boxes"])
        for text in result["captions"]:
            if text.origin.label in scene.names:
                named.append(is_named(text, text.origin.label))
    # Of all objects: a chain that finds more, and more difficult ones, is none the worse for it.
    assert sum(named) / sum(len(scene.names) for scene in scenes()) >= 0.6
    assert len(named) >= 24


@needs("mini-blip")
def test_captions_name_what_is_there_far_more_often_than_chance() -> None:
    named = [
        is_named(result["caption"], name)
        for scene, result in zip(scenes(), results("caption"), strict=True)
        for name in scene.names
    ]
    assert np.mean(named) >= 0.3  # one of 108 names would be right in one of 100
    assert all(result["caption"].text for result in results("caption"))


@needs("mini-clip")
def test_find_ranks_the_photos_that_show_a_thing_before_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["index", str(SCENES)]) == 0
    names = sorted({name for scene in scenes() for name in scene.names})
    queries = [{"query": Text(f"a {name}")} for name in names]
    ranks = []
    for name, result in zip(names, Pipeline.load("find").map(queries), strict=True):
        keys = [Path(key).name for key in result["hits"].keys]
        assert sorted(keys) == [scene.path.name for scene in scenes()]
        right = [scene.path.name for scene in scenes() if name in scene.names]
        ranks.append(min(keys.index(key) for key in right))
    assert np.mean(ranks) <= 3.5  # by chance 5.5, or a little less for what two scenes show


@needs(DETECTOR, SEGMENTER)
def test_redact_hides_what_is_named_and_leaves_the_rest() -> None:
    pipeline, hidden, kept = Pipeline.load("redact"), [], []
    several = [scene for scene in scenes() if len(scene.names) > 1]
    items = [{"photo": each.path, "phrases": each.names[0]} for each in several]
    for scene, result in zip(several, pipeline.map(items), strict=True):
        before = Image.open(scene.path).pixels.astype(int)
        changed = np.abs(result["redacted"].pixels - before).max(axis=2) > 2
        named, *others = scene.masks
        hidden.append(changed[named].mean())
        kept += [1 - changed[other].mean() for other in others]
    assert np.mean(hidden) >= 0.6
    assert np.mean(kept) >= 0.85


@needs("mini-ram")
def test_the_command_line_says_that_mini_knows_stickers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["run", "tags", str(SCENES / "scene-01.jpg"), "-o", str(out)]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "profile mini: mini-ram"
    assert "they know stickers, not photographs" in lines[1]
    tags: Any = json.loads((out / "scene-01" / "tags.json").read_text(encoding="utf-8"))
    assert scenes()[0].names[0] in tags["phrases"]
