"""The command line on jobs that ran: --locked, retry, explain, cache; and what a receipt says."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from visionweave.cli import main

PIPELINE = """\
# squares: the squares of a photo, without a model
visionweave: 1
inputs:
  photo: Image
  tags: {type: Tags, default: [square]}
steps:
  masks: {node: image.alpha_masks, image: $photo}
  cutouts: {node: image.cutout, image: $photo, masks: $masks}
  small: {node: image.resize, image: $photo, longest: 8}
  words: {node: tags.clean, tags: $tags}
outputs: [masks, cutouts, small, words]
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "squares.yaml").write_text(PIPELINE)
    for name in ("a", "b"):
        squares(tmp_path / f"photos/{name}.png")
    return tmp_path


def squares(path: Path, at: int = 2) -> None:
    """A photo of two opaque squares."""
    path.parent.mkdir(exist_ok=True)
    pixels = np.zeros((16, 32, 4), np.uint8)
    pixels[4:12, at : at + 8] = (200, 0, 0, 255)
    pixels[4:12, 20:28] = (0, 0, 200, 255)
    PIL.Image.fromarray(pixels).save(path)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def results(folder: str) -> dict[str, bytes]:
    root = Path(folder)
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.parent != root
    }


def test_the_same_command_again_passes_over_what_is_done(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for said in ("2 good. Results", "2 good (2 of them done before). Results"):
        code, _, err = run(capsys, "run", "squares.yaml", "photos")
        assert (code, said in err) == (0, True), err
    Path("photos/b.png").unlink()
    _, _, err = run(capsys, "run", "squares.yaml", "photos")
    assert "1 photos that had results here are gone: b.png; to remove their results, add" in err
    _, _, err = run(capsys, "run", "squares.yaml", "photos", "--prune")
    assert "are gone: b.png; their results were removed" in err
    assert not Path("out/b").exists()


def test_photos_that_are_done_keep_their_names_when_others_are_given_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    squares(Path("more/c.png"))
    for given, said in (
        (["photos"], "2 good. Results"),
        (["photos", "more"], "3 good (2 of them done before). Results"),
        (["."], "3 good (3 of them done before). Results"),
        (["more"], "1 good (1 of them done before). Results"),
    ):
        code, _, err = run(capsys, "run", "squares.yaml", *given)
        assert (code, said in err) == (0, True), err
    entries = map(json.loads, Path("out/items.jsonl").read_text().splitlines())
    assert [each["photo"] for each in entries] == ["a.png", "b.png", "more/c.png"]


def test_a_folder_of_photos_is_no_place_for_results(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--overwrite", "--dry-run"):
        code, _, err = run(capsys, "run", "squares.yaml", "photos", "-o", "photos", option)
        assert (code, "the results would go into photos, where photos are" in err) == (1, True)
    assert sorted(path.name for path in Path("photos").iterdir()) == ["a.png", "b.png"]


# Locked ---------------------------------------------------------------------------------------


def test_a_job_is_repeated_from_its_receipt(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["-s", "small.longest=4", "-i", "tags=[cats, dogs]"]
    assert run(capsys, "run", "squares.yaml", "photos", *options)[0] == 0
    Path("squares.yaml").unlink()
    code, _, err = run(capsys, "run", "--locked", "out/run.json", "-o", "again")
    assert code == 0, err
    assert results("again") == results("out")
    squares(Path("other/c.png"), at=8)
    code, _, _ = run(capsys, "run", "--locked", "out/run.json", "other", "-o", "third")
    assert (code, Path("third/c/small.png").exists()) == (0, True)


def edit_receipt(path: str, old: str, new: str) -> None:
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new))


def test_a_job_that_would_not_be_repeated_is_refused_with_all_that_differs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(capsys, "run", "squares.yaml", "photos")
    receipt = json.loads(Path("out/run.json").read_text())
    (recipe,) = receipt["recipes"].values()
    recipe["steps"]["masks"]["version"] = 7
    recipe["steps"]["small"]["settings"]["longest"] = 9
    Path("out/run.json").write_text(json.dumps(receipt))
    code, _, err = run(capsys, "run", "--locked", "out/run.json", "-o", "again")
    assert code == 1
    assert err == (
        "error: this would not repeat the job of the receipt:\n"
        "  step 'masks': the version of the node was 7, and is 1\n"
        "  step 'small': setting 'longest' was 9, and is 8\n"
    )
    assert not Path("again").exists()


def test_other_versions_of_packages_are_warned_of_and_refused_when_strict(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(capsys, "run", "squares.yaml", "photos")
    edit_receipt("out/run.json", f'"numpy": "{np.__version__}"', '"numpy": "1.0"')
    locked = ["run", "--locked", "out/run.json", "-o", "again"]
    said = f"numpy was 1.0, and is {np.__version__}"
    code, _, err = run(capsys, *locked, "--strict")
    assert (code, said in err) == (1, True)
    code, _, err = run(capsys, *locked)
    assert (code, f"warning: {said}; results may differ a little" in err) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "which pipeline? visionweave run PIPELINE PHOTOS..."),
        (["run", "--locked", "gone.json"], "gone.json is no run.json that visionweave wrote"),
        (["run", "--locked", "squares.yaml"], "cannot read squares.yaml: Expecting value"),
        (["run", "--locked", "out/run.json", "-s", "small.longest=3"], "goes with neither --set"),
        (["retry", "photos"], "photos/run.json is no run.json that visionweave wrote"),
        (["retry", "out", "c.png"], "out has no photo 'c.png'; did you mean"),
        (["explain", "out", "a.png", "smal"], "no step 'smal'; did you mean small?"),
        (["run", "squares.yaml", "photos", "--cache-size", "x"], "--cache-size must be a size"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong_is_said(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    run(capsys, "run", "squares.yaml", "photos")
    code, _, err = run(capsys, *arguments)
    assert (code, message in " ".join(err.split())) == (1, True), err


# Retry ----------------------------------------------------------------------------------------


def test_photos_that_failed_are_tried_again(capsys: pytest.CaptureFixture[str]) -> None:
    data = Path("photos/b.png").read_bytes()
    Path("photos/b.png").write_bytes(data[:60])
    code, _, err = run(capsys, "run", "squares.yaml", "photos")
    assert code == 2
    assert "to try them again: visionweave retry out" in err
    code, _, err = run(capsys, "retry", "out")
    assert (code, "finished 1 of 1" in err) == (2, True)
    Path("photos/b.png").write_bytes(data)
    code, _, err = run(capsys, "retry", "out", "b.png")
    assert (code, "1 good. Results in out" in err) == (0, True)
    assert run(capsys, "retry", "out") == (0, "", "nothing failed in out\n")
    assert Path("out/failures.jsonl").read_text() == ""
    _, _, err = run(capsys, "run", "squares.yaml", "photos")
    assert "2 good (2 of them done before)" in err


# Explain --------------------------------------------------------------------------------------


def explained(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    code, out, err = run(capsys, "explain", "out", *arguments)
    assert code == 0, err
    return " ".join(out.split())


def test_explain_says_what_would_run_again_and_why(
    capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    run(capsys, "run", "squares.yaml", "photos", "-s", "small.longest=4")
    said = explained(capsys, "a.png")
    assert said.startswith("a.png: would be passed over: it was done in run 1, and nothing changed")
    said = explained(capsys, "a.png", "cutouts", "--set", "masks.threshold=200")
    assert said == (
        "a.png: would run: it was done in run 1, by another recipe "
        "masks runs again: setting 'threshold' was 128, and is 200 "
        "cutouts runs again where masks comes out differently"
    )
    Path("out/a/small.png").unlink()
    assert "would run: a/small.png is missing, or was changed" in explained(capsys, "a.png")
    squares(here / "photos/a.png", at=6)
    said = explained(capsys, str(here / "photos/a.png"), "small")
    assert said.startswith("a.png: would run: its bytes changed (sha256 ")
    assert said.endswith("small runs again: the photo's bytes changed")
    (here / "photos/b.png").unlink()
    assert "b.png: would fail: " in explained(capsys, "b.png")


def test_explain_speaks_of_failures(capsys: pytest.CaptureFixture[str]) -> None:
    Path("photos/b.png").write_bytes(b"")
    run(capsys, "run", "squares.yaml", "photos")
    said = explained(capsys, "b.png")
    assert "it failed in part in run 1, and nothing changed; to try it again: " in said
    assert "visionweave retry out b.png" in said


def test_explain_agrees_with_run_on_overlays(capsys: pytest.CaptureFixture[str]) -> None:
    options: dict[str, list[str]] = {"with": ["--overlay"], "without": ["--no-overlay"], "": []}
    for first, then, runs in (
        ("without", "with", True),
        ("without", "without", False),
        ("with", "without", False),
        ("with", "with", False),
        ("", "without", False),
    ):
        run(capsys, "run", "squares.yaml", "photos", "--overwrite", *options[first])
        said = explained(capsys, "a.png", "masks", *options[then])
        why = "would run: it was done in run 1, without an overlay"
        passed = "would be passed over: it was done in run 1, and nothing changed"
        assert said.startswith(f"a.png: {why if runs else passed}"), (first, then)
        _, _, err = run(capsys, "run", "squares.yaml", "photos", *options[then])
        assert ("2 of them done before" in err) is not runs, (first, then)


def test_explain_takes_the_job_as_it_ran_last(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "run", "squares.yaml", "photos", "--no-overlay")
    assert "would be passed over" in explained(capsys, "a.png")
    assert "without an overlay" in explained(capsys, "a.png", "--overlay")


def test_explain_speaks_of_a_photo_that_could_not_be_read(
    capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    (here / "photos/b.png").unlink()
    (here / "photos/b.png").symlink_to("nowhere")
    run(capsys, "run", "squares.yaml", "photos")
    _, _, err = run(capsys, "run", "squares.yaml", "photos")
    assert "2 of them done before" in err
    said = explained(capsys, "b.png")
    assert said.startswith("b.png: would be passed over: it failed in part in run 1, and nothing")
    (here / "photos/b.png").unlink()
    squares(here / "photos/b.png")
    said = explained(capsys, "b.png")
    assert said.startswith("b.png: would run: its file changed in run 1, or could not be read")
    _, _, err = run(capsys, "run", "squares.yaml", "photos")
    assert "2 good (1 of them done before)" in err


# The receipt ----------------------------------------------------------------------------------


def test_the_receipt_names_what_made_the_files(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "run", "squares.yaml", "photos", "-i", "tags=cats")
    receipt = json.loads(Path("out/run.json").read_text())
    assert receipt["pipeline"]["name"] == "squares.yaml"
    assert receipt["given"] == [os.path.abspath("photos")]  # noqa: PTH100
    assert receipt["inputs"]["tags"]["value"]["phrases"] == ["cats"]
    assert receipt["recipes"][receipt["recipe"]]["steps"]["small"]["settings"]["longest"] == 8
    assert [each["counts"] for each in receipt["runs"]] == [{"ok": 2}]


def test_the_cache_says_how_full_it_is_and_is_emptied(
    capsys: pytest.CaptureFixture[str], own_cache: Path
) -> None:
    code, out, _ = run(capsys, "cache", "info")
    assert (code, out) == (0, f"{own_cache}: 0 results, 0 bytes of at most 20.0 GB\n")
    assert run(capsys, "cache", "clear")[1] == f"removed 0 results, 0 bytes, from {own_cache}\n"
