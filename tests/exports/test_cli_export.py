"""`visionweave export`, from photos to the files of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args

import pytest

from visionweave.cli import main
from visionweave.cli.export import Format
from visionweave.exports import FORMATS
from visionweave.testing import make_boxes

if TYPE_CHECKING:
    from tests.exports.conftest import JobFolder

SAMPLES = Path(__file__).parents[2] / "examples" / "images" / "stickers"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_results_of_a_run_are_exported(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "run", "split-objects", str(SAMPLES))[0] == 0
    assert run(capsys, "export", "out", "-f", "coco", "--to", "all.json") == (
        0,
        "9 objects of 3 photos in all.json\n",
        "note: outputs that are not in this export: cutouts (a list of Cutout)\n",
    )
    assert run(capsys, "export", "out", "-f", "yolo-seg", "--classes", "cup, object") == (
        0,
        "9 objects of 3 photos in out/exports/yolo-seg\n",
        "note: holes filled, as polygons cannot have any: 4\n"
        "note: objects whose score, number and flags are not in this format: 9\n"
        "note: photos to be put into images/ beside labels/ (--photos link or copy does that): 3\n"
        "note: outputs that are not in this export: cutouts (a list of Cutout)\n",
    )
    assert run(capsys, "export", "out", "-f", "csv")[:2] == (
        0,
        "9 objects of 3 photos in out/exports/csv/objects.csv\n",
    )
    table = Path("out/exports/csv/objects.csv").read_text().splitlines()
    assert [line.rpartition(",")[2] for line in table[1:4]] == [
        f"kitchen/breakfast/cutouts/{index}-object.png" for index in range(3)
    ]


def test_photos_that_are_left_out_are_counted(
    capsys: pytest.CaptureFixture[str], job: JobFolder
) -> None:
    job.add("a.png", boxes=make_boxes(2))
    job.line("b.png", "failed", {})
    job.line("c.png", "writing", {})
    assert run(capsys, "export", str(job.out), "-f", "csv", "--to", str(job.root / "x.csv")) == (
        0,
        f"2 objects of 1 photo in {job.root / 'x.csv'}\n",
        "note: photos left out (failed): 1\nnote: photos left out (unfinished): 1\n",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["nowhere", "-f", "csv"], "error: nowhere holds no results of", id="no job"),
        pytest.param(["out", "-f", "pdf"], "'pdf' is not one of 'coco', 'yolo'", id="format"),
        pytest.param(["out"], "Missing option '--format'", id="no format"),
        pytest.param(
            ["out", "-f", "yolo", "--polygons"], "error: --polygons is not for yolo", id="option"
        ),
    ],
)
def test_mistakes_are_explained(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    code, out, err = run(capsys, "export", *arguments)
    assert (code, out) == (1, "")
    assert message in err


def test_the_command_knows_every_format() -> None:
    assert get_args(Format) == tuple(FORMATS)
