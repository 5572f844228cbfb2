"""The store of results: bounded, shared by processes, and sure of what it gives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from visionweave import Image, Text
from visionweave.cache.blob import leaves, map_leaves, pack, unpack
from visionweave.cache.folder import DEFAULT_SIZE, cache_folder, cache_size, parse_size
from visionweave.cache.owner import Owners
from visionweave.cache.store import SMALL, ResultCache
from visionweave.errors import JobError, ValueTypeError, WeaveWarning
from visionweave.testing import make_boxes, make_cutout, make_masks

OUTLINE = {"": ["Text", "f" * 64, ["a.jpg", None]]}


def key(number: int) -> str:
    return f"{number:064x}"


def contents(folder: Path, numbers: range) -> list[int]:
    cache = ResultCache(folder)
    found = [number for number in numbers if cache.find(key(number))]
    cache.close()
    return found


# What is kept ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, SMALL, SMALL + 1, 200_000])
def test_what_was_put_is_found_by_another_process(tmp_path: Path, size: int) -> None:
    data = np.random.default_rng(0).bytes(size)
    cache = ResultCache(tmp_path)
    cache.put(key(1), OUTLINE, data)
    cache.close()
    other = ResultCache(tmp_path)
    found = other.find(key(1))
    assert found is not None
    assert found.outline == OUTLINE
    assert other.read(key(1)) == data
    assert other.find(key(2)) is None
    assert (other.info().results, other.info().bytes) == (1, size)
    assert other.clear().results == 1
    assert other.info().results == 0
    assert other.find(key(1)) is None
    assert not (tmp_path / "large").exists()
    other.close()


def test_of_more_than_it_may_hold_what_was_not_used_for_longest_goes(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path, limit=1000)
    for number in range(9):
        cache.put(key(number), OUTLINE, bytes(100))
    cache.flush()
    assert cache.find(key(0)) is not None  # used just now
    for number in (9, 10):
        cache.put(key(number), OUTLINE, bytes(100))
    assert contents(tmp_path, range(11)) == [0, 3, 4, 5, 6, 7, 8, 9, 10]
    assert cache.info().bytes == 900
    cache.put(key(11), OUTLINE, bytes(1001))
    assert cache.find(key(11)) is None, "larger than the cache"
    cache.close()


def test_the_files_of_what_goes_go_too(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path, limit=3 * SMALL)
    for number in range(4):
        cache.put(key(number), OUTLINE, bytes(SMALL + 1))
    kept = [path for path in (tmp_path / "large").rglob("*") if path.is_file()]
    assert len(kept) == cache.info().results == 2
    cache.close()


# Damage ---------------------------------------------------------------------------------------


def test_a_row_that_is_damaged_is_dropped(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path)
    cache.put(key(1), OUTLINE, b"data")
    cache._base.do(lambda base: base.execute("UPDATE results SET outline = '{\"\": []}'"))
    assert cache.find(key(1)) is None
    assert cache.info().results == 0
    cache.close()


def test_an_index_that_is_damaged_is_made_anew(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path)
    cache.put(key(1), OUTLINE, bytes(SMALL + 1))
    cache.close()
    (tmp_path / "results.sqlite").write_bytes(b"damaged " * 1000)
    assert cache.find(key(1)) is None
    assert not (tmp_path / "large").exists()
    cache.put(key(2), OUTLINE, b"data")
    assert cache.read(key(2)) == b"data"
    cache.close()


def test_a_file_that_is_gone_is_not_read(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path)
    cache.put(key(1), OUTLINE, bytes(SMALL + 1))
    next(path for path in (tmp_path / "large").rglob("*") if path.is_file()).unlink()
    assert cache.read(key(1)) is None
    assert cache.read(key(2)) is None
    cache.close()


def test_a_cache_that_cannot_be_used_warns_once_and_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = ResultCache(tmp_path / "file" / "folder")
    with pytest.warns(WeaveWarning, match=r"results are computed and not kept: Not a directory"):
        cache.put(key(1), OUTLINE, b"data")
    assert cache.find(key(1)) is None
    cache.put(key(1), OUTLINE, b"data")
    assert cache.info().results == 0
    cache.close()


# The bytes of a result ------------------------------------------------------------------------

OWNERS = Owners([("a.jpg", None), ("a.jpg", 0)])


def test_the_bytes_of_a_result_restore_its_values_for_their_new_owners() -> None:
    result = {"masks": make_masks(make_boxes(photo="a.jpg")), "parts": [[Text("x")], []]}
    packed = pack(result, OWNERS)
    assert packed is not None
    outline, data = packed
    assert map_leaves(outline["parts"], lambda leaf: leaf[0]) == [["Text"], []]
    assert len(list(leaves(outline))) == 2
    assert unpack(data, OWNERS) == [result["masks"], Text("x")]
    others = Owners([("b.jpg", None), ("b.jpg", 4)])
    assert unpack(data, others) == [make_masks(make_boxes(photo="b.jpg")), Text("x")]


def test_an_object_is_told_anew_which_it_is() -> None:
    cutout = make_cutout()
    owner = (cutout.origin.photo, cutout.origin.object)
    packed = pack({"": cutout}, Owners([owner]))
    assert packed is not None
    (found,) = unpack(packed[1], Owners([("b.jpg", 7)]))
    assert (found.origin.photo, found.origin.object) == ("b.jpg", 7)  # type: ignore[attr-defined]
    assert found.origin.label == cutout.origin.label  # type: ignore[attr-defined]


@pytest.mark.parametrize("place", [0, 8, 20, 45, 60, -1])
def test_every_damaged_byte_is_found_out(place: int) -> None:
    packed = pack({"": Text("hello")}, OWNERS)
    assert packed is not None
    data = bytearray(packed[1])
    data[place] ^= 4
    with pytest.raises(ValueTypeError, match="or they are damaged"):
        unpack(bytes(data), OWNERS)
    with pytest.raises(ValueTypeError, match="or they are damaged"):
        unpack(packed[1][:-1], OWNERS)


def test_a_type_that_files_do_not_know_is_not_kept() -> None:
    class Sticker(Image):
        __slots__ = ()

    sticker = Sticker.from_array(np.zeros((2, 2, 3), np.uint8))
    assert pack({"": sticker}, OWNERS) is None


# Two processes --------------------------------------------------------------------------------

BUSY = """
import sys
from pathlib import Path
from visionweave.cache.store import SMALL, ResultCache

