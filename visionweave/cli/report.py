"""The command that makes a page of a job's results: `visionweave report`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visionweave.cli.words import counted

if TYPE_CHECKING:
    from visionweave.report import Report

__all__ = ["report"]

EVERY_SECONDS = 10.0
"""How often it is said how far it is."""


def report(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder of a job's results.")],
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FOLDER", help="Where it goes. [default: OUT/report]"),
    ] = None,
    previews: Annotated[
        bool,
        typer.Option("--previews", help="Copy the photos into it too, at 1600 pixels."),
    ] = False,
    show: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
) -> None:
    """Make a page of a job's results, to look through and filter; or bring it up to date.

    It opens from the disk, without network or server: photos with boxes and masks that can be
    switched, tags, captions, cutouts, turning 3D models, failures. Results and photos are shown
    from where they are; --previews makes a report that can be looked at without the photos.

    \b
    visionweave report out/
    visionweave report out/ --open
    """
    from visionweave.errors import JobError
    from visionweave.report import build_report

    started = said = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal said
        if done < total and time.monotonic() - said >= EVERY_SECONDS:
            said = time.monotonic()
            print(f"{done}/{total} photos", file=sys.stderr)

    try:
        made = build_report(out, to, previews=previews, progress=progress)
    except OSError as error:
        reason = error.strerror or str(error)
        raise JobError(f"cannot write {error.filename or to or out}: {reason}") from error
    _say(made, time.monotonic() - started)
    print(made.page)
    if show:
        typer.launch(made.page.absolute().as_uri())


def _say(made: Report, seconds: float) -> None:
    kept = f", {made.kept} unchanged" if made.kept else ""
    print(f"{counted(made.photos, 'photo')}{kept}, {seconds:.1f} s", file=sys.stderr)
    if made.gone:
        print(
            f"photos that are not where they were: {made.gone}; their results are shown without "
            "them",
            file=sys.stderr,
        )
