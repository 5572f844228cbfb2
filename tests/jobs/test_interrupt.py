"""Ctrl-C, SIGKILL, and folders without rights, as they happen to a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from visionweave import Image, Input, Node, Pipeline, Text, node
from visionweave.errors import JobError
from visionweave.jobs.job import Job, run_job
from visionweave.jobs.photos import find_photos

ROOT = Path(__file__).parents[2]

SLOW = """
import sys, time
from contextlib import nullcontext
from pathlib import Path
import visionweave as vw
from visionweave.cli import main
from visionweave.registry import replaced

log = Path("log")

@vw.node("slow.say")
class Say(vw.ModelNode):
    def load(self, runtime): pass
    def forward_context(self): return nullcontext()

    async def run(self, image: vw.Image) -> vw.Text:
        return vw.Text(await self.forward(image.origin.photo), image.origin)

    @vw.batched(size=2)
    def forward(self, names: list[str]) -> list[str]:
        with log.open("a") as file:
            file.write("".join(f"{name}\\n" for name in names))
        time.sleep(float(sys.argv[1]))
        return ["said"] * len(names)

with replaced({"slow.say": Say}):
    sys.exit(main(["run", "slow.yaml", "photos", "--device", "cpu", "--precision", "fp32"]))
"""
PIPELINE = """\
visionweave: 1
inputs: {photo: Image}
steps: {text: {node: slow.say, image: $photo}}
outputs: [text]
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slow.yaml").write_text(PIPELINE)
    (tmp_path / "photos").mkdir()
    for number in range(8):
        pixels = np.full((4, 4, 3), number, np.uint8)
        PIL.Image.fromarray(pixels).save(tmp_path / f"photos/{number}.png")
    return tmp_path


def start(seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SLOW, str(seconds)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def said() -> list[str]:
    """The photos that went through the model."""
    return Path("log").read_text().split() if Path("log").exists() else []


def wait_until_said(count: int) -> None:
    deadline = time.monotonic() + 60
    while len(said()) < count:
        assert time.monotonic() < deadline, "the model never ran"
        time.sleep(0.01)


def statuses() -> list[str]:
    lines = Path("out/items.jsonl").read_text().splitlines()
    return [json.loads(line)["status"] for line in lines]


def test_the_first_ctrl_c_ends_after_a_batch_and_loses_no_result() -> None:
    with start(0.5) as process:
        wait_until_said(4)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopping after the batch that is computing; Ctrl-C again stops at once" in err
    assert "interrupted after 0 of 8" in err
    assert json.loads(Path("out/run.json").read_text())["status"] == "interrupted"
    before = len(said())
    assert before < 8
    with start(0) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "finished 8 of 8" in err
    assert len(said()) - before <= 8 - (before - 4), "all but the last two batches were kept"
    assert statuses() == ["ok"] * 8


def test_the_second_ctrl_c_ends_at_once() -> None:
    with start(300) as process:
        wait_until_said(2)
        assert process.stderr is not None
        process.send_signal(signal.SIGINT)
        line = process.stderr.readline()
        while "stopping" not in line:
            line = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    with start(0) as process:
        process.communicate(timeout=60)
    assert (process.returncode, statuses()) == (0, ["ok"] * 8)


def test_a_job_killed_at_random_moments_comes_to_the_same_end() -> None:
    command = [sys.executable, "-m", "benchmarks.crash", "--kills", "5", "--seed", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "nothing was lost"


# Without rights -------------------------------------------------------------------------------


@node("interrupt.size")
class Size(Node):
    """The size of a photo."""

    def run(self, image: Image) -> Text:
        return Text(str(image.pixels.shape), image.origin)


@contextmanager
def without_rights() -> Iterator[None]:
    """As nobody in particular, where the tests run as root, who may do everything."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def open_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that anybody may enter, which pytest's and the user's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        monkeypatch.setenv("VISIONWEAVE_WEIGHTS", str(Path(folder) / "weights"))
        (Path(folder) / "photos").mkdir(mode=0o755)
        for name in ("a", "b"):
            PIL.Image.new("RGB", (4, 4)).save(Path(folder) / f"photos/{name}.png")
            (Path(folder) / f"photos/{name}.png").chmod(0o644)
        run_job(size_job(Path(folder), "warm"))  # what is imported late, nobody may import
        yield Path(folder)


def size_job(folder: Path, out: str = "out", given: str = "photos", **options: Any) -> Job:
    pipeline = Pipeline(size=Size()(Input("photo", Image)))
    photos = find_photos([str(folder / given)])
    return Job("sizes", pipeline, photos, folder / out, photo_input="photo", **options)


def test_a_folder_that_cannot_be_written_is_refused(open_folder: Path) -> None:
    (open_folder / "out").mkdir(mode=0o555)
    with (
        without_rights(),
        pytest.raises(JobError, match=r"cannot write to .*out.*: Permission denied"),
    ):
        run_job(size_job(open_folder))
    assert list((open_folder / "out").iterdir()) == []


def test_a_photo_that_may_not_be_read_fails_alone(open_folder: Path) -> None:
    (open_folder / "photos/a.png").chmod(0)
    for _ in range(2):
        with without_rights():
            summary = run_job(size_job(open_folder))
        assert summary.counts == {"ok": 1, "failed": 1}
    failure = json.loads((open_folder / "out/failures.jsonl").read_text())
    assert failure["message"] == "permission denied; this user may not read it"
    (open_folder / "photos/a.png").chmod(0o644)
    with without_rights():
        assert run_job(size_job(open_folder)).counts == {"ok": 2}


def test_a_folder_that_may_not_be_read_is_refused_and_its_photos_are_not_gone(
    open_folder: Path,
) -> None:
    locked = open_folder / "photos/locked"
    locked.mkdir()
    PIL.Image.new("RGB", (4, 4)).save(locked / "c.png")
    (open_folder / "out").mkdir(mode=0o777)
    (open_folder / "out").chmod(0o777)
    with without_rights():
        assert run_job(size_job(open_folder)).counts == {"ok": 3}
    locked.chmod(0)
    with without_rights():
        with pytest.raises(JobError, match=r"cannot read the folder .*locked: Permission denied"):
            size_job(open_folder)
        job = size_job(open_folder, given="photos/a.png", prune=True)
        assert run_job(job).deleted == []
    locked.chmod(0o755)
    with without_rights():
        assert run_job(size_job(open_folder)).before == 3
