"""One request to a server, and what its answer means: go on, begin again, wait, or give up.

The client is httpx2: it trusts the certificates that the system trusts, goes through proxies,
sends a token to no other host when it is redirected, and comes with huggingface_hub anyway.
"""

from __future__ import annotations

import email.utils
import os
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from visionweave.errors import WeightsError
from visionweave.weights.lock import HUB

if TYPE_CHECKING:
    import httpx2

    from visionweave.weights.part import Part

__all__ = ["Answer", "Interrupted", "headers_for", "read_answer", "real_url"]

PASSING = {408, 425, 429, 500, 502, 503, 504}
"""Answers that another attempt may change."""


class Interrupted(Exception):
    """A transfer stopped for a reason that may pass.

    Attributes:
        wait: the seconds that the server asked to wait, or None.
    """

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server says that it will send.

    Attributes:
        start: the place of the first byte in the file.
        total: the size of the whole file, or None when it does not say.
        etag: its mark of this version, or "" when it gives none that can be relied on.
    """

    start: int
    total: int | None
    etag: str


def real_url(url: str) -> str:
    """Return where to ask for `url`: at $HF_ENDPOINT, if that stands in for the hub."""
    endpoint = os.environ.get("HF_ENDPOINT")
    if endpoint and url.startswith(f"{HUB}/"):
        return endpoint.rstrip("/") + url.removeprefix(HUB)
    return url


def headers_for(url: str, part: Part, *, pinned: bool) -> dict[str, str]:
    """Return the headers of a request for what is still missing.

    Args:
        url: where it is asked for. $HF_TOKEN goes to the hub, and to no other host.
        part: what is there already.
        pinned: whether a known hash will tell if two versions were mixed. If not, a request goes
            on behind what is there only when the server can say that it is the same version.
    """
    headers = {"Accept-Encoding": "identity", "User-Agent": "visionweave"}
    hub = os.environ.get("HF_ENDPOINT") or HUB
    token = os.environ.get("HF_TOKEN")
    if token and urlsplit(url)[:2] == urlsplit(hub)[:2]:
        headers["Authorization"] = f"Bearer {token}"
    if part.size and (part.etag or pinned):
        headers["Range"] = f"bytes={part.size}-"
        if part.etag:
            headers["If-Range"] = part.etag
    return headers


def read_answer(response: httpx2.Response) -> Answer:
    """Return what a server says that it will send.

    Raises:
        Interrupted: it will send nothing now, but may later.
        WeightsError: it will send nothing.
    """
    code, headers = response.status_code, response.headers
    etag = headers.get("ETag", "")
    etag = "" if etag.startswith("W/") else etag  # a weak mark: equal in meaning, not in bytes
    length = headers.get("Content-Length", "")
    if code == 200:
        return Answer(0, int(length) if length.isdecimal() else None, etag)
    if code == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
        if found is None:
            raise Interrupted("the server sent a part of the file without saying which")
        return Answer(int(found[1]), int(found[2]) if found[2] != "*" else None, etag)
    if code in PASSING:
        raise Interrupted(f"the server answered {_status(response)}", _retry_after(headers))
    raise WeightsError(f"{response.url}: {_refusal(response)}")


def _status(response: httpx2.Response) -> str:
    return f"{response.status_code} {response.reason_phrase}".strip()


def _refusal(response: httpx2.Response) -> str:
    status = _status(response)
    if response.status_code in (401, 403):
        return (
            f"the server refused this file ({status}). If its owner gives it only to those who "
            "agreed to its terms: agree on its page, then set HF_TOKEN to a token of yours"
        )
    if response.status_code in (404, 410):
        return (
            f"the server has no such file ({status}). It may have moved; if you find it elsewhere: "
            "visionweave weights add NAME FILE"
        )
    return f"the server answered {status}"


def _retry_after(headers: httpx2.Headers) -> float | None:
    """The seconds that a server asks to wait: it says a number, or a date."""
    text = headers.get("Retry-After", "")
    if text.isdecimal():
        return float(text)
    try:
        date = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, date.timestamp() - time.time())
