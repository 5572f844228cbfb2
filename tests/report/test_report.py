"""The report of a job: what is in its files, and which of them are written again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from visionweave import Embedding, Hits, Image, Origin, Tags, Text, Views
from visionweave.cli import main
from visionweave.errors import JobError
from visionweave.jobs.lines import as_line
from visionweave.report import build_report
from visionweave.testing import (
    make_boxes,
    make_cutout,
    make_image,
    make_masks,
    make_mesh,
    make_value,
)

MakeJob = Callable[..., Path]


def size_of(picture: Path) -> list[int]:
    with PIL.Image.open(picture) as opened:
        return list(opened.size)


def delivered(path: Path) -> Any:
    """What a data script hands to the page."""
    text = path.read_text()
    assert text.startswith("visionweave.deliver(")
    return json.loads(f"[{text[len('visionweave.deliver(') : -len(');') - 1]}]")[1]


def job_of(report: Path) -> Any:
    return delivered(report / "job.js")


def entries_of(report: Path) -> dict[str, Any]:
    """What the grid knows, by photo."""
    chunks = [delivered(report / chunk["entries"]["file"]) for chunk in job_of(report)["chunks"]]
    return {entry["name"]: entry for chunk in chunks for entry in chunk}


def details_of(report: Path, photo: str) -> Any:
    return delivered(report / entries_of(report)[photo]["details"])


def test_what_was_found_in_a_photo_is_in_its_files(make_job: MakeJob) -> None:
    masks = make_masks(make_boxes(2, photo="a.jpg"))
    origin = masks.origin(1)
    outputs = {
        "tags": Tags(("apple", "cat"), np.array([0.9, 0.5], np.float32), Origin("a.jpg")),
        "caption": Text("an apple and a cat", Origin("a.jpg")),
        "masks": masks,
        "cutouts": [make_cutout(origin)],
        "meshes": [make_mesh(origin)],
    }
    report = build_report(make_job({"a.jpg": outputs}))
    entry, details = (
        entries_of(report.page.parent)["a.jpg"],
        details_of(report.page.parent, "a.jpg"),
    )
    assert [row[0] for row in entry["objects"]] == ["apple", "cat"]
    assert (entry["size"], entry["cutouts"], entry["meshes"]) == ([64, 48], 1, 1)
    assert entry["words"] == "an apple and a cat\napple\ncat"
    assert details["tags"][0]["tags"] == [["apple", 0.9], ["cat", 0.5]]
    assert details["masks"] == [[48, 64, each.decode()] for each in masks.counts]
    assert details["cutouts"][0]["url"] == "../a/cutouts/1-cat.png"
    assert details["cutouts"][0]["label"] == details["meshes"][0]["label"] == "cat"
    assert (report.page.parent / details["meshes"][0]["data"]).is_file()
    assert details["photo"]["urls"][0] == "../../photos/a.jpg"


def test_every_type_of_value_is_shown_or_told_of(make_job: MakeJob) -> None:
    vector = Embedding.normalised(np.ones(3), "clip/tiny")
    hits = Hits(("a.jpg",), np.array([0.5], np.float32), "a dog")
    outputs = {
        "views": make_value(Views),
        "vector": vector,
        "hits": hits,
        "small": make_value(Image),
    }
    report = build_report(make_job({"a.jpg": outputs})).page.parent
    details = details_of(report, "a.jpg")
    assert [each["output"] for each in details["pictures"]] == ["views", "small"]
    assert size_of(report / details["pictures"][0]["url"]) == details["pictures"][0]["size"]
    abouts = [each["about"] for each in details["others"]]
    assert abouts == ["3 numbers in the space clip/tiny", "a dog\n0.500  a.jpg"]


def test_making_it_again_writes_only_what_has_changed(make_job: MakeJob, tmp_path: Path) -> None:
    photos: dict[str, Any] = {f"{i}.jpg": {"boxes": make_boxes(i)} for i in range(3)}
    report = build_report(make_job(photos)).page.parent
    before = {path: path.stat().st_mtime_ns for path in report.rglob("*") if path.is_file()}
    photos["1.jpg"] = {"boxes": make_boxes(5)}
    out = tmp_path / "out"
    lines = (out / "items.jsonl").read_bytes().splitlines(keepends=True)
    (out / "1" / "boxes.json").write_bytes(make_boxes(5).to_bytes())
    (out / "items.jsonl").write_bytes(b"".join(lines))
    again = build_report(out)
    after = {path: path.stat().st_mtime_ns for path in report.rglob("*") if path.is_file()}
    assert (again.photos, again.kept) == (3, 2)
    assert len(entries_of(report)["1.jpg"]["objects"]) == 5
    same = {path.relative_to(report).parts[0] for path in before if before[path] == after.get(path)}
    assert {"thumbnails", "report.css"} <= same
    assert sum(path.parts[-3] == "photos" for path in after.keys() - before.keys()) == 1
    assert len(list((report / "photos").glob("*/*"))) == 3, "what nobody needs is removed"


def test_a_photo_that_is_gone_keeps_its_thumbnail(make_job: MakeJob, tmp_path: Path) -> None:
    out = make_job({"a.jpg": {"boxes": make_boxes(1)}, "b.jpg": {}})
    first = entries_of(build_report(out).page.parent)["a.jpg"]["thumbnail"]
    (tmp_path / "photos" / "a.jpg").unlink()
    report = build_report(out)
    entry = entries_of(report.page.parent)["a.jpg"]
    assert (entry["state"], entry["thumbnail"], report.gone) == ("gone", first, 1)
    assert details_of(report.page.parent, "a.jpg")["photo"]["urls"] == []


def test_a_photo_that_was_gone_from_the_start_has_the_size_of_its_results(
    make_job: MakeJob, tmp_path: Path
) -> None:
    out = make_job({"a.jpg": {"boxes": make_boxes(1)}})
    (tmp_path / "photos" / "a.jpg").unlink()
    entry = entries_of(build_report(out).page.parent)["a.jpg"]
    assert (entry["thumbnail"], entry["size"]) == (None, [64, 48])


def test_an_overlay_stands_in_for_a_photo_that_is_gone(make_job: MakeJob, tmp_path: Path) -> None:
    out = make_job({"a.jpg": {"boxes": make_boxes(1)}}, overlay=True)
    (tmp_path / "photos" / "a.jpg").unlink()
    page = build_report(out).page.parent
    assert PIL.Image.open(page / entries_of(page)["a.jpg"]["thumbnail"]).getpixel((9, 9)) == (
        254,
        0,
        0,
    )
    assert details_of(page, "a.jpg")["preview"] == "../a/overlay.jpg"


def test_an_overlay_is_the_first_of_the_pictures(make_job: MakeJob) -> None:
    image = make_image()
    out = make_job({"a.jpg": {"boxes": make_boxes(1), "small": image}}, overlay=True)
    page = build_report(out).page.parent
    assert [each["output"] for each in details_of(page, "a.jpg")["pictures"]] == [
        "overlay",
        "small",
    ]
    for harm, message in ((b"no picture", "it is damaged"), (None, "the file is gone")):
        if harm is None:
            (out / "a/overlay.jpg").unlink()
        else:
            (out / "a/overlay.jpg").write_bytes(harm)
        details = details_of(build_report(out).page.parent, "a.jpg")
        assert [each["output"] for each in details["pictures"]] == ["small"]
        assert [each["message"] for each in details["problems"]] == [message]


def test_times_are_shown_by_step_and_in_all(make_job: MakeJob) -> None:
    page = build_report(
        make_job({"a.jpg": {}}, seconds={"boxes": 0.5, "(writing)": 0.25})
    ).page.parent
    assert entries_of(page)["a.jpg"]["seconds"] == 0.75
    assert details_of(page, "a.jpg")["seconds"] == {"boxes": 0.5, "(writing)": 0.25}


def test_a_photo_that_changed_after_the_job_is_told_of(make_job: MakeJob, tmp_path: Path) -> None:
    out = make_job({"a.jpg": {"boxes": make_boxes(1)}, "b.jpg": {"boxes": make_boxes(1)}})
    PIL.Image.new("RGB", (64, 48)).save(tmp_path / "photos" / "a.jpg")
    same = (tmp_path / "photos" / "b.jpg").read_bytes()
    (tmp_path / "photos" / "b.jpg").write_bytes(same)
    entries = entries_of(build_report(out).page.parent)
    assert [entry["state"] for entry in entries.values()] == ["changed", "here"]


def test_a_photo_that_cannot_be_read_is_told_of(make_job: MakeJob, tmp_path: Path) -> None:
    out = make_job({"a.jpg": {}}, failures={"a.jpg": [{"step": "photo", "message": "bad"}]})
    (tmp_path / "photos" / "a.jpg").write_bytes(b"not a photo")
    report = build_report(out).page.parent
    assert entries_of(report)["a.jpg"]["state"] == "unreadable"
    assert "plain text" in details_of(report, "a.jpg")["trouble"]


def test_results_that_are_missing_or_damaged_are_told_of(make_job: MakeJob) -> None:
    origin = Origin("a.jpg", 0, "apple")
    outputs = {"boxes": make_boxes(1), "tags": Tags(("x",)), "cutouts": [make_cutout(origin)]}
    out = make_job({"a.jpg": outputs | {"mesh": make_mesh(), "text": Text("x")}})
    (out / "a" / "boxes.json").unlink()
    (out / "a" / "tags.json").write_text('{"type": "Tags", "form": 1}')
    (out / "a" / "cutouts" / "0-apple.png").write_bytes(b"\x89PNG")
    (out / "a" / "mesh.glb").write_bytes(b"glTF")
    (out / "a" / "text.json").write_text("{}")
    problems = details_of(build_report(out).page.parent, "a.jpg")["problems"]
    assert [each["output"] for each in problems] == ["boxes", "tags", "cutouts", "mesh", "text"]
    assert problems[0]["message"] == "the file is gone"
    assert all(each["message"] for each in problems)


def test_the_last_line_of_a_photo_counts(make_job: MakeJob) -> None:
    out = make_job({"a.jpg": {"boxes": make_boxes(1)}, "b.jpg": {}})
    old = json.loads((out / "items.jsonl").read_bytes().splitlines()[0])
    new = old | {
        "outputs": {"boxes": [[{"file": "a/boxes.json", "bytes": 1}]]},
        "status": "partial",
    }
    writing = {"photo": "b.jpg", "status": "writing"}
    with (out / "items.jsonl").open("ab") as file:
        file.write(as_line(new) + as_line(writing) + b'{"photo": "c.jpg", "sta')
    report = build_report(out).page.parent
    entries = entries_of(report)
    assert list(entries) == ["a.jpg"]
    assert (entries["a.jpg"]["status"], len(entries["a.jpg"]["objects"])) == ("partial", 1)
    assert job_of(report)["unfinished"] == 1


def test_only_failures_of_the_run_that_counts_are_listed(make_job: MakeJob) -> None:
    failures = [{"step": "cut", "message": "new"}, {"step": "cut", "message": "old", "run": 0}]
    report = build_report(make_job({"a.jpg": {}}, failures={"a.jpg": failures})).page.parent
    assert [each["message"] for each in job_of(report)["failures"]] == ["new"]


def test_a_photo_that_cannot_be_read_any_more_is_listed_beside_its_results(
    make_job: MakeJob,
) -> None:
    failures = [{"step": "photo", "message": "the disk is away", "run": 2}]
    out = make_job({"a.jpg": {}}, failures={"a.jpg": failures})
    (line,) = (out / "items.jsonl").read_text().splitlines()
    (out / "items.jsonl").write_text(json.dumps(json.loads(line) | {"unread": 2}) + "\n")
    report = build_report(out).page.parent
    assert [each["message"] for each in job_of(report)["failures"]] == ["the disk is away"]


NAMES = [
    'it\'s "quoted".jpg',
    "<script>alert(1)<.jpg",
    "日本 ñ #1?&%.jpg",
    "line\u2028break.jpg",
    "a\\b.jpg",
]


@pytest.mark.parametrize("name", NAMES)
def test_odd_names_arrive_as_they_are(make_job: MakeJob, name: str) -> None:
    out = make_job({f"x/{name}": {"cutouts": [make_cutout(Origin(name, 0, name))]}})
    report = build_report(out).page.parent
    details = details_of(report, f"x/{name}")
    assert details["cutouts"][0]["label"] == name
    assert re.fullmatch(r"[\w./%~-]+", details["photo"]["urls"][0]), "fit for an address"


def test_previews_are_made_of_what_browsers_do_not_show(make_job: MakeJob, tmp_path: Path) -> None:
    out = make_job({"a.tif": {}, "b.jpg": {}})
    report = build_report(out).page.parent
    previews = [details_of(report, name)["preview"] for name in ("a.tif", "b.jpg")]
    assert previews[1] is None
    assert size_of(report / previews[0]) == [64, 48]
    assert details_of(build_report(out, previews=True).page.parent, "b.jpg")["preview"]


def test_a_folder_without_a_job_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"holds no results of visionweave.*items\.jsonl"):
        build_report(tmp_path)


def test_a_folder_with_other_things_is_not_written_into(make_job: MakeJob, tmp_path: Path) -> None:
    out = make_job({"report.jpg": {"tags": Tags(("x",))}})
    with pytest.raises(JobError, match=r"is not empty and holds no report.*--to"):
        build_report(out)
    page = build_report(out, tmp_path / "page").page
    assert details_of(page.parent, "report.jpg")["tags"][0]["url"] == "../out/report/tags.json"


def test_what_others_put_into_the_folder_stays(make_job: MakeJob) -> None:
    out = make_job({"a.jpg": {}})
    report = build_report(out).page.parent
    other = report / "photos" / "zz" / "mine.js"
    other.parent.mkdir()
    other.write_text("mine")
    build_report(out)
    assert other.read_text() == "mine"


def test_a_damaged_memory_makes_everything_anew(make_job: MakeJob) -> None:
    out = make_job({"a.jpg": {"boxes": make_boxes(2)}})
    report = build_report(out).page.parent
    (report / "kept.jsonl").write_text("{")
    assert build_report(out).kept == 0
    assert len(entries_of(report)["a.jpg"]["objects"]) == 2


def test_a_job_without_a_receipt_has_a_report(make_job: MakeJob) -> None:
    out = make_job({"a.jpg": {}})
    (out / "run.json").write_text("{")
    assert job_of(build_report(out).page.parent)["name"] == "out"


def test_labels_are_counted_the_most_frequent_first(make_job: MakeJob) -> None:
    labels = {"a.jpg": ["cat", "dog"], "b.jpg": ["dog"], "c.jpg": []}
    photos = {name: {"boxes": make_boxes(len(each), labels=each)} for name, each in labels.items()}
    about = job_of(build_report(make_job(photos)).page.parent)
    assert about["labels"] == [["dog", 2], ["cat", 1]]
    assert (about["counts"]["objects"], about["outputs"]) == (3, ["boxes"])


def test_the_page_names_no_address_in_the_network() -> None:
    for asset in files("visionweave.report").joinpath("assets").iterdir():
        found = set(re.findall(r"(?:https?:)?//[\w.]+\.\w+[\w./]*", asset.read_text()))
        assert found <= {"http://www.w3.org/2000/svg"}, asset.name


def test_a_job_of_a_ready_pipeline_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    PIL.Image.new("RGB", (640, 480), "teal").save(photos / "a.jpg")
    assert main(["run", "thumbnails", str(photos), "--out", str(out)]) == 0
    assert main(["report", str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(out / "report" / "index.html")
    about = job_of(out / "report")
    assert (about["name"], about["photos"]) == ("thumbnails", 1)
    assert about["diagram"].startswith("<svg")
    assert len(details_of(out / "report", "a.jpg")["pictures"]) == 1


def test_a_folder_without_a_job_is_an_error_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(tmp_path)]) == 1
    assert "holds no results of visionweave" in capsys.readouterr().err
