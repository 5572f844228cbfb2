"""What a job has left in its folder: its photos, and of what type each of its outputs is."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL.Image

from visionweave.errors import JobError
from visionweave.jobs.journal import DONE, Entry
from visionweave.jobs.repeat import entries_of

__all__ = ["Output", "Results", "files_of", "read_stamp", "reading"]


@dataclass(frozen=True, slots=True)
class Output:
    """An output of the pipeline, as it lies in the folder.

    Attributes:
        name: its name.
        kind: the type of its values, such as "Masks"; "" when no photo has any.
        many: whether a photo has a list of them.
        of_objects: whether each of the list says which object it is of.
    """

    name: str
    kind: str
    many: bool
    of_objects: bool = False

    def __str__(self) -> str:
        many = "a list of " if self.many else ""
        return f"{self.name} ({many}{self.kind})" if self.kind else f"{self.name} (all empty)"


class Results:
    """The results in the folder of a job, which may be running still.

    Args:
        out: the folder.

    Attributes:
        out: the folder.
        entries: the photos that came to an end, sorted by name.
        unfinished: how many did not, so far.
        outputs: the outputs by name, sorted.

    Raises:
        JobError: the folder holds no job.
    """

    def __init__(self, out: Path) -> None:
        found = entries_of(out)
        if not found and not (out / "run.json").is_file():
            raise JobError(f"{out} holds no results of visionweave; expected the --out of a run")
        self.out = out
        self.entries = [found[name] for name in sorted(found) if found[name].status in DONE]
        self.unfinished = sum(entry.status == "writing" for entry in found.values())
        self.outputs = {name: self._output(name) for name in _names(self.entries)}

    @property
    def failed(self) -> Counter[str]:
        """How many photos have no results, by why."""
        failed = sum(not entry.outputs for entry in self.entries)
        return +Counter({"failed": failed, "unfinished": self.unfinished})

    def _output(self, name: str) -> Output:
        many, kind = False, ""
        for entry in self.entries:
            many = many or isinstance(entry.outputs.get(name), list)
            for file in files_of(entry, name):
                stamp = read_stamp(self.out / file)
                if "type" in stamp:
                    numbered = "object" in stamp.get("origin", {})
                    return Output(name, stamp["type"], many, many and numbered)
                kind = "file"  # unless the next one says more: this one may be damaged
        return Output(name, kind, many, many and not kind)


def files_of(entry: Entry, output: str) -> Iterator[str]:
    """The files of an output of a photo, below the job's folder; none where it failed."""
    return _flat(entry.outputs.get(output, []))


def _flat(files: Any) -> Iterator[str]:
    if isinstance(files, str):
        yield files
    elif isinstance(files, dict):
        yield files["file"]
    else:
        for each in files:
            yield from _flat(each)


def _names(entries: list[Entry]) -> list[str]:
    return sorted({name for entry in entries for name in entry.outputs})


def read_stamp(path: Path) -> dict[str, Any]:
    """What a value's file says of itself, without decoding it: its type, its origin if it has one.

    Pixels and vertices are not read. A file that says nothing gives {}.

    Raises:
        JobError: there is no such file, or it cannot be read.
    """
    readers = {".json": _of_json, ".png": _of_png, ".glb": _of_glb, ".safetensors": _of_tensors}
    reader = readers.get(path.suffix)
    with reading(path):
        try:
            found = reader(path) if reader else None
        except PIL.UnidentifiedImageError:
            found = None
        except OSError:
            raise
        except Exception:  # damaged files, and those of others, make readers raise nearly anything
            found = None
    return found if isinstance(found, dict) else {}


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn the system's errors in reading a result into one that says what to do."""
    try:
        yield
    except FileNotFoundError:
        raise JobError(
            f"{path} is gone; run the job again, and it writes what is missing"
        ) from None
    except OSError as error:
        raise JobError(f"cannot read {path}: {error.strerror or error}") from error


def _of_json(path: Path) -> Any:
    return json.loads(path.read_bytes())


def _of_png(path: Path) -> Any:
    with PIL.Image.open(path, formats=["PNG"]) as picture:
        return json.loads(picture.info.get("visionweave", "null"))


def _of_glb(path: Path) -> Any:
    with path.open("rb") as file:
        head = file.read(20)  # twelve bytes of header; the first chunk's length and type
        scene = json.loads(file.read(int.from_bytes(head[12:16], "little")))
    return json.loads(scene["meshes"][0].get("extras", {}).get("visionweave", "null"))


def _of_tensors(path: Path) -> Any:
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return json.loads(header["__metadata__"]["visionweave"])
