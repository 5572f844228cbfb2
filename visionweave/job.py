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
import platform
import time
import traceback
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO

from visionweave.contract import ModelNode
from visionweave.errors import JobError, NodeFailed
from visionweave.executor import CHUNK, Result
from visionweave.observe import Observer
from visionweave.outputs import write_atomic, write_result
from visionweave.photos import Photo, result_folders
from visionweave.pipeline import Pipeline
from visionweave.runtime import Runtime
from visionweave.values import Image

__all__ = ["Job", "Summary", "run_job"]

OWN_FILES = ("run.json", "items.jsonl", "failures.jsonl")
"""The files of the job itself, at the top of its folder."""

_PACKAGES = ("visionweave", "numpy", "pillow", "torch")


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


@dataclass(slots=True)
class Summary:
    """What came of a job.

    Attributes:
        counts: the photos by status: "ok"; "partial", with some failures; "failed", without output.
        failures: the number of failures.
        interrupted: whether it was stopped from outside.
        seconds: how long it ran.
    """

    counts: Counter[str] = field(default_factory=Counter)
    failures: int = 0
    interrupted: bool = False
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0 all well, 2 finished with failures, 130 interrupted."""
        return 130 if self.interrupted else 2 if self.failures else 0


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
    receipt = _receipt(job)
    summary = Summary()
    _write_json(job.out / "run.json", receipt)
    try:
        with _Journal(job) as journal:
            for result in _results(job, observers):
                journal.add(result, summary)
    except KeyboardInterrupt:
        summary.interrupted = True
    except OSError as error:
        reason = error.strerror or str(error)
        raise JobError(
            f"cannot write to {error.filename or job.out}: {reason}. "
            f"The results of {summary.counts.total()} photos are safe in {job.out}"
        ) from error
    summary.seconds = time.monotonic() - started
    _write_json(job.out / "run.json", receipt | _closing(job, summary))
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


class _Journal:
    """Writes results and their lines, in order, in a thread of its own."""

    def __init__(self, job: Job) -> None:
        self._job = job
        names = [photo.name for photo in job.photos]
        self._folders = result_folders(names, OWN_FILES)
        self._paths = {photo.name: str(photo.path) for photo in job.photos}
        self._waiting: deque[tuple[Result, Future[dict[str, Any]]]] = deque()
        self._stack = ExitStack()
        self._summary = Summary()

    def __enter__(self) -> _Journal:
        self._items = self._open("items.jsonl")
        self._failures = self._open("failures.jsonl")
        self._writer = self._stack.enter_context(ThreadPoolExecutor(1, "visionweave-write"))
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            # Also after Ctrl-C: what is computed is written.
            if kind is None or issubclass(kind, KeyboardInterrupt):
                self._settle(0)
        finally:
            self._stack.close()

    def add(self, result: Result, summary: Summary) -> None:
        """Have a result written; wait for earlier ones, so that few are in memory."""
        self._summary = summary
        folder = self._folders.get(result.name, "")
        write = self._writer.submit(write_result, result, self._job.out, folder)
        self._waiting.append((result, write))
        self._settle(self._job.chunk)

    def _open(self, name: str) -> TextIO:
        path = self._job.out / name
        return self._stack.enter_context(path.open("w", encoding="utf-8"))

    def _settle(self, most: int) -> None:
        while len(self._waiting) > most:
            result, write = self._waiting.popleft()
            files = write.result()
            status = "ok" if result.ok else "partial" if result.outputs else "failed"
            line = {
                "photo": result.name,
                "path": self._paths.get(result.name),
                "status": status,
                "outputs": files,
                "failures": len(result.failures),
            }
            for failure in result.failures:
                _write_line(self._failures, self._failure(failure))
            _write_line(self._items, line)
            self._summary.counts[status] += 1
            self._summary.failures += len(result.failures)

    def _failure(self, failure: NodeFailed) -> dict[str, Any]:
        path = self._paths.get(failure.item, "")
        cause = failure.__cause__
        return {
            "photo": failure.item,
            "step": failure.step,
            "node": failure.node,
            "object": failure.object,
            "label": failure.label,
            "error": failure.error,
            "message": failure.reason,
            "retry": f"visionweave run {self._job.name} {path} --out RETRIED",
            "traceback": "".join(traceback.format_exception(cause)) if cause else "",
        }


def _check_device(job: Job) -> None:
    """Refuse a device that is not there before anything is written."""
    runtime = Runtime.get(job.device, job.precision)
    if _has_models(job):
        runtime.device  # noqa: B018 - asking finds out


def _has_models(job: Job) -> bool:
    return any(isinstance(step.node, ModelNode) for step in job.pipeline.plan.steps)


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


def _flat(files: Any) -> Iterator[str]:
    if isinstance(files, str):
        yield files
    else:
        for each in files.values() if isinstance(files, dict) else files:
            yield from _flat(each)


def _receipt(job: Job) -> dict[str, Any]:
    """What is known of a run before it begins."""
    graph = job.pipeline.graph
    return {
        "status": "running",
        "pipeline": {
            "name": job.name,
            "hash": job.pipeline.hash,
            "form": job.pipeline.canonical(),
        },
        "inputs": {name: repr(value) for name, value in job.inputs.items()},
        "models": [
            {"step": step.name, "node": step.node.spec.id, "settings": dict(step.node.settings)}
            for step in graph.steps.values()
            if isinstance(step.node, ModelNode)
        ],
        "versions": {"python": platform.python_version()} | _versions(),
        "machine": {"system": platform.platform(), "processor": platform.machine()},
        "photos": len(job.photos),
        "started": _now(),
    }


def _closing(job: Job, summary: Summary) -> dict[str, Any]:
    """What is known of a run after it."""
    device: dict[str, str] = {}
    if _has_models(job):
        runtime = Runtime.get(job.device, job.precision)
        device = {"device": runtime.device, "precision": runtime.precision}
    return {
        "status": "interrupted" if summary.interrupted else "finished",
        "counts": dict(summary.counts),
        "failures": summary.failures,
        "finished": _now(),
        "seconds": round(summary.seconds, 3),
    } | device


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _write_line(file: TextIO, line: dict[str, Any]) -> None:
    file.write(json.dumps(line, ensure_ascii=False) + "\n")
    file.flush()


def _write_json(path: Path, data: dict[str, Any]) -> None:
    write_atomic(path, (json.dumps(data, ensure_ascii=False, indent=1) + "\n").encode())
