"""Meshes as GLB, OBJ or PLY, each in a file named as in the job's folder.

Label, photo and the rest of what is known of the object are in the file: in the extras of a GLB's
asset, in a comment of the others.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath

from visionweave.errors import JobError, did_you_mean
from visionweave.exports.results import Output, files_of, reading
from visionweave.exports.task import Task
from visionweave.values import Mesh

__all__ = ["mesh_writer"]


def mesh_writer(suffix: str) -> Callable[[Task], None]:
    """Return what writes the meshes of a job as files with a suffix: ".glb", ".obj" or ".ply"."""

    def write(task: Task) -> None:
        outputs = _outputs(task)
        task.used.update(output.name for output in outputs)
        for entry in task.results.entries:
            files = [file for output in outputs for file in files_of(entry, output.name)]
            for file in files:
                with reading(task.results.out / file):
                    mesh = Mesh.load(task.results.out / file)
                task.place.write(str(PurePosixPath(file).with_suffix(suffix)), mesh.encode(suffix))
            task.written += len(files)
            task.photos += any(output.name in entry.outputs for output in outputs)

    return write


def _outputs(task: Task) -> list[Output]:
    """The outputs that hold meshes, or may: lists that are empty for all photos."""
    outputs, name = task.results.outputs, task.options.output
    fitting = [each for each in outputs.values() if each.kind == "Mesh"]
    fitting = fitting or [each for each in outputs.values() if not each.kind]
    listed = ", ".join(map(str, outputs.values())) or "nothing"
    if name is not None and name not in outputs:
        hint = did_you_mean(name, outputs)
        raise JobError(f"there is no output {name!r}; {hint or f'there is {listed}'}")
    chosen = [each for each in fitting if name in (None, each.name)]
    if not chosen:
        what = f"{task.results.out}" if name is None else f"output {outputs[name]}"
        raise JobError(f"{what} holds no meshes; there is {listed}")
    return chosen
