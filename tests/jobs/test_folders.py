"""The folder of a job among others' files: foreign ones, odd and long names, damaged lines."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from visionweave import Image, Input, JobError, Node, Pipeline, Text, node
from visionweave.cli import main
from visionweave.jobs.job import Job, Summary, run_job
from visionweave.jobs.photos import find_photos
from visionweave.jobs.receipt import read_receipt

THUMBNAILS = """\
visionweave: 1
inputs: {photo: Image}
steps: {small: {node: image.resize, image: $photo, longest: 4}}
outputs: [small]
"""


@node("folders.size")
class Size(Node):
    """The size of a photo."""

    def run(self, image: Image) -> Text:
        return Text(f"{image.pixels.shape}", image.origin)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    save(tmp_path / "photos/a.png")
    return tmp_path / "photos"


def save(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", (8, 4)).save(path)


def run(photos: Path, **options: Any) -> Summary:
    pipeline, out = Pipeline(size=Size()(Input("photo", Image))), photos.parent / "out"
    found = options.pop("found", None) or find_photos([str(photos)])
    return run_job(Job("sizes", pipeline, found, out, photo_input="photo", **options))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# Foreign files --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("run.json", '{"run": "2024-01-01"}', id="a receipt of something else"),
        pytest.param("run.json", '{"form": 1}', id="a form of something else"),
        pytest.param("run.json", "[1, 2]", id="a list"),
        pytest.param(
            "items.jsonl", '{"title": "x", "photo": "a.png"}\n{"photo": "a.png"', id="lines"
        ),
        pytest.param("items.jsonl", "", id="no lines"),
    ],
)
def test_a_folder_of_others_with_files_of_our_names_is_refused(
    photos: Path, name: str, content: str
) -> None:
    path = photos.parent / "out" / name
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(JobError, match="is not empty and holds no results of visionweave"):
        run(photos)
    assert [(each.name, each.read_text()) for each in path.parent.iterdir()] == [(name, content)]
    assert run(photos, overwrite=True).counts == {"ok": 1}
    assert run(photos).before == 1


def test_a_job_whose_receipt_is_gone_goes_on(photos: Path) -> None:
    run(photos)
    (photos.parent / "out/run.json").unlink()
    assert run(photos).before == 1


def test_a_damaged_receipt_is_named_and_replaced_only_when_told_to(photos: Path) -> None:
    run(photos)
    (photos.parent / "out/run.json").write_text('{"form": 1, "pip')
    with pytest.raises(JobError, match=r"cannot read .*run\.json: "):
        run(photos)
    assert run(photos, overwrite=True).counts == {"ok": 1}


# Damaged lines --------------------------------------------------------------------------------


def test_failures_are_listed_after_a_line_that_was_cut_off(photos: Path) -> None:
    failures = photos.parent / "out/failures.jsonl"
    for name in ("b", "c", "d"):
        (photos / f"{name}.png").write_bytes(b"no photo")
        run(photos)
        os.truncate(failures, failures.stat().st_size - (1 if name == "b" else 20))
    (photos / "e.png").write_bytes(b"no photo")
    assert run(photos).failures == 4
    assert [line["photo"] for line in lines(failures)] == ["b.png", "e.png"]


# Names ----------------------------------------------------------------------------------------


def test_photos_with_long_names_fail_alone(photos: Path) -> None:
    out, broken = photos.parent / "out", 83 * "长" + ".png"
    (photos / broken).write_bytes(b"no photo")
    (photos / "z.png").write_bytes(b"no photo")
    save(photos / f"{245 * 'x'}.png")
    for before in (0, 4):
        summary = run(photos)
        assert (summary.counts, summary.before) == ({"ok": 2, "failed": 2}, before)
    found = {line["photo"]: line["traceback"] for line in lines(out / "failures.jsonl")}
    assert found["z.png"] == "failures/z.0-photo.txt"
    assert found[broken].startswith("failures/" + 50 * "长" + "-")
    assert all((out / name).exists() for name in found.values())
    save(photos / broken)
    assert run(photos).counts == {"ok": 3, "failed": 1}
    assert not (out / found[broken]).exists()
    assert run(photos, overwrite=True).counts == {"ok": 3, "failed": 1}


@pytest.mark.parametrize("name", [300 * "x" + ".txt", "a/size.json/0.txt"])
def test_a_job_goes_on_where_its_journal_has_a_name_that_no_file_can_have(
    photos: Path, name: str
) -> None:
    run(photos)
    journal = photos.parent / "out/items.jsonl"
    (entry,) = lines(journal)
    with journal.open("a") as file:
        writing = {"photo": "b.png", "status": "writing", "tracebacks": [name]}
        file.write("".join(json.dumps(each) + "\n" for each in (writing, entry)))
    assert run(photos).before == 1
    assert lines(journal) == [entry]


@pytest.mark.parametrize("name", ["-x.png", "two words.png"])
def test_the_command_that_tries_a_photo_again_can_be_pasted(
    photos: Path, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    Path(name).write_bytes(b"no photo")
    Path("small.yaml").write_text(THUMBNAILS)
    assert main(["run", "small.yaml", ".", "-o", "out"]) == 2
    (failure,) = lines(photos / "out/failures.jsonl")
    assert main(["explain", "out", "--", name]) == 0
    assert f"to try it again: {failure['retry']}" in capsys.readouterr().out
    save(photos / "good.png")
    shutil.move(photos / "good.png", name)
    assert main(shlex.split(failure["retry"])[1:]) == 0


def test_what_was_given_may_be_no_unicode(photos: Path) -> None:
    odd = photos.rename(photos.with_name(os.fsdecode(b"photos\xff")))
    assert run(odd, given=[str(odd)]).counts == {"ok": 1}
    assert read_receipt(photos.parent / "out/run.json")["given"] == [str(odd)]


def test_a_photo_called_as_another_ones_result_has_a_place_of_its_own(photos: Path) -> None:
    run(photos)
    (photos / "a").mkdir()
    shutil.copy(photos / "a.png", photos / "a/size.json")  # a picture, whatever its suffix
    for before in (1, 2):
        summary = run(photos, found=find_photos([f"{photos}/a.png", f"{photos}/a/size.json"]))
        assert (summary.counts, summary.before) == ({"ok": 2}, before)
    assert Text.load(photos.parent / "out/a/size.json").origin.photo == "a.png"
    assert Text.load(photos.parent / "out/a/size.json_/size.json").origin.photo == "a/size.json"
