"""The command that runs: `visionweave run`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from visionweave.cli.profile import Profile, announce

if TYPE_CHECKING:
    from visionweave.graph import GraphInput
    from visionweave.jobs.job import Job, Summary
    from visionweave.jobs.photos import Photo
    from visionweave.pipeline import Pipeline

__all__ = ["run"]


def run(
    name: Annotated[
        str, typer.Argument(metavar="PIPELINE", help="A ready pipeline or a YAML file.")
    ],
    photos: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PHOTOS]...", help="Files, folders (with all below), patterns."),
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
        bool, typer.Option("--overwrite", help="Replace the results of an earlier run.")
    ] = False,
    chunk: Annotated[
        int | None, typer.Option(min=1, help="Photos that go through the steps together.")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="The largest batch of a model.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, bf16, fp16, fp32.")] = "auto",
    max_megapixels: Annotated[
        float | None, typer.Option(min=0, help="Read photos of up to this size.")
    ] = None,
) -> int:
    """Run a pipeline over photos.

    The results go to a folder, with one folder per photo. Exit code 0 when all is well, 1 when it
    cannot start, 2 when it finished with failures (listed in OUT/failures.jsonl), 130 when it was
    interrupted.

    \b
    visionweave run split-objects stickers.png -o out/
    visionweave run thumbnails photos/ more/*.jpg -o out/
    visionweave run thumbnails "photos/**/*.tif" -o out/ --set small.longest=256
    visionweave run mine.yaml photos/ -o out/ -i phrases="red apple, cat"
    visionweave run objects-to-3d photos/ -o out/ --profile base
    """
    from visionweave.cli.progress import Progress
    from visionweave.execution.executor import CHUNK
    from visionweave.jobs.job import Job, run_job

    if max_megapixels is not None:
        import PIL.Image

        PIL.Image.MAX_IMAGE_PIXELS = int(max_megapixels * 1e6 / 2)  # Pillow refuses twice this
    pipeline = _pipeline(name, profile, settings or [])
    given = {key: _input(pipeline.inputs, key, value) for key, value in map(_pair, inputs or [])}
    job = Job(
        name,
        pipeline,
        _photos(name, pipeline.inputs, given, photos or [], out),
        out,
        given,
        _photo_input(pipeline.inputs, given) or "",
        overwrite,
        chunk or CHUNK,
        batch,
        device,
        precision,
    )
    announce(pipeline.graph)
    with Progress(len(job.photos) or 1) as progress:
        summary = run_job(job, [progress])
    _report(job, summary)
    return summary.exit_code


def _pipeline(name: str, profile: str | None, settings: list[str]) -> Pipeline:
    from visionweave.overrides import with_settings
    from visionweave.pipeline import Pipeline

    pipeline = Pipeline.load(name)
    if profile is not None:
        pipeline = pipeline.with_profile(profile)
    changes = {key: _scalar(value) for key, value in map(_pair, settings)}
    return Pipeline.from_graph(with_settings(pipeline.graph, changes)) if changes else pipeline


def _photos(
    name: str, inputs: dict[str, GraphInput], given: dict[str, Any], photos: list[str], out: Path
) -> list[Photo]:
    """Find the photos, once it is sure that the pipeline can run on them."""
    from visionweave.errors import JobError
    from visionweave.jobs.photos import find_photos

    takes = _photo_input(inputs, given)
    if takes is None and photos:
        raise JobError(f"{name} takes no photos; its inputs are {', '.join(inputs)}")
    if takes is not None and not photos:
        raise JobError(f"{name} needs photos: visionweave run {name} PHOTOS... --out {out}")
    missing = [
        each.name
        for each in inputs.values()
        if each.default is None and each.name not in given and each.name != takes
    ]
    if missing:
        wanted = " ".join(f"-i {each}=..." for each in missing)
        raise JobError(f"{name} needs more inputs: add {wanted}")
    return find_photos(photos, leave_out=out) if photos else []


def _photo_input(inputs: dict[str, GraphInput], given: dict[str, Any]) -> str | None:
    """The input that takes the photos: the first of images that is not set otherwise."""
    from visionweave.values import Image

    for each in inputs.values():
        if Image in each.type.kinds and not each.type.many and each.name not in given:
            return each.name
    return None


def _pair(text: str) -> tuple[str, str]:
    from visionweave.errors import JobError

    name, equals, value = text.partition("=")
    if not equals:
        raise JobError(f"expected NAME=VALUE; got {text!r}")
    return name.strip(), value


def _scalar(text: str) -> Any:
    """Read a setting as a pipeline file would: 0.5 is a number, [1, 2] a list."""
    from visionweave.errors import PipelineError
    from visionweave.files.yaml_tree import read_yaml

    entry, problems = read_yaml(text, repr(text))
    if entry is None or problems:
        raise PipelineError(problems)
    return entry.plain()


def _input(inputs: dict[str, GraphInput], name: str, text: str) -> Any:
    """Read an input: @FILE is a value's file, [a, b] a list, all else the text itself."""
    from visionweave.errors import JobError, ValueTypeError, did_you_mean

    if name not in inputs:
        hint = did_you_mean(name, inputs)
        raise JobError(f"there is no input {name!r}; {hint or 'it takes ' + ', '.join(inputs)}")
    kind = inputs[name].type
    try:
        if text.startswith("@"):
            return kind.kinds[0].load(text[1:])
        return kind.coerce(_scalar(text) if text.startswith(("[", "{")) else text)
    except (ValueTypeError, OSError) as error:
        raise JobError(f"input {name!r} does not fit {kind}: {error}") from None


def _report(job: Job, summary: Summary) -> None:
    """Say in a line or two what came of it."""
    counts = summary.counts
    total = counts.total()
    parts = [f"{counts[key]} {text}" for key, text in _STATUS.items() if counts[key]]
    state = "interrupted after" if summary.interrupted else "finished"
    print(
        f"{state} {total} of {len(job.photos) or 1} in {summary.seconds:.1f} s: "
        f"{', '.join(parts) or 'nothing done'}. Results in {job.out}",
        file=sys.stderr,
    )
    if summary.failures:
        print(f"{summary.failures} failures are in {job.out / 'failures.jsonl'}", file=sys.stderr)


_STATUS = {"ok": "good", "partial": "in part", "failed": "failed"}
