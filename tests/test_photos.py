"""Finding photos, naming them, and giving each a folder of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from visionweave.errors import JobError
from visionweave.jobs.photos import check_apart, find_photos, result_folders


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a/1.jpg", "a/2.PNG", "b/1.jpg", "b/deep/3.webp", "b/notes.txt", "top.tif"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"never read here")
    for name in (".hidden.jpg", ".cache/4.jpg"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*given: str, leave_out: Path | None = None) -> list[str]:
    return [photo.name for photo in find_photos(given, leave_out)]


EVERYTHING = ["a/1.jpg", "a/2.PNG", "b/1.jpg", "b/deep/3.webp", "top.tif"]


def test_what_file_systems_keep_for_themselves_is_passed_over(folder: Path) -> None:
    (folder / "photos/lost+found").mkdir()
    (folder / "photos/lost+found/5.jpg").touch()
    assert names("photos") == EVERYTHING


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(["photos"], EVERYTHING, id="a folder with all below it"),
        pytest.param(["photos/"], EVERYTHING, id="a folder with a slash"),
        pytest.param(["photos/a", "photos/b"], EVERYTHING[:4], id="two folders keep their names"),
        pytest.param(["photos/a/1.jpg"], ["1.jpg"], id="one file"),
        pytest.param(["photos/a/1.jpg", "photos/b/1.jpg"], ["a/1.jpg", "b/1.jpg"], id="two files"),
        pytest.param(["photos/*/1.jpg"], ["a/1.jpg", "b/1.jpg"], id="a pattern"),
        pytest.param(["photos/**/*"], EVERYTHING, id="a pattern that matches all, deep"),
        pytest.param(["photos", "photos/a/1.jpg"], EVERYTHING, id="given twice, taken once"),
        pytest.param(["photos/a/../b"], ["1.jpg", "deep/3.webp"], id="a path with dots"),
        pytest.param(["photos/b/notes.txt"], ["notes.txt"], id="a file named itself"),
    ],
)
def test_photos_are_found_and_named(folder: Path, given: list[str], expected: list[str]) -> None:
    assert names(*given) == expected


def test_absolute_and_relative_paths_meet(folder: Path) -> None:
    assert names(str(folder / "photos" / "a"), "photos/b") == EVERYTHING[:4]


def test_the_folder_of_the_results_is_left_out(folder: Path) -> None:
    assert names("photos", leave_out=Path("photos/b")) == ["a/1.jpg", "a/2.PNG", "top.tif"]


@pytest.mark.parametrize("pattern", ["photos/**/*", "photos/*", "photos/[abt]*"])
def test_a_pattern_leaves_the_folder_of_the_results_out_too(folder: Path, pattern: str) -> None:
    assert names(pattern, leave_out=Path("photos/b")) == ["a/1.jpg", "a/2.PNG", "top.tif"]


def test_what_is_named_in_the_folder_of_the_results_is_taken(folder: Path) -> None:
    out = Path("photos/b")
    assert names("photos/a/*", "photos/b/1.jpg", leave_out=out)[2:] == ["b/1.jpg"]
    assert names("photos/b/deep", leave_out=out) == names("photos/b/deep/*", leave_out=out)
    assert names("photos/b/deep", leave_out=out) == ["3.webp"]


@pytest.mark.parametrize("given", ["photos", "photos/", "photos/*.tif", "photos/**/*"])
def test_results_do_not_go_where_photos_are_searched(folder: Path, given: str) -> None:
    with pytest.raises(JobError, match="the results would go into photos, where photos are search"):
        check_apart(["photos/top.tif", given], Path("photos"))
    check_apart([given, "photos/top.tif"], Path("photos/out"))


def test_links_to_folders_are_not_followed_and_links_to_files_are(folder: Path) -> None:
    (folder / "photos/loop").symlink_to(folder / "photos", target_is_directory=True)
    (folder / "photos/zlink.jpg").symlink_to(folder / "photos/a/1.jpg")
    assert names("photos") == [*EVERYTHING, "zlink.jpg"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["photos/c"], r"there is no file or folder 'photos/c'"),
        (["photos/*.gif"], r"the pattern 'photos/\*\.gif' matches no file"),
        (["photos/b/*.txt"], r"no photos found in 'photos/b/\*\.txt'; expected files that end in"),
        (["empty"], r"no photos found in 'empty'; expected files that end in \.apng"),
        (["photos", ""], r"an empty text is no file, folder or pattern; is a variable not set\?"),
    ],
    ids=["missing", "pattern without match", "pattern without photos", "empty folder", "empty"],
)
def test_nothing_to_do_is_said(folder: Path, given: list[str], message: str) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(JobError, match=message):
        find_photos(given)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(["a/1.jpg", "b/1.jpg"], ["a/1", "b/1"], id="one name in two folders"),
        pytest.param(["1.jpg", "1.png"], ["1.jpg", "1.png"], id="one stem, two suffixes"),
        pytest.param(["a.jpg", "a/1.jpg"], ["a.jpg", "a/1"], id="a photo named as a folder"),
        pytest.param(["run.json.jpg"], ["run.json.jpg"], id="a photo named as the job's file"),
        pytest.param(["x.tar.jpg"], ["x.tar"], id="only the last suffix goes"),
    ],
)
def test_every_photo_has_a_folder_of_its_own(given: list[str], expected: list[str]) -> None:
    folders = result_folders(given, taken=["run.json"])
    assert [folders[name] for name in given] == expected


@pytest.mark.parametrize(
    ("known", "name", "expected"),
    [
        pytest.param({"a.png": "a"}, "a/overlay.jpg", "a/overlay.jpg_", id="named as a result"),
        pytest.param({"a.png": "a"}, "a/deep/1.jpg", "a/deep/1.jpg_", id="deep in results"),
        pytest.param({"a.png": "a", "b": "a/1.jpg_"}, "a/1.jpg", "a/1.jpg__", id="and that taken"),
        pytest.param({"failures.png": "x"}, "failures", "failures_", id="named as the job's file"),
    ],
)
def test_no_folder_takes_the_place_of_a_file(
    known: dict[str, str], name: str, expected: str
) -> None:
    assert result_folders([name], ["failures"], known) == {name: expected}


def test_two_files_do_not_get_one_name(folder: Path) -> None:
    for name in (b"\xff.png", b"\\udcff.png"):
        (folder / os.fsdecode(name)).touch()
    with pytest.raises(JobError, match=r"udcff.png' have one name; rename one of them"):
        names(".")
