"""Running a job on the command line: what is said before, meanwhile and after."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from visionweave.budget.request import Options
    from visionweave.jobs.job import Job, Summary

__all__ = ["conduct", "rehearse"]

SHOWN = 5
"""Deleted photos that are named."""


def conduct(job: Job, options: Options) -> int:
    """Run a job with its progress shown and Ctrl-C heeded, and return the exit code.

    Args:
        job: the job.
        options: what the command can be told to do otherwise.
    """
    from visionweave.budget.times import Times
    from visionweave.cli.ahead import look
    from visionweave.cli.interrupt import ctrl_c
    from visionweave.cli.progress import Progress
    from visionweave.jobs.job import run_job
    from visionweave.runtime import Runtime

    with _closed_after(job):
        look(job, options)
        times = Times(Runtime.get(job.device, job.precision))
        with ctrl_c() as stop, Progress(len(job.photos) or 1) as progress:
            summary = run_job(job, [progress, times, stop])
    if summary.before < summary.counts.total() or summary.pruned:
        _annotate(job)
    report(job, summary)
    return summary.exit_code


def rehearse(job: Job, options: Options) -> int:
    """Say what a job needs, run nothing, and return the exit code; arguments as for `conduct`."""
    from visionweave.cli.ahead import look

    with _closed_after(job):
        look(job, options)
    return 0


@contextmanager
def _closed_after(job: Job) -> Iterator[None]:
    """Let go of what a job has open."""
    try:
        yield
    finally:
        job.hashes.close()
        if job.cache is not None:
            job.cache.close()


def _annotate(job: Job) -> None:
    """Gather all objects in one file; that this fails does not make the job one that failed."""
    from visionweave.errors import JobError
    from visionweave.exports import write_annotations

    try:
        write_annotations(job.out)
    except (JobError, OSError) as error:  # a result that somebody removed or changed by hand
        _say(f"no annotations.coco.json was written: {error}")


def report(job: Job, summary: Summary) -> None:
    """Say in some lines what came of it."""
    counts = summary.counts
    parts = [f"{counts[key]} {text}" for key, text in _STATUS.items() if counts[key]]
    state = "finished" if summary.status == "finished" else f"{summary.status} after"
    before = f" ({summary.before} of them done before)" if summary.before else ""
    _say(
        f"{state} {counts.total()} of {len(job.photos) or 1} in {summary.seconds:.1f} s: "
        f"{', '.join(parts) or 'nothing done'}{before}. Results in {job.out}"
    )
    if summary.found:
        _say(f"{summary.found} results of models were known: see visionweave cache info")
    if summary.failures:
        _say(
            f"{summary.failures} failures are in {job.out / 'failures.jsonl'}; to try them again: "
            f"visionweave retry {job.out}"
        )
    if summary.stopped:
        _say("stopped because of --max-failures; the same command goes on")
    if summary.deleted:
        _say_deleted(job, summary)


def _say_deleted(job: Job, summary: Summary) -> None:
    names, count = summary.deleted, len(summary.deleted)
    listed = ", ".join(names[:SHOWN]) + (" …" if count > SHOWN else "")
    what = f"{count} photos that had results here are gone: {listed}"
    if summary.pruned:
        _say(f"{what}; their results were removed")
    else:
        _say(f"{what}; to remove their results, add --prune")


def _say(text: str) -> None:
    print(text, file=sys.stderr)


_STATUS = {"ok": "good", "partial": "in part", "failed": "failed"}
