"""CSV: a table with a row for each object, in UTF-8."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from visionweave.exports.results import Output
from visionweave.exports.task import Task
from visionweave.values import Text

__all__ = ["COLUMNS", "NAME", "write_csv"]

NAME = "objects.csv"

COLUMNS = ("photo", "object", "label", "score", "x1", "y1", "x2", "y2", "area", "flags")
"""The first columns; one follows for each output that is a list with something of each object."""


def write_csv(task: Task) -> None:
    """Write a row for each object.

    The box is as it was found: it may stick out of the photo. The area is that of the mask in
    pixels, else that of the box. Flags have spaces between them. The columns of outputs (cutouts,
    meshes) hold paths below the job's folder; those of texts (captions) hold the texts.
    """
    parts = task.objects.parts()
    task.used.update(output.name for output in parts)
    with task.place.open(NAME) as file:
        text = io.TextIOWrapper(file, "utf-8", newline="")
        writer = csv.writer(_Lines(text), lineterminator="\r\n")
        writer.writerow([*COLUMNS, *(output.name for output in parts)])
        writer.writerows(_rows(task, parts))
        text.detach()  # which flushes; the file is closed by who opened it


class _Lines:
    """What a table is written to: a line ends with a newline alone.

    A writer quotes the letters of its line ends only, and readers take a bare return for one, too.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, row: str) -> int:
        return self._file.write(row.removesuffix("\r\n") + "\n")


def _rows(task: Task, parts: Sequence[Output]) -> Iterator[list[Any]]:
    for photo in task.read():
        files = task.objects.parts_of(photo.name) if len(photo) else {}
        for each in photo:
            task.written += 1
            row = [photo.name, each.id, each.label, each.score, *each.xyxy, each.area]
            own = files.get(each.id, {})
            yield [*row, " ".join(each.flags), *(_cell(task, part, own) for part in parts)]


def _cell(task: Task, part: Output, files: dict[str, str]) -> str:
    file = files.get(part.name)
    if file is None:
        return ""
    return Text.load(task.results.out / file).text if part.kind == "Text" else file
