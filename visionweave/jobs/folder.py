"""The folder of a job: who may write into it, and what is in it that is not a result."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from visionweave.atomic import remove_halves
from visionweave.errors import JobError
from visionweave.jobs import failures
from visionweave.jobs.journal import Journal, read_last, remove_files
from visionweave.jobs.receipt import is_receipt

__all__ = ["OWN_FILES", "STAGES", "job_folder", "leave_no_trace"]

LOCK = ".lock"
"""Held while a process writes into the folder."""

STAGES = ".stages"
"""Where photos wait between the stages of a run within a memory budget (`visionweave.budget`)."""

_DERIVED = ("annotations.coco.json", "exports", "report")
"""What other commands make of a job's results, at the top of its folder."""

OWN_FILES = ("run.json", "items.jsonl", "failures.jsonl", failures.FOLDER, LOCK, STAGES, *_DERIVED)
"""What no photo's results may be called, at the top of a job's folder."""


@contextmanager
def job_folder(out: Path, *, overwrite: bool = False) -> Iterator[tuple[Journal, bool]]:
    """Open the folder of a job for writing; it is made when there is none.

    Args:
        out: the folder.
        overwrite: whether to remove the results of an earlier run first, and to take also a folder
            that holds other things.

    Yields:
        its journal, and whether nothing of a job was in it before.

    Raises:
        JobError: the folder holds other things, or another process is writing into it.
        OSError: it cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    fresh = not _holds_job(out, overwrite=overwrite)
    if fresh and not overwrite and not all(_is_left_over(path.name) for path in out.iterdir()):
        raise JobError(
            f"{out} is not empty and holds no results of visionweave; "
            "choose another --out, or write into it with --overwrite"
        )
    try:
        lock = filelock.FileLock(out / LOCK)
        with lock.acquire(timeout=0):
            yield from _locked(out, fresh, overwrite)
    except filelock.Timeout:
        raise JobError(f"another process is writing into {out}; wait for it, or stop it") from None


def _holds_job(out: Path, *, overwrite: bool) -> bool:
    """Whether there is a job in a folder, be it without its receipt: others use such names, too."""
    if (out / "run.json").exists():
        return overwrite or is_receipt(out / "run.json")  # a damaged one may be replaced
    return next(read_last(out / "items.jsonl"), None) is not None


def _is_left_over(name: str) -> bool:
    """Whether a file may be all that is there of a job that was killed as it began."""
    return name == LOCK or (name.startswith(".run.json.") and name.endswith(".part"))


def _locked(out: Path, fresh: bool, overwrite: bool) -> Iterator[tuple[Journal, bool]]:
    for name in set(OWN_FILES) - set(_DERIVED):
        remove_halves(out / name)
    journal = Journal(out)
    if overwrite:
        _remove_results(out, journal)
        journal = Journal(out)
    try:
        yield journal, fresh
    except BaseException:
        with contextlib.suppress(OSError):  # the disk may be full; the next run will tidy up
            journal.close()
        raise
    journal.close()
    failures.tidy_failures(out, journal)


def _remove_results(out: Path, journal: Journal) -> None:
    """Remove what the earlier runs say they wrote, and nothing else."""
    remove_files(out, [name for entry in journal.entries() for name in entry.all_files()])
    shutil.rmtree(out / STAGES, ignore_errors=True)
    for name in ("run.json", "items.jsonl", "failures.jsonl", "annotations.coco.json"):
        (out / name).unlink(missing_ok=True)


def leave_no_trace(out: Path) -> None:
    """Take back what a job wrote that was refused before its first photo."""
    _remove_results(out, Journal(out))
    (out / LOCK).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # other things are in it
        out.rmdir()
