"""annotations.coco.json of a job: up to date after each run, or gone, and then it is said why."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from visionweave.cli import main

COCO = Path("out/annotations.coco.json")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for name in ("a", "b"):
        square(Path(f"photos/{name}.png"))


def square(path: Path, at: int = 2) -> None:
    """A photo of an opaque square."""
    pixels = np.zeros((16, 32, 4), np.uint8)
    pixels[4:12, at : at + 8] = (200, 0, 0, 255)
    PIL.Image.fromarray(pixels).save(path)


def run(capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = main(["run", "split-objects", "photos", "--no-overlay"])
    return code, capsys.readouterr().err


def test_they_are_made_where_a_run_was_killed_before_it_wrote_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(capsys)[0] == 0
    whole = COCO.read_bytes()
    COCO.unlink()
    assert (run(capsys)[0], COCO.read_bytes()) == (0, whole)
    # As of a run that was killed after its last photo.
    COCO.write_text("of an earlier run")
    earlier = Path("out/items.jsonl").stat().st_mtime_ns - 1_000_000
    os.utime(COCO, ns=(earlier, earlier))
    assert (run(capsys)[0], COCO.read_bytes()) == (0, whole)
    before = COCO.stat()
    assert (run(capsys)[0], COCO.stat()) == (0, before), "they are up to date"


def damage(path: Path) -> None:
    """Make a result one that holds no masks, of the same size."""
    size = path.stat().st_size
    path.write_text(json.dumps({"type": "Masks", "boxes": {"labels": []}}).ljust(size))


def test_a_damaged_result_is_named_and_what_is_no_more_true_is_removed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(capsys)[0] == 0
    whole = COCO.read_bytes()
    (masks,) = Path("out/b").glob("*.json")
    damage(masks)
    assert (run(capsys)[0], COCO.read_bytes()) == (0, whole), "nothing is to be done"
    square(Path("photos/a.png"), at=12)
    code, err = run(capsys)
    assert (code, COCO.exists()) == (2, False)
    assert "no annotations.coco.json was written; the earlier one is removed, as it is of" in err
    assert "finished 2 of 2" in err
    masks.unlink()
    assert run(capsys)[0] == 0
    assert len(json.loads(COCO.read_bytes())["annotations"]) == 2
