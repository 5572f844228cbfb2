"""Exports are written whole, and nothing that others wrote is lost."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from visionweave import JobError
from visionweave.exports import export_job
from visionweave.exports.place import Place
from visionweave.testing import make_boxes

if TYPE_CHECKING:
    from tests.exports.conftest import JobFolder


def write(folder: Path, *, overwrite: bool = False, **files: str) -> None:
    with Place(folder, overwrite=overwrite) as place:
        for name, text in files.items():
            place.write(f"s/{name}", text)


def files(folder: Path) -> dict[str, str]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.name: path.read_text() for path in found if path.name != "export.json"}


def test_a_later_export_replaces_what_an_earlier_one_wrote(tmp_path: Path) -> None:
    write(tmp_path / "x", a="1", b="2")
    (tmp_path / "x/mine").write_text("mine")
    write(tmp_path / "x", a="3", c="4")
    assert files(tmp_path / "x") == {"a": "3", "c": "4", "mine": "mine"}
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_what_was_changed_by_hand_stays_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    write(tmp_path / "x", a="1", b="2")
    (tmp_path / "x/s/a").write_text("corrected")
    message = r"^s/a would be replaced in .*x, and no export wrote that, or it was changed since"
    with pytest.raises(JobError, match=message):
        write(tmp_path / "x", a="3", b="4")
    assert files(tmp_path / "x") == {"a": "corrected", "b": "2"}
    write(tmp_path / "x", overwrite=True, a="3", b="4")
    assert files(tmp_path / "x") == {"a": "3", "b": "4"}


def test_what_was_changed_by_hand_is_not_taken_away(tmp_path: Path) -> None:
    write(tmp_path / "x", a="1", b="2")
    (tmp_path / "x/s/a").write_text("corrected")
    write(tmp_path / "x", b="3")
    assert files(tmp_path / "x") == {"a": "corrected", "b": "3"}


def test_a_folder_in_the_place_of_a_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "x/s/a").mkdir(parents=True)
    with pytest.raises(JobError, match=r"^s/a would be replaced"):
        write(tmp_path / "x", a="1")
    with pytest.raises(JobError, match=r"cannot write the export .*: Is a directory"):
        write(tmp_path / "x", overwrite=True, a="1")


def test_files_of_others_are_not_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "x" / "s"
    folder.mkdir(parents=True)
    for name in "abcde":
        (folder / name).write_text("mine")
    with pytest.raises(JobError, match=r"^s/a, s/b, s/c and 2 more would be replaced"):
        write(tmp_path / "x", a="1", b="2", c="3", d="4", e="5")
    assert files(tmp_path / "x") == dict.fromkeys("abcde", "mine")


def test_an_export_that_was_cut_off_while_put_in_place_can_be_done_again(tmp_path: Path) -> None:
    write(tmp_path / "x", a="1", b="2")
    (tmp_path / "x/s/a").write_text("3")  # as a killed export leaves it: a file of the new ones
    write(tmp_path / "x", a="3", b="4")
    assert files(tmp_path / "x") == {"a": "3", "b": "4"}


@pytest.mark.parametrize("text", ["mine", "[]", '{"files": {}}', '{"visionweave": 1}'])
def test_a_manifest_of_others_is_not_replaced(tmp_path: Path, text: str) -> None:
    (tmp_path / "export.json").write_text(text)
    with pytest.raises(JobError, match=r"^export\.json would be replaced in"):
        write(tmp_path, a="1")
    assert (tmp_path / "export.json").read_text() == text


def test_a_manifest_cannot_make_an_export_remove_files_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    write(tmp_path / "x", a="1")
    about = json.loads((tmp_path / "x/export.json").read_text())
    empty = hashlib.sha256(b"").hexdigest()
    about["files"] |= {"../mine": empty, str(tmp_path / "mine"): empty}
    (tmp_path / "x/export.json").write_text(json.dumps(about))
    write(tmp_path / "x", a="2")
    assert (tmp_path / "mine").exists()


@pytest.mark.parametrize("name", ["s/a", "export.json"])
def test_no_file_is_written_over_another_of_the_export(tmp_path: Path, name: str) -> None:
    def twice() -> None:
        with Place(tmp_path / "x") as place:
            place.write("s/a", "1")
            place.write(name, "2")

    with pytest.raises(JobError, match=rf"two files of the export would be .*x/{name}; rename"):
        twice()
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("photos", ["link", "copy"])
def test_a_photo_that_lies_in_the_place_stays_what_it_is(job: JobFolder, photos: str) -> None:
    path = job.photo("s/a.png")
    data = path.read_bytes()
    linked = path.with_name("b.png")
    linked.symlink_to("a.png")
    for name in ("s/a.png", "s/b.png"):
        job.add(name, boxes=make_boxes(1))
    for overwrite in (False, True):
        export_job(job.out, "labelme", job.photos, photos=photos, overwrite=overwrite)
    assert (path.is_symlink(), path.read_bytes()) == (False, data)
    assert str(linked.readlink()) == "a.png"
    assert sorted(each.name for each in path.parent.iterdir()) == [
        "a.json",
        "a.png",
        "b.json",
        "b.png",
    ]


def test_a_photo_that_an_earlier_export_brought_is_not_taken_away(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("photo")
    with Place(tmp_path / "x") as place:
        place.bring("a", tmp_path / "a", link=False)
    with Place(tmp_path / "x") as place:  # the photos of a later job
        place.bring("a", tmp_path / "x/a", link=False)
    assert files(tmp_path / "x") == {"a": "photo"}


def test_nothing_is_written_beside_a_folder_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with Place(tmp_path / "x") as place:
        place.write("a", "1")
        assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == ["a", "export.json"]


def test_nothing_is_left_of_an_export_that_fails(tmp_path: Path) -> None:
    write(tmp_path / "x", a="1")

    def fail() -> None:
        with Place(tmp_path / "x") as place:
            place.write("a", "half")
            raise JobError("no more")

    with pytest.raises(JobError, match="no more"):
        fail()
    assert files(tmp_path / "x") == {"a": "1"}
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == ["export.json", "s"]


def test_a_file_that_is_there_is_replaced_only_if_so_asked(job: JobFolder) -> None:
    job.add("a.png", boxes=make_boxes(1))
    path = job.root / "mine.json"
    path.write_text("mine")
    with pytest.raises(JobError, match=r"mine\.json would be replaced"):
        export_job(job.out, "coco", path)
    assert path.read_text() == "mine"
    export_job(job.out, "coco", path, overwrite=True)
    export_job(job.out, "coco", path)  # the same bytes are there
    assert len(json.loads(path.read_text())["annotations"]) == 1


def test_a_file_in_the_place_of_a_folder_is_refused(job: JobFolder) -> None:
    job.add("a.png", boxes=make_boxes(1))
    (job.root / "taken").write_text("mine")
    with pytest.raises(JobError, match="taken is there, and is no folder; choose another --to"):
        export_job(job.out, "yolo", job.root / "taken")


def test_a_place_that_cannot_be_written_is_named(job: JobFolder) -> None:
    job.add("a.png", boxes=make_boxes(1))
    (job.root / "file").write_text("mine")
    with pytest.raises(JobError, match=r"cannot write the export .*file/set: .*directory"):
        export_job(job.out, "yolo", job.root / "file" / "set")


def test_the_folder_says_how_it_was_made(job: JobFolder) -> None:
    job.add("a.png", status="partial", boxes=make_boxes(1))
    exported = export_job(job.out, "csv")
    about = json.loads((job.out / "exports/csv/export.json").read_text())
    assert about["format"] == "csv"
    assert about["options"]["frame"] == "upright"
    assert (about["count"], about["what"], about["notes"]) == (1, "objects", exported.notes)
    assert list(about["files"]) == ["objects.csv"]
    assert list(exported.notes) == [
        "photos of which some steps failed, and whose results are not complete (failures.jsonl)"
    ]


@pytest.mark.parametrize(
    ("format", "options", "message"),
    [
        ("cocoa", {}, r"there is no format 'cocoa'; did you mean coco\?"),
        ("pdf", {}, "no format 'pdf'; there are coco, yolo, yolo-seg, labelme, csv, glb, obj, ply"),
        ("yolo", {"polygons": True}, "--polygons is not for yolo; it is for coco, labelme"),
        ("ply", {"frame": "raw"}, "--frame is not for ply; it is for coco, yolo, yolo-seg, "),
        ("coco", {"tolerance": 1.0}, "--tolerance is for outlines; add --polygons"),
        ("yolo-seg", {"tolerance": -1.0}, r"tolerance must be 0 pixels or more; got -1\.0"),
        ("yolo", {"photos": "move"}, "photos must be none or link or copy; got 'move'"),
        ("yolo", {"classes": ("a", "a")}, "classes must be different; got a, a"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    job: JobFolder, format: str, options: dict[str, object], message: str
) -> None:
    job.add("a.png", boxes=make_boxes(1))
    with pytest.raises(JobError, match=message):
        export_job(job.out, format, **options)
    assert not (job.out / "exports").exists()
