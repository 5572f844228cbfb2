"""The look at a job that is done, or done in part: what counts is what is left to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import PIL.Image
import pytest

from visionweave import Boxes, Image, ModelNode, Runtime, batched, node
from visionweave.cli import main
from visionweave.registry import replaced

MB = 10**6
LOCK = f"""
[checkpoint.huge]
family = "left"
files = [{{ name = "huge.bin", bytes = {3 * MB} }}]
license = "MIT"
commercial = "yes"
"""
PIPELINE = """\
visionweave: 1
inputs: {photo: Image}
steps:
  boxes: {node: left.find, image: $photo}
outputs: [boxes]
"""
REFUSED = "6 MB of memory are needed, and cpu has 1 MB"
NOTHING = "photos: 3; nothing is left for models to do"


@node("left.find")
class Find(ModelNode):
    """As many boxes as the first pixel says; none for 13. It needs no torch."""

    seen: ClassVar[list[int]] = []

    def __init__(self, model: str = "huge") -> None:
        self.model = model

    def load(self, runtime: Runtime) -> None:
        """There is nothing to load."""

    def forward_context(self) -> AbstractContextManager[None]:
        return nullcontext()

    async def run(self, image: Image) -> Boxes:
        count = await self.look(int(image.pixels[0, 0, 0]))
        if count == 13:
            raise ValueError("13 is unlucky")
        xyxy = np.array([[x, 0, x + 1, 2] for x in range(count)], np.float32).reshape(-1, 4)
        return Boxes(xyxy, image.image_hw, photo=image.origin.photo)

    @batched(size=2)
    def look(self, values: list[int]) -> list[int]:
        self.seen.extend(values)
        return values


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with three photos, and a store with the weights of a model of 6 MB."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VISIONWEAVE_WEIGHTS", str(tmp_path / "weights"))
    (tmp_path / "weights/huge").mkdir(parents=True)
    (tmp_path / "weights/weights.lock").write_text(LOCK)
    (tmp_path / "weights/huge/huge.bin").write_bytes(bytes(3 * MB))
    (tmp_path / "find.yaml").write_text(PIPELINE)
    for value in (1, 2, 3):
        save(f"photos/{value}.png", value)
    Find.seen.clear()
    with replaced({"left.find": Find}):
        yield tmp_path


def save(path: str, value: int) -> None:
    Path(path).parent.mkdir(exist_ok=True)
    PIL.Image.fromarray(np.full((4, 8, 3), value, np.uint8)).save(path)


def run(
    capsys: pytest.CaptureFixture[str], *options: str, memory: int = 8 * MB
) -> tuple[int, list[str]]:
    """Run the job on a machine with so much memory: the exit code, and what is said."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("visionweave.budget.request.known_memory", lambda device: memory)
        code = main(["run", "find.yaml", "photos", *options])
    return code, capsys.readouterr().err.splitlines()


def small(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, list[str]]:
    """The same on a machine that the model does not fit into."""
    return run(capsys, *options, memory=MB)


