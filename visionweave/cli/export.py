"""The command that gives results to other tools: `visionweave export`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from visionweave.cli.words import counted

if TYPE_CHECKING:
    from visionweave.exports import Exported

__all__ = ["export"]

Format = Literal["coco", "yolo", "yolo-seg", "labelme", "csv", "glb", "obj", "ply"]


def export(
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="The folder of a job: the --out of a run.")
    ],
    format: Annotated[Format, typer.Option("--format", "-f", help="The format.")],
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="PLACE",
            help="The folder to write to; for coco and csv also a file. OUT/exports/FORMAT if "
            "not given.",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The output with the objects or meshes, if several."),
    ] = None,
    frame: Annotated[
        Literal["upright", "raw"],
        typer.Option(help="raw: as the file stores pixels, for tools that ignore EXIF."),
    ] = "upright",
    polygons: Annotated[
        bool, typer.Option("--polygons", help="Outlines in place of masks; holes are filled.")
    ] = False,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Pixels by which outlines may be off, for fewer corners.")
    ] = 0.0,
    classes: Annotated[
        str | None, typer.Option(help='The classes in their order: "apple, pear".')
    ] = None,
    photos: Annotated[
        Literal["none", "link", "copy"], typer.Option(help="Whether the photos come along.")
    ] = "none",
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace also files that were changed, or are others'."),
    ] = False,
) -> None:
    """Export the results of a job for other tools.

    coco: JSON with lossless masks. yolo: boxes. yolo-seg: outlines. labelme: a JSON file per photo,
    with lossless masks. csv: a row per object. glb, obj, ply: the meshes.

    \b
    visionweave export out/ -f coco --to annotations.json
    visionweave export out/ -f yolo-seg --to dataset/ --photos copy --tolerance 1
    visionweave export out/ -f labelme              correct by hand: labelme out/exports/labelme
    visionweave export out/ -f csv --to objects.csv
    visionweave export out/ -f ply --to meshes/
    """
    from visionweave.exports import export_job

    listed = None if classes is None else tuple(name.strip() for name in classes.split(","))
    exported = export_job(
        out,
        format,
        to,
        overwrite=overwrite,
        output=output,
        frame=frame,
        polygons=polygons,
        tolerance=tolerance,
        classes=listed,
        photos=photos,
    )
    _report(exported, format)


def _report(exported: Exported, format: str) -> None:
    """Say what was written, and what was not."""
    photos = counted(exported.photos, "photo")
    print(f"{exported.count} {exported.what} of {photos} in {exported.path}")
    for why, count in exported.left_out.items():
        print(f"note: photos left out ({why}): {count}", file=sys.stderr)
    for text, count in exported.notes.items():
        print(f"note: {text}: {count}", file=sys.stderr)
    if exported.outputs_left_out:
        names = ", ".join(exported.outputs_left_out)
        print(f"note: outputs that are not in this export: {names}", file=sys.stderr)
