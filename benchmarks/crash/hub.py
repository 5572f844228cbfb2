"""A slow server of files, which sends the rest of a file to whom has its beginning."""

from __future__ import annotations

import http.server
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

CHUNK = 32 << 10
PAUSE = 0.004
"""Seconds between chunks: 8 MB/s at most."""


class Hub(http.server.HTTPServer):
    """Serves files, one request at a time.

    Attributes:
        files: their bytes by path.
        asked: which were asked for, and from which byte on, in order.
        sent: how many bytes left, those included that came too late for a process that was killed.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        # What waits in the system's buffers is lost when the reader is killed.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CHUNK)
        self.files = files
        self.asked: list[tuple[str, int]] = []
        self.sent = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that was killed is no news."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        body = self.server.files[self.path]
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(wanted[1]) if wanted else 0
        self.server.asked.append((self.path, start))
        if start >= len(body):
            return self.send_error(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
        self.send_response(HTTPStatus.PARTIAL_CONTENT if wanted else HTTPStatus.OK)
        self.send_header("Content-Length", str(len(body) - start))
        self.send_header("ETag", '"1"')
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        for place in range(start, len(body), CHUNK):
            time.sleep(PAUSE)
            self.wfile.write(body[place : place + CHUNK])
            self.server.sent += len(body[place : place + CHUNK])
        return None

    def log_message(self, *args: object) -> None: ...


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Hub]:
    """Serve files in a thread. It takes no lock that a forked process could miss."""
    with Hub(files) as hub:
        thread = threading.Thread(target=hub.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
