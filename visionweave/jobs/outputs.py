"""Writing results: one folder per photo, one file per value, nothing half-written.

out/street/004/tags.json
out/street/004/cutouts/2-apple.png      one file per element of a list
out/street/004/overlay.jpg              the photo with its objects, to look at (`overlay.py`)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from visionweave.atomic import sync_folder, write_atomic
from visionweave.execution.executor import Result
from visionweave.jobs.folder import OWN_FILES
from visionweave.values import Origin, Value

__all__ = ["Files", "name_files", "write_files"]

Files = str | list["Files"]
"""The files of an output, in the shape of its lists."""


def name_files(result: Result, folder: str) -> tuple[dict[str, Files], dict[str, Value]]:
    """Name the files of what came of one photo.

    At the top of the job's folder, "_" goes after the name of an output whose file would be one of
    the job's own.

    Args:
        result: what came of it.
        folder: the photo's folder below the job's; "" for that itself.

    Returns:
        For each output, the path of its file below the job's folder, or (nested) lists of paths;
        and the value that goes into each file.
    """
    values: dict[str, Value] = {}
    outputs: dict[str, Files] = {}
    for name, value in result.outputs.items():
        stem = name
        while not folder and _is_taken(stem, value, result.outputs, name):
            stem += "_"
        outputs[name] = _name(value, str(PurePosixPath(folder, stem)), values)
    return outputs, values


def _is_taken(stem: str, value: Any, others: Mapping[str, Any], name: str) -> bool:
    """Whether an output at the top of a job's folder would take the place of something else."""
    own = stem + value.SUFFIX if isinstance(value, Value) else stem
    return own in OWN_FILES or (stem in others and stem != name)


def write_files(out: Path, values: Mapping[str, Value | bytes]) -> dict[str, int]:
    """Write files below a folder, each whole or not at all; return their sizes in bytes.

    When this returns, they are safe, even if the power fails.

    Raises:
        OSError: one cannot be written.
    """
    folders = {folder for name in values for folder in PurePosixPath(name).parents}
    new = {folder for folder in folders if not (out / folder).is_dir()}
    sizes = {}
    for name, value in values.items():
        data = value if isinstance(value, bytes) else value.to_bytes()
        write_atomic(out / name, data)
        sizes[name] = len(data)
    for folder in {PurePosixPath(name).parent for name in values} | {each.parent for each in new}:
        sync_folder(out / folder)
    return sizes


def _name(value: Any, stem: str, values: dict[str, Value]) -> Files:
    if isinstance(value, Value):
        name = stem + value.SUFFIX
        values[name] = value
        return name
    named: list[Files] = []
    taken: set[str] = set()
    for index, each in enumerate(value):
        name = _element_name(each, index)
        while name in taken:
            name = f"{name}-{index}"
        taken.add(name)
        named.append(_name(each, f"{stem}/{name}", values))
    return named


def _element_name(value: Any, index: int) -> str:
    """What the file of a list's element is called: its object and label, else its place."""
    origin = getattr(value, "origin", None)
    if not isinstance(origin, Origin) or origin.object is None:
        return str(index)
    label = re.sub(r"[^\w]+", "-", origin.label).strip("-_")[:40]
    return f"{origin.object}-{label}" if label else str(origin.object)
