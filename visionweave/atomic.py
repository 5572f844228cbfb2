"""Writing files whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

__all__ = ["HALF", "remove_halves", "sync_folder", "write_atomic"]

LONGEST = 200
"""How many bytes of a name go into its temporary one: a name of 255 would leave no room."""

HALF = r"\.(?P<name>.+)\.[0-9a-f]{16}\.part"
"""The temporary name of a file `name`, as a regular expression."""


def write_atomic(path: Path, data: bytes | Iterable[bytes], *, durable: bool = True) -> None:
    """Write a file so that it is there whole, or not at all, even if the power fails.

    The bytes go to a temporary name beside it, are forced to the disk, and are then renamed; that
    the renaming is on the disk too, `sync_folder` makes sure. Several threads or processes, also on
    several machines, may write one file: the last one counts.

    Args:
        path: the file; its folder is made when there is none.
        data: the bytes, or parts of them.
        durable: False where a file that a power failure has damaged is found out: it is not forced
            to the disk then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{_short(path.name)}.{secrets.token_hex(8)}.part")
    try:
        with temporary.open("wb") as file:
            file.writelines([data] if isinstance(data, bytes) else data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_halves(path: Path) -> None:
    """Remove what a killed process left of writing a file with `write_atomic`."""
    if path.parent.is_dir():
        for half in path.parent.glob(f".{_escaped(_short(path.name))}.*.part"):
            half.unlink(missing_ok=True)


def _short(name: str) -> str:
    """A name; of a long one the digest, for its end may be all that differs from another."""
    data = os.fsencode(name)
    return name if len(data) <= LONGEST else hashlib.sha256(data).hexdigest()


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to the disk, where the system can do that."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a filesystem without it
            raise
    finally:
        os.close(handle)
