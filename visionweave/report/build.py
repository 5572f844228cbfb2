"""Making a report, or bringing one up to date."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from visionweave.atomic import write_atomic
from visionweave.errors import ImageWarning, JobError
from visionweave.report.data import Item, read_job
from visionweave.report.page import about_job, as_script, write_assets
from visionweave.report.photos import Made, Maker
from visionweave.report.shelf import Shelf, key_of

__all__ = ["CHUNK", "Report", "build_report"]

CHUNK = 250
"""Photos in a file of data: small enough to read while the page shows the ones before."""

THREADS = 4
KEPT = "kept.jsonl"
"""What the next making of the report goes on from; a folder with it is a report's."""


@dataclass(slots=True)
class Report:
    """A report that was made.

    Attributes:
        page: the file to open.
        photos: how many it shows.
        kept: how many of them were as they had been.
        gone: how many have lost their file.
    """

    page: Path
    photos: int = 0
    kept: int = 0
    gone: int = 0


@dataclass(slots=True)
class _Sums:
    """What is known of all photos together."""

    labels: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    outputs: dict[str, None] = field(default_factory=dict)
    chunks: list[dict[str, Any]] = field(default_factory=list)

    def add(self, made: Made) -> None:
        entry = made.entry
        self.labels.update(row[0] for row in entry["objects"])
        self.outputs |= dict.fromkeys(name for row in entry["objects"] for name in row[7])
        self.counts[entry["status"]] += 1
        for name in ("failures", "cutouts", "meshes"):
            self.counts[name] += entry[name]
        self.counts["objects"] += len(entry["objects"])
        self.counts["masks"] += sum(mask is not None for mask in made.masks)
        self.counts[f"photo {entry['state']}"] += 1

    def to_json(self) -> dict[str, Any]:
        """Labels with the number of their objects, the most frequent first; counts; chunks."""
        labels = sorted(self.labels.items(), key=lambda pair: (-pair[1], pair[0]))
        return {
            "labels": labels,
            "counts": dict(self.counts),
            "outputs": list(self.outputs),
            "chunks": self.chunks,
        }


def build_report(
    out: Path,
    folder: Path | None = None,
    *,
    previews: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Make the report of a job, or bring it up to date; photos that have not changed cost little.

    Args:
        out: the job's folder, which is only read.
        folder: where the report goes; `out`/report by default.
        previews: whether to copy photos into it at `thumbnails.PREVIEW` pixels, for a report that
            is to be looked at where the photos are not.
        progress: told of photos done, and of how many there are.

    Raises:
        JobError: `out` is no job's folder, or the report's folder holds other things.
        OSError: the report cannot be written.
    """
    job = read_job(out)
    folder = out / "report" if folder is None else folder
    _claim(folder)
    shelf, sums, report = Shelf(folder), _Sums(), Report(folder / "index.html")
    maker, before = Maker(out, shelf, previews), _read_kept(folder / KEPT)
    kept: list[bytes] = []

    def make(item: Item) -> Made:
        return maker.make(item, before.get(item.photo))

    with warnings.catch_warnings(), ThreadPoolExecutor(THREADS, "visionweave-report") as pool:
        warnings.simplefilter("ignore", ImageWarning)  # the job has said it of these photos
        for start in range(0, len(job.items), CHUNK):
            made = list(pool.map(make, job.items[start : start + CHUNK]))
            for each in made:
                sums.add(each)
                report.kept += each is before.get(each.entry["name"])
            kept += [each.to_line() for each in made]
            sums.chunks.append(_write_chunk(made, shelf))
            report.photos += len(made)
            progress(report.photos, len(job.items))
    write_assets(folder)
    write_atomic(folder / KEPT, b"".join(kept), durable=False)
    about = as_script("job", about_job(job) | sums.to_json())
    write_atomic(folder / "job.js", about, durable=False)
    shelf.sweep()
    report.gone = sums.counts["photo gone"]
    return report


def _claim(folder: Path) -> None:
    """Make the report's folder, or see that it is one."""
    if (folder / KEPT).exists():
        return
    if folder.exists() and any(folder.iterdir()):
        raise JobError(
            f"{folder} is not empty and holds no report; choose another folder with --to"
        )
    write_atomic(folder / KEPT, b"", durable=False)


def _read_kept(path: Path) -> dict[str, Made]:
    """What an earlier report knew of each photo; nothing where it is damaged."""
    try:
        with path.open("rb") as file:
            made = [Made.from_line(line) for line in file]
            return {each.entry["name"]: each for each in made}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def _write_chunk(made: list[Made], shelf: Shelf) -> dict[str, Any]:
    """Write the data of some photos; return where they are.

    What is drawn on thumbnails as masks is in a file of its own, which is read when it is drawn.
    """
    chunk: dict[str, Any] = {"photos": len(made)}
    parts = {"entries": [each.entry for each in made], "masks": [each.masks for each in made]}
    for name, part in parts.items():
        key = key_of(json.dumps(part).encode())
        chunk[name] = {
            "id": f"data/{key}",
            "file": shelf.put("data", key, ".js", _script_of(f"data/{key}", part)),
        }
    return chunk


def _script_of(name: str, part: Any) -> Callable[[], bytes]:
    return lambda: as_script(name, part)
