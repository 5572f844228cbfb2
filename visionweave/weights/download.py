"""Fetching a file: it arrives whole and right, or not at all.

The bytes go to a temporary name and are hashed as they come; the file gets its name when its hash
is the one that the list says. An attempt that stops half way, for whatever reason, leaves what
came, and the next one goes on behind it. One process fetches a file; another that wants it waits.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from visionweave.errors import WeightsError
from visionweave.weights.lock import WeightFile, store_folder
from visionweave.weights.part import Part
from visionweave.weights.store import size_text
from visionweave.weights.transfer import (
    Answer,
    Interrupted,
    headers_for,
    read_answer,
    real_url,
)

if TYPE_CHECKING:
    import ssl

    import httpx2

__all__ = ["Patience", "Watcher", "alone", "disk_errors", "fetch"]

PROGRESS_BYTES = 1 << 20
"""An attempt that brings so much is no failure: the count of them begins anew."""


class Watcher:
    """Told how fetching goes. This one says nothing."""

    def started(self, name: str, total: int | None) -> None:
        """A file of `total` bytes begins to arrive."""

    def moved(self, done: int) -> None:
        """So many of its bytes are here."""

    def finished(self) -> None:
        """The file is here, or was given up."""

    def said(self, text: str) -> None:
        """Something happened that a person may want to know."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to try.

    Attributes:
        tries: attempts in a row that bring less than a mebibyte, before giving up.
        first_wait: seconds before the second attempt; twice as many before each further one.
        longest_wait: seconds before an attempt at most. A server that asks for more is given up.
        timeout: seconds without a byte before an attempt counts as failed.
    """

    tries: int = 5
    first_wait: float = 1.0
    longest_wait: float = 60.0
    timeout: float = 30.0


def fetch(
    file: WeightFile,
    path: Path,
    watcher: Watcher,
    patience: Patience,
) -> str:
    """Fetch a file, and return its hash.

    Args:
        file: what is known of it. Without a sha256, whatever the server sends is taken, provided
            that it says beforehand how much that is: its hash is then for the caller to write down.
        path: where it should lie.
        watcher: told how it goes.
        patience: how long to try.

    Raises:
        WeightsError: the server has it not, or another file; the disk is full; or it was tried
            often enough. What came is kept where the next attempt can use it.
    """
    import httpx2

    timeout = httpx2.Timeout(patience.timeout)
    with (
        httpx2.Client(verify=_trusted(), follow_redirects=True, timeout=timeout) as client,
        disk_errors(path),
        Part(path) as part,
    ):
        watcher.started(file.name, file.bytes)
        if part.continued:
            watcher.said(f"{file.name}: going on behind the {size_text(part.size)} that are here")
        try:
            _fetch_right(client, file, part, watcher, patience)
            part.finish()
        finally:
            watcher.finished()
        return part.sha256


@functools.cache  # reading all that the system trusts takes a while
def _trusted() -> ssl.SSLContext:
    import httpx2

    return httpx2.create_ssl_context()


@contextlib.contextmanager
def alone(path: Path, watcher: Watcher) -> Iterator[None]:
    """Wait until no other process works on the file `path`, and keep others from it meanwhile."""
    import filelock

    name = path.relative_to(store_folder()).as_posix().replace("/", "--")
    locks = store_folder() / ".locks"
    with disk_errors(path):
        locks.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(locks / f"{name}.lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            watcher.said(f"{path.name}: another process is at it; waiting for that")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the system's errors about the file `path` into ours."""
    try:
        yield
    except OSError as error:
        # Full; over the user's share; or over what the file system takes, as FAT's 4 GB.
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise WeightsError(_no_room(path, None)) from None
        raise WeightsError(
            f"{path}: cannot write or read this file: {error.strerror or error}"
        ) from None


def _fetch_right(
    client: httpx2.Client, file: WeightFile, part: Part, watcher: Watcher, patience: Patience
) -> None:
    """Fetch until the hash is right. What an earlier attempt left may be to blame, once."""
    while True:
        _fetch_whole(client, file, part, watcher, patience)
        if file.sha256 in (None, part.sha256):
            return
        if not part.continued:
            got = part.sha256
            part.remove()
            raise WeightsError(
                f"{file.url}: the server sent another file than the list of weights names; it was "
                f"removed\n  expected: sha256 {file.sha256}\n  got:      sha256 {got}"
            )
        watcher.said(f"{file.name}: what an earlier attempt left is wrong; beginning again")
        part.restart()


