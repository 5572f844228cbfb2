"""Files of a job that grow by lines of JSON, one for each photo or failure.

A line is appended whole or not at all; what a killed process left of one, at the end of the file,
counts as none.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["append_line", "as_line", "is_torn", "lines_in", "read_lines"]


def as_line(data: dict[str, Any]) -> bytes:
    """Return a line of JSON; what is no Unicode in it, such as an odd file name, is escaped."""
    return json.dumps(data, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def append_line(file: io.FileIO, data: dict[str, Any]) -> None:
    """Append a line whole, or not at all.

    Raises:
        OSError: it cannot be written; the disk is full.
    """
    line, written = as_line(data), 0
    try:
        while written < len(line):
            written += file.write(line[written:])
    except OSError:
        os.ftruncate(file.fileno(), os.fstat(file.fileno()).st_size - written)
        raise


def read_lines(path: Path) -> Iterator[tuple[dict[str, Any], bytes]]:
    """The fields and the bytes of each line of a file; one that was cut off is none."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        for found, line, _ in lines_in(file):
            yield found, line


def lines_in(file: BinaryIO) -> Iterator[tuple[dict[str, Any], bytes, int]]:
    """The fields and the bytes of each line of a file, and where it begins."""
    start = 0
    for line in file:
        try:
            found = json.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            found = None
        if isinstance(found, dict) and isinstance(found.get("photo"), str):
            yield found, line, start
        start += len(line)


def is_torn(path: Path) -> bool:
    """Whether a file ends within a line."""
    if not path.exists() or not path.stat().st_size:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() != b"\n"
