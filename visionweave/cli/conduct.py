"""Running a job on the command line: what is said before, meanwhile and after."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from visionweave.budget.request import Options
    from visionweave.jobs.job import Job, Summary

__all__ = ["conduct", "rehearse"]

ANNOTATIONS = "annotations.coco.json"
"""All objects of a job in one file, which `visionweave.exports` writes."""

SHOWN = 5
"""Deleted photos that are named."""


def conduct(job: Job, options: Options) -> int:
    """Run a job with its progress shown and Ctrl-C heeded, and return the exit code.

    That is the job's, and 2 when the photos went well and the annotations could not be written.

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
        job = _settled(job)
        look(job, options)
        times = Times(Runtime.get(job.device, job.precision))
        with ctrl_c() as stop, Progress(len(job.photos) or 1) as progress:
            summary = run_job(job, [progress, times, stop])
    changed = summary.before < summary.counts.total() or summary.pruned
    annotated = _annotate(job) if changed or _is_behind(job) else True
    report(job, summary)
    return summary.exit_code or (0 if annotated else 2)


def rehearse(job: Job, options: Options) -> int:
    """Say what a job needs, run nothing, and return the exit code; arguments as for `conduct`."""
    from visionweave.cli.ahead import look

    with _closed_after(job):
        look(_settled(job), options)
    return 0


def _settled(job: Job) -> Job:
    """A job with its photos under the names that they have in its folder.

    Raises:
        JobError: the folder is one in which photos are searched for.
    """
    from visionweave.jobs.photos import check_apart
    from visionweave.jobs.resume import with_known_names

    if job.retry:  # its photos are from the folder
        return job
    check_apart(job.given, job.out)
    return job if job.overwrite else replace(job, photos=with_known_names(job.photos, job.out))


@contextmanager
def _closed_after(job: Job) -> Iterator[None]:
    """Let go of what a job has open."""
    try:
        yield
    finally:
        job.hashes.close()
        if job.cache is not None:
            job.cache.close()


def _is_behind(job: Job) -> bool:
    """Whether an earlier run was killed before it wrote its annotations, or they were removed."""
    from visionweave.values import Boxes, Masks

    flows = job.pipeline.outputs.values()
    if not any({Boxes, Masks} & set(flow.kinds) for flow in flows if not flow.axes):
        return False  # it has none
    journal, annotations = job.out / "items.jsonl", job.out / ANNOTATIONS
    return journal.exists() and (
        not annotations.exists() or annotations.stat().st_mtime_ns < journal.stat().st_mtime_ns
    )


def _annotate(job: Job) -> bool:
    """Gather all objects in one file; return whether that went well, or there are none."""
    from visionweave.errors import WeaveError
    from visionweave.exports import write_annotations

    path = job.out / ANNOTATIONS
    was_there = path.exists()
    try:
        written = write_annotations(job.out)
    except (WeaveError, OSError) as error:  # a result that somebody changed by hand
        removed = hint = ""
        if was_there and _is_behind(job):
            path.unlink(missing_ok=True)
            removed = "; the earlier one is removed, as it is of other results"
        if isinstance(error, WeaveError):
            hint = ". A damaged file can be removed: the same command makes it anew"
        _say(f"no {ANNOTATIONS} was written{removed}: {error}{hint}")
        return False
    if written is None and was_there:
        _say(f"{ANNOTATIONS} is removed: there is not one output any more that holds all objects")
    return True


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
