"""The files of an index: which are its own, and what is written when."""

from __future__ import annotations

from pathlib import Path

import pytest

from visionweave import Embedding, JobError
from visionweave.index import PhotoIndex, Space
from visionweave.index.files import has_index
from visionweave.index.writer import IndexWriter

SPACE = Space("random", {}, "test.embed", 1)
PHOTOS = Path("/photos")


def add(index: IndexWriter, *names: str) -> None:
    """Add photos that are not there."""
    for name in names:
        sha256 = name.encode().hex()
        index.add(sha256, Embedding.normalised([1, len(name)], "s"))
        index.place(f"/photos/{name}", 1, 1, sha256)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


OTHERS = [
    "photos-2023.zip",
    "photos-2023-01-05.tar.gz",
    "photos-2023.jsonl",
    "vectors-1.safetensors",
    "places-1.safetensors.bak",
    ".download.part",
    ".notes.txt.0123456789abcdef.part",
    "failures.jsonl",
    "index.json",
]
"""Names of other people's files that are like those of an index, or could be of one."""


@pytest.mark.parametrize("name", OTHERS)
def test_a_folder_with_files_of_others_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("[]")
    with pytest.raises(JobError, match="is not empty and holds no index of photos; choose another"):
        has_index(tmp_path)


@pytest.mark.parametrize("name", OTHERS[:2] + OTHERS[3:-2])
def test_files_of_others_stay_when_an_index_is_written(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    index = IndexWriter(tmp_path, SPACE, None)
    for photo in ("a.png", "b.png"):
        add(index, photo)
        index.commit(PHOTOS)
    assert (tmp_path / name).read_text() == "precious"
    own = {"index.json", "vectors-2-0.safetensors", "photos-2.jsonl", "places-2.safetensors"}
    assert files(tmp_path).keys() == own | {name}


@pytest.mark.parametrize(
    ("names", "there"),
    [
        pytest.param([], False, id="empty"),
        pytest.param([".lock"], False, id="locked"),
        pytest.param([".index.json.0123456789abcdef.part"], False, id="killed at the manifest"),
        pytest.param(["vectors-1-0.safetensors", "photos-1.jsonl"], False, id="killed before it"),
        pytest.param(["vectors-1-0.safetensors", "failures.jsonl"], False, id="manifest lost"),
        pytest.param(["vectors-1-0.safetensors", "index.json"], True, id="manifest damaged"),
    ],
)
def test_what_a_crash_left_is_no_files_of_others(
    tmp_path: Path, names: list[str], there: bool
) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert has_index(tmp_path) is there


def reopened(folder: Path) -> IndexWriter:
    return IndexWriter(folder, SPACE, PhotoIndex.open(folder))


def test_an_index_without_changes_is_not_written_again(tmp_path: Path) -> None:
    index = IndexWriter(tmp_path, SPACE, None)
    add(index, "a/a.png", "a/b.png", "a/c.png")
    index.commit(PHOTOS)
    before = files(tmp_path)
    (tmp_path / "photos-2.jsonl").touch()  # what a crash left
    index = reopened(tmp_path)
    for path, entry in list(index.entries.items()):
        index.place(path, entry.bytes, entry.mtime_ns, entry.sha256)
    index.commit(PHOTOS, tidy=True)
    assert files(tmp_path) == before


def test_every_change_of_an_index_is_written(tmp_path: Path) -> None:
    index = IndexWriter(tmp_path, SPACE, None)
    add(index, "a/a.png", "a/b.png", "a/c.png")
    assert index.commit(PHOTOS).generation == 1
    index.place("/photos/a/a.png", 1, 2, index.entries["/photos/a/a.png"].sha256)
    assert index.commit(PHOTOS).generation == 2
    index = reopened(tmp_path)
    assert index.commit(PHOTOS / "a").root == "/photos/a"
    del index.entries["/photos/a/a.png"], index.entries["/photos/a/b.png"]
    assert index.commit(PHOTOS).generation == 4
    assert reopened(tmp_path).commit(PHOTOS, tidy=True).generation == 5
    assert [len(part.vectors) for part in PhotoIndex.open(tmp_path).parts] == [1]
