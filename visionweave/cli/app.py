"""The commands of the command line, and what becomes of errors and warnings."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import TextIO

import typer

from visionweave import __version__
from visionweave.cli import again, cache, export, index, look, report, run, search, weights
from visionweave.cli.output import OutputLost, watched_output
from visionweave.errors import WeaveError, WeaveWarning

__all__ = ["app", "main"]

app = typer.Typer(
    name="visionweave",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Compose vision models into typed pipelines: a photo goes in; tags, boxes, masks,
    cutouts and 3D models come out.

    \b
    visionweave pipelines                         what is ready to use
    visionweave show split-objects                what a pipeline does
    visionweave run split-objects photos/ -o out/ run it over a folder
    visionweave report out/                       a page to look through the results
    visionweave export out/ -f coco               the results for other tools: COCO, YOLO, CSV, …
    visionweave index photos/ -o library.vwindex  prepare photos for searching
    visionweave search library.vwindex "a dog"    find photos by words or by a picture
    visionweave check mine.yaml                   find every mistake before anything runs
    visionweave nodes image.cutout                what a node takes, gives, and can be set to

    A pipeline is a ready one's name or a YAML file.""",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"visionweave {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Options before the command."""


app.command()(run.run)
app.command()(again.retry)
app.command()(again.explain)
app.command()(report.report)
app.command()(export.export)
app.command()(index.index)
app.command()(search.search)
app.command()(look.check)
app.command()(look.show)
app.command()(look.nodes)
app.command()(look.pipelines)
app.command()(look.schema)
app.add_typer(weights.app, name="weights")
app.add_typer(cache.app, name="cache")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit code.

    Errors of ours are printed without a traceback; anything else is a fault of visionweave's and
    shows one.
    """
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        warnings.simplefilter("always", WeaveWarning)
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        with watched_output():
            code = app(args=arguments, prog_name="visionweave", standalone_mode=False)
    except WeaveError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except typer.Exit as stop:
        return stop.exit_code
    except KeyboardInterrupt:
        return 130
    except OutputLost as lost:
        if isinstance(lost.error, BrokenPipeError):  # its reader, such as head, has had enough
            return 0
        print(f"error: cannot write the output: {lost.error.strerror}", file=sys.stderr)
        return 1
    except Exception as error:
        if hasattr(error, "show") and hasattr(error, "exit_code"):  # click's UsageError and kin
            error.show()
            return 1  # click says 2, which means "finished with failures" here
        raise
    return code if isinstance(code, int) else 0


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if issubclass(category, WeaveWarning):
        print(f"warning: {message}", file=sys.stderr)
