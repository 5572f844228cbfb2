"""The command line, as a person meets it: what is printed, what is written, the exit code."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from rich.console import Console

from visionweave import Cutout, Image, Masks, Pipeline
from visionweave.cli import main
from visionweave.cli.progress import Progress
from visionweave.testing import make_masks

SAMPLES = Path(__file__).parent.parent / "examples" / "images" / "stickers"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def flat(text: str) -> str:
    """The text with single spaces, however wide its columns are."""
    return " ".join(text.split())


def test_run_splits_a_folder_of_stickers(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    code, _, err = run(capsys, "run", "split-objects", str(SAMPLES))
    assert code == 0
    assert err.splitlines()[-1].startswith("finished 3 of 3 in ")
    assert err.endswith("3 good. Results in out\n")
    cutouts = sorted((here / "out/kitchen/breakfast/cutouts").iterdir())
    assert [path.name for path in cutouts] == ["0-object.png", "1-object.png", "2-object.png"]
    doughnut = Cutout.load(cutouts[2])
    assert doughnut.origin.photo == "kitchen/breakfast.png"
    height, width = doughnut.rgba.shape[:2]
    assert doughnut.rgba[height // 2, width // 2, 3] == 0  # the hole of the doughnut
    assert len(Masks.load(here / "out/outdoors/masks.json")) == 4
    assert Image.open(here / "out/outdoors/overlay.jpg").size_wh == (840, 260)


def test_run_takes_settings_inputs_and_options(
    capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    photo = str(SAMPLES / "outdoors.png")
    options = ["--chunk", "1", "--batch", "2", "--device", "cpu", "--max-megapixels", "5"]
    limit = PIL.Image.MAX_IMAGE_PIXELS
    try:
        code, _, _ = run(
            capsys, "run", "thumbnails", photo, "-o", "o", "-s", "small.longest=84", *options
        )
        assert PIL.Image.MAX_IMAGE_PIXELS == 2_500_000
    finally:
        PIL.Image.MAX_IMAGE_PIXELS = limit
    assert code == 0
    assert Image.load(here / "o/outdoors/small.png").size_wh == (84, 26)


def test_a_photo_that_fails_gives_exit_code_2(
    capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    (here / "bad.jpg").write_bytes(b"")
    code, _, err = run(capsys, "run", "thumbnails", "bad.jpg", str(SAMPLES / "outdoors.png"))
    assert code == 2
    assert "finished 2 of 2" in err
    assert "1 good, 1 failed" in err
    assert "1 failures are in out/failures.jsonl" in err
    failure = json.loads((here / "out/failures.jsonl").read_text())
    assert failure["message"] == "the file is empty (0 bytes)"


MASKED = """\
# masked: draw masks that come with the photo
visionweave: 1
inputs: {photo: Image, masks: Masks}
steps:
  overlay: {node: image.draw, image: $photo, masks: $masks}
