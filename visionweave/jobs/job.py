"""A job: one pipeline over many photos, with its results in a folder.

    out/run.json            the receipt: what made these files (see `receipt.py`)
    out/items.jsonl         one line per photo: status, the files of its outputs (`journal.py`)
    out/failures.jsonl      one line per failure: photo, step, object, error, how to retry
    out/failures/           their tracebacks
    out/street/004/...      the results of street/004.jpg (`outputs.py`)
    out/.stages/            photos that wait, in a run within a memory budget (`budget/waiting.py`)
    out/street/004/overlay.jpg  the photo with what was found in it (`overlay.py`)

The same job in the same folder goes on where it was (`resume.py`): photos whose results are there,
made by the same recipe (`recipe.py`) of the same bytes, are passed over, others run; of those, only
what the result cache does not know is computed. A photo's line is written after its files are
safely on the disk, in threads beside those that compute (`writer.py`). So the job may be killed at
any moment, and goes on.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from visionweave.budget.waiting import WaitingRoom
from visionweave.cache import Cache
from visionweave.cache.photos import PhotoHashes
from visionweave.canonical import digest
from visionweave.contract import ModelNode
from visionweave.errors import JobError, WeaveError
from visionweave.execution.executor import CHUNK, Result
from visionweave.execution.observe import Observer
from visionweave.execution.plan import PlannedStep
from visionweave.jobs.folder import OWN_FILES, STAGES, job_folder, leave_no_trace
from visionweave.jobs.journal import Entry, Journal
from visionweave.jobs.overlay import make_overlay
from visionweave.jobs.peak import Peak
from visionweave.jobs.photos import Photo
from visionweave.jobs.receipt import Receipt
from visionweave.jobs.recipe import Recipe, make_recipe
from visionweave.jobs.resume import (
    check_names,
    deleted_photos,
    folders_of,
    item_key,
    why_run,
    works,
)
from visionweave.jobs.summary import Summary
from visionweave.jobs.timings import Timings
from visionweave.jobs.writer import NAMELESS, Work, Writer
from visionweave.pipeline import Pipeline
from visionweave.runtime import Runtime

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
        overwrite: whether results that are there already are removed first.
        chunk: see `Pipeline.map`.
        batch: see `Pipeline.map`.
        device: see `Pipeline.map`.
        precision: see `Pipeline.map`.
        memory_budget: see `Pipeline.map`; in bytes.
        cache: where results of models are found and kept; None computes everything.
        hashes: where the hashes of photos are remembered.
        max_failures: stop when so many photos have failed in this run; None: never.
        retry: whether photos that failed are tried again, though nothing has changed.
        prune: whether the results of photos that are gone are removed.
        overlay: whether a photo's objects are drawn into overlay.jpg; None: unless the pipeline
            makes a picture of the photo itself.
        given: what stood for the photos on the command line, for the receipt.
        profile: the profile that was chosen, for the receipt.
        changes: the settings that were changed, by "step.setting", for the receipt.
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
    memory_budget: int | None = None
    cache: Cache | None = None
    hashes: PhotoHashes = field(default_factory=PhotoHashes)
    max_failures: int | None = None
    retry: bool = False
    prune: bool = False
    overlay: bool | None = None
    given: Sequence[str] = ()
    profile: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)

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
        WeightsError: a model's weights are not here.
    """
    runtime = Runtime.get(job.device, job.precision)
    recipe = make_recipe(job.pipeline.graph, job.inputs, runtime, job.hashes)
    summary = Summary()
    started = time.monotonic()
    try:
        with job_folder(job.out, overwrite=job.overwrite) as (journal, fresh):
            run = _Run(job, recipe, journal, summary, observers)
            try:
                run.run()
            except BaseException as error:
                summary.broken = True
                # A model without its weights, an input that does not fit.
                nothing = not summary.counts.total() and run.waiting.is_empty
                if fresh and isinstance(error, WeaveError) and nothing:
                    leave_no_trace(job.out)
                else:
                    with suppress(OSError):
                        run.end(time.monotonic() - started)
                raise
            run.end(time.monotonic() - started)
    except OSError as error:
        reason = error.strerror or str(error)
        safe = summary.counts.total()
        raise JobError(
            f"cannot write to {error.filename or job.out}: {reason}. The results of {safe} photos "
            f"are safe in {job.out}; the same command goes on from there"
        ) from error
    return summary