def test_a_finished_job_is_not_refused_and_says_nothing_of_memory(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, lines = small(capsys)
    assert (code, lines[-1]) == (1, f"error: {REFUSED}")
    code, lines = run(capsys)
    assert (code, any(line.startswith("memory: ") for line in lines)) == (0, True)
    shutil.rmtree("weights/huge")  # which nobody needs any more
    code, lines = small(capsys)
    assert (code, lines[:2]) == (0, ["models by name: huge", NOTHING])
    assert lines[-1].endswith("s: 3 good (3 of them done before). Results in out")
    assert small(capsys, "--dry-run") == (0, lines[:2])


def test_a_budget_that_is_too_small_does_not_stop_a_finished_job(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, lines = run(capsys, "--memory-budget", "1MB")
    assert (code, "error: a memory budget of 1 MB is too little" in " ".join(lines)) == (1, True)
    run(capsys)
    code, lines = run(capsys, "--memory-budget", "1MB")
    assert (code, NOTHING in lines) == (0, True)


def drop_line(photo: str) -> None:
    journal = Path("out/items.jsonl")
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(line for line in lines if json.loads(line)["photo"] != photo))


def begin_line(photo: str) -> None:
    """As a job leaves it that was killed while it wrote a photo's files again."""
    with Path("out/items.jsonl").open("a") as journal:
        journal.write(json.dumps({"photo": photo, "status": "writing"}) + "\n")


CHANGES: dict[str, tuple[Callable[[], object], int]] = {
    "a photo changed": (lambda: save("photos/2.png", 7), 1),
    "a photo is new": (lambda: save("photos/4.png", 4), 1),
    "a result is gone": (lambda: Path("out/2/boxes.json").unlink(), 1),
    "a result was cut": (lambda: Path("out/2/boxes.json").write_text("{"), 1),
    "a photo was not run": (lambda: drop_line("2.png"), 1),
    "a photo was not finished": (lambda: begin_line("2.png"), 1),
    "two of these": (lambda: [save("photos/4.png", 4), begin_line("2.png")], 2),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_left_of_a_job_in_part_is_counted_as_it_will_run(
    capsys: pytest.CaptureFixture[str], change: str
) -> None:
    run(capsys, "--no-cache")
    harm, left = CHANGES[change]
    harm()
    journal = Path("out/items.jsonl").read_bytes()
    code, lines = small(capsys, "--no-cache")
    assert (code, lines[-1]) == (1, f"error: {REFUSED}")
    assert Path("out/items.jsonl").read_bytes() == journal
    Find.seen.clear()
    code, lines = run(capsys, "--no-cache")
    photos = len(list(Path("photos").iterdir()))
    said = f"photos: {photos}, {left} of them left for models to look at, in chunks of up to 64"
    assert (code, said in lines, len(Find.seen)) == (0, True, left), lines


def test_all_is_left_of_another_recipe_or_with_overwrite(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(capsys)
    for options in (["--overwrite"], ["--precision", "bf16"]):
        code, lines = small(capsys, *options)
        assert (code, lines[-1], "photos: 3, in chunks of up to 64" in lines) == (
            1,
            f"error: {REFUSED.replace('fp32', 'bf16')}",
            True,
        )


REDONE: dict[str, Callable[[], object]] = {
    "renamed": lambda: Path("photos/2.png").rename("photos/5.png"),
    "all renamed": lambda: [path.rename(f"photos/{i}{path.name}") for i, path in
                            enumerate(sorted(Path("photos").iterdir()))],
    "a result is gone": lambda: Path("out/2/boxes.json").unlink(),
}  # fmt: skip


@pytest.mark.parametrize("change", REDONE)
def test_what_the_cache_knows_is_not_left_to_models(
    capsys: pytest.CaptureFixture[str], change: str
) -> None:
    run(capsys)
    REDONE[change]()
    Find.seen.clear()
    code, lines = small(capsys, "--no-cache")
    assert (code, lines[-1]) == (1, f"error: {REFUSED}")
    code, lines = small(capsys)
    assert (code, NOTHING in lines, Find.seen) == (0, True, [])
    assert any("3 good" in line for line in lines)


def test_photos_beyond_those_that_were_renamed_are_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(capsys)
    Path("photos/2.png").rename("photos/5.png")
    save("photos/6.png", 6)
    save("photos/7.png", 7)
    assert small(capsys)[0] == 1
    Path("photos/7.png").unlink()
    Path("photos/6.png").unlink()
    save("photos/5.png", 9)
    assert small(capsys)[0] == 1


def test_an_overlay_that_is_to_be_drawn_needs_no_model(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(capsys, "--no-overlay")
    code, lines = small(capsys)
    assert (code, NOTHING in lines) == (0, True)
    assert len(list(Path("out").rglob("overlay.jpg"))) == 3


def test_failures_are_left_only_to_be_tried_again(capsys: pytest.CaptureFixture[str]) -> None:
    save("photos/2.png", 13)
    assert run(capsys)[0] == 2
    code, lines = small(capsys)
    assert (code, NOTHING in lines) == (2, True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("visionweave.budget.request.known_memory", lambda device: MB)
        assert main(["retry", "out"]) == 1
    assert capsys.readouterr().err.endswith(f"error: {REFUSED}\n")


def test_a_job_that_is_repeated_exactly_is_told_of_no_other_models(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lock = Path("weights/weights.lock")
    little = LOCK.replace("huge", "little").replace(str(3 * MB), "9")
    profiles = '[profiles.base]\nleft = "little"\n[profiles.large]\nleft = "huge"\n'
    lock.write_text(profiles + LOCK + little)
    way = "  with a smaller model: --set boxes.model=little"
    assert small(capsys)[1][-3:] == [f"error: {REFUSED}", "it could run", way]
    run(capsys)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("visionweave.budget.request.known_memory", lambda device: MB)
        assert main(["run", "--locked", "out/run.json", "-o", "again"]) == 1
    assert capsys.readouterr().err.endswith(f"error: {REFUSED}\n")


def test_the_time_is_of_the_photos_that_are_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def seconds(plan: Any, photos: int, figures: Any) -> float:
        asked.append(photos)
        return 60.0 * photos

    monkeypatch.setattr("visionweave.budget.preflight.seconds_for", seconds)
    run(capsys)
    save("photos/4.png", 4)
    _, lines = run(capsys, "--dry-run")
    assert (asked, "time: about 60 s for the models" in " ".join(lines)) == ([3, 1], True)


def test_a_folder_that_cannot_be_used_is_explained_by_the_job(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("out").write_text("a file")
    code, lines = run(capsys)
    assert (code, lines[-1].partition(".")[0]) == (1, "error: cannot write to out: File exists")
