"""Writing results: one folder per photo, one file per value, nothing half-written.

out/street/004/tags.json
out/street/004/cutouts/2-apple.png      one file per element of a list
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

from visionweave.atomic import write_atomic
from visionweave.execution.executor import Result
from visionweave.values import Origin, Value

__all__ = ["write_result"]

Files = str | list["Files"]
"""The files of an output, in the shape of its lists."""


def write_result(result: Result, out: Path, folder: str) -> dict[str, Any]:
    """Write the outputs of one photo.

    Args:
        result: what came of the photo.
        out: the job's folder.
        folder: the photo's folder below it; "" for the job's folder itself.

    Returns:
        For each output, the path of its file below `out`, or (nested) lists of paths.

    Raises:
        OSError: a file cannot be written.
    """
    return {
        name: _write(value, out, str(PurePosixPath(folder, name)))
        for name, value in result.outputs.items()
    }


def _write(value: Any, out: Path, stem: str) -> Files:
    if isinstance(value, Value):
        name = stem + value.SUFFIX
        write_atomic(out / name, value.to_bytes())
        return name
    written: list[Files] = []
    taken: set[str] = set()
    for index, each in enumerate(value):
        name = _element_name(each, index)
        while name in taken:
            name = f"{name}-{index}"
        taken.add(name)
        written.append(_write(each, out, f"{stem}/{name}"))
    return written


def _element_name(value: Any, index: int) -> str:
    """What the file of a list's element is called: its object and label, else its place."""
    origin = getattr(value, "origin", None)
    if not isinstance(origin, Origin) or origin.object is None:
        return str(index)
    label = re.sub(r"[^\w]+", "-", origin.label).strip("-_")[:40]
    return f"{origin.object}-{label}" if label else str(origin.object)