cache = ResultCache(Path(sys.argv[1]), limit=40 * SMALL)
wrong = 0
for turn in range(150):
    number = (turn * 7 + int(sys.argv[2])) % 50
    key, data = f"{number:064x}", bytes([number]) * (SMALL + (number % 2) * 100)
    if cache.find(key) is None:
        cache.put(key, {"": [str(number), "", ["", None]]}, data)
    found = cache.read(key)
    wrong += found is not None and found != data
cache.close()
print(wrong, cache.info().bytes <= 40 * SMALL)
cache.close()
"""


def test_two_processes_use_it_at_once(tmp_path: Path) -> None:
    start = [sys.executable, "-c", BUSY, str(tmp_path)]
    both = [
        subprocess.Popen(
            [*start, str(n)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for n in range(2)
    ]
    assert [process.communicate(timeout=120) for process in both] == [("0 True\n", "")] * 2


# Settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"), [("5", 5), ("20GB", 20e9), ("1.5 g", 1.5e9), ("500mb", 5e8), ("0", 0)]
)
def test_sizes_are_read(text: str, size: float, monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_size(text, "--cache-size") == size
    monkeypatch.setenv("VISIONWEAVE_CACHE_SIZE", text)
    assert cache_size() == size


def test_a_size_that_is_none_is_said() -> None:
    with pytest.raises(
        JobError, match="--cache-size must be a size such as 500MB or 20GB; got 'x'"
    ):
        parse_size("x", "--cache-size")


def test_where_the_cache_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_size() == DEFAULT_SIZE
    monkeypatch.delenv("VISIONWEAVE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "visionweave" / "results"
