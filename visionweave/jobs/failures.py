"""failures.jsonl: a line for each failure, and the traceback of each in a file of its own."""

from __future__ import annotations

import hashlib
import os
import shlex
import traceback
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from visionweave.atomic import write_atomic
from visionweave.errors import NodeFailed
from visionweave.jobs.journal import Entry, Journal
from visionweave.jobs.lines import as_line, read_lines

__all__ = [
    "FOLDER",
    "describe_failures",
    "read_failures",
    "retry_command",
    "tidy_failures",
    "write_tracebacks",
]

FOLDER = "failures"
"""Where the tracebacks lie, below the job's folder."""

LONGEST = 251
"""How many bytes the name of a traceback may have before its suffix: file systems take 255."""

CUT = 150
"""How many bytes are kept of one that is longer."""


def describe_failures(
    failures: Sequence[NodeFailed], photo: str, folder: str, out: Path
) -> list[dict[str, Any]]:
    """Return the lines of a photo's failures.

    Args:
        failures: the failures.
        photo: the photo's name.
        folder: the folder of its results below the job's.
        out: the job's folder, for the command that tries again.
    """
    retry = retry_command(out, photo)
    stem = PurePosixPath(FOLDER, folder or "item")
    return [
        {
            "photo": photo,
            "step": failure.step,
            "node": failure.node,
            "object": failure.object,
            "label": failure.label,
            "error": failure.error,
            "message": failure.reason,
            "traceback": str(stem.with_name(_fitting(f"{stem.name}.{index}-{failure.step}"))),
            "retry": retry,
        }
        for index, failure in enumerate(failures)
    ]


def retry_command(out: Path, photo: str) -> str:
    """Return the command that tries a photo of the job in the folder `out` again, for a shell."""
    names = [str(out), photo]
    dashes = ["--"] if any(name.startswith("-") for name in names) else []  # else it is an option
    return shlex.join(["visionweave", "retry", *dashes, *names])


def _fitting(stem: str) -> str:
    """The name of a text file; of one that is too long the beginning, with a digest of it all."""
    data = os.fsencode(stem)
    if len(data) > LONGEST:
        digest = hashlib.sha256(data).hexdigest()[:16]
        stem = f"{data[:CUT].decode(errors='ignore')}-{digest}"
    return f"{stem}.txt"


def write_tracebacks(
    out: Path, failures: Sequence[NodeFailed], lines: list[dict[str, Any]]
) -> None:
    """Write the traceback of each failure to the file that its line names."""
    for failure, line in zip(failures, lines, strict=True):
        cause = failure.__cause__
        text = "".join(traceback.format_exception(cause)) if cause else ""
        write_atomic(out / line["traceback"], f"{failure}\n\n{text}".encode(errors="replace"))


def read_failures(out: Path, journal: Journal) -> list[dict[str, Any]]:
    """The failures that stand.

    Of each photo these are those of the run that its journal's line is of, and of the one in which
    its file could not be read.
    """
    found = []
    for line, _ in read_lines(out / "failures.jsonl"):
        entry = journal.get(line["photo"])
        if entry is not None and line.get("run") in _runs_with_failures(entry):
            found.append(line)
    return found


def _runs_with_failures(entry: Entry) -> set[int]:
    return {run for run in (entry.run if entry.failures else 0, entry.unread) if run}


def tidy_failures(out: Path, journal: Journal) -> None:
    """Take the failures out of failures.jsonl that stand no more."""
    path = out / "failures.jsonl"
    data = b"".join(map(as_line, read_failures(out, journal)))
    if not path.exists() or path.read_bytes() != data:
        write_atomic(path, data)
