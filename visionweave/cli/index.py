"""The command that makes an index of photos: `visionweave index`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visionweave.cli.megapixels import MaxMegapixels, allow_photos
from visionweave.cli.words import counted

if TYPE_CHECKING:
    from visionweave.index import IndexSummary, Space
    from visionweave.pipeline import Pipeline
    from visionweave.values import Image, Text

__all__ = ["embedder", "index", "space_of"]

EMBED = "clip.embed"
"""The node that embeds photos and what is searched for."""

ABOUT_MODEL = (
    "A checkpoint, or a profile such as base. [default: the index's own; for a new one mini]"
)

SHOWN = 10
"""Failures that are printed; all are in the index's failures.jsonl."""


def index(
    photos: Annotated[
        list[str],
        typer.Argument(metavar="PHOTOS", help="Files, folders (with all below), patterns."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder of the index.")] = Path(
        "library.vwindex"
    ),
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", "--profile", help=ABOUT_MODEL),
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Drop photos that are not among PHOTOS.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make the index anew.")] = False,
    batch: Annotated[int | None, typer.Option(min=1, help="The largest batch.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, bf16, fp16, fp32.")] = "auto",
    max_megapixels: MaxMegapixels = None,
) -> int:
    """Make an index of photos to search with CLIP, or bring it up to date.

    Only photos whose bytes are new are embedded; photos whose files are gone are dropped. Photos of
    other folders stay in the index, save with --prune. Ctrl-C keeps what is done; the same command
    goes on. Before it begins it says what the model needs, and refuses what cannot fit, with what
    would. Exit code 0 when all is well, 1 when it cannot start, 2 when photos could not be read
    (listed in OUT/failures.jsonl), 130 when it was interrupted.

    \b
    visionweave index photos/ -o library.vwindex
    visionweave search library "a courier on a bicycle"
    """
    from visionweave.budget.times import Times
    from visionweave.cli.ahead import look_at_index
    from visionweave.cli.progress import Progress
    from visionweave.index import IndexJob, build_index
    from visionweave.jobs.photos import find_photos
    from visionweave.runtime import Runtime
    from visionweave.values import Image

    allow_photos(max_megapixels)
    found = find_photos(photos, leave_out=out)
    own = _own_space(out, overwrite)
    pipeline = embedder(model or (own.checkpoint if own else None), embedding=Image)
    space = space_of(pipeline)
    if own is not None:
        own.check(space, str(out))
    job = IndexJob(
        pipeline,
        space,
        found,
        out,
        prune,
        overwrite,
        batch=batch,
        device=device,
        precision=precision,
    )
    look_at_index(job, new=own is None)
    times = Times(Runtime.get(device, precision))
    with Progress(len(found)) as progress:
        summary = build_index(job, [progress, times])
    _report(out, summary)
    return summary.exit_code


def embedder(model: str | None, **inputs: type[Image | Text]) -> Pipeline:
    """A pipeline that embeds each of its inputs, whose types are given, under the input's name.

    Args:
        model: a checkpoint or a profile; None for the default.
        inputs: the type of each input.
    """
    from visionweave.chain import Input
    from visionweave.pipeline import Pipeline
    from visionweave.registry import find_node

    embed = find_node(EMBED)(**({} if model is None else {"model": model}))
    return Pipeline(**{name: embed(Input(name, kind)) for name, kind in inputs.items()})


def space_of(pipeline: Pipeline) -> Space:
    """The space of what an `embedder` gives."""
    from visionweave.index import Space
    from visionweave.overrides import checkpoints

    (entry, *_) = checkpoints(pipeline.graph).values()
    (step, *_) = pipeline.graph.steps.values()
    return Space.of(entry, step.node.spec)


def _own_space(out: Path, overwrite: bool) -> Space | None:
    """What made the index that is there; None where there is none, or it is to be replaced."""
    from visionweave.index import read_manifest

    there = (out / "index.json").exists() and not overwrite
    return read_manifest(out).space if there else None


def _report(out: Path, summary: IndexSummary) -> None:
    """Say what came of it, and which photos are not in the index."""
    for failure in summary.failures[:SHOWN]:
        print(f"failed: {failure['photo']}: {failure['message']}", file=sys.stderr)
    if len(summary.failures) > SHOWN:
        more = len(summary.failures) - SHOWN
        print(f"and {more} more, in {out / 'failures.jsonl'}", file=sys.stderr)
    parts = [f"{count} {name}" for name, count in summary.counts.items() if count]
    if summary.failures:
        parts.append(f"{len(summary.failures)} failed")
    state = "interrupted; " if summary.interrupted else ""
    print(
        f"{state}{counted(summary.photos, 'photo')} in {out} after {summary.seconds:.1f} s: "
        f"{', '.join(parts) or 'nothing done'}",
        file=sys.stderr,
    )
