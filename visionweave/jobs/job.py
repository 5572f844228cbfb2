"""A job: one pipeline over many photos, with its results in a folder.

    out/run.json            what ran: pipeline and hash, settings, versions, device, counts, times
    out/items.jsonl         one line per photo: status, the files of its outputs
    out/failures.jsonl      one line per failure: photo, step, object, error, how to retry
    out/street/004/...      the results of street/004.jpg (see `outputs.py`)

A photo's line is written after its files are safely on the disk. Files are written in a thread of
their own, while the next photos compute.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from visionweave.atomic import write_atomic
from visionweave.contract import ModelNode
from visionweave.errors import JobError, WeaveError
from visionweave.execution.executor import CHUNK, Result
from visionweave.execution.observe import Observer
from visionweave.jobs.journal import OWN_FILES, Journal, Summary
from visionweave.jobs.photos import Photo
from visionweave.jobs.receipt import closing, opening
from visionweave.pipeline import Pipeline
from visionweave.runtime import Runtime
from visionweave.values import Image

__all__ = ["Job", "Summary", "run_job"]


@dataclass(frozen=True, slots=True)
class Job:
    """What to run.

    Attributes:
        name: the pipeline's name or file, for the receipt.
        pipeline: the pipeline.
        photos: the photos; one item each. Without photos the pipeline runs once, and its results
            lie at the top of the folder.
        inputs: values for the inputs that are the same for all photos.
        out: the folder for the results.
        photo_input: the input that takes the photos.
        overwrite: whether results that are there already are replaced.
        chunk: see `Pipeline.map`.
        batch: see `Pipeline.map`.
        device: see `Pipeline.map`.
        precision: see `Pipeline.map`.
    """

    name: str
    pipeline: Pipeline
    photos: Sequence[Photo]
    out: Path
    inputs: Mapping[str, Any] = field(default_factory=dict)
    photo_input: str = ""
    overwrite: bool = False
    chunk: int = CHUNK
    batch: int | None = None
    device: str = "auto"
    precision: str = "auto"

    @property
    def has_models(self) -> bool:
        """Whether a step has a model, so that a device matters."""
        return any(isinstance(step.node, ModelNode) for step in self.pipeline.plan.steps)


def run_job(job: Job, observers: Sequence[Observer] = ()) -> Summary:
    """Run a job to its end, or until it is interrupted; what is finished by then is kept.

    Raises:
        DeviceError: the device or precision is not to be had.
        JobError: the folder cannot be used, or a result cannot be written.
        PipelineError: an input does not fit.
    """
    _check_device(job)
    _prepare_folder(job)
    started = time.monotonic()
    receipt = opening(job)
    summary = Summary()
    _write_json(job.out / "run.json", receipt)
    try:
        with Journal(job.out, job.photos, _retry(job), summary, job.chunk) as journal:
            for result in _results(job, observers):
                journal.add(result)
    except KeyboardInterrupt:
        summary.interrupted = True
    except WeaveError:  # a model without its weights, an input that does not fit
        if not summary.counts.total():
            _leave_no_trace(job.out)
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise JobError(
            f"cannot write to {error.filename or job.out}: {reason}. "
            f"The results of {summary.counts.total()} photos are safe in {job.out}"
        ) from error
    summary.seconds = time.monotonic() - started
    _write_json(job.out / "run.json", receipt | closing(job, summary))
    return summary


def _results(job: Job, observers: Sequence[Observer]) -> Iterator[Result]:
    items: Iterator[Mapping[str, Any]] = (
        {**job.inputs, job.photo_input: Image.open(photo.path, photo.name)} for photo in job.photos
    )
    return job.pipeline.map(
        items if job.photos else [job.inputs],
        chunk=job.chunk,
        batch=job.batch,
        device=job.device,
        precision=job.precision,
        observers=observers,
    )


def _retry(job: Job) -> str:
    """The command that runs the job again, but for its photos."""
    return shlex.join(["visionweave", "run", job.name, "--out", f"{job.out}-retried"])


def _check_device(job: Job) -> None:
    """Refuse a device that is not there before anything is written."""
    runtime = Runtime.get(job.device, job.precision)
    if job.has_models:
        runtime.device  # noqa: B018 - asking finds out


def _prepare_folder(job: Job) -> None:
    out = job.out
    try:
        out.mkdir(parents=True, exist_ok=True)
        if (out / "run.json").exists():
            if not job.overwrite:
                raise JobError(
                    f"{out} holds the results of an earlier run; "
                    "choose another --out, or replace them with --overwrite"
                )
            _remove_results(out)
        elif any(out.iterdir()) and not job.overwrite:
            raise JobError(
                f"{out} is not empty and holds no results of visionweave; "
                "choose another --out, or write into it with --overwrite"
            )
    except OSError as error:
        raise JobError(f"cannot write to {out}: {error.strerror or error}") from error


def _remove_results(out: Path) -> None:
    """Remove what the earlier run says it wrote, and nothing else."""
    journal = out / "items.jsonl"
    lines = journal.read_text(encoding="utf-8").splitlines() if journal.exists() else []
    for line in lines:
        for name in _flat(json.loads(line)["outputs"]):
            path = out / name
            path.unlink(missing_ok=True)
            for folder in path.parents:
                if folder == out or not folder.is_dir() or any(folder.iterdir()):
                    break
                folder.rmdir()
    for name in OWN_FILES:
        (out / name).unlink(missing_ok=True)


def _leave_no_trace(out: Path) -> None:
    """Take back what a job wrote that was refused before its first photo."""
    _remove_results(out)
    if not any(out.iterdir()):
        out.rmdir()


def _flat(files: Any) -> Iterator[str]:
    if isinstance(files, str):
        yield files
    else:
        for each in files.values() if isinstance(files, dict) else files:
            yield from _flat(each)


def _write_json(path: Path, data: dict[str, Any]) -> None:
    write_atomic(path, (json.dumps(data, ensure_ascii=False, indent=1) + "\n").encode())
