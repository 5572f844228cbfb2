"""Hashes of photos: remembered as long as nobody touched the file, and held to while a job runs."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

import pytest

from visionweave import Image, ImageError
from visionweave.cache.photos import PhotoHashes
from visionweave.errors import WeaveWarning
from visionweave.testing import make_image


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    make_image().save(path)
    time.sleep(0.1)  # younger files are not remembered: a change at once may not show
    return path


def rows(folder: Path) -> list[str]:
    base = sqlite3.connect(folder / "photos.sqlite")
    try:
        return [row[0] for row in base.execute("SELECT path FROM photos")]
    finally:
        base.close()


def remembered(photo: Path, folder: Path) -> str:
    """Hash a photo, and have that remembered."""
    hashes = PhotoHashes(folder)
    sha256 = hashes.of(photo)[1]
    hashes.close()
    return sha256


def test_a_photo_that_nobody_touched_is_not_read_again(photo: Path, tmp_path: Path) -> None:
    remembered(photo, tmp_path)
    base = sqlite3.connect(tmp_path / "photos.sqlite")
    base.execute("UPDATE photos SET sha256 = 'as remembered'")
    base.commit()
    base.close()
    assert remembered(photo, tmp_path) == "as remembered"


def test_a_change_shows_even_when_size_and_mtime_stay(photo: Path, tmp_path: Path) -> None:
    before = remembered(photo, tmp_path)
    state = photo.stat()
    data = bytearray(photo.read_bytes())
    data[-20] ^= 1
    photo.write_bytes(data)
    os.utime(photo, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert photo.stat().st_mtime_ns == state.st_mtime_ns
    assert remembered(photo, tmp_path) != before


def test_a_photo_that_was_written_just_now_is_not_remembered(tmp_path: Path) -> None:
    hashes = PhotoHashes(tmp_path)
    (tmp_path / "new.jpg").write_bytes(b"new")
    soon = time.time() + 60  # a slow machine would take longer than "just now"
    os.utime(tmp_path / "new.jpg", (soon, soon))
    hashes.of(tmp_path / "new.jpg")
    hashes.close()
    assert not (tmp_path / "photos.sqlite").exists() or rows(tmp_path) == []


def test_a_pipe_is_no_photo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(OSError, match="it is no regular file"):
        PhotoHashes().of(tmp_path / "pipe.jpg")


def test_a_damaged_memory_is_made_anew(photo: Path, tmp_path: Path) -> None:
    (tmp_path / "photos.sqlite").write_bytes(b"no database" * 100)
    first = remembered(photo, tmp_path)
    assert remembered(photo, tmp_path) == first
    assert rows(tmp_path) == [str(photo)]


def test_without_a_place_to_remember_photos_are_hashed(photo: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.warns(WeaveWarning, match=r"photos\.sqlite cannot be used, so photos are hashed"):
        assert remembered(photo, tmp_path / "file" / "folder") == remembered(photo, tmp_path)


@pytest.mark.parametrize("how", ["changed", "deleted", "replaced"])
def test_a_photo_that_is_held_cannot_change_unnoticed(photo: Path, how: str) -> None:
    image = PhotoHashes().hold(Image.open(photo, "street/a.png"))
    if how == "changed":
        os.utime(photo)
    elif how == "deleted":
        photo.unlink()
    else:
        make_image(seed=1).save(photo.with_name("b.png"))
        photo.with_name("b.png").replace(photo)
    with pytest.raises(ImageError, match="was changed, moved or deleted while the job ran"):
        image.decode()


def test_a_photo_that_is_held_and_stays_is_read(photo: Path) -> None:
    image = PhotoHashes().hold(Image.open(photo, "photo.jpg"))
    assert image == make_image()
    assert image.closed().held == image.held
