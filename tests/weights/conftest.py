"""A store of its own for every test, and a server on loopback that can be told to misbehave."""

from __future__ import annotations

import http.server
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from visionweave.weights.download import Watcher

WAIT_SECONDS = 20.0
"""What a test waits at most for something that takes milliseconds."""


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append((self.path, dict(self.headers)))
        acts = self.server.acts.get(self.path, [])
        act = acts.pop(0) if acts else serve
        act(self)

    def log_message(self, *args: object) -> None: ...

    def head(self, code: int, length: int | None, **headers: str) -> None:
        self.send_response(code)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    @property
    def body(self) -> bytes:
        return self.server.files[self.path]


Act = Callable[[Handler], None]


def serve(handler: Handler, etag: str = '"1"') -> None:
    """Answer as a good server does, also to a request for the rest of a file."""
    if handler.path not in handler.server.files:
        return handler.head(HTTPStatus.NOT_FOUND, 0)
    body, wanted = handler.body, re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    if wanted is None or handler.headers.get("If-Range", etag) != etag:
        handler.head(200, len(body), ETag=etag)
        handler.wfile.write(body)
        return None
    start = int(wanted[1])
    if start >= len(body):
        return handler.head(416, 0, Content_Range=f"bytes */{len(body)}")
    place = f"bytes {start}-{len(body) - 1}/{len(body)}"
    handler.head(206, len(body) - start, Content_Range=place, ETag=etag)
    handler.wfile.write(body[start:])
    return None


def with_etag(etag: str) -> Act:
    return lambda handler: serve(handler, etag)


def changed(handler: Handler) -> None:
    """Send the rest of the file although it is another version now."""
    body, start = handler.body, 100_000
    place = f"bytes {start}-{len(body) - 1}/{len(body)}"
    handler.head(206, len(body) - start, Content_Range=place, ETag='"2"')
    handler.wfile.write(body[start:])


def whole(handler: Handler) -> None:
    """Send all of the file, whatever part was asked for, and no mark of its version."""
    handler.head(200, len(handler.body))
    handler.wfile.write(handler.body)


def status(code: int, **headers: str) -> Act:
    return lambda handler: handler.head(code, 0, **headers)


def cut(after: int, etag: str = '"1"') -> Act:
    """Promise the whole file, and leave after some bytes of it."""

    def act(handler: Handler) -> None:
        handler.head(200, len(handler.body), ETag=etag)
        handler.wfile.write(handler.body[:after])

    return act


def reset(after: int) -> Act:
    """Break the connection off the hard way."""

    def act(handler: Handler) -> None:
        handler.head(200, len(handler.body), ETag='"1"')
        handler.wfile.write(handler.body[:after])
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return act


def endless(extra: bytes) -> Act:
    """Send the file and more, without saying how much."""

    def act(handler: Handler) -> None:
        handler.head(200, None)
        handler.wfile.write(handler.body + extra)

    return act


def other_part(handler: Handler) -> None:
    """Send another part of the file than was asked for."""
    body = handler.body
    handler.head(206, 1, Content_Range=f"bytes 1-1/{len(body)}")
    handler.wfile.write(body[1:2])


def stop_at(after: int) -> Act:
    """Send some bytes, and the rest only when the test says so."""

    def act(handler: Handler) -> None:
        handler.head(200, len(handler.body), ETag='"1"')
        handler.wfile.write(handler.body[:after])
        handler.wfile.flush()
        handler.server.arrived.set()
        handler.server.go_on.wait(WAIT_SECONDS)
        handler.wfile.write(handler.body[after:])

    return act


def redirect(url: str) -> Act:
    return lambda handler: handler.head(302, 0, Location=url)


class Server(http.server.ThreadingHTTPServer):
    """Serves `files` by path; `acts` says how it answers the next requests for a path."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.acts: dict[str, list[Act]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.arrived, self.go_on = threading.Event(), threading.Event()

    # What a request can be answered with; a test has these from the fixture.
    serve, whole, changed, other_part = map(staticmethod, (serve, whole, changed, other_part))
    with_etag, status, redirect = map(staticmethod, (with_etag, status, redirect))
    cut, reset, endless, stop_at = map(staticmethod, (cut, reset, endless, stop_at))

    def answers(self, path: str, *acts: Act) -> None:
        """Answer the next requests for `path` so; those after them, well."""
        self.acts[path] = list(acts)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"

    def ranges(self) -> list[str | None]:
        return [headers.get("Range") for _, headers in self.requests]

    def handle_error(self, request: Any, client_address: Any) -> None: ...  # a reader that left


class Notes(Watcher):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.done: list[int] = []

    def started(self, name: str, total: int | None) -> None:
        self.lines.append(f"started {name}: {total}")

    def moved(self, done: int) -> None:
        self.done.append(done)

    def finished(self) -> None:
        self.lines.append("finished")

    def said(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.go_on.set()
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HF_TOKEN", "HF_ENDPOINT", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "store"
    folder.mkdir()
    monkeypatch.setenv("VISIONWEAVE_WEIGHTS", str(folder))
    return folder


@pytest.fixture
def notes() -> Notes:
    return Notes()
