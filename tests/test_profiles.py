"""Profiles: one name chooses the models of a whole pipeline, and every run says which."""

from __future__ import annotations

from pathlib import Path

import pytest

from visionweave import Pipeline, WeightsError
from visionweave.cli import main
from visionweave.overrides import checkpoints
from visionweave.testing import make_image
from visionweave.weights.lock import shipped_lock

CHAIN = """\
# chain: masks of what phrases name, and their views
visionweave: 1
inputs: {photo: Image, phrases: {type: Tags, default: [apple]}}
steps:
  boxes: {node: grounding_dino.detect, image: $photo, phrases: $phrases}
  masks: {node: sam.segment, image: $photo, boxes: $boxes}
  fine: {node: sam.segment, image: $photo, boxes: $boxes, model: sam-vit-h}
  shown: {node: image.draw, image: $photo, masks: $masks, boxes: $boxes}
outputs: [masks, fine, shown]
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VISIONWEAVE_WEIGHTS", str(tmp_path / "store"))
    (tmp_path / "chain.yaml").write_text(CHAIN)
    make_image().to_pil().save(tmp_path / "photo.png")
    return tmp_path


def models_of(pipeline: Pipeline) -> dict[str, object]:
    steps = pipeline.graph.steps.items()
    return {name: step.node.settings.get("model") for name, step in steps}


def test_mini_is_the_default_and_another_profile_replaces_it_everywhere() -> None:
    pipeline = Pipeline.load("chain.yaml")
    expected = {"boxes": "mini", "masks": "mini", "fine": "sam-vit-h", "shown": None}
    assert models_of(pipeline) == expected
    other = pipeline.with_profile("base")
    assert models_of(other) == {**expected, "boxes": "base", "masks": "base"}
    assert other.hash != pipeline.hash
    assert other.with_profile("mini").hash == pipeline.hash
    assert {step: entry.name for step, entry in checkpoints(other.graph).items()} == {
        "boxes": "grounding-dino-tiny",
        "masks": "sam-vit-b",
        "fine": "sam-vit-h",
    }


def test_a_profile_of_ones_own_can_be_chosen(here: Path) -> None:
    (here / "store").mkdir()
    (here / "store/weights.lock").write_text(
        '[profiles.sharp]\nsam = "sam-vit-l"\ngrounding_dino = "grounding-dino-base"\n'
    )
    found = checkpoints(Pipeline.load("chain.yaml").with_profile("sharp").graph)
    assert [entry.name for entry in found.values()] == [
        "grounding-dino-base",
        "sam-vit-l",
        "sam-vit-h",
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bsae", r"there is no profile 'bsae'; did you mean base\?"),
        ("sam-vit-h", "there is no profile 'sam-vit-h'; there are mini, base, large"),
    ],
)
def test_a_profile_that_is_not_there(name: str, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        Pipeline.load("chain.yaml").with_profile(name)


def test_a_run_says_its_models_and_all_that_is_missing_before_it_begins(
    capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    code = main(["run", "chain.yaml", "photo.png", "--profile", "base"])
    assert code == 1
    said, _, error = capsys.readouterr().err.partition("error: ")
    assert said.splitlines()[:2] == [
        "profile base: grounding-dino-tiny, sam-vit-b",
        "models by name: sam-vit-h",
    ]
    lines = error.splitlines()
    fixes = [line.partition("fetch it with: ")[2].partition(" (")[0] for line in lines]
    assert fixes == [
        f"visionweave weights pull {name}"
        for name in ("grounding-dino-tiny", "sam-vit-b", "sam-vit-h")
    ]
    assert not (here / "out").exists()


def test_mini_says_that_it_knows_stickers(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    (here / "store").mkdir()
    sam = next(e for e in shipped_lock().checkpoints.values() if e.family == "sam")
    (here / "store/weights.lock").write_text(
        '[checkpoint.mini-other]\nfamily = "grounding_dino"\nshipped = true\ncommercial = "yes"\n'
        'files = [{ name = "a.safetensors" }]\nlicense = "Apache-2.0"\n'
        f'[profiles.mini]\ngrounding_dino = "mini-other"\nsam = "{sam.name}"\n'
    )
    assert main(["run", "chain.yaml", "photo.png"]) == 1
    said, _, error = capsys.readouterr().err.partition("error: ")
    lines = said.splitlines()
    assert lines[0] == f"profile mini: mini-other, {sam.name}"
    assert lines[2] == (
        "mini: small models that come with visionweave: they know stickers, not photographs; "
        "for those: --profile base"
    )
    assert lines[3] == "  boxes  mini-other: what it needs is not known; not here"
    assert error.startswith("mini-other is not on this machine; it comes with visionweave")


def test_a_task_that_a_profile_has_no_model_for_is_told_with_the_way_out(
    capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    text = "# turn: views\nvisionweave: 1\ninputs: {cutout: Cutout}\n"
    text += "steps: {views: {node: zero123.views, cutout: $cutout}}\noutputs: [views]\n"
    (here / "turn.yaml").write_text(text)
    with pytest.raises(WeightsError, match=r"step 'views': profile mini has no checkpoint for zer"):
        checkpoints(Pipeline.load("turn.yaml").graph)


def test_a_pipeline_without_models_says_nothing_of_profiles(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["run", "thumbnails", "photo.png", "--profile", "base"]) == 0
    assert "profile" not in capsys.readouterr().err