class _Run:
    """One run of a job in its folder."""

    def __init__(
        self,
        job: Job,
        recipe: Recipe,
        journal: Journal,
        summary: Summary,
        observers: Sequence[Observer],
    ) -> None:
        self.job, self.recipe, self.journal = job, recipe, journal
        self.summary, self.observers = summary, observers
        self.running: deque[Work] = deque()
        self.timings, self.peak = Timings(), Peak()
        self.overlay = make_overlay(job.pipeline, job.overlay)
        check_names(job.photos, journal)
        # Photos that are tried again must not meet the failures that wait.
        key = digest([recipe.key, job.retry])
        self.waiting = WaitingRoom(job.out / STAGES, key)
        self.receipt = Receipt(job, recipe)
        self.receipt.begin()

    def run(self) -> None:
        """Run the photos that are not done."""
        job = self.job
        number = self.receipt.run
        writer = Writer(
            job.out, self.journal, self.recipe.key, number, job.chunk, self._written, self.overlay
        )
        failed = 0
        try:
            with writer, closing(self._results()) as results:
                for result in results:
                    writer.add(self.running.popleft(), result, self.timings.next())
                    failed += not result.ok
                    if job.max_failures is not None and failed >= job.max_failures:
                        self.summary.stopped = True
                        break
        except KeyboardInterrupt:
            self.summary.interrupted = True
        if not (self.summary.interrupted or self.summary.stopped):
            self.waiting.remove()
        self.summary.deleted = deleted_photos(job.photos, self.journal)
        if job.prune:
            for photo in self.summary.deleted:
                self.journal.append(Entry(photo, "gone"))
            self.summary.pruned = bool(self.summary.deleted)

    def end(self, seconds: float) -> None:
        """Write the receipt of what was run."""
        self.job.hashes.flush()
        self.peak.ask()
        self.summary.seconds = seconds
        self.summary.timings, self.summary.peak = self.timings.to_json(), self.peak.bytes
        self.receipt.end(self.summary, self.journal)

    def _results(self) -> Generator[Result]:
        job, items = self.job, self._items()
        first = next(items, None)
        if first is None:  # who has nothing to do needs no room for models
            return
        yield from job.pipeline.map(
            chain([first], items),
            chunk=job.chunk,
            batch=job.batch,
            device=job.device,
            precision=job.precision,
            observers=[*self.observers, _Found(self.summary), self.timings, self.peak],
            cache=job.cache,
            memory_budget=job.memory_budget,
            waiting=self.waiting,
        )

    def _items(self) -> Iterator[Mapping[str, Any]]:
        """The inputs of each photo that is to be run; who is running is in `running`, in order."""
        job, folders = self.job, folders_of(self.job.photos, self.journal, OWN_FILES)
        if not job.photos:
            earlier = self.journal.get(NAMELESS)
            if not self._passed_over(Work(None, key=item_key(self.recipe.key), earlier=earlier)):
                yield job.inputs
        for work in works(job.photos, folders, self.journal, self.recipe.key, job.hashes):
            if not self._passed_over(work):
                yield {**job.inputs, job.photo_input: work.image()}

    def _passed_over(self, work: Work) -> bool:
        draws = self.overlay is not None and work.photo is not None
        if why_run(work.earlier, work.key, self.job.out, retry=self.job.retry, overlay=draws):
            self.running.append(work)
            return False
        assert work.earlier is not None
        if work.earlier.unread:
            self.journal.append(work.earlier.read_again())
        self.summary.before += 1
        self._count(work.earlier)
        for observer in self.observers:
            observer.item_passed_over(work.earlier.photo)
        return True

    def _written(self, entry: Entry) -> None:
        if entry.unread:  # what stands of it is of an earlier run
            self.summary.add("failed", entry.failures + 1)
        else:
            self.timings.written(entry.timings)
            self._count(entry)

    def _count(self, entry: Entry) -> None:
        self.summary.add(entry.status, entry.failures)


class _Found(Observer):
    """Counts the results of models that were known."""

    def __init__(self, summary: Summary) -> None:
        self._summary = summary

    def results_found(self, step: PlannedStep, calls: int) -> None:
        self._summary.found += calls
