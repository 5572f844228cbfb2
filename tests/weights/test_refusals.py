"""What a server, or the disk, can do so that a file does not arrive: each is said plainly."""

from __future__ import annotations

import hashlib
import random
import socket
import sys
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


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_an_answer_that_may_change_is_asked_for_again(
    code: int, server: Server, file: WeightFile, path: Path, notes: Notes
) -> None:
    server.answers("/weights.bin", server.status(code, Retry_After="0"))
    assert fetch(file, path, notes, SOON) == HASH
    assert any(f"the server answered {code}" in line for line in notes.lines)


def test_a_server_that_stays_broken_is_given_up(
    server: Server, file: WeightFile, path: Path, notes: Notes
) -> None:
    server.answers("/weights.bin", *[server.status(500)] * 9)
    with pytest.raises(WeightsError, match="500 Internal Server Error; gave up after 3 attempts"):
        fetch(file, path, notes, SOON)
    assert len(server.requests) == 3
    assert names(path.parent) == []


@pytest.mark.parametrize(
    "after", ["3600", "Fri, 31 Dec 2100 23:59:59 GMT"], ids=["seconds", "date"]
)
def test_a_server_that_asks_for_an_hour_is_given_up_at_once(
    after: str, server: Server, file: WeightFile, path: Path, notes: Notes
) -> None:
    server.answers("/weights.bin", server.status(429, Retry_After=after))
    with pytest.raises(WeightsError, match=r"it asks to wait for \d+ s; gave up after one attempt"):
        fetch(file, path, notes, SOON)


def test_an_unreadable_wait_counts_as_none(
    server: Server, file: WeightFile, path: Path, notes: Notes
) -> None:
    server.answers("/weights.bin", server.status(503, Retry_After="soon"))
    assert fetch(file, path, notes, SOON) == HASH


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (404, r"has no such file \(404 Not Found\). It may have moved"),
        (410, r"has no such file \(410 Gone\)"),
        (401, r"refused this file \(401 Unauthorized\).* set HF_TOKEN"),
        (403, r"refused this file \(403 Forbidden\)"),
        (400, "the server answered 400 Bad Request"),
    ],
)
def test_an_answer_that_will_not_change_is_an_error(
    code: int, message: str, server: Server, file: WeightFile, path: Path, notes: Notes
) -> None:
    server.answers("/weights.bin", server.status(code))
    with pytest.raises(WeightsError, match=message):
        fetch(file, path, notes, SOON)
    assert len(server.requests) == 1


def test_nobody_listens(path: Path, notes: Notes) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/weights.bin"
        with pytest.raises(WeightsError, match=r"connection failed: .*gave up after 3"):
            fetch(WeightFile("weights.bin", url, 5, HASH), path, notes, SOON)


def test_a_silent_server_is_given_up(
    server: Server, file: WeightFile, path: Path, notes: Notes
) -> None:
    server.answers("/weights.bin", server.stop_at(0))
    hasty = Patience(tries=1, timeout=0.05)
    with pytest.raises(WeightsError, match="silent for too long; gave up after one attempt"):
        fetch(file, path, notes, hasty)


def test_the_wrong_file_is_removed(
    server: Server, file: WeightFile, path: Path, notes: Notes
) -> None:
    other = bytes(len(BODY))
    server.files["/weights.bin"] = other
    got = hashlib.sha256(other).hexdigest()
    with pytest.raises(WeightsError, match=rf"expected: sha256 {HASH}\n  got:      sha256 {got}"):
        fetch(file, path, notes, SOON)
    assert names(path.parent) == []


def test_a_file_of_another_size_is_not_even_fetched(
    server: Server, file: WeightFile, path: Path, notes: Notes
) -> None:
    server.files["/weights.bin"] = BODY[:-1]
    with pytest.raises(WeightsError, match=r"has a file of 299999 bytes.* names one of 300000"):
        fetch(file, path, notes, SOON)
    assert notes.done == []


def test_a_server_that_sends_too_much_is_stopped(
    server: Server, file: WeightFile, path: Path, notes: Notes
) -> None:
    server.answers("/weights.bin", server.endless(b"more"))
    with pytest.raises(WeightsError, match="sent more than the 300000 bytes"):
        fetch(file, path, notes, SOON)
    assert names(path.parent) == []


def test_an_address_that_cannot_be_asked(path: Path, notes: Notes) -> None:
    with pytest.raises(WeightsError, match="Invalid port"):
        fetch(WeightFile("weights.bin", "http://127.0.0.1:one/x", 5, HASH), path, notes, SOON)


def test_a_file_that_no_disk_could_hold(
    server: Server, file: WeightFile, path: Path, notes: Notes
) -> None:
    def boast(handler: Handler) -> None:
        handler.head(200, 10**18)

    server.answers("/weights.bin", boast)
    with pytest.raises(WeightsError, match=r"no room for another 1000000000\.0 GB.* another disk$"):
        fetch(WeightFile(file.name, file.url, 10**18, HASH), path, notes, SOON)


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits on the size of files")
def test_a_disk_that_becomes_full_on_the_way(file: WeightFile, path: Path, notes: Notes) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(WeightsError, match=r"no room\. Make some, .* What came is kept"):
            fetch(file, path, notes, SOON)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "weights.bin" not in names(path.parent)
    assert fetch(file, path, notes, SOON) == HASH
    assert any("going on behind the" in line for line in notes.lines)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a system where a file is no folder")
def test_a_place_that_cannot_be_written(file: WeightFile, path: Path, notes: Notes) -> None:
    path.parent.write_text("a file where the folder should be")
    with pytest.raises(WeightsError, match="cannot write or read this file: File exists"):
        fetch(file, path, notes, SOON)
