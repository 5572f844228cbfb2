"""The fakes and made-up values that users test their own pipelines with."""

from __future__ import annotations

import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest

import visionweave as vw
from visionweave import testing
from visionweave.errors import NodeError, NodeFailed
from visionweave.nodes import image as image_nodes
from visionweave.values import TYPES


@vw.node("faketest.detect")
class Detect(vw.ModelNode):
    """A detector whose weights nobody has."""

    def __init__(self, box_threshold: float = 0.3) -> None:
        self.box_threshold = box_threshold

    def load(self, runtime: vw.Runtime) -> None:
        raise RuntimeError("these weights do not exist")

    async def run(self, image: vw.Image, phrases: vw.Tags) -> vw.Boxes:
        raise AssertionError("a fake runs in its place")


@vw.node("faketest.segment")
class Segment(Detect):
    """A segmenter whose weights nobody has."""

    async def run(self, image: vw.Image, boxes: vw.Boxes) -> vw.Masks:  # type: ignore[override]
        raise AssertionError("a fake runs in its place")


class Described(NamedTuple):
    text: vw.Text
    mesh: vw.Mesh


@vw.node("faketest.describe")
class Describe(Detect):
    """Two things of one object."""

    async def run(self, cutout: vw.Cutout) -> Described:  # type: ignore[override]
        raise AssertionError("a fake runs in its place")


def pipeline() -> vw.Pipeline:
    photo = vw.Input("photo", vw.Image)
    boxes = Detect(0.4)(photo, ["red apple", "cat"])
    masks = Segment()(photo, boxes)
    cutouts = image_nodes.CutOut()(photo, masks)
    described = Describe()(cutouts)
    return vw.Pipeline(
        boxes=boxes, masks=masks, cutouts=cutouts, texts=described.text, meshes=described.mesh
    )


PHOTO = testing.make_image((80, 60), "street/004.jpg")


def test_models_are_faked_with_plausible_values_that_fit_together() -> None:
    result = testing.with_fakes(pipeline()).run(photo=PHOTO)
    assert result["boxes"].labels == ("red apple", "cat")
    assert result["boxes"].image_hw == result["masks"].image_hw == (60, 80)
    assert (result["masks"].areas > 100).all()
    assert [text.text for text in result["texts"]] == [
        "a picture of red apple",
        "a picture of cat",
    ]
    assert [str(mesh.origin) for mesh in result["meshes"]] == [
        "red apple 0.95, object 0 of street/004.jpg",
        "cat 0.55, object 1 of street/004.jpg",
    ]


def test_fakes_give_the_same_every_time() -> None:
    first, second = (testing.with_fakes(pipeline()).run(photo=PHOTO) for _ in range(2))
    assert first.outputs == second.outputs


def test_a_function_stands_in_for_a_node_by_its_id_or_step() -> None:
    seen = []

    def nothing(image: vw.Image, phrases: vw.Tags) -> vw.Boxes:
        seen.append((image, phrases.phrases))
        return vw.Boxes.empty(image.image_hw)

    for name in ("faketest.detect", "boxes"):
        result = testing.with_fakes(pipeline(), {name: nothing}).run(photo=PHOTO)
        assert (len(result["boxes"]), result["cutouts"], result["meshes"]) == (0, [], [])
    assert seen == [(PHOTO, ("red apple", "cat"))] * 2


def test_a_function_gets_the_ports_it_names() -> None:
    fakes = {"faketest.detect": lambda phrases: testing.make_boxes(len(phrases), (60, 80))}
    assert len(testing.with_fakes(pipeline(), fakes).run(photo=PHOTO)["masks"]) == 2
    fakes = {"faketest.detect": lambda **ports: testing.make_boxes(len(ports), (60, 80))}
    assert len(testing.with_fakes(pipeline(), fakes).run(photo=PHOTO)["masks"]) == 2


def test_a_fake_that_raises_fails_as_the_node_would() -> None:
    def broken(cutout: vw.Cutout) -> Described:
        if cutout.origin.object == 0:
            raise ValueError("no apples")
        return Described(vw.Text("fine"), testing.make_mesh())

    result = testing.with_fakes(pipeline(), {"faketest.describe": broken}).run(photo=PHOTO)
    assert [text.text for text in result["texts"]] == ["fine"]
    assert "object 0 (red apple): ValueError: no apples" in str(result.failures[0])


def test_a_fake_that_returns_the_wrong_type_is_told_so() -> None:
    faked = testing.with_fakes(pipeline(), {"faketest.detect": lambda: "boxes"})
    with pytest.raises(NodeFailed, match=r"faketest\.detect.*must return Boxes.*got str"):
        faked.run(photo=PHOTO)


def test_settings_and_hash_stay_those_of_the_real_pipeline() -> None:
    faked = testing.with_fakes(pipeline())
    assert faked.hash == pipeline().hash
    assert faked.graph.steps["boxes"].node.settings == {"box_threshold": 0.4}


def test_a_name_that_is_not_in_the_pipeline_is_refused() -> None:
    with pytest.raises(NodeError, match=r"cannot fake 'faketest\.detekt'.*mean faketest\.detect\?"):
        testing.with_fakes(pipeline(), {"faketest.detekt": lambda: None})
    with pytest.raises(NodeError, match=r"no such step or node; it has boxes, cutouts"):
        testing.with_fakes(pipeline(), {"zzz": lambda: None})


def test_nothing_is_loaded_or_imported() -> None:
    code = (
        "import sys\nfrom visionweave import Pipeline, testing\n"
        "testing.with_fakes(Pipeline.load('split-objects')).run(photo=testing.make_image())\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("name", TYPES)
def test_there_is_a_made_up_value_of_every_type(name: str) -> None:
    value = testing.make_value(TYPES[name])
    assert type(value) is TYPES[name]
    assert value == testing.make_value(TYPES[name])


def test_a_value_is_made_from_what_was_given() -> None:
    made = testing.make_value(vw.Boxes, {"image": PHOTO, "phrases": vw.Tags(("dog",))})
    assert isinstance(made, vw.Boxes)
    assert (made.labels, made.image_hw, made.photo) == (("dog",), (60, 80), "street/004.jpg")


def test_a_list_without_objects_to_count_has_two_elements() -> None:
    @vw.node("faketest.views")
    class Ask(Detect):
        """Several answers."""

        async def run(self, text: vw.Text) -> list[vw.Embedding]:  # type: ignore[override]
            raise AssertionError("a fake runs in its place")

    asked = vw.Pipeline(out=Ask()(vw.Input("text", vw.Text)))
    vectors = testing.with_fakes(asked).run(text="who?")["out"]
    assert len(vectors) == 2
    assert vectors[0].similarity(vectors[1]) == pytest.approx(1)


def test_made_up_masks_do_not_touch() -> None:
    masks = testing.make_masks()
    assert masks.array().sum(axis=0).max() == 1
    assert (masks.areas > 0).all()


def test_a_made_up_mesh_is_a_closed_cube_of_side_1() -> None:
    import trimesh

    mesh = testing.make_mesh()
    cube = trimesh.Trimesh(mesh.vertices, mesh.faces)
    assert cube.is_watertight
    assert cube.volume == pytest.approx(1)
    assert np.ptp(mesh.vertices, axis=0).tolist() == [1, 1, 1]


def test_made_up_photos_differ_by_seed() -> None:
    assert testing.make_image() == testing.make_image()
    assert testing.make_image(seed=1) != testing.make_image(seed=2)
