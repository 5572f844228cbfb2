"""The results of one photo as plain data: what the page shows of each value."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import PIL.Image

from visionweave.errors import ValueTypeError
from visionweave.report.meshes import mesh_script
from visionweave.report.shelf import Shelf, key_of
from visionweave.values import (
    TYPES,
    Boxes,
    Embedding,
    Hits,
    Masks,
    Mesh,
    Origin,
    Tags,
    Text,
    Value,
    Views,
)
from visionweave.values.base import check_stamp

__all__ = ["Shown", "link", "read_results", "show_overlay"]

HITS = 50
"""How many hits of a search are shown."""


@dataclass(slots=True)
class Shown:
    """What a photo's results have to show; each entry is plain data, "output" says whence it is.

    Attributes:
        drawn: outputs that are drawn on the photo.
        problems: results that are not there, or cannot be read.
    """

    drawn: list[tuple[str, Boxes | Masks]] = field(default_factory=list)
    texts: list[dict[str, Any]] = field(default_factory=list)
    tags: list[dict[str, Any]] = field(default_factory=list)
    cutouts: list[dict[str, Any]] = field(default_factory=list)
    pictures: list[dict[str, Any]] = field(default_factory=list)
    meshes: list[dict[str, Any]] = field(default_factory=list)
    others: list[dict[str, Any]] = field(default_factory=list)
    problems: list[dict[str, Any]] = field(default_factory=list)

    @property
    def words(self) -> str:
        """Captions and tags, to be searched."""
        tags = (phrase for each in self.tags for phrase, _ in each["tags"])
        return "\n".join([*(each["text"] for each in self.texts), *tags])


def read_results(files: tuple[tuple[str, str], ...], out: Path, shelf: Shelf) -> Shown:
    """Read the results of a photo.

    Args:
        files: names of outputs, and paths below `out`.
        out: the job's folder.
        shelf: takes what a browser cannot read as it is.
    """
    shown = Shown()
    for output, file in files:
        about = {"output": output, "url": link(out / file, shelf.folder)}
        try:
            _read(out / file, about, shown, shelf)
        except FileNotFoundError:
            shown.problems.append({"output": output, "file": file, "message": "the file is gone"})
        except (OSError, ValueTypeError) as error:
            message = getattr(error, "strerror", None) or str(error)
            shown.problems.append({"output": output, "file": file, "message": message})
    return shown


def show_overlay(file: str, out: Path, shown: Shown, shelf: Shelf) -> None:
    """Show the photo with its objects drawn, as the job drew it: the first of the pictures."""
    try:
        with PIL.Image.open(out / file, formats=["JPEG"]) as picture:
            about = {"output": "overlay", "url": link(out / file, shelf.folder)}
            shown.pictures.insert(0, about | {"size": picture.size})
    except OSError as error:
        message = "the file is gone" if isinstance(error, FileNotFoundError) else "it is damaged"
        shown.problems.append({"output": "overlay", "file": file, "message": message})


def link(path: Path, folder: Path) -> str:
    """The address of a file for a page in `folder`: relative, so that both can move together."""
    return quote(os.fsencode(os.path.relpath(path, folder)).replace(os.fsencode(os.sep), b"/"))


def _read(path: Path, about: dict[str, Any], shown: Shown, shelf: Shelf) -> None:
    if path.suffix == ".png":
        _show_picture(path, about, shown)
        return
    data = path.read_bytes()
    value = TYPES[_type_of(path.suffix, data)].from_bytes(data)
    if isinstance(value, (Boxes, Masks)):
        shown.drawn.append((about["output"], value))
        return
    show: _Show = _SHOW.get(type(value), _show_other)
    show(value, about, shown, shelf)


def _type_of(suffix: str, data: bytes) -> str:
    """The type that a file says it holds.

    Raises:
        ValueTypeError: it says none that is known.
    """
    try:
        if suffix == ".glb":
            found = "Mesh"
        elif suffix == ".safetensors":
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            found = json.loads(header["__metadata__"]["visionweave"])["type"]
        else:
            found = json.loads(data)["type"]
        if found in TYPES:
            return str(found)
    except (ValueError, KeyError, TypeError):
        pass
    raise ValueTypeError("it is no file of visionweave's, or it is damaged")


def _show_picture(path: Path, about: dict[str, Any], shown: Shown) -> None:
    """Show an Image or a Cutout by its header alone: the browser reads the pixels."""
    try:
        with PIL.Image.open(path, formats=["PNG"]) as picture:
            note = json.loads(picture.info.get("visionweave", "null"))
            about["size"] = picture.size
    except (SyntaxError, ValueError, PIL.UnidentifiedImageError):
        raise ValueTypeError("it is no PNG, or it is damaged") from None
    kind = "Cutout" if isinstance(note, dict) and note.get("type") == "Cutout" else "Image"
    fields = check_stamp(kind, note)
    about |= _whose(Origin.from_json(fields.get("origin", {})))
    (shown.cutouts if kind == "Cutout" else shown.pictures).append(about)


def _show_text(value: Text, about: dict[str, Any], shown: Shown, shelf: Shelf) -> None:
    shown.texts.append(about | {"text": value.text} | _whose(value.origin))


def _show_tags(value: Tags, about: dict[str, Any], shown: Shown, shelf: Shelf) -> None:
    tags = [
        [phrase, _round(score)] for phrase, score in zip(value.phrases, value.scores, strict=True)
    ]
    shown.tags.append(about | {"tags": tags} | _whose(value.origin))


def _show_mesh(value: Mesh, about: dict[str, Any], shown: Shown, shelf: Shelf) -> None:
    colours = b"" if value.colours is None else value.colours.tobytes()
    key = key_of("mesh", value.vertices.tobytes(), value.faces.tobytes(), colours)
    name = f"meshes/{key}"
    about["data"] = shelf.put("meshes", key, ".js", lambda: mesh_script(name, value))
    about |= {"name": name, "vertices": len(value.vertices), "faces": len(value.faces)}
    shown.meshes.append(about | _whose(value.origin))


def _show_views(value: Views, about: dict[str, Any], shown: Shown, shelf: Shelf) -> None:
    """Show views side by side in one picture."""

    def strip() -> bytes:
        data = io.BytesIO()
        PIL.Image.fromarray(np.hstack(list(value.images))).save(data, "JPEG", quality=85)
        return data.getvalue()

    if not len(value):
        _show_other(value, about, shown, shelf)
        return
    _, height, width, _ = value.images.shape
    about["file"], about["size"] = about["url"], [width * len(value), height]
    about["url"] = shelf.put("views", key_of("views", value.images.tobytes()), ".jpg", strip)
    shown.pictures.append(about | _whose(value.origin))


def _show_other(value: Value, about: dict[str, Any], shown: Shown, shelf: Shelf) -> None:
    """Say in a line what a value is that has no picture of its own."""
    match value:
        case Embedding():
            what = f"{len(value.vector)} numbers in the space {value.space}"
        case Hits():
            lines = (
                f"{score:.3f}  {key}" for key, score in zip(value.keys, value.scores, strict=True)
            )
            what = "\n".join([value.query, *list(lines)[:HITS]]).strip()
        case _:
            what = f"{len(value)} in all" if hasattr(value, "__len__") else ""
    shown.others.append(about | {"type": type(value).__name__, "about": what})


_Show = Callable[[Any, dict[str, Any], Shown, Shelf], None]
_SHOW: dict[type[Value], _Show] = {
    Text: _show_text,
    Tags: _show_tags,
    Mesh: _show_mesh,
    Views: _show_views,
}


def _whose(origin: Origin) -> dict[str, Any]:
    """The object that a value is of; empty where it is the photo's."""
    if origin.object is None:
        return {}
    score = None if origin.score is None else _round(origin.score)
    found = {"object": origin.object, "label": origin.label, "score": score}
    return found | ({"flags": list(origin.flags)} if origin.flags else {})


def _round(score: float) -> float:
    return round(float(score), 4)
