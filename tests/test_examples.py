"""Every example runs, and says what it promises; the ready pipelines mean what they say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from visionweave import Boxes, Image, Pipeline
from visionweave.pipeline import ready_pipelines
from visionweave.testing import make_image, with_fakes

EXAMPLES = Path(__file__).parent.parent / "examples"
SAMPLES = EXAMPLES / "images"


def run(script: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "error", str(EXAMPLES / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_chaining_example_runs() -> None:
    printed = run("chaining.py")
    assert (
        "Pipeline(photo: Image -> masks: Masks, cutouts: list[Cutout], overlay: Image)" in printed
    )
    assert "sticker 1.00, object 2 of" in printed
    assert "outdoors.png: 4 objects" in printed
    assert "small: 100 x 41" in printed
    assert Pipeline.from_yaml(printed[printed.index("visionweave: 1") :]).outputs.keys() == {
        "masks",
        "cutouts",
        "overlay",
    }


def test_the_samples_are_what_their_script_draws(tmp_path: Path) -> None:
    run("draw_samples.py", str(tmp_path))
    drawn = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.png"))
    assert drawn == sorted(path.relative_to(SAMPLES) for path in SAMPLES.rglob("*.png"))
    for name in drawn:
        again, shipped = Image.open(tmp_path / name), Image.open(SAMPLES / name)
        assert np.array_equal(again.alpha, shipped.alpha)
        assert np.array_equal(again.pixels, shipped.pixels)


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
        step: lambda image: Boxes.empty(image.image_hw)
        for step, each in pipeline.graph.steps.items()
        if each.node.spec.id == "grounding_dino.detect"
    }
    result = with_fakes(pipeline, nothing).run(photo=make_image())
    assert result.ok
    assert result.outputs.keys() == pipeline.outputs.keys()
    assert all(value == [] for value in result.outputs.values() if isinstance(value, list))


def test_objects_to_3d_gives_every_object_once_with_its_name() -> None:
    photo = make_image((320, 240), "street/004.jpg")
    result = with_fakes(Pipeline.load("objects-to-3d")).run(photo=photo)
    labels = result["boxes"].labels
    assert labels == result["masks"].boxes.labels == ("apple", "cat", "chair")
    assert [mesh.origin.label for mesh in result["meshes"]] == list(labels)
    assert str(result["meshes"][2].origin) == "chair 0.55, object 2 of street/004.jpg"


def test_thumbnails_are_small_and_show_the_same() -> None:
    small = Pipeline.load("thumbnails").run(photo=SAMPLES / "outdoors.png")["small"]
    assert small.size_wh == (512, 158)
    full = Image.open(SAMPLES / "outdoors.png")
    again = Image.from_pil(full.to_pil().resize((512, 158)))
    assert np.abs(small.pixels.astype(int) - again.pixels).mean() < 2


def test_split_objects_gives_each_sticker_once() -> None:
    result = Pipeline.load("split-objects").run(photo=SAMPLES / "kitchen/mugs.png")
    left, right = result["cutouts"]
    assert (left.origin.object, right.origin.object) == (0, 1)
    assert left.region[2] < right.region[0]
    blue = right.rgba[right.rgba[:, :, 3] == 255][:, :3].mean(axis=0)
    assert blue.argmax() == 2


def test_split_objects_leaves_out_what_the_border_cuts_off() -> None:
    whole = Image.open(SAMPLES / "outdoors.png").to_pil()
    cut = Image.from_pil(whole.crop((100, 0, *whole.size)), "cut.png")
    result = Pipeline.load("split-objects").run(photo=cut)
    assert len(result["masks"]) == 4
    assert [cutout.origin.object for cutout in result["cutouts"]] == [1, 2, 3]
