"""Reading a job's folder: what came of each photo, and of the job, as it stands now.

Nothing is written and nothing locked, so that a report can be made while the job still runs. The
journal is read by its lines and not by `jobs.journal.Journal`, which tidies the folder up.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from visionweave.errors import JobError
from visionweave.jobs.journal import DONE
from visionweave.jobs.lines import read_lines

__all__ = ["Item", "JobData", "read_job"]


@dataclass(frozen=True, slots=True)
class Item:
    """What came of one photo.

    Attributes:
        photo: the photo's name.
        status: "ok", "partial" or "failed".
        path: the photo's file as the job knew it; None of a job without photos.
        sha256: of the photo's file when the job read it; "" when unknown.
        files: each output's name and one of its files, below the job's folder; outputs that are
            lists have several.
        failures: the lines of failures.jsonl that stand.
        overlay: the file of the photo with its objects drawn, below the job's folder; "" if none.
        seconds: how long it took, by step; empty where the job did not say.
        key: changes with the journal's line of this photo and with its failures.
    """

    photo: str
    status: str
    path: Path | None
    sha256: str
    files: tuple[tuple[str, str], ...]
    failures: tuple[dict[str, Any], ...] = ()
    overlay: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    key: str = ""


@dataclass(frozen=True, slots=True)
class JobData:
    """A job's folder.

    Attributes:
        out: the folder.
        run: what run.json holds; empty without one.
        items: the photos that the job came to an end with, by name.
        unfinished: how many photos it has begun, and not ended.
    """

    out: Path
    run: dict[str, Any]
    items: tuple[Item, ...]
    unfinished: int


def read_job(out: Path) -> JobData:
    """Read the journals of a job's folder; the results themselves are not opened.

    Raises:
        JobError: it is no folder of a job.
    """
    if not (out / "items.jsonl").is_file():
        raise JobError(f"{out} holds no results of visionweave: there is no {out / 'items.jsonl'}")
    last = {found["photo"]: (found, line) for found, line in read_lines(out / "items.jsonl")}
    failures: dict[str, list[dict[str, Any]]] = {}
    for line, _ in read_lines(out / "failures.jsonl"):
        failures.setdefault(line["photo"], []).append(line)
    items = tuple(
        _item(found, line, failures.get(photo, []))
        for photo, (found, line) in sorted(last.items())
        if found.get("status") in DONE
    )
    begun = sum(found.get("status") == "writing" for found, _ in last.values())
    return JobData(out, _read_run(out / "run.json"), items, begun)


def _item(found: dict[str, Any], line: bytes, failures: list[dict[str, Any]]) -> Item:
    # The results may be of one run, and that the photo cannot be read now of a later one.
    runs = {found.get("run"), found.get("unread") or found.get("run")}
    standing = [each for each in failures if each.get("run") in runs]
    outputs = found.get("outputs") or {}
    path = found.get("path")
    key = hashlib.sha256(line + json.dumps(standing, sort_keys=True).encode())
    return Item(
        photo=found["photo"],
        status=found["status"],
        path=None if path is None else Path(path),
        sha256=found.get("sha256") or "",
        files=tuple((name, file) for name, files in outputs.items() for file in _flat(files)),
        failures=tuple(standing),
        overlay=found.get("overlay") or "",
        seconds=_seconds(found),
        key=key.hexdigest(),
    )


def _flat(files: Any) -> Iterator[str]:
    """The paths in an output's entry: a path, an object with "file", or lists of these."""
    if isinstance(files, str):
        yield files
    elif isinstance(files, dict) and isinstance(files.get("file"), str):
        yield files["file"]
    elif isinstance(files, list):
        for each in files:
            yield from _flat(each)


def _seconds(found: dict[str, Any]) -> dict[str, float]:
    """The times of a line, where it has them."""
    times = found.get("timings")
    times = times if isinstance(times, dict) else {}
    return {name: float(each) for name, each in times.items() if isinstance(each, (int, float))}


def _read_run(path: Path) -> dict[str, Any]:
    """What run.json holds; a report can do without one that is missing or damaged."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
