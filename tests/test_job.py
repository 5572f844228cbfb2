"""Jobs: what lies in the folder afterwards, whatever happens on the way."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from visionweave import (
    Boxes,
    Cutout,
    Image,
    Input,
    Masks,
    ModelNode,
    Node,
    Origin,
    Pipeline,
    Runtime,
    Tags,
    Text,
    WeightsError,
    node,
)
from visionweave.atomic import remove_halves, write_atomic
from visionweave.errors import JobError
from visionweave.execution.executor import Result
from visionweave.execution.observe import Observer
from visionweave.jobs.job import Job, Summary, run_job
from visionweave.jobs.outputs import name_files, write_files
from visionweave.jobs.photos import find_photos
from visionweave.testing import make_boxes, make_cutout, make_masks


@node("jobtest.find")
class Find(Node):
    """Find as many objects as the photo's name says."""

    def run(self, image: Image) -> Boxes:
        count = int(Path(image.origin.photo).stem)
        return make_boxes(count, image.image_hw, photo=image.origin.photo)


@node("jobtest.cut")
class Cut(Node):
    """Cut objects out, but no cat."""

    def run(self, boxes: Boxes) -> list[Text]:
        return [Text(label, boxes.origin(i)) for i, label in enumerate(boxes.labels)]


@node("jobtest.draw")
class Draw(Node):
    """Draw an object, unless it is the chosen one."""

    def __init__(self, refuse: str = "") -> None:
        self.refuse = refuse

    def run(self, image: Image, text: Text) -> Cutout:
        if text.text == self.refuse:
            raise ValueError(f"no {self.refuse} today")
        return make_cutout(text.origin)


def pipeline(refuse: str = "") -> Pipeline:
    photo = Input("photo", Image)
    boxes = Find()(photo)
    return Pipeline(boxes=boxes, cutouts=Draw(refuse)(photo, Cut()(boxes)))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("street/2.jpg", "yard/2.jpg", "yard/0.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", (64, 48), "teal").save(path)
    return tmp_path / "photos"


def job(photos: Path, refuse: str = "", **more: Any) -> Job:
    found = find_photos([str(photos)])
    out = photos.parent / "out"
    return Job("mine.yaml", pipeline(refuse), found, out, photo_input="photo", **more)


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


ALL = [
    ".lock",
    "failures.jsonl",
    "items.jsonl",
    "run.json",
    "street/2/boxes.json",
    "street/2/cutouts/0-apple.png",
    "street/2/cutouts/1-cat.png",
    "street/2/overlay.jpg",
    "yard/0/boxes.json",
    "yard/0/overlay.jpg",
    "yard/2/boxes.json",
    "yard/2/cutouts/0-apple.png",
    "yard/2/cutouts/1-cat.png",
    "yard/2/overlay.jpg",
]


def test_results_lie_under_the_photos_relative_paths(photos: Path) -> None:
    summary = run_job(job(photos))
    out = photos.parent / "out"
    assert files(out) == ALL
    assert Boxes.load(out / "yard/2/boxes.json") == make_boxes(2, photo="yard/2.jpg")
    cutout = Cutout.load(out / "yard/2/cutouts/1-cat.png")
    assert str(cutout.origin) == "cat 0.55, object 1 of yard/2.jpg"
    assert (summary.counts, summary.exit_code) == ({"ok": 3}, 0)


def test_the_journal_has_a_line_for_every_photo_in_order(photos: Path) -> None:
    run_job(job(photos, chunk=1))
    found = lines(photos.parent / "out/items.jsonl")
    assert [(line["photo"], line["status"]) for line in found] == [
        ("street/2.jpg", "ok"),
        ("yard/0.png", "ok"),
        ("yard/2.jpg", "ok"),
    ]
    assert found[1]["outputs"] == {"boxes": "yard/0/boxes.json", "cutouts": []}
    assert found[2]["outputs"]["cutouts"][1] == "yard/2/cutouts/1-cat.png"


def test_the_receipt_says_what_ran_and_what_came_of_it(photos: Path) -> None:
    run_job(job(photos))
    receipt = json.loads((photos.parent / "out/run.json").read_text())
    assert receipt["status"] == "finished"
    assert receipt["pipeline"]["name"] == "mine.yaml"
    assert receipt["pipeline"]["hash"] == pipeline().hash
    assert receipt["pipeline"]["form"] == pipeline().canonical()
    assert (receipt["photos"], receipt["counts"], receipt["failures"]) == (3, {"ok": 3}, 0)
    assert receipt["versions"]["visionweave"]
    assert "device" not in receipt  # no model ran


