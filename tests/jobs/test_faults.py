"""Jobs on disks that are full or read-only, over files of all kinds, with models that fail.

Further faults: photos that change or vanish, a journal that cannot grow (`test_resume`), rights
that are missing, Ctrl-C and SIGKILL (`test_interrupt`), overlays that cannot be drawn
(`test_overlay`).
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from visionweave import (
    Boxes,
    Image,
    Input,
    JobError,
    ModelNode,
    Node,
    Pipeline,
    Runtime,
    Text,
    batched,
    node,
)
from visionweave.cache import Cache
from visionweave.jobs.job import Job, Summary, run_job
from visionweave.jobs.photos import find_photos
from visionweave.testing import make_boxes

PHOTO = Input("photo", Image)


@node("faults.find")
class Find(Node):
    """Boxes in a photo, and so an overlay for the job to draw."""

    def run(self, image: Image) -> Boxes:
        assert image.pixels.size  # it reads the photo
        return make_boxes(2, image.image_hw, photo=image.origin.photo)


class Giant(MemoryError):
    """What a device says of a photo that is too large for it."""


@node("faults.look")
class Look(ModelNode):
    """A model that cannot do with photos of some colours."""

    def load(self, runtime: Runtime) -> None:
        """There is nothing to load."""

    def forward_context(self) -> AbstractContextManager[None]:
        return nullcontext()

    async def run(self, image: Image) -> Text:
        return Text(await self.look(int(image.pixels[0, 0, 0])), image.origin)

    @batched(size=4)
    def look(self, values: list[int]) -> list[str]:
        if 13 in values:
            raise ValueError("13 is unlucky")
        if 200 in values:
            raise Giant("out of memory")
        return [str(value) for value in values]


def save(path: Path, value: int = 0, size_wh: tuple[int, int] = (64, 48)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(value).integers(0, 256, (size_wh[1], size_wh[0], 3), np.uint8)
    pixels[0, 0] = value
    PIL.Image.fromarray(pixels).save(path)
    return path


def run(photos: Path, out: Path, pipeline: Pipeline | None = None, **options: Any) -> Summary:
    pipeline = pipeline or Pipeline(boxes=Find()(PHOTO), photo=PHOTO)
    job = Job(
        "faults", pipeline, find_photos([str(photos)]), out, photo_input="photo", device="cpu",
        precision="fp32", **options,
    )  # fmt: skip
    return run_job(job)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# Disks ----------------------------------------------------------------------------------------

Mount = Callable[..., Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Puts a small disk of its own at a folder; where that is not allowed the test is skipped."""
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        tool = shutil.which("mount")
        command = [str(tool), "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if tool is None or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("no right to mount a disk here")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


def test_on_a_disk_that_is_full_nothing_is_lost_and_the_job_goes_on_when_there_is_room(
    mount: Mount, tmp_path: Path
) -> None:
    disk = mount("size=300k")
    for number in range(9):
        save(tmp_path / f"photos/{number}.png", number, (160, 120))  # each gives some 70 kB
    with pytest.raises(JobError, match=r"No space left on device\. The results of \d photos are s"):
        run(tmp_path / "photos", disk / "out", chunk=1)
    safe = lines(disk / "out/items.jsonl")
    assert 1 <= len(safe) <= 4
    for line in safe:
        assert {name: (disk / "out" / name).stat().st_size for name in line["files"]} == line[
            "files"
        ]
    assert not list((disk / "out").rglob("*.part"))
    subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
    summary = run(tmp_path / "photos", disk / "out")
    assert (summary.counts, summary.before) == ({"ok": 9}, len(safe))
    run(tmp_path / "photos", tmp_path / "fresh")
    for path in (tmp_path / "fresh").rglob("*.*g"):
        assert (
            path.read_bytes() == (disk / "out" / path.relative_to(tmp_path / "fresh")).read_bytes()
        )


def test_a_disk_that_may_not_be_written_is_refused(mount: Mount, tmp_path: Path) -> None:
    disk = mount("size=64k,ro")
    save(tmp_path / "photos/a.png")
    with pytest.raises(JobError, match=r"cannot write to .*: Read-only file system"):
        run(tmp_path / "photos", disk / "out")


def test_something_in_the_way_of_a_result_is_named(tmp_path: Path) -> None:
    save(tmp_path / "photos/a.png")
    run(tmp_path / "photos", tmp_path / "out")
    (tmp_path / "out/a/boxes.json").unlink()
    (tmp_path / "out/a/boxes.json").mkdir()
    with pytest.raises(JobError, match=r"cannot write to .*: Is a directory.*0 photos are safe"):
        run(tmp_path / "photos", tmp_path / "out")
    (tmp_path / "out/a/boxes.json").rmdir()
    assert run(tmp_path / "photos", tmp_path / "out").counts == {"ok": 1}


def test_a_cache_on_a_full_disk_is_done_without(mount: Mount, tmp_path: Path) -> None:
    disk = mount("size=64k")
    (disk / "all of it").write_bytes(bytes(64 * 1024))
    save(tmp_path / "photos/a.png", 7)
    pipeline = Pipeline(text=Look()(PHOTO))
    with (
        Cache(disk / "cache") as cache,
        pytest.warns(UserWarning, match=r"cannot be used, so .*(full|No space left)"),
    ):
        summary = run(tmp_path / "photos", tmp_path / "out", pipeline, cache=cache)
    assert summary.counts == {"ok": 1}


# Files ----------------------------------------------------------------------------------------

JPEG = b"\xff\xd8\xff\xe0"
BAD: dict[str, tuple[bytes | None, str]] = {
    "cut.jpg": (None, "cut off before its end"),
    "cut.png": (None, "cut off before its end"),
    "empty.jpg": (b"", "the file is empty (0 bytes)"),
    "header.jpg": (JPEG, "damaged"),
    "noise.webp": (bytes(range(256)), "none of JPEG, PNG"),
    "page.png": (b"<!DOCTYPE html><html>", "HTML page"),
    "phone.jpg": (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC photo"),
    "text.tif": (b"not found\n", "plain text"),
}


def test_corrupt_files_of_every_kind_fail_alone_in_one_batch(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for number in range(4):
        save(photos / f"good{number}.png", number)
    for name, (content, _) in BAD.items():
        path = photos / name
        if content is None:
            save(path)
            content = path.read_bytes()[:-900]
        path.write_bytes(content)
    (photos / "gone.jpg").symlink_to("nowhere.jpg")
    summary = run(photos, tmp_path / "out", chunk=64)
    assert summary.counts == {"ok": 4, "failed": len(BAD) + 1}
    assert summary.exit_code == 2
    said = {line["photo"]: line["message"] for line in lines(tmp_path / "out/failures.jsonl")}
    assert said.pop("gone.jpg") == "there is no such file"
    assert said.keys() == BAD.keys()
    for name, (_, reason) in BAD.items():
        assert reason in said[name]
    assert run(photos, tmp_path / "out").before >= 12, "what is corrupt stays so"


# Models ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        pytest.param(13, "ValueError", "13 is unlucky", id="raises"),
        pytest.param(200, "Giant", "out of memory", id="runs out of memory"),
    ],
)
def test_a_model_that_fails_for_one_photo_fails_for_that_alone(
    tmp_path: Path, value: int, error: str, message: str
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    for number in (1, 2, 3, value, 5, 6, 7):
        save(photos / f"{number}.png", number)
    pipeline = Pipeline(text=Look()(PHOTO))
    summary = run(photos, out, pipeline)
    assert (summary.counts, summary.exit_code) == ({"ok": 6, "failed": 1}, 2)
    (failure,) = lines(out / "failures.jsonl")
    found = {name: failure[name] for name in ("photo", "step", "error", "message")}
    assert found == {
        "photo": f"{value}.png", "step": "text", "error": error, "message": message,
    }  # fmt: skip
    assert message in (out / failure["traceback"]).read_text()
    assert Text.load(out / "5/text.json").text == "5"
    assert run(photos, out, pipeline).before == 7, "it would fail again"
    save(photos / f"{value}.png", 8)
    assert run(photos, out, pipeline).counts == {"ok": 7}
    assert not (out / failure["traceback"]).exists()