def _fetch_whole(
    client: httpx2.Client, file: WeightFile, part: Part, watcher: Watcher, patience: Patience
) -> None:
    """Fetch until all bytes are there, in as many attempts as it takes and patience allows."""
    failures = 0
    while True:
        before = part.size
        try:
            return _attempt(client, file, part, watcher)
        except Interrupted as stop:
            failures = 1 if part.size - before >= PROGRESS_BYTES else failures + 1
            wait = patience.first_wait * 2 ** (failures - 1) if stop.wait is None else stop.wait
            if failures == patience.tries or (stop.wait or 0) > patience.longest_wait:
                asked = f"; it asks to wait for {stop.wait:.0f} s" if stop.wait else ""
                raise WeightsError(
                    f"{file.url}: {stop}{asked}; gave up after {_attempts(failures)}. What "
                    "came is kept: the same command goes on from there"
                ) from None
            wait = min(wait, patience.longest_wait)
            watcher.said(f"{file.name}: {stop}; trying again in {wait:.0f} s")
            time.sleep(wait)


def _attempt(client: httpx2.Client, file: WeightFile, part: Part, watcher: Watcher) -> None:
    """Ask once for what is missing.

    Raises:
        Interrupted: it did not all come.
    """
    import httpx2

    if part.size and (part.size == file.bytes or part.sha256 == file.sha256):
        return
    if file.bytes is not None and part.size > file.bytes:
        part.restart()
    url = real_url(file.url)
    headers = headers_for(url, part, pinned=file.sha256 is not None)
    try:
        with client.stream("GET", url, headers=headers) as response:
            if response.status_code == 416:  # nothing lies behind what is there
                part.restart()
                raise Interrupted("the server has less than an earlier attempt left")
            answer = read_answer(response)
            total = _begin(answer, file, part)
            for chunk in response.iter_raw():
                part.append(chunk)
                watcher.moved(part.size)
                if total is not None and part.size > total:
                    part.remove()
                    raise _too_long(file, total)
    except httpx2.TimeoutException:
        raise Interrupted("the server was silent for too long") from None
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, httpx2.TooManyRedirects) as error:
        raise WeightsError(f"{url}: {error}") from None
    except httpx2.RequestError as error:
        raise Interrupted(f"the connection failed: {error or type(error).__name__}") from None
    if total is not None and part.size < total:
        raise Interrupted(f"the connection ended after {part.size} of {total} bytes")


def _begin(answer: Answer, file: WeightFile, part: Part) -> int | None:
    """Make ready for what a server will send, and return the size of the whole file."""
    if answer.total is not None and file.bytes not in (None, answer.total):
        raise WeightsError(
            f"{file.url}: the server has a file of {answer.total} bytes; the list of weights names "
            f"one of {file.bytes}. It is not the same"
        )
    total = answer.total if file.bytes is None else file.bytes
    if total is None and file.sha256 is None:
        raise WeightsError(
            f"{file.url}: neither its hash nor its size is known, and the server does not say how "
            "much it sends: there would be no telling whether it all came"
        )
    if answer.start == 0:
        part.restart(answer.etag)
    elif answer.start != part.size or answer.etag not in ("", part.etag or answer.etag):
        part.restart()
        raise Interrupted("the server sent another part of the file than it was asked for")
    if total is not None and total - part.size > shutil.disk_usage(part.folder).free:
        raise WeightsError(_no_room(part.folder / file.name, total - part.size))
    return total


def _attempts(count: int) -> str:
    return "one attempt" if count == 1 else f"{count} attempts"


def _too_long(file: WeightFile, total: int) -> WeightsError:
    return WeightsError(
        f"{file.url}: the server sent more than the {total} bytes that were expected; they were "
        "removed"
    )


def _no_room(path: Path, needed: int | None) -> str:
    much = "" if needed is None else f" for another {size_text(needed)}"
    part = path.with_name(f"{path.name}.part")
    came = part.exists() and part.stat().st_size > 0
    kept = ". What came is kept: the same command goes on from there" if came else ""
    return (
        f"{path}: the disk has no room{much}. Make some, or set VISIONWEAVE_WEIGHTS to a folder on "
        f"another disk{kept}"
    )
