"""Fetching a file, in one go or in parts, from servers good and bad: what arrives is right."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from visionweave.errors import WeightsError
from visionweave.weights.download import Patience, fetch
from visionweave.weights.lock import WeightFile

if TYPE_CHECKING:
    from tests.weights.conftest import Handler, Notes, Server

BODY = random.Random(1).randbytes(300_000)
HASH = hashlib.sha256(BODY).hexdigest()
SOON = Patience(tries=3, first_wait=0.01, longest_wait=0.05, timeout=5)


@pytest.fixture
def path(store: Path) -> Path:
    return store / "model" / "weights.bin"


@pytest.fixture
def file(server: Server) -> WeightFile:
    server.files["/weights.bin"] = BODY
    return WeightFile("weights.bin", server.url("/weights.bin"), len(BODY), HASH)


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def leave_part(path: Path, data: bytes, etag: str = "") -> None:
    path.parent.mkdir(parents=True)
    path.with_name("weights.bin.part").write_bytes(data)
    path.with_name("weights.bin.part.etag").write_text(etag)


def test_a_file_arrives_under_its_name_and_nothing_else_is_left(
    file: WeightFile, path: Path, notes: Notes
) -> None:
    assert fetch(file, path, notes, SOON) == HASH
    assert path.read_bytes() == BODY
    assert names(path.parent) == ["weights.bin"]
    assert notes.lines == ["started weights.bin: 300000", "finished"]
    assert notes.done == sorted(notes.done)
    assert notes.done[-1] == len(BODY)


def test_a_part_of_the_same_version_is_continued(
    server: Server, file: WeightFile, path: Path, notes: Notes
) -> None:
    leave_part(path, BODY[:100_000], '"1"')
    assert fetch(file, path, notes, SOON) == HASH
    assert path.read_bytes() == BODY
    assert server.ranges() == ["bytes=100000-"]
    assert server.requests[0][1]["If-Range"] == '"1"'
    assert "weights.bin: going on behind the 100 kB that are here" in notes.lines


def test_a_part_whose_mark_cannot_be_read_is_continued_all_the_same(
    server: Server, file: WeightFile, path: Path, notes: Notes
) -> None:
    leave_part(path, BODY[:100_000], '"ü"')
    assert fetch(file, path, notes, SOON) == HASH
    assert "If-Range" not in server.requests[0][1]
    assert server.ranges() == ["bytes=100000-"]


def test_a_part_of_another_version_is_thrown_away(
    server: Server, file: WeightFile, path: Path, notes: Notes
) -> None:
    leave_part(path, b"x" * 100_000, '"an older one"')
    assert fetch(file, path, notes, SOON) == HASH
    assert path.read_bytes() == BODY
    assert len(server.requests) == 1


def test_a_server_that_knows_no_ranges_sends_all_again(
    server: Server, file: WeightFile, path: Path, notes: Notes
) -> None:
    leave_part(path, BODY[:100_000])
    server.answers("/weights.bin", server.whole)
    assert fetch(file, path, notes, SOON) == HASH
    assert path.read_bytes() == BODY


def test_a_part_that_is_complete_needs_no_server(
    file: WeightFile, path: Path, notes: Notes
) -> None:
    leave_part(path, BODY)
    gone = WeightFile(file.name, "http://127.0.0.1:9/weights.bin", file.bytes, file.sha256)
    assert fetch(gone, path, notes, SOON) == HASH
    assert path.read_bytes() == BODY


@pytest.mark.parametrize(
    "left",
    [
        pytest.param(b"x" * 100_000, id="wrong bytes"),
        pytest.param(b"x" * 300_000, id="wrong bytes, as many as there should be"),
        pytest.param(BODY + b"x", id="too many bytes"),
    ],
)
def test_a_part_that_is_wrong_is_fetched_anew(
    left: bytes, file: WeightFile, path: Path, notes: Notes
) -> None:
    leave_part(path, left)
    assert fetch(file, path, notes, SOON) == HASH
    assert path.read_bytes() == BODY


def test_a_part_longer_than_the_file_of_unknown_size_is_fetched_anew(
    server: Server, file: WeightFile, path: Path, notes: Notes
) -> None:
    leave_part(path, BODY + b"x")
    unsized = WeightFile(file.name, file.url, None, HASH)
    assert fetch(unsized, path, notes, SOON) == HASH
    assert server.ranges() == ["bytes=300001-", None]


def test_a_connection_that_ends_early_is_taken_up_where_it_ended(
    server: Server, file: WeightFile, path: Path, notes: Notes
) -> None:
    server.answers("/weights.bin", server.cut(200_000))
    assert fetch(file, path, notes, SOON) == HASH
    assert path.read_bytes() == BODY
    first, second = server.ranges()
    assert first is None
    assert second is not None
    assert second.startswith("bytes=")


def test_a_connection_that_is_reset_is_tried_again(
    server: Server, file: WeightFile, path: Path, notes: Notes
) -> None:
    server.answers("/weights.bin", server.reset(200_000))
    assert fetch(file, path, notes, SOON) == HASH
    assert path.read_bytes() == BODY
    assert any("the connection failed" in line for line in notes.lines)


def test_the_rest_of_another_version_is_not_used(
    server: Server, file: WeightFile, path: Path, notes: Notes
) -> None:
    leave_part(path, b"x" * 100_000, '"1"')
    server.answers("/weights.bin", server.changed)
    assert fetch(WeightFile(file.name, file.url, None, None), path, notes, SOON) == HASH
    assert server.ranges() == ["bytes=100000-", None]


def test_an_answer_with_another_part_is_not_used(
    server: Server, file: WeightFile, path: Path, notes: Notes
) -> None:
    leave_part(path, BODY[:100_000])
    server.answers("/weights.bin", server.other_part)
    assert fetch(file, path, notes, SOON) == HASH
    assert server.ranges() == ["bytes=100000-", None]


def test_a_part_without_its_place_is_not_used(
    server: Server, file: WeightFile, path: Path, notes: Notes
) -> None:
    server.answers("/weights.bin", server.status(206))
    assert fetch(file, path, notes, SOON) == HASH
    assert any("without saying which" in line for line in notes.lines)


def test_a_server_that_sends_too_little_without_saying_is_asked_for_the_rest(
    server: Server, file: WeightFile, path: Path, notes: Notes
) -> None:
    def short(handler: Handler) -> None:
        handler.head(200, None)
        handler.wfile.write(BODY[:1000])

    server.answers("/weights.bin", short)
    assert fetch(file, path, notes, SOON) == HASH
    assert path.read_bytes() == BODY
    assert server.ranges() == [None, "bytes=1000-"]


def test_a_file_of_unknown_size_is_known_by_its_hash(
    server: Server, file: WeightFile, path: Path, notes: Notes
) -> None:
    server.answers("/weights.bin", server.endless(b""))
    assert fetch(WeightFile(file.name, file.url, None, HASH), path, notes, SOON) == HASH


def test_a_file_of_unknown_hash_needs_a_size(
    server: Server, file: WeightFile, path: Path, notes: Notes
) -> None:
    unknown = WeightFile(file.name, file.url, None, None)
    server.answers("/weights.bin", server.endless(b""))
    with pytest.raises(WeightsError, match="no telling whether it all came"):
        fetch(unknown, path, notes, SOON)
    assert fetch(unknown, path, notes, SOON) == HASH


def test_a_part_of_unknown_hash_and_version_is_fetched_anew(
    server: Server, file: WeightFile, path: Path, notes: Notes
) -> None:
    leave_part(path, b"x" * 100_000)
    assert fetch(WeightFile(file.name, file.url, None, None), path, notes, SOON) == HASH
    assert server.ranges() == [None]


def test_a_weak_mark_of_a_version_is_not_relied_on(
    server: Server, file: WeightFile, path: Path, notes: Notes
) -> None:
    server.answers("/weights.bin", server.cut(200_000, etag='W/"1"'))
    fetch(WeightFile(file.name, file.url, None, None), path, notes, SOON)
    assert server.ranges() == [None, None]