def test_a_failed_object_keeps_its_siblings_and_is_listed(photos: Path) -> None:
    summary = run_job(job(photos, refuse="cat"))
    out = photos.parent / "out"
    kept = [name for name in ALL if "cat" not in name]
    tracebacks = [f"failures/{street}/2.0-cutouts.txt" for street in ("street", "yard")]
    assert files(out) == sorted([*kept, *tracebacks])
    failure = lines(out / "failures.jsonl")[0]
    traceback = (out / failure["traceback"]).read_text()
    assert failure == {
        "photo": "street/2.jpg",
        "step": "cutouts",
        "node": "jobtest.draw",
        "object": 1,
        "label": "cat",
        "error": "ValueError",
        "message": "no cat today",
        "traceback": "failures/street/2.0-cutouts.txt",
        "retry": f"visionweave retry {photos.parent / 'out'} street/2.jpg",
        "run": 1,
    }
    assert 'raise ValueError(f"no {self.refuse} today")' in traceback
    assert (summary.counts, summary.failures) == ({"partial": 2, "ok": 1}, 2)
    assert summary.exit_code == 2


def test_an_unreadable_photo_fails_alone(photos: Path) -> None:
    (photos / "street/1.jpg").write_bytes(b"<html>not found</html>")
    summary = run_job(job(photos))
    failure = lines(photos.parent / "out/failures.jsonl")[0]
    assert (failure["photo"], failure["step"]) == ("street/1.jpg", "photo")
    assert failure["message"] == "it seems to hold an HTML page"
    assert summary.counts == {"ok": 3, "failed": 1}
    assert lines(photos.parent / "out/items.jsonl")[0]["outputs"] == {}


def test_overwriting_removes_the_earlier_results_and_nothing_else(photos: Path) -> None:
    run_job(job(photos))
    (photos.parent / "out/yard/2/notes.txt").write_text("mine")
    (photos / "street/2.jpg").unlink()
    run_job(job(photos, overwrite=True))
    kept = [name for name in ALL if not name.startswith("street")]
    assert files(photos.parent / "out") == sorted([*kept, "yard/2/notes.txt"])
    assert not (photos.parent / "out/street").exists()


def test_a_folder_with_other_things_is_not_written_into(photos: Path) -> None:
    (photos.parent / "out").mkdir()
    (photos.parent / "out/thesis.tex").touch()
    with pytest.raises(JobError, match="is not empty and holds no results of visionweave"):
        run_job(job(photos))


def test_a_folder_that_cannot_be_made_is_said(photos: Path) -> None:
    (photos.parent / "out").write_text("a file")
    with pytest.raises(JobError, match=r"cannot write to .*out: File exists"):
        run_job(job(photos))


@node("jobtest.model")
class Model(ModelNode):
    """A model whose weights are not here."""

    def load(self, runtime: Runtime) -> None:
        raise WeightsError("these weights are not here")

    async def run(self, image: Image) -> Boxes:
        raise AssertionError("it is never loaded")


def test_a_job_refused_by_a_model_leaves_no_trace(photos: Path) -> None:
    refused = Pipeline(boxes=Model()(Input("photo", Image)))
    found = find_photos([str(photos)])
    out = photos.parent / "out"
    with pytest.raises(WeightsError, match="these weights are not here"):
        run_job(Job("refused", refused, found, out, photo_input="photo", device="cpu"))
    assert not out.exists()


class _Interrupt(Observer):
    """Presses Ctrl-C after some photos."""

    def __init__(self, after: int) -> None:
        self.left = after

    def item_finished(self, result: Result) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


def test_ctrl_c_keeps_what_is_finished(photos: Path) -> None:
    summary = run_job(job(photos, chunk=1), [_Interrupt(after=2)])
    out = photos.parent / "out"
    assert [line["photo"] for line in lines(out / "items.jsonl")] == ["street/2.jpg", "yard/0.png"]
    assert json.loads((out / "run.json").read_text())["status"] == "interrupted"
    assert (summary.exit_code, summary.counts) == (130, {"ok": 2})


def test_a_result_that_cannot_be_written_stops_the_job(photos: Path) -> None:
    class BlockTheFolder(Observer):
        def item_finished(self, result: Result) -> None:
            if result.name == "yard/0.png":
                (photos.parent / "out/yard").mkdir()
                (photos.parent / "out/yard/0").write_text("in the way")

    with pytest.raises(JobError, match=r"cannot write to .*: .*The results of 1 photos are safe"):
        run_job(job(photos, chunk=1), [BlockTheFolder()])


