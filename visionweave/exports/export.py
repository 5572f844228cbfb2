"""Exporting the results of a job: which formats there are, and what each can be told."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visionweave.errors import JobError, did_you_mean
from visionweave.exports import coco, labelme, table, yolo
from visionweave.exports.meshes import mesh_writer
from visionweave.exports.place import Place
from visionweave.exports.results import Results
from visionweave.exports.task import PARTLY, Options, Task

__all__ = ["FORMATS", "Exported", "Format", "export_job", "write_annotations"]


@dataclass(frozen=True, slots=True)
class Format:
    """A format.

    Attributes:
        write: what writes it.
        what: what is written, for messages.
        takes: the options that it takes, besides `output`.
        file: the name of its only file; "" for a format of many files.
    """

    write: Callable[[Task], None]
    what: str
    takes: frozenset[str] = frozenset()
    file: str = ""


def _takes(*names: str) -> frozenset[str]:
    return frozenset(names)


FORMATS = {
    "coco": Format(
        coco.write_coco, "objects", _takes("frame", "polygons", "tolerance", "classes"), coco.NAME
    ),
    "yolo": Format(yolo.write_yolo, "objects", _takes("frame", "classes", "photos")),
    "yolo-seg": Format(
        yolo.write_yolo_seg, "objects", _takes("frame", "tolerance", "classes", "photos")
    ),
    "labelme": Format(
        labelme.write_labelme, "objects", _takes("frame", "polygons", "tolerance", "photos")
    ),
    "csv": Format(table.write_csv, "objects", _takes("frame"), table.NAME),
    "glb": Format(mesh_writer(".glb"), "meshes"),
    "obj": Format(mesh_writer(".obj"), "meshes"),
    "ply": Format(mesh_writer(".ply"), "meshes"),
}
"""The formats by name."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was exported.

    Attributes:
        path: the folder or file that was written.
        what: "objects" or "meshes".
        count: how many of these.
        photos: of how many photos.
        left_out: how many photos had no results, by why: "failed", "unfinished".
        notes: what the reader of the files should know, with how often it is so.
        outputs_left_out: the outputs that the export does not hold.
    """

    path: Path
    what: str
    count: int
    photos: int
    left_out: dict[str, int]
    notes: dict[str, int]
    outputs_left_out: list[str]


def export_job(
    out: str | os.PathLike[str],
    format: str,
    to: str | os.PathLike[str] | None = None,
    *,
    overwrite: bool = False,
    **options: Any,
) -> Exported:
    """Export the results of a job.

    A job that is still running is exported as far as it is. Photos that failed are left out, and
    counted; photos without objects are in the export, without any.

    Args:
        out: the job's folder.
        format: "coco", "yolo", "yolo-seg", "labelme", "csv", "glb", "obj" or "ply".
        to: the folder to write to or, for "coco" and "csv", a .json or .csv file; when None,
            exports/FORMAT in the job's folder.
        overwrite: whether files may be replaced that no export wrote, or that were changed since.
        options: see `Options`; each format takes some.

    Raises:
        JobError: there is nothing of that kind to export, an option does not fit, or the files
            cannot be written.
    """
    out = Path(out)
    chosen = _format(format)
    given = _options(format, chosen, options)
    path = out / "exports" / format if to is None else Path(to)
    is_file = bool(chosen.file) and path.suffix == Path(chosen.file).suffix and not path.is_dir()
    results = Results(out)
    with Place(path, is_file=is_file, overwrite=overwrite) as place:
        task = Task(results, place, given)
        chosen.write(task)
        task.notes[PARTLY] = sum(entry.status == "partial" for entry in results.entries)
        exported = _report(task, chosen, path if is_file else path / chosen.file)
        place.about = {"format": format, "options": dataclasses.asdict(given)} | {
            name: getattr(exported, name)
            for name in ("what", "count", "photos", "left_out", "notes")
        }
    return exported


def write_annotations(out: Path) -> Path | None:
    """Write annotations.coco.json at the top of a job's folder; return its path.

    It is the job's own file, and replaced. Where it is not plain which output holds the objects, or
    none does, there is none.
    """
    path = out / coco.NAME
    results = Results(out)
    kinds = [each.kind for each in results.outputs.values() if not each.many]
    fitting = kinds.count("Masks") or kinds.count("Boxes")
    if fitting != 1:
        path.unlink(missing_ok=True)
        return None
    with Place(path, is_file=True, overwrite=True) as place:
        coco.write_coco(Task(results, place, Options()))
    return path


def _format(name: str) -> Format:
    if name not in FORMATS:
        hint = did_you_mean(name, FORMATS) or f"there are {', '.join(FORMATS)}"
        raise JobError(f"there is no format {name!r}; {hint}")
    return FORMATS[name]


def _options(name: str, format: Format, given: dict[str, Any]) -> Options:
    """Return the options, which the format must take."""
    options, default = Options(**given), Options()
    for field in dataclasses.fields(Options):
        changed = getattr(options, field.name) != getattr(default, field.name)
        if changed and field.name not in {"output", *format.takes}:
            takers = ", ".join(each for each in FORMATS if field.name in FORMATS[each].takes)
            raise JobError(f"--{field.name} is not for {name}; it is for {takers}")
    if options.tolerance and "polygons" in format.takes and not options.polygons:
        raise JobError("--tolerance is for outlines; add --polygons")
    return options


def _report(task: Task, format: Format, path: Path) -> Exported:
    outputs = task.results.outputs.values()
    return Exported(
        path=path,
        what=format.what,
        count=task.written,
        photos=task.photos,
        left_out=task.left_out,
        notes=dict(+task.notes),
        outputs_left_out=[str(each) for each in outputs if each.name not in task.used],
    )
