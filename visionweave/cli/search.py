"""The command that searches an index of photos: `visionweave search`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visionweave.cli.megapixels import MaxMegapixels, allow_photos
from visionweave.cli.words import counted

if TYPE_CHECKING:
    from visionweave.index import Match, PhotoIndex, Query

__all__ = ["search"]

SUFFIX = ".vwindex"
"""What may be left out of an index's name."""


def search(
    index: Annotated[Path, typer.Argument(metavar="INDEX", help="Made by `visionweave index`.")],
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="What the photos show, in words.")
    ] = None,
    image: Annotated[
        Path | None, typer.Option("--image", "-i", help="A picture that the photos are like.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many photos.")] = 20,
    text_weight: Annotated[
        float, typer.Option(min=0, max=1, help="The text's share, with both text and image.")
    ] = 0.5,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
    sheet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the photos into a picture.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", "--profile", help="Refuse an index of another model."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, bf16, fp16, fp32.")] = "auto",
    max_megapixels: MaxMegapixels = None,
) -> None:
    """Find photos by a text, by a picture, or by both.

    The scores are cosines: compare them among the photos of one search.

    \b
    visionweave search library.vwindex "a courier on a bicycle" -k 20
    visionweave search library.vwindex --image bicycle.jpg --sheet found.png
    visionweave search library.vwindex "at night" --image bicycle.jpg --text-weight 0.7 --json
    """
    from visionweave.errors import JobError
    from visionweave.index import PhotoIndex

    if text is None and image is None:
        raise JobError(
            f'say what to look for: visionweave search {index} "a dog", or --image FILE, or both'
        )
    allow_photos(max_megapixels)
    if sheet is not None:
        _check_sheet(sheet)
    photos = PhotoIndex.open(_found(index))
    query = _query(photos, text, image, text_weight, model, device, precision)
    (found,) = photos.search([query], k)
    if sheet is not None:
        _draw(sheet, found)
    if as_json:
        _print_json(photos, text, image, found)
    else:
        _print_table(photos, found)


def _found(index: Path) -> Path:
    """The folder that is meant: its suffix may be left out."""
    full = index.with_name(f"{index.name}{SUFFIX}")
    return full if full.exists() and not index.exists() else index


def _query(
    photos: PhotoIndex,
    text: str | None,
    image: Path | None,
    text_weight: float,
    model: str | None,
    device: str,
    precision: str,
) -> Query:
    """Embed what is searched for, with the model that made the index."""
    from visionweave.cli.index import embedder, space_of
    from visionweave.cli.profile import announce, check_here
    from visionweave.index import Query
    from visionweave.values import Image, Text

    given = {"text": text, "image": image}
    kinds = {"text": Text, "image": Image}
    wanted = {name: value for name, value in given.items() if value is not None}
    model = model or photos.space.checkpoint
    pipeline = embedder(model, **{name: kinds[name] for name in wanted})
    photos.check_space(space_of(pipeline))
    announce(pipeline.graph)
    check_here(pipeline.graph)
    result = pipeline.run(device=device, precision=precision, **wanted)
    return Query.of(result.outputs.get("text"), result.outputs.get("image"), text_weight)


def _check_sheet(sheet: Path) -> None:
    """Refuse a picture that cannot be written before anything is searched."""
    import PIL.Image

    from visionweave.errors import JobError

    known = PIL.Image.registered_extensions()
    if known.get(sheet.suffix.lower()) not in PIL.Image.SAVE:
        raise JobError(f"{sheet}: expected a picture's name, such as found.png or found.jpg")
    if not sheet.parent.is_dir():
        raise JobError(f"{sheet}: there is no folder {sheet.parent}")


def _draw(sheet: Path, found: list[Match]) -> None:
    import io

    import PIL.Image

    from visionweave.atomic import write_atomic
    from visionweave.index import contact_sheet

    data = io.BytesIO()
    contact_sheet(found).save(data, PIL.Image.registered_extensions()[sheet.suffix.lower()])
    write_atomic(sheet, data.getvalue())
    print(f"{counted(len(found), 'photo')} drawn into {sheet}", file=sys.stderr)


def _print_json(
    photos: PhotoIndex, text: str | None, image: Path | None, found: list[Match]
) -> None:
    data = {
        "index": str(photos.folder),
        "photos": len(photos),
        "model": photos.space.checkpoint,
        "text": text,
        "image": None if image is None else str(image),
        "hits": [
            {"rank": rank, "score": round(each.score, 6), "photo": each.photo, "path": each.path}
            for rank, each in enumerate(found, 1)
        ],
    }
    print(json.dumps(data, ensure_ascii=False, indent=1, default=str))


def _print_table(photos: PhotoIndex, found: list[Match]) -> None:
    """Print a line per photo, with nothing cut off, so that it can be read on by other tools."""
    print("rank  score  photo")
    for rank, each in enumerate(found, 1):
        print(f"{rank:>4} {each.score:>6.3f}  {each.photo}")
    print(
        f"{len(found)} of {counted(len(photos), 'photo')} in {photos.manifest.root}, "
        f"by {photos.space.checkpoint}",
        file=sys.stderr,
    )
