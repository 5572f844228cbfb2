"""What is said of a job before it begins, and when it is refused."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from visionweave.budget.request import Options, Request
    from visionweave.index import IndexJob
    from visionweave.jobs.job import Job

__all__ = ["look", "look_at_index", "say_ahead"]


def look(job: Job, options: Options) -> None:
    """Say what is left to do of a job, and what that needs; nothing is loaded or written.

    Args:
        job: the job.
        options: what the command can be told to do otherwise.

    Raises:
        DeviceError: the device is not on this machine.
        JobError: the models do not fit into the memory there is; the message says what would.
        WeightsError: a model's weights are not here.
    """
    from visionweave.budget.request import Request
    from visionweave.cli.profile import announce
    from visionweave.jobs.left import photos_left
    from visionweave.runtime import Runtime

    announce(job.pipeline.graph)
    if job.has_models:
        device, precision = Runtime.get(job.device, job.precision).expected
        budget, batch = job.memory_budget, job.batch
        request = Request(job.pipeline, device, precision, budget, batch, options)
        say_ahead(request, len(job.photos), photos_left(job), job.chunk)


def look_at_index(job: IndexJob, *, new: bool) -> None:
    """Say what is left to do of an index, and what that needs; nothing is loaded or written.

    Args:
        job: the job.
        new: whether the index is made anew, so that it can be made with another model.

    Raises:
        DeviceError: the device is not on this machine.
        JobError: the model does not fit into the memory there is, or the index is damaged.
        WeightsError: the model's weights are not here.
    """
    from visionweave.budget.request import Options, Request
    from visionweave.cli.profile import announce
    from visionweave.index import photos_left
    from visionweave.runtime import Runtime

    announce(job.pipeline.graph)
    model = "--model {model}" if new else "--model {model} --overwrite"
    options = Options(profile=None, model=model)  # a profile would name the same one
    device, precision = Runtime.get(job.device, job.precision).expected
    request = Request(job.pipeline, device, precision, batch=job.batch, options=options)
    say_ahead(request, len(job.photos), photos_left(job), job.chunk)


def say_ahead(request: Request, photos: int, left: int, chunk: int) -> None:
    """Say what models need for the photos that are left to them; refuse what does not fit.

    Args:
        request: what is asked of the machine.
        photos: how many photos there are; 0 for what runs once, without photos.
        left: how many of them models are to look at.
        chunk: how many go through the steps together.

    Raises:
        JobError: the models do not fit into the memory there is; the message says what would.
        WeightsError: a model's weights are not here.
    """
    from visionweave.budget.preflight import look_ahead
    from visionweave.cli.profile import check_here
    from visionweave.errors import JobError

    if not left:
        _say(f"photos: {photos}; nothing is left for models to do" if photos else _DONE)
        return
    ahead = look_ahead(request, left)
    for line in ahead.lines():
        _say(line)
    if photos:
        some = "" if left == photos else f", {left} of them left for models to look at"
        _say(f"photos: {photos}{some}, in chunks of up to {chunk}")
    refusal = ahead.refusal()
    if refusal:  # before anybody fetches weights in vain
        raise JobError("\n".join(refusal))
    check_here(request.pipeline.graph)


_DONE = "nothing is left for models to do"


def _say(text: str) -> None:
    print(text, file=sys.stderr)