@pytest.fixture
def words() -> Pipeline:
    tags = Input("tags", Tags)

    @node("jobtest.echo")
    class Echo(Node):
        """Say the tags."""

        def run(self, tags: Tags) -> Text:
            return Text(" and ".join(tags.phrases))

    return Pipeline(text=Echo()(tags))


def test_a_pipeline_without_photos_runs_once(words: Pipeline, tmp_path: Path) -> None:
    run_job(Job("echo", words, [], tmp_path / "out", inputs={"tags": ["a", "b"]}))
    assert Text.load(tmp_path / "out/text.json").text == "a and b"


def test_outputs_at_the_top_leave_the_jobs_own_files_alone(tmp_path: Path) -> None:
    words = [Text("a"), Text("b")]
    result = Result("item 0", {"run": words[0], "report": words, "run_": words[1], "items": words})
    written, _ = name_files(result, "")
    assert written == {
        "run": "run__.json",
        "report": ["report_/0.json", "report_/1.json"],
        "run_": "run_.json",
        "items": ["items/0.json", "items/1.json"],
    }
    assert name_files(result, "photo")[0]["run"] == "photo/run.json"


def test_the_exit_code_of_an_empty_summary_is_0() -> None:
    assert Summary().exit_code == 0


def test_elements_are_named_by_object_and_label_and_never_collide(tmp_path: Path) -> None:
    labels = ("red apple", "红苹果", "a/b", "x" * 300, "")
    boxes = make_boxes(5, labels=labels)
    texts = [Text("", boxes.origin(i)) for i in range(5)] + [Text("", Origin("p", 0, "red apple"))]
    result = Result("p.jpg", {"texts": texts, "plain": [Text("a"), Text("b")]})
    written, values = name_files(result, "p")
    write_files(tmp_path, values)
    assert [Path(name).stem for name in written["texts"]] == [
        "0-red-apple",
        "1-红苹果",
        "2-a-b",
        "3-" + 40 * "x",
        "4",
        "0-red-apple-5",
    ]
    assert written["plain"] == ["p/plain/0.json", "p/plain/1.json"]
    assert files(tmp_path) == sorted(written["texts"] + written["plain"])


def test_nested_lists_become_nested_folders(tmp_path: Path) -> None:
    result = Result("p.jpg", {"texts": [[Text("a"), Text("b")], []]})
    written, values = name_files(result, "p")
    assert written == {"texts": [["p/texts/0/0.json", "p/texts/0/1.json"], []]}
    sizes = write_files(tmp_path, values)
    assert sizes == {name: (tmp_path / name).stat().st_size for name in values}


def test_an_atomic_write_replaces_a_file_or_leaves_it(tmp_path: Path) -> None:
    path = tmp_path / "deep/a.bin"
    write_atomic(path, b"first")
    write_atomic(path, b"second")
    assert path.read_bytes() == b"second"
    with pytest.raises(TypeError, match="bytes-like"):
        write_atomic(path, "text")  # type: ignore[arg-type]
    assert (path.read_bytes(), files(tmp_path)) == (b"second", ["deep/a.bin"])


def test_a_file_with_the_longest_name_there_can_be_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("长" * 84 + ".b")  # 254 bytes
    write_atomic(path, b"first")
    (tmp_path / f".{'x' * 64}.0123456789abcdef.part").touch()  # of another file
    remove_halves(path)
    assert path.read_bytes() == b"first"
    assert len(list(tmp_path.iterdir())) == 2


def test_many_may_write_one_file_at_once(tmp_path: Path) -> None:
    def write(number: int) -> None:
        write_atomic(tmp_path / "a.bin", bytes([number]) * 1000, durable=False)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(200)))
    data = (tmp_path / "a.bin").read_bytes()
    assert data == data[:1] * 1000
    assert files(tmp_path) == ["a.bin"]


def test_masks_and_images_are_written_lossless(tmp_path: Path) -> None:
    masks = make_masks()
    image = Image.from_array(np.arange(48, dtype=np.uint8).reshape(4, 4, 3), "p.jpg")
    _, values = name_files(Result("p.jpg", {"masks": masks, "image": image}), "p")
    write_files(tmp_path, values)
    assert Masks.load(tmp_path / "p/masks.json") == masks
    assert Image.load(tmp_path / "p/image.png") == image
