"""The ready pipelines: explained, safe on photos without objects, and true to their word.

With fakes in the place of models; `tests/mini/` runs them with the models that ship.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from visionweave import Boxes, Image, Masks, Pipeline, Tags, Text, Value
from visionweave.graph import GraphInput
from visionweave.pipeline import ready_pipelines
from visionweave.testing import make_boxes, make_image, with_fakes

STICKERS = Path(__file__).parent.parent / "examples" / "images" / "stickers"

GIVEN: dict[type[Value], Value] = {
    Image: make_image((320, 240), "street/004.jpg"),
    Tags: Tags(("apple", "cat", "chair")),
    Text: Text("a red apple"),
}
"""What ready pipelines are given, by the type of their inputs."""


def given(inputs: dict[str, GraphInput]) -> dict[str, Any]:
    return {name: GIVEN[each.type.kinds[0]] for name, each in inputs.items()}  # type: ignore[index]


def faked(name: str) -> Any:
    """Run a ready pipeline with fakes, on street/004.jpg: an apple, a cat and a chair."""
    pipeline = with_fakes(Pipeline.load(name))
    return pipeline.run(**given(pipeline.inputs))


def test_the_ready_pipelines_are_these() -> None:
    assert set(ready_pipelines()) == {
        *("caption", "tags", "detect", "segment", "cutouts", "objects-to-3d", "describe-objects"),
        *("find", "redact", "label", "split-objects", "thumbnails"),
    }


def test_every_ready_pipeline_begins_with_what_it_is() -> None:
    for name, text in ready_pipelines().items():
        first, *rest = text.split("visionweave: 1")[0].splitlines()
        assert first.startswith(f"# {name}: ")
        comment = "\n".join(rest)
        pipeline = Pipeline.from_yaml(text, name)
        for word in [*pipeline.inputs, *pipeline.outputs]:
            assert f"{word}: " in comment, f"{name}: the comment does not explain {word!r}"


@pytest.mark.parametrize("name", ready_pipelines())
def test_every_ready_pipeline_survives_a_photo_without_objects(name: str) -> None:
    pipeline = Pipeline.load(name)
    nothing = {
        step: lambda image: Boxes.empty(image.image_hw, image.origin.photo)
        for step, each in pipeline.graph.steps.items()
        if each.node.spec.id == "grounding_dino.detect"
    }
    result = with_fakes(pipeline, nothing).run(**given(pipeline.inputs))
    assert result.ok
    assert result.outputs.keys() == pipeline.outputs.keys()
    assert all(value == [] for value in result.outputs.values() if isinstance(value, list))
    assert all(len(v) == 0 for v in result.outputs.values() if isinstance(v, (Boxes, Masks)))


@pytest.mark.parametrize("name", ["objects-to-3d", "cutouts", "describe-objects"])
def test_a_photo_without_tags_gives_nothing(name: str) -> None:
    pipeline = Pipeline.load(name)
    fakes = {
        "tag2text.tag": lambda image: Tags((), origin=image.origin),
        "grounding_dino.detect": lambda image, phrases: make_boxes(
            len(phrases), image.image_hw, phrases.phrases
        ),
    }
    result = with_fakes(pipeline, fakes).run(photo=make_image())
    assert result.ok
    assert all(value == [] for value in result.outputs.values() if isinstance(value, list))


def test_objects_to_3d_gives_every_object_once_with_its_name() -> None:
    result = faked("objects-to-3d")
    labels = result["boxes"].labels
    assert labels == result["masks"].boxes.labels == ("apple", "cat", "chair")
    assert [mesh.origin.label for mesh in result["meshes"]] == list(labels)
    assert str(result["meshes"][2].origin) == "chair 0.55, object 2 of street/004.jpg"


def twice(image: Image) -> Boxes:
    """Two boxes of one apple, and one of a cat in nearly the same place."""
    xyxy = np.array([[40, 40, 140, 140], [44, 40, 144, 140], [42, 42, 142, 140]], np.float32)
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    return Boxes(xyxy, image.image_hw, ("apple", "apple", "cat"), scores)


@pytest.mark.parametrize(
    ("name", "output", "expected"),
    [
        ("detect", "boxes", ("apple", "cat")),
        ("segment", "masks", ("apple", "cat")),
        ("cutouts", "masks", ("apple",)),
        ("label", "masks", ("apple",)),
        ("objects-to-3d", "masks", ("apple",)),
        ("describe-objects", "boxes", ("apple",)),
        ("redact", "masks", ("apple", "apple", "cat")),
    ],
)
def test_what_was_found_twice(name: str, output: str, expected: tuple[str, ...]) -> None:
    pipeline = with_fakes(Pipeline.load(name), {"grounding_dino.detect": twice})
    found = pipeline.run(**given(pipeline.inputs))[output]
    assert (found.boxes if isinstance(found, Masks) else found).labels == expected


def test_label_says_which_other_class_was_found_in_the_same_place() -> None:
    pipeline = with_fakes(Pipeline.load("label"), {"grounding_dino.detect": twice})
    result = pipeline.run(**given(pipeline.inputs))
    assert result["masks"].boxes.flags == (("also:cat",),)
    (opinion,) = result["opinions"]
    assert (opinion.origin.label, opinion.origin.photo) == ("apple", "")


def test_describe_objects_gives_a_sentence_about_every_object() -> None:
    result = faked("describe-objects")
    assert [str(text) for text in result["captions"]] == [
        "a picture of apple",
        "a picture of cat",
        "a picture of chair",
    ]
    assert [crop.origin.label for crop in result["crops"]] == ["apple", "cat", "chair"]
    assert [text.origin.object for text in result["captions"]] == [0, 1, 2]


def test_redact_changes_what_is_named_and_nothing_else() -> None:
    result = faked("redact")
    before = GIVEN[Image].pixels.astype(int)  # type: ignore[attr-defined]
    changed = np.abs(result["redacted"].pixels.astype(int) - before).max(axis=2) > 0
    hidden = np.any(list(result["masks"]), axis=0)
    assert changed[hidden].mean() > 0.9
    reach = 0.06 * max(np.diff(result["masks"].tight_xyxy[0].reshape(2, 2), axis=0)[0])
    y, x = np.nonzero(changed)
    x1, y1, x2, y2 = result["masks"].tight_xyxy.T
    near = (x[:, None] > x1 - reach) & (x[:, None] < x2 + reach)
    near &= (y[:, None] > y1 - reach) & (y[:, None] < y2 + reach)
    assert near.any(axis=1).all()


def test_cutouts_leave_out_what_the_border_cuts_off() -> None:
    def at_the_border(image: Image) -> Boxes:
        xyxy = np.array([[-30, 60, 60, 160], [120, 60, 220, 160]], np.float32)
        return Boxes(xyxy, image.image_hw, ("apple", "cat"))

    pipeline = with_fakes(Pipeline.load("cutouts"), {"grounding_dino.detect": at_the_border})
    result = pipeline.run(photo=GIVEN[Image])
    assert result["masks"].boxes.flags == (("truncated",), ())
    assert [cutout.origin.label for cutout in result["cutouts"]] == ["cat"]


def test_find_asks_the_index_for_the_text() -> None:
    asked = []
    fakes = {"clip.search": lambda text: asked.append(str(text)) or make_hits()}
    with_fakes(Pipeline.load("find"), fakes).run(query="a red apple")
    assert asked == ["a red apple"]


def make_hits() -> Any:
    from visionweave import Hits

    return Hits(("a.jpg", "b.jpg"), np.array([0.4, 0.3], np.float32))


def test_thumbnails_are_small_and_show_the_same() -> None:
    small = Pipeline.load("thumbnails").run(photo=STICKERS / "outdoors.png")["small"]
    assert small.size_wh == (512, 158)
    full = Image.open(STICKERS / "outdoors.png")
    again = Image.from_pil(full.to_pil().resize((512, 158)))
    assert np.abs(small.pixels.astype(int) - again.pixels).mean() < 2


def test_split_objects_gives_each_sticker_once() -> None:
    result = Pipeline.load("split-objects").run(photo=STICKERS / "kitchen/mugs.png")
    left, right = result["cutouts"]
    assert (left.origin.object, right.origin.object) == (0, 1)
    assert left.region[2] < right.region[0]
    blue = right.rgba[right.rgba[:, :, 3] == 255][:, :3].mean(axis=0)
    assert blue.argmax() == 2


def test_split_objects_leaves_out_what_the_border_cuts_off() -> None:
    whole = Image.open(STICKERS / "outdoors.png").to_pil()
    cut = Image.from_pil(whole.crop((100, 0, *whole.size)), "cut.png")
    result = Pipeline.load("split-objects").run(photo=cut)
    assert len(result["masks"]) == 4
    assert [cutout.origin.object for cutout in result["cutouts"]] == [1, 2, 3]