outputs: [overlay]
"""


def test_an_input_can_be_a_file_of_a_value(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    (here / "masked.yaml").write_text(MASKED)
    make_masks().save(here / "m.json")
    PIL.Image.new("RGB", (64, 48)).save(here / "p.png")
    code, _, err = run(capsys, "run", "masked.yaml", "p.png", "-i", "masks=@m.json")
    assert (code, err.count("1 good")) == (0, 1)
    drawn = Image.load(here / "out/p/overlay.png").pixels
    assert np.any(drawn > 0)


CLEAN = """\
# clean: phrases for a detector
visionweave: 1
inputs: {tags: {type: Tags, default: [cats]}}
steps: {phrases: {node: tags.clean, tags: $tags}}
outputs: [phrases]
"""


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], ["cat"]),
        (["-i", "tags=dogs, red apples"], ["dog", "red apple"]),
        (["-i", "tags=[dogs, 'a, b']"], ["dog", "a, b"]),
    ],
    ids=["default", "text", "list"],
)
def test_a_pipeline_without_photos_runs_on_its_inputs(
    capsys: pytest.CaptureFixture[str], here: Path, given: list[str], expected: list[str]
) -> None:
    (here / "clean.yaml").write_text(CLEAN)
    assert run(capsys, "run", "clean.yaml", *given)[0] == 0
    assert json.loads((here / "out/phrases.json").read_text())["phrases"] == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "splitobjects", "x"], "did you mean split-objects?"),
        (["run", "thumbnails"], "error: thumbnails needs photos: visionweave run thumbnails PHO"),
        (["run", "thumbnails", "gone.jpg"], "error: there is no file or folder 'gone.jpg'"),
        (["run", "clean.yaml", "clean.yaml"], "clean.yaml takes no photos; its inputs are tags"),
        (["run", "masked.yaml", "p.png"], "needs more inputs: add -i masks=..."),
        (["run", "masked.yaml", "p.png", "-i", "mask=@m"], "no input 'mask'; did you mean masks?"),
        (["run", "masked.yaml", "p.png", "-i", "masks=@m"], "-i masks=@m: cannot read m: "),
        (["run", "masked.yaml", "p.png", "-i", "masks"], "error: -i masks: expected NAME=VALUE"),
        (["run", "thumbnails", "p.png", "-s", "small.longst=3"], "did you mean longest?"),
        (["run", "thumbnails", "p.png", "-s", "smal.longest=3"], "did you mean small?"),
        (["run", "thumbnails", "p.png", "-s", "small.longest=[1"], "is not valid YAML"),
        (
            ["run", "thumbnails", "p.png", "--chunk", "0"],
            "'--chunk': Input should be greater than or equal to 1",
        ),
        (["run", "thumbnails", "p.png", "--precision", "bf8"], "one of auto, bf16, fp16, fp32"),
        (["check", "bad.yaml"], "bad.yaml:4, step 'a'"),
        (["show", "bad.yaml"], "bad.yaml:4, step 'a'"),
        (["show", "thumbnails", "-o", "no/such/folder.txt"], "cannot write no/such/folder.txt: No"),
        (["nodes", "image.cutuot"], "unknown node 'image.cutuot'; did you mean image.cutout?"),
        (["pipelines", "thumb"], "there is no such pipeline"),
        (["chek"], "Did you mean 'check'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong_is_said_without_a_traceback_and_exits_with_1(
    capsys: pytest.CaptureFixture[str], here: Path, arguments: list[str], message: str
) -> None:
    (here / "clean.yaml").write_text(CLEAN)
    (here / "masked.yaml").write_text(MASKED)
    (here / "bad.yaml").write_text("visionweave: 1\n\nsteps:\n  a: {node: x.y}\noutputs: [a]\n")
    PIL.Image.new("RGB", (64, 48)).save(here / "p.png")
    code, _, err = run(capsys, *arguments)
    assert code == 1
    assert message in " ".join(err.split())
    assert "Traceback" not in err
    assert not (here / "out").exists()


def test_check_reports_every_file(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    (here / "bad.yaml").write_text("visionweave: 2\nsteps: {}\noutputs: []\n")
    code, out, err = run(capsys, "check", "thumbnails", "bad.yaml", "split-objects")
    assert code == 1
    assert "thumbnails: good, 1 step, hash " in out
    assert "  takes photo: Image\n  gives masks: Masks, cutouts: list[Cutout]\n" in out
    assert err.startswith("bad.yaml:1: this version of the format is unknown\n")


def test_check_warns_of_what_is_not_meant(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    text = "visionweave: 1\ninputs: {photo: Image}\nsteps:\n"
    text += "  a: {node: image.resize, image: $photo, longest: 8}\n"
    text += "  b: {node: image.resize, image: $photo, longest: 9}\noutputs: [a]\n"
    (here / "p.yaml").write_text(text)
    code, _, err = run(capsys, "check", "p.yaml")
    assert code == 0
    assert "warning: p.yaml:5, step 'b' (image.resize): no output needs step 'b'" in err


@pytest.mark.parametrize(
    ("format", "beginning"),
    [
        ("mermaid", "flowchart"),
        ("svg", "<svg"),
        ("yaml", "# thumbnails:"),
        ("python", "# thumbnails:"),
        ("json", '{\n "visionweave": 1'),
    ],
)
def test_show_knows_many_forms(
    capsys: pytest.CaptureFixture[str], here: Path, format: str, beginning: str
) -> None:
    code, out, _ = run(capsys, "show", "thumbnails", "-f", format)
    assert (code, out.startswith(beginning)) == (0, True)
    assert run(capsys, "show", "thumbnails", "-f", format, "-o", "f")[1] == "wrote f\n"
    assert (here / "f").read_text() == out


def test_nodes_lists_all_and_shows_one(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "nodes")
    assert code == 0
    assert "image.cutout image: Image, masks: Masks -> list[Cutout] Cut objects out" in flat(out)
    _, page, _ = run(capsys, "nodes", "image.cutout")
    assert "Cut objects out of a photo" in page
    assert "margin" in page
    assert "number, 0 to 10" in page


def test_a_model_node_shows_its_checkpoint_licence_and_paper(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, page, err = run(capsys, "nodes", "triposr.mesh")
    assert code == 0, err
    assert "model: mini" in page
    assert "license: MIT" in page
    assert "paper: Tochilkin et al. 2024, arXiv:2403.02151" in page


def test_nodes_speaks_json(capsys: pytest.CaptureFixture[str]) -> None:
    listed = json.loads(run(capsys, "nodes", "--json")[1])
    one = json.loads(run(capsys, "nodes", "--json", "boxes.nms")[1])
    assert one in listed
    assert one["ports"] == {"boxes": {"type": "Boxes", "optional": False}}
    assert one["settings"]["iou"]["maximum"] == 1


def test_pipelines_lists_and_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert "thumbnails every photo upright" in flat(run(capsys, "pipelines")[1])
    text = run(capsys, "pipelines", "thumbnails")[1]
    assert Pipeline.from_yaml(text).hash == Pipeline.load("thumbnails").hash


def test_schema_is_json(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    assert run(capsys, "schema", "-o", "s.json")[0] == 0
    assert "image.cutout" in json.dumps(json.loads((here / "s.json").read_text()))


@pytest.mark.parametrize("command", ["run", "check", "show", "nodes", "pipelines", "schema"])
def test_help_teaches_by_example(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, out, _ = run(capsys, command, "--help")
    assert code == 0
    assert f"\n  visionweave {command}" in out
    assert "[[" not in out


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, "visionweave 0.1.0\n", "")


def test_progress_prints_plain_lines_without_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("visionweave.cli.progress.EVERY_SECONDS", 0)
    _, _, err = run(capsys, "run", "thumbnails", str(SAMPLES))
    assert "0/3 photos, 0.0 photos/s (small)" in err
    assert "s left (small)" in err


def test_progress_draws_a_bar_on_a_terminal() -> None:
    with open(os.devnull, "w") as null:  # noqa: PTH123 - a device, not a path of ours
        console = Console(file=null, force_terminal=True, width=100, record=True)
        with Progress(3, console) as progress:
            pipeline = Pipeline.load("thumbnails")
            list(pipeline.map(sorted(SAMPLES.rglob("*.png")), observers=[progress]))
            progress._bar.refresh()
            shown = console.export_text()
    assert "3/3" in shown
    assert "photos/s" in shown
    assert "small" in shown


def test_a_fault_of_ours_shows_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise RuntimeError("our fault")

    monkeypatch.setattr("visionweave.pipeline.Pipeline.load", broken)
    with pytest.raises(RuntimeError, match="our fault"):
        main(["check", "thumbnails"])
