"""`visionweave explain` where the job's pipeline is not where it was."""

from __future__ import annotations

from pathlib import Path

import PIL.Image
import pytest

from visionweave.cli import main

PIPELINE = """\
visionweave: 1
inputs: {photo: Image}
steps: {small: {node: image.resize, image: $photo, longest: 8}}
outputs: [small]
"""


def test_a_pipeline_that_is_elsewhere_can_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(PIPELINE)
    PIL.Image.new("RGB", (32, 16)).save("a.png")
    assert main(["run", "mine.yaml", "a.png"]) == 0
    Path("mine.yaml").rename("moved.yaml")
    capsys.readouterr()
    assert main(["explain", "out", "a.png"]) == 1
    assert capsys.readouterr().err == (
        "error: the job's pipeline 'mine.yaml' is not found from here; go to the folder where the "
        "job was started, or name the pipeline: --pipeline FILE\n"
    )
    assert main(["explain", "out", "a.png", "--pipeline", "moved.yaml"]) == 0
