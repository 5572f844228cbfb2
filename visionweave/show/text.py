"""A pipeline as text for a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from visionweave.pipeline import Pipeline
from visionweave.show.diagram import Box, make_diagram

__all__ = ["to_text"]

WIDTH = 100
WIDEST_CELL = 32
"""A longer name pushes the rest of its line, not the columns of all lines."""


def to_text(pipeline: Pipeline) -> str:
    """Return a description for a terminal: inputs, steps in order, outputs.

    Below each step stand what its ports are connected to and the settings that differ from their
    defaults, as in a pipeline file; beside it its static type, and how often it runs. A step with
    several outputs has one line for each, such as ".left  Boxes".
    """
    diagram = make_diagram(pipeline)
    groups: dict[str, list[Box]] = {"input": [], "step": [], "output": []}
    for box in diagram.boxes:
        groups[box.kind].append(box)
    given = [(box.name, box.types[""], *_pairs(box)) for box in groups["input"]]
    taken = [(box.name, box.types[""], box.ports[""]) for box in groups["output"]]
    sections = [
        diagram.description.splitlines(),
        ["inputs", *_table(given)] if given else [],
        ["steps", *_steps(groups["step"])] if groups["step"] else [],
        ["outputs", *_table(taken)],
    ]
    return "\n\n".join("\n".join(section) for section in sections if section) + "\n"


def _steps(steps: Sequence[Box]) -> list[str]:
    heads = _table([(box.name, box.node, box.types.get("", ""), box.runs) for box in steps])
    indent = 4 + min(WIDEST_CELL, max(_columns(box.name) for box in steps))
    lines = []
    for head, box in zip(heads, steps, strict=True):
        lines.append(head)
        fields = {f".{field}": kind for field, kind in box.types.items() if field}
        details = {**box.ports, **box.settings, **fields}
        width = max(map(_columns, details), default=0)
        for name, text in details.items():
            lines += _wrap(f"{' ' * indent}{_pad(name, width)}  ", text)
    return lines


def _pairs(box: Box) -> list[str]:
    return [f"{name}: {text}" for name, text in box.settings.items()]


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows with aligned columns, indented by two spaces."""
    count = max(map(len, rows), default=0)
    widths = [
        max(min(WIDEST_CELL, _columns(row[column])) for row in rows if column < len(row))
        for column in range(count)
    ]
    lines = ("  ".join(map(_pad, row, widths)) for row in rows)
    return [f"  {line}".rstrip() for line in lines]


def _wrap(head: str, text: str) -> list[str]:
    """Break a text between its words, where it is too wide; later lines stand below the first."""
    lines, line = [], head
    for word in _words(text):
        if _columns(line) + _columns(word.rstrip()) > WIDTH and line.strip() and line != head:
            lines.append(line.rstrip())
            line = " " * _columns(head)
        line += word
    return [*lines, line.rstrip()]


def _words(text: str) -> Iterable[str]:
    """The words of a text, each with the space behind it."""
    return (f"{word} " for word in text.split(" "))


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _columns(text))


def _columns(text: str) -> int:
    """How many columns of a terminal a text takes: Chinese letters take two, accents none."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )
