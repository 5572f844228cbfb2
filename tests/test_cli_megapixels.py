"""Large photos on the command line: refused, tried again, allowed."""

from __future__ import annotations

from pathlib import Path

import PIL.Image
import pytest

from visionweave.cli import main


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 500)
    PIL.Image.new("RGB", (40, 30)).save("large.png")
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = main(list(arguments))
    return code, capsys.readouterr().err


def test_a_photo_that_was_too_large_can_be_tried_again(
    capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    assert run(capsys, "run", "thumbnails", "large.png")[0] == 2
    failures = (here / "out/failures.jsonl").read_text()
    assert "to read it all the same, add --max-megapixels with a larger number" in failures
    assert run(capsys, "retry", "out")[0] == 2
    code, err = run(capsys, "retry", "out", "--max-megapixels", "500")
    assert (code, "1 good" in err) == (0, True), err


def test_no_limit_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    code, err = run(capsys, "run", "thumbnails", "large.png", "--max-megapixels", "inf")
    assert (code, PIL.Image.MAX_IMAGE_PIXELS) == (0, None), err


@pytest.mark.parametrize("size", ["0", "-1", "nan"])
@pytest.mark.parametrize(
    "command",
    [
        ["run", "thumbnails", "large.png"],
        ["retry", "out"],
        ["index", "large.png"],
        ["search", "library", "--image", "large.png"],
    ],
    ids=lambda command: command[0],
)
def test_a_limit_that_no_photo_keeps_is_refused(
    capsys: pytest.CaptureFixture[str], here: Path, command: list[str], size: str
) -> None:
    code, err = run(capsys, *command, f"--max-megapixels={size}")
    message = "error: --max-megapixels must be above 0, or inf for no limit; got "
    assert (code, err) == (1, f"{message}{size}\n")
    assert not (here / "out").exists()
