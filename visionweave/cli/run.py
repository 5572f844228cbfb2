"""The command that runs: `visionweave run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from visionweave.cli.megapixels import MaxMegapixels, allow_photos
from visionweave.cli.profile import Profile

if TYPE_CHECKING:
    from visionweave.jobs.job import Job

__all__ = ["run"]


def run(
    name: Annotated[
        str | None,
        typer.Argument(metavar="PIPELINE", help="A ready pipeline or a YAML file."),
    ] = None,
    photos: Annotated[
        list[str] | None,
        typer.Argument(metavar="PHOTOS", help="Files, folders (with all below), patterns."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for the results.")] = Path(
        "out"
    ),
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input", "-i", metavar="NAME=VALUE", help="Set an input other than the photos."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="STEP.SETTING=VALUE", help="Change a step's setting."),
    ] = None,
    profile: Profile = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Remove the results of an earlier run first.")
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove the results of photos that are gone.")
    ] = False,
    overlay: Annotated[
        bool | None,
        typer.Option(
            "--overlay/--no-overlay",
            help="Draw what was found into overlay.jpg; if neither is given, unless the pipeline "
            "makes a picture of the photo itself.",
            show_default=False,
        ),
    ] = None,
    max_failures: Annotated[
        int | None, typer.Option(min=1, help="Stop when so many photos have failed.")
    ] = None,
    locked: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN.JSON", help="Repeat the job of a receipt, or say what would differ."
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="With --locked: refuse other versions of packages.")
    ] = False,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Compute everything; keep no results of models.")
    ] = False,
    cache_size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="How large the cache may become: 20GB.")
    ] = None,
    chunk: Annotated[
        int | None, typer.Option(min=1, help="Photos that go through the steps together.")
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(min=1, help="The largest batch of a model; else it is found by trying."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, bf16, fp16, fp32.")] = "auto",
    memory_budget: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="Run models in stages that fit into this much memory: 4GB."
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say what is left to do, what it needs, and whether it fits; run nothing.",
        ),
    ] = False,
    max_megapixels: MaxMegapixels = None,
) -> int:
    """Run a pipeline over photos.

    The results go to a folder, with one folder per photo. The same command goes on where it was:
    photos that are done are passed over; where a photo, a setting or a model has changed, what
    depends on it is made anew. Exit code 0 when all is well, 1 when it cannot start, 2 when it
    finished with failures (listed in OUT/failures.jsonl), 130 when it was interrupted.

    \b
    visionweave run split-objects stickers.png -o out/
    visionweave run thumbnails photos/ more/*.jpg -o out/
    visionweave run thumbnails "photos/**/*.tif" -o out/ --set small.longest=256
    visionweave run mine.yaml photos/ -o out/ -i phrases="red apple, cat"
    visionweave run objects-to-3d photos/ -o out/ --profile base
    visionweave run objects-to-3d photos/ --profile base --dry-run
    visionweave run objects-to-3d photos/ -o out/ --profile base --memory-budget 6GB
    visionweave run --locked out/run.json -o again/
    """
    from visionweave.budget.request import Options
    from visionweave.cli.conduct import conduct, rehearse
    from visionweave.cli.given import open_cache, read_budget
    from visionweave.execution.executor import CHUNK

    allow_photos(max_megapixels)
    cache, hashes = open_cache(no_cache, cache_size)
    options: dict[str, Any] = {
        "out": out,
        "overwrite": overwrite,
        "prune": prune,
        "overlay": overlay,
        "max_failures": max_failures,
        "chunk": chunk or CHUNK,
        "batch": batch,
        "device": device,
        "precision": precision,
        "memory_budget": read_budget(memory_budget),
        "cache": cache,
        "hashes": hashes,
    }
    changeable = Options()
    if locked is None:
        job = _job(name, photos or [], inputs, settings, profile, options)
    else:
        _check_alone(settings, profile)
        given = [each for each in (name, *(photos or [])) if each is not None]
        job = _locked_job(locked, given, inputs, strict, options)
        changeable = Options(profile=None, model=None, machine=False)
    return (rehearse if dry_run else conduct)(job, changeable)


def _job(
    name: str | None,
    photos: list[str],
    inputs: list[str] | None,
    settings: list[str] | None,
    profile: str | None,
    options: dict[str, Any],
) -> Job:
    from visionweave.cli.given import (
        photo_input,
        read_changes,
        read_inputs,
        read_photos,
        read_pipeline,
    )
    from visionweave.errors import JobError
    from visionweave.jobs.job import Job

    if name is None:
        raise JobError(
            "which pipeline? visionweave run PIPELINE PHOTOS...; see all: visionweave pipelines"
        )
    changes = read_changes(settings)
    pipeline = read_pipeline(name, profile, changes)
    given = read_inputs(pipeline.inputs, inputs)
    return Job(
        name,
        pipeline,
        read_photos(name, pipeline.inputs, given, photos, options["out"]),
        inputs=given,
        photo_input=photo_input(pipeline.inputs, given) or "",
        given=[_absolute(each) for each in photos],
        profile=profile,
        changes=changes,
        **options,
    )


def _locked_job(
    path: Path,
    photos: list[str],
    inputs: list[str] | None,
    strict: bool,
    options: dict[str, Any],
) -> Job:
    """The job of a receipt, once it is sure that it would be repeated exactly."""
    from visionweave.cli.given import read_inputs, read_photos
    from visionweave.jobs.job import Job
    from visionweave.jobs.receipt import read_receipt
    from visionweave.jobs.repeat import check_locked, read_locked
    from visionweave.pipeline import Pipeline
    from visionweave.runtime import Runtime

    text = read_receipt(path)["pipeline"]["yaml"]
    wanted = Pipeline.from_yaml(text, str(path)).inputs if text and inputs else {}
    locked = read_locked(path, read_inputs(wanted, inputs) if wanted else {})
    for option, value in (("device", locked.device), ("precision", locked.precision)):
        if options[option] == "auto":
            options[option] = value
    if options["overlay"] is None:
        options["overlay"] = locked.receipt.get("overlay")
    runtime = Runtime.get(options["device"], options["precision"])
    check_locked(locked, runtime, options["hashes"], strict=strict)
    given = photos or locked.receipt["given"]
    about = locked.receipt["pipeline"]
    return Job(
        about["name"],
        locked.pipeline,
        read_photos(about["name"], locked.pipeline.inputs, locked.inputs, given, options["out"]),
        inputs=locked.inputs,
        photo_input=locked.receipt["photo_input"],
        given=[_absolute(each) for each in given],
        profile=about["profile"],
        changes=about["changes"],
        **options,
    )


def _check_alone(settings: list[str] | None, profile: str | None) -> None:
    from visionweave.errors import JobError

    if settings or profile:
        raise JobError("--locked repeats a job as it was; it goes with neither --set nor --profile")


def _absolute(photos: str) -> str:
    return str(Path(photos).absolute())
