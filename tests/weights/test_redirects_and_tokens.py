"""Where a request goes, and who is shown the token."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from visionweave.errors import WeightsError
from visionweave.weights.download import Patience, fetch
from visionweave.weights.lock import WeightFile

if TYPE_CHECKING:
    from tests.weights.conftest import Notes, Server

BODY = b"tensors"
HASH = hashlib.sha256(BODY).hexdigest()
HUB_PATH = "/owner/model/resolve/main/a.bin"
ON_THE_HUB = WeightFile("a.bin", f"https://huggingface.co{HUB_PATH}", len(BODY), HASH)


@pytest.fixture
def other(server: Server) -> Iterator[Server]:
    """A second server: another port is another origin."""
    with type(server)() as other:
        thread = threading.Thread(target=other.serve_forever, args=(0.01,))
        thread.start()
        yield other
        other.shutdown()
        thread.join()


@pytest.fixture
def path(store: Path) -> Path:
    return store / "model" / "a.bin"


def tokens(server: Server) -> list[str | None]:
    return [headers.get("Authorization") for _, headers in server.requests]


def test_a_redirect_is_followed(server: Server, path: Path, notes: Notes) -> None:
    server.files["/moved.bin"] = BODY
    server.answers("/a.bin", server.redirect("/moved.bin"))
    assert (
        fetch(WeightFile("a.bin", server.url("/a.bin"), 7, HASH), path, notes, Patience()) == HASH
    )
    assert [where for where, _ in server.requests] == ["/a.bin", "/moved.bin"]


def test_a_redirect_in_a_circle_is_an_error(server: Server, path: Path, notes: Notes) -> None:
    server.answers("/a.bin", *[server.redirect("/a.bin")] * 50)
    with pytest.raises(WeightsError, match="maximum allowed redirects"):
        fetch(WeightFile("a.bin", server.url("/a.bin"), 7, HASH), path, notes, Patience())


def test_a_redirect_to_what_is_no_web_server_is_an_error(
    server: Server, path: Path, notes: Notes
) -> None:
    server.answers("/a.bin", server.redirect("ftp://127.0.0.1/a.bin"))
    with pytest.raises(WeightsError, match="unsupported protocol 'ftp://'"):
        fetch(WeightFile("a.bin", server.url("/a.bin"), 7, HASH), path, notes, Patience())


def test_the_hub_may_be_another_and_is_shown_the_token(
    server: Server, path: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url("/"))
    monkeypatch.setenv("HF_TOKEN", "secret")
    server.files["/moved.bin"] = BODY
    server.answers(HUB_PATH, server.redirect("/moved.bin"))
    fetch(ON_THE_HUB, path, notes, Patience())
    assert tokens(server) == ["Bearer secret", "Bearer secret"]


def test_the_token_does_not_follow_to_another_host(
    server: Server, other: Server, path: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url(""))
    monkeypatch.setenv("HF_TOKEN", "secret")
    other.files["/cdn.bin"] = BODY
    server.answers(HUB_PATH, server.redirect(other.url("/cdn.bin")))
    assert fetch(ON_THE_HUB, path, notes, Patience()) == HASH
    assert tokens(server) == ["Bearer secret"]
    assert tokens(other) == [None]


def test_the_token_is_for_the_hub_alone(
    server: Server, path: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    server.files["/a.bin"] = BODY
    fetch(WeightFile("a.bin", server.url("/a.bin"), 7, HASH), path, notes, Patience())
    assert tokens(server) == [None]
