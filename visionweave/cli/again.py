"""The commands about jobs that ran: `visionweave retry` and `visionweave explain`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from visionweave.cli.megapixels import MaxMegapixels, allow_photos
from visionweave.cli.profile import Profile

__all__ = ["explain", "retry"]

Out = Annotated[Path, typer.Argument(metavar="OUT", help="The folder of a job.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")]
Precision = Annotated[str, typer.Option(help="auto, bf16, fp16, fp32.")]


def retry(
    out: Out,
    photos: Annotated[
        list[str] | None,
        typer.Argument(metavar="PHOTOS", help="Some photos, by name or path; else all."),
    ] = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Compute everything; keep no results of models.")
    ] = False,
    batch: Annotated[
        int | None,
        typer.Option(min=1, help="The largest batch of a model; else it is found by trying."),
    ] = None,
    device: Device = "auto",
    precision: Precision = "auto",
    memory_budget: Annotated[
        str | None, typer.Option(metavar="SIZE", help="See visionweave run.")
    ] = None,
    max_megapixels: MaxMegapixels = None,
) -> int:
    """Try the photos of a job again that failed, wholly or in part.

    They are run with the pipeline, the settings and the models that the job's receipt names. Exit
    codes are those of visionweave run.

    \b
    visionweave retry out/
    visionweave retry out/ street/004.jpg --batch 1
    visionweave retry out/ --max-megapixels 500
    """
    from visionweave.budget.request import Options
    from visionweave.cli.conduct import conduct
    from visionweave.cli.given import open_cache, read_budget
    from visionweave.jobs.job import Job
    from visionweave.jobs.repeat import failed_photos, read_locked

    allow_photos(max_megapixels)
    locked = read_locked(out / "run.json")
    failed = failed_photos(out, photos or [])
    if not failed:
        print(f"nothing failed in {out}", file=sys.stderr)
        return 0
    cache, hashes = open_cache(no_cache)
    about = locked.receipt["pipeline"]
    return conduct(
        Job(
            about["name"],
            locked.pipeline,
            failed,
            out,
            locked.inputs,
            locked.receipt["photo_input"],
            batch=batch,
            device=device if device != "auto" else locked.device,
            precision=precision if precision != "auto" else locked.precision,
            memory_budget=read_budget(memory_budget),
            cache=cache,
            hashes=hashes,
            retry=True,
            overlay=locked.receipt.get("overlay"),
            given=locked.receipt["given"],
            profile=about["profile"],
            changes=about["changes"],
        ),
        Options(profile=None, model=None),
    )


def explain(
    out: Out,
    photo: Annotated[str, typer.Argument(metavar="PHOTO", help="A photo, by name or path.")],
    step: Annotated[
        str | None, typer.Argument(metavar="STEP", help="A step, with those that it needs.")
    ] = None,
    pipeline: Annotated[
        str | None,
        typer.Option(metavar="PIPELINE", help="Compare with this one, not the one that ran."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="STEP.SETTING=VALUE", help="Change a step's setting."),
    ] = None,
    profile: Profile = None,
    overlay: Annotated[
        bool | None,
        typer.Option(
            "--overlay/--no-overlay",
            help="Of a run with overlays, or without; if neither is given, as the job ran last.",
            show_default=False,
        ),
    ] = None,
    device: Device = "auto",
    precision: Precision = "auto",
) -> int:
    """Say what of a photo would run again, step by step, and why.

    What made its results is in the job's receipt; that is compared with the pipeline as it is now,
    the weights, and the photo's bytes. Nothing is run.

    \b
    visionweave explain out/ street/004.jpg
    visionweave explain out/ street/004.jpg masks
    visionweave explain out/ street/004.jpg masks --set boxes.box_threshold=0.4
    visionweave explain out/ street/004.jpg --overlay
    """
    from visionweave.cli.given import open_cache, read_changes, read_pipeline
    from visionweave.jobs.explain import explain as explained
    from visionweave.jobs.receipt import read_input, read_receipt
    from visionweave.runtime import Runtime

    receipt = read_receipt(out / "run.json")
    about = receipt["pipeline"]
    now = read_pipeline(
        pipeline or _that_ran(about["name"]),
        profile or about["profile"],
        about["changes"] | read_changes(settings),
    )
    inputs = {name: read_input(name, data) for name, data in receipt["inputs"].items()}
    _, hashes = open_cache(no_cache=True)
    runtime = Runtime.get(device, precision)
    draws = receipt.get("overlay") if overlay is None else overlay
    for line in explained(out, photo, step, now, inputs, runtime, hashes, draws):
        print(line)
    hashes.close()
    return 0


def _that_ran(name: str) -> str:
    """The pipeline of a job, as it was named then, if it is found by that name from here."""
    from visionweave.errors import JobError
    from visionweave.pipeline import ready_pipelines

    if name not in ready_pipelines() and not Path(name).exists():
        raise JobError(
            f"the job's pipeline {name!r} is not found from here; go to the folder where the job "
            "was started, or name the pipeline: --pipeline FILE"
        )
    return name
