"""The same job again: what is passed over, what runs, what is removed, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, ClassVar

import filelock
import numpy as np
import PIL.Image
import pytest

from visionweave import (
    Boxes,
    Image,
    Input,
    ModelNode,
    Node,
    Observer,
    Pipeline,
    Runtime,
    Text,
    batched,
    node,
)
from visionweave.atomic import write_atomic
from visionweave.cache import Cache
from visionweave.errors import JobError
from visionweave.execution.executor import Result
from visionweave.jobs.job import Job, Summary, run_job
from visionweave.jobs.photos import find_photos


@node("resume.find")
class Find(ModelNode):
    """As many boxes as the first pixel says; needs no torch, and counts its forward passes."""

    seen: ClassVar[list[int]] = []

    def __init__(self, more: int = 0) -> None:
        self.more = more

    def load(self, runtime: Runtime) -> None:
        """There is nothing to load."""

    def forward_context(self) -> AbstractContextManager[None]:
        return nullcontext()

    async def run(self, image: Image) -> Boxes:
        count = await self.forward(int(image.pixels[0, 0, 0]))
        if count == 13:
            raise ValueError("13 is unlucky")
        xyxy = np.array([[x, 0, x + 1, 2] for x in range(count)], np.float32).reshape(-1, 4)
        return Boxes(xyxy, image.image_hw, photo=image.origin.photo)

    @batched(size=2)
    def forward(self, values: list[int]) -> list[int]:
        self.seen.extend(values)
        return [value + self.more for value in values]


@node("resume.name")
class Name(Node):
    """A text for each box; none for the fifth."""

    def __init__(self, prefix: str = "box") -> None:
        self.prefix = prefix

    def run(self, boxes: Boxes) -> list[Text]:
        return [
            Text(f"{self.prefix} {i} of {boxes.photo}", boxes.origin(i)) for i in range(len(boxes))
        ]


def pipeline(more: int = 0, prefix: str = "box", name: str = "names") -> Pipeline:
    boxes = Find(more)(Input("photo", Image))
    return Pipeline(**{"boxes": boxes, name: Name(prefix)(boxes)})


def save(path: Path, value: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.full((4, 8, 3), value, np.uint8)).save(path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name, value in (("a/1.png", 1), ("a/2.png", 2), ("b/1.png", 3)):
        save(tmp_path / "photos" / name, value)
    return tmp_path / "photos"


@pytest.fixture(autouse=True)
def _forget() -> None:
    Find.seen.clear()


def run(photos: Path, pipe: Pipeline | None = None, **options: Any) -> tuple[Summary, list[int]]:
    """What came of a job, and what went through the model."""
    Find.seen.clear()
    options = {"out": photos.parent / "out", "chunk": 2} | options
    observers = options.pop("observers", [])
    given = options.pop("given", [str(photos)])
    job = Job(
        "mine",
        pipe or pipeline(),
        find_photos(given),
        photo_input="photo",
        device="cpu",
        precision="fp32",
        **options,
    )
    return run_job(job, observers), sorted(Find.seen)


def files(folder: Path) -> dict[str, bytes]:
    """The results below a folder, without what belongs to the job itself."""
    own = ("run.json", "items.jsonl", "failures.jsonl", ".lock")
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).as_posix() not in own
    }


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# Again ----------------------------------------------------------------------------------------


def test_a_finished_job_runs_nothing_again_and_decodes_nothing(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary, seen = run(photos)
    assert (summary.counts, summary.before, seen) == ({"ok": 3}, 0, [1, 2, 3])
    before = files(photos.parent / "out")
    journal = (photos.parent / "out/items.jsonl").read_bytes()
    monkeypatch.setattr("visionweave.photo.decode", lambda *given: pytest.fail("decoded"))
    summary, seen = run(photos)
    assert (summary.counts, summary.before, seen) == ({"ok": 3}, 3, [])
    assert (summary.exit_code, summary.status) == (0, "finished")
    assert files(photos.parent / "out") == before
    assert (photos.parent / "out/items.jsonl").read_bytes() == journal


def test_a_changed_photo_runs_again_alone_and_its_old_files_go(photos: Path) -> None:
    run(photos)
    save(photos / "a/2.png", 1)
    summary, seen = run(photos)
    assert (summary.counts, summary.before, seen) == ({"ok": 3}, 2, [1])
    names = [name for name in files(photos.parent / "out") if name.startswith("a/2/")]
    assert sorted(names) == ["a/2/boxes.json", "a/2/names/0.json", "a/2/overlay.jpg"]


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        pytest.param({"more": 1}, [1, 2, 3], id="a setting of the model"),
        pytest.param({"prefix": "thing"}, [1, 2, 3], id="a setting of a step behind it"),
        pytest.param({"name": "titles"}, [1, 2, 3], id="the name of an output"),
    ],
)
def test_a_changed_pipeline_replaces_the_results(
    photos: Path, change: dict[str, Any], seen: list[int]
) -> None:
    run(photos)
    assert run(photos, pipeline(**change))[1] == seen
    run(photos, pipeline(**change), out=photos.parent / "fresh")
    assert files(photos.parent / "out") == files(photos.parent / "fresh")
    assert run(photos, pipeline(**change))[1] == []


def test_with_a_cache_only_what_a_change_touches_is_computed(photos: Path) -> None:
    with Cache() as cache:
        run(photos, cache=cache)
        summary, seen = run(photos, pipeline(prefix="thing"), cache=cache)
        assert (seen, summary.found, summary.before) == ([], 3, 0)
        assert run(photos, pipeline(more=1), cache=cache)[1] == [1, 2, 3]


@pytest.mark.parametrize("harm", ["deleted", "shortened"])
def test_a_result_that_is_not_as_it_was_is_made_again(photos: Path, harm: str) -> None:
    run(photos)
    before = files(photos.parent / "out")
    path = photos.parent / "out/a/2/names/1.json"
    if harm == "deleted":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-5])
    assert run(photos)[1] == [2]
    assert files(photos.parent / "out") == before


def test_new_photos_are_added_and_folders_stay(photos: Path) -> None:
    run(photos)
    save(photos / "a/1.bmp", 4)
    assert run(photos)[1] == [4]
    found = {line["photo"]: line["folder"] for line in lines(photos.parent / "out/items.jsonl")}
    assert found == {"a/1.bmp": "a/1.bmp", "a/1.png": "a/1", "a/2.png": "a/2", "b/1.png": "b/1"}


def test_a_renamed_photo_costs_nothing_and_the_old_name_is_reported(photos: Path) -> None:
    with Cache() as cache:
        run(photos, cache=cache)
        (photos / "a/2.png").rename(photos / "b/2.png")
        summary, seen = run(photos, cache=cache)
        assert (seen, summary.deleted, summary.pruned) == ([], ["a/2.png"], False)
    assert Boxes.load(photos.parent / "out/b/2/boxes.json").photo == "b/2.png"
    assert (photos.parent / "out/a/2").exists()
    summary, _ = run(photos, prune=True)
    assert (summary.deleted, summary.pruned) == (["a/2.png"], True)
    assert not (photos.parent / "out/a/2").exists()
    assert run(photos)[0].deleted == []


def test_photos_that_are_merely_not_given_are_not_gone(photos: Path) -> None:
    run(photos)
    summary, _ = run(photos, given=[str(photos / "a/1.png"), str(photos / "b/1.png")], prune=True)
    assert (summary.deleted, summary.before) == ([], 2)


def test_a_photos_name_is_not_taken_by_another(photos: Path) -> None:
    run(photos, given=[str(photos / "a")])
    with pytest.raises(JobError, match=r"1\.png is the name of two photos: .*a/1\.png, and now it"):
        run(photos, given=[str(photos / "b")])
    shutil.move(photos / "a", photos / "elsewhere")
    summary, seen = run(photos, given=[str(photos / "elsewhere")])
    assert (summary.before, seen) == (2, []), "a folder that was moved is the same photos"


def test_overwrite_begins_anew(photos: Path) -> None:
    run(photos)
    assert run(photos, overwrite=True)[1] == [1, 2, 3]


def test_two_processes_do_not_write_into_one_folder(photos: Path) -> None:
    run(photos)
    with (
        filelock.FileLock(photos.parent / "out/.lock"),
        pytest.raises(JobError, match=r"another process is writing into .*out; wait for it"),
    ):
        run(photos)


def test_a_pipeline_without_photos_is_passed_over_too(tmp_path: Path) -> None:
    pipe = Pipeline(names=Name()(Input("boxes", Boxes)))
    boxes = Boxes(np.zeros((1, 4), np.float32), (4, 4))
    job = Job("names", pipe, [], tmp_path / "out", inputs={"boxes": boxes})
    assert [run_job(job).before for _ in range(2)] == [0, 1]
    other = Job("names", pipe, [], tmp_path / "out", inputs={"boxes": boxes.replace(photo="x")})
    assert run_job(other).before == 1, "whose boxes they are does not count"


def test_a_file_that_a_node_reads_counts(photos: Path) -> None:
    words = photos.parent / "words.txt"

    @node("resume.read")
    class Read(Node):
        """What a file says."""

        def depends_on(self) -> dict[str, str]:
            return {"the words": words.read_text()}

        def run(self, image: Image) -> Text:
            return Text(words.read_text())

    pipe = Pipeline(text=Read()(Input("photo", Image)))
    for text, before in (("one", 0), ("one", 3), ("two", 0)):
        words.write_text(text)
        assert run(photos, pipe)[0].before == before
        assert Text.load(photos.parent / "out/a/1/text.json").text == text


# The journal ----------------------------------------------------------------------------------


def test_what_a_killed_run_left_half_written_is_removed(photos: Path) -> None:
    run(photos)
    out = photos.parent / "out"
    before = files(out)
    journal = out / "items.jsonl"
    entry = lines(journal)[1]
    writing = entry | {"status": "writing", "files": {"a/2/boxes.json": 0, "a/2/extra.json": 0}}
    with journal.open("a") as file:
        file.write(json.dumps(writing) + "\n" + json.dumps(entry)[:40])
    (out / "a/2/extra.json").write_text("half of another pipeline's")
    (out / "a/2/.boxes.json.4711.part").write_text("half")
    (out / "a/2/mine.txt").write_text("not the job's")
    summary, seen = run(photos)
    assert (summary.before, seen) == (2, [2])
    assert files(out) == before | {"a/2/mine.txt": b"not the job's"}
    assert [line["status"] for line in lines(journal)] == ["ok"] * 3


def test_a_job_that_was_killed_as_it_began_begins_again(photos: Path) -> None:
    out = photos.parent / "out"
    out.mkdir()
    (out / ".lock").touch()
    (out / ".run.json.4711.part").write_text("half")
    assert run(photos)[0].counts == {"ok": 3}
    assert not list(out.glob(".run.json.*"))


def test_an_interrupted_job_goes_on(photos: Path) -> None:
    class Interrupt(Observer):
        def chunk_started(self, items: Any) -> None:
            if "b/1.png" in items:
                raise KeyboardInterrupt

    summary, _ = run(photos, observers=[Interrupt()])
    assert (summary.exit_code, summary.counts) == (130, {"ok": 2})
    summary, seen = run(photos)
    assert (summary.exit_code, summary.before, seen) == (0, 2, [3])
    receipt = json.loads((photos.parent / "out/run.json").read_text())
    assert [each["status"] for each in receipt["runs"]] == ["interrupted", "finished"]


def test_odd_file_names_are_escaped_and_found_again(photos: Path) -> None:
    odd = os.fsdecode(b"\xff\xfe.png")
    shutil.copy(photos / "a/1.png", photos / odd)
    assert run(photos)[0].counts == {"ok": 4}
    summary, seen = run(photos)
    assert (summary.before, seen) == (4, [])


# Failures -------------------------------------------------------------------------------------


def test_failures_stand_until_they_are_tried_again(photos: Path) -> None:
    save(photos / "a/2.png", 13)
    out = photos.parent / "out"
    summary, _ = run(photos)
    assert (summary.counts, summary.exit_code) == ({"ok": 2, "failed": 1}, 2)
    summary, seen = run(photos)
    assert (summary.counts, summary.before, seen) == ({"ok": 2, "failed": 1}, 3, [])
    assert (summary.exit_code, summary.failures) == (2, 1)
    assert len(lines(out / "failures.jsonl")) == 1
    _, seen = run(photos, retry=True)
    assert seen == [13]
    assert len(lines(out / "failures.jsonl")) == 1
    save(photos / "a/2.png", 4)
    summary, seen = run(photos)
    assert (summary.exit_code, seen) == (0, [4])
    assert lines(out / "failures.jsonl") == []
    assert not (out / "failures").exists()


def test_a_job_stops_when_too_many_photos_fail_and_goes_on(photos: Path) -> None:
    for name in ("a/1.png", "a/2.png", "b/0.png"):
        save(photos / name, 13)
    summary, _ = run(photos, max_failures=2, chunk=1)
    assert (summary.counts, summary.status, summary.exit_code) == ({"failed": 2}, "stopped", 2)
    summary, seen = run(photos, max_failures=2, chunk=1)
    assert (summary.counts, summary.before, seen) == ({"failed": 3, "ok": 1}, 2, [3, 13])


class Meanwhile(Observer):
    """Does something to the folder when the first photo has come out."""

    def __init__(self, do: Any) -> None:
        self.do = do

    def item_finished(self, result: Result) -> None:
        if result.name == "a/1.png":
            self.do()


@pytest.mark.parametrize("how", ["changed", "deleted"])
@pytest.mark.parametrize("with_cache", [True, False], ids=["cache", "no cache"])
def test_a_photo_that_changes_while_the_job_runs_fails_and_says_so(
    photos: Path, how: str, with_cache: bool
) -> None:
    for number in range(3, 9):
        save(photos / f"a/{number}.png", number)
    last = save(photos / "b/1.png", 9)

    def harm() -> None:
        save(last, 10) if how == "changed" else last.unlink()

    with Cache() as cache:
        options: dict[str, Any] = {"cache": cache} if with_cache else {}
        summary, seen = run(photos, chunk=1, observers=[Meanwhile(harm)], **options)
        if summary.counts == {"ok": 9}:  # all of it was read before the change, or after it
            new = 10 in seen
            summary, seen = run(photos, **options)
            again = (8, [] if how == "deleted" else [10])  # also if it was hashed while written
            assert (summary.before, seen) in ([(9, []), again] if new else [again])
            return
        assert summary.counts == {"ok": 8, "failed": 1}
        assert 10 not in seen, "it did not run in its new form"
        (failure,) = lines(photos.parent / "out/failures.jsonl")
        assert failure["photo"] == "b/1.png"
        assert failure["message"] in (
            "the file was changed, moved or deleted while the job ran",
            "there is no such file",  # it was gone before it was hashed
        )
        save(last, 9)
        summary, seen = run(photos, **options)
        assert summary.counts == {"ok": 9}, "also when it is as it was before"


# Places that cannot be written ----------------------------------------------------------------


def test_a_full_disk_stops_the_job_and_loses_nothing(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes, **options: Any) -> None:
        if "b/1" in str(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_name(f".{path.name}.1.part").write_bytes(data[:3])
            raise OSError(28, "No space left on device", str(path))
        write_atomic(path, data, **options)

    with monkeypatch.context() as patch:
        patch.setattr("visionweave.jobs.outputs.write_atomic", full)
        with pytest.raises(JobError, match=r"No space left on device.*of 2 photos are safe"):
            run(photos, chunk=1)
    out = photos.parent / "out"
    assert json.loads((out / "run.json").read_text())["status"] == "broken"
    assert [line["photo"] for line in lines(out / "items.jsonl")] == ["a/1.png", "a/2.png"]
    assert not list(out.rglob("*.part"))
    summary, seen = run(photos)
    assert (summary.before, seen) == (2, [3])


LIMITED = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_resume
from visionweave.errors import JobError

photos = Path(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), -1))
try:
    test_resume.run(photos, chunk=1)
except JobError as error:
    print(error)
"""


def test_a_journal_that_cannot_grow_stays_readable(photos: Path) -> None:
    save(photos / "c.png", 60)  # its line is longer than all others
    start = [sys.executable, "-c", LIMITED, str(Path(__file__).parent), str(photos), "9000"]
    done = subprocess.run(start, capture_output=True, text=True, check=True)
    assert "File too large" in done.stdout
    out = photos.parent / "out"
    for line in lines(out / "items.jsonl"):
        assert line["status"] == "ok"
    assert run(photos)[0].counts == {"ok": 4}
