"""The objects of a job's photos, as its files hold them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from visionweave.errors import JobError, did_you_mean
from visionweave.exports.results import Output, Results, files_of, read_stamp, reading
from visionweave.jobs.journal import Entry
from visionweave.photo.state import look
from visionweave.values import Box, Boxes, Masks

__all__ = ["JobObjects", "PhotoObject", "PhotoObjects", "choose_output"]

_KINDS: dict[str, type[Masks] | type[Boxes]] = {"Masks": Masks, "Boxes": Boxes}
"""What objects are read from, the preferred first: masks come with boxes."""


@dataclass(frozen=True, slots=True)
class PhotoObject:
    """One object.

    Attributes:
        index: its place among the photo's objects.
        id: its number in the photo, which filtering has kept.
        label: its label; "" without one.
        score: its score, with the digits that a float32 has.
        xyxy: its box in pixels, as it was found: it may stick out of the photo.
        flags: remarks on it.
        window: the whole pixels around its mask, x1, y1, x2, y2, all 0 for a mask without any;
            None where only its box is known.
        area: of its mask, or of its box.
    """

    index: int
    id: int
    label: str
    score: float
    xyxy: Box
    flags: tuple[str, ...]
    window: tuple[int, int, int, int] | None
    area: float


@dataclass(frozen=True, slots=True)
class PhotoObjects:
    """The objects of one photo.

    Attributes:
        name: the photo's name.
        path: its file; None for a picture that came from elsewhere.
        found: where the objects are: their boxes, or their masks with boxes.
        sha256: of the photo's file as the job read it; "" where that is not known.
        written_ns: when they were written, in the system's nanoseconds.
    """

    name: str
    path: Path | None
    found: Boxes | Masks
    sha256: str = ""
    written_ns: int = 0

    def __len__(self) -> int:
        return len(self.found)

    def __iter__(self) -> Iterator[PhotoObject]:
        boxes, masks = self.boxes, self.masks
        windows = None if masks is None else masks.windows()
        areas = self.found.areas
        for index, label in enumerate(boxes.labels):
            x1, y1, x2, y2 = map(_plain, boxes.xyxy[index])
            yield PhotoObject(
                index,
                int(boxes.ids[index]),
                label,
                _plain(boxes.scores[index]),
                (x1, y1, x2, y2),
                boxes.flags[index],
                None if windows is None else windows[index],
                _plain(areas[index]) if masks is None else int(areas[index]),
            )

    def has_changed(self) -> bool:
        """Whether the photo's file is not as the job read it.

        It is hashed only when its times say that it may have changed since.

        Raises:
            JobError: it cannot be read.
        """
        if self.path is None or not self.sha256:
            return False
        with reading(self.path):
            state = look(self.path)
            if max(state.mtime_ns, state.ctime_ns) < self.written_ns:
                return False
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() != self.sha256

    @property
    def boxes(self) -> Boxes:
        """The boxes of the objects."""
        return self.found.boxes if isinstance(self.found, Masks) else self.found

    @property
    def masks(self) -> Masks | None:
        """The masks of the objects; None where only boxes are known."""
        return self.found if isinstance(self.found, Masks) else None

    @property
    def image_hw(self) -> tuple[int, int]:
        """(height, width) of the picture that the objects were found in."""
        return self.found.image_hw


class JobObjects:
    """The objects of all photos of a job; loop over it to read them photo by photo.

    Args:
        results: the job's results.
        output: the output that holds them; see `choose_output`.

    Attributes:
        output: that output.
    """

    def __init__(self, results: Results, output: str | None = None) -> None:
        self.output = choose_output(results, output)
        self._results = results
        name = self.output.name
        self._entries = {each.photo: each for each in results.entries if name in each.outputs}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[PhotoObjects]:
        kind = _KINDS[self.output.kind]
        for entry in self._entries.values():
            file = self._file(entry)
            with reading(file):
                found, written_ns = kind.load(file), file.stat().st_mtime_ns
            path = Path(entry.path) if entry.path else None
            yield PhotoObjects(entry.photo, path, found, entry.sha256, written_ns)

    @property
    def names(self) -> list[str]:
        """The photos that are read, sorted."""
        return list(self._entries)

    def labels(self) -> set[str]:
        """All labels; quicker than reading the objects, which are not checked."""
        found: set[str] = set()
        for entry in self._entries.values():
            file = self._file(entry)
            with reading(file):
                data = file.read_bytes()
            try:
                fields = json.loads(data)
                found.update(fields.get("boxes", fields)["labels"])
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                kind, name = self.output.kind, type(error).__name__
                raise JobError(
                    f"{file}: expected a visionweave {kind}; got {name}: {error}; remove "
                    "it and run the job again"
                ) from None
        return found

    def parts(self) -> list[Output]:
        """The outputs that hold something for single objects: cutouts, meshes, captions."""
        return [output for output in self._results.outputs.values() if output.of_objects]

    def parts_of(self, photo: str) -> dict[int, dict[str, str]]:
        """For each object's id, the files that belong to it by output, below the job's folder."""
        found: dict[int, dict[str, str]] = {}
        for output in self.parts():
            for file in files_of(self._entries[photo], output.name):
                number = read_stamp(self._results.out / file).get("origin", {}).get("object")
                if number is not None:
                    found.setdefault(number, {}).setdefault(output.name, file)
        return found

    def _file(self, entry: Entry) -> Path:
        (name,) = files_of(entry, self.output.name)
        return self._results.out / name


def choose_output(results: Results, name: str | None = None) -> Output:
    """Return the output that objects are read from.

    Args:
        results: the job's results.
        name: its name; when None, the one that holds Masks, else the one that holds Boxes.

    Raises:
        JobError: there is none such, or several, or no photo is done.
    """
    single = [each for each in results.outputs.values() if not each.many and each.kind in _KINDS]
    listed = ", ".join(map(str, results.outputs.values()))
    if name is not None:
        return _named(results, name, single)
    for kind in _KINDS:
        fitting = [each for each in single if each.kind == kind]
        if len(fitting) > 1:
            names = ", ".join(each.name for each in fitting)
            raise JobError(f"several outputs hold {kind}: {names}; choose one with --output")
        if fitting:
            return fitting[0]
    if not listed:
        why = ", ".join(f"{count} {what}" for what, count in results.failed.items())
        raise JobError(f"{results.out} holds no photo with results ({why or 'it is empty'})")
    raise JobError(f"no output of {results.out} holds Masks or Boxes; it has {listed}")


def _named(results: Results, name: str, fitting: list[Output]) -> Output:
    for output in fitting:
        if output.name == name:
            return output
    choices = ", ".join(map(str, fitting)) or "none does"
    if name in results.outputs:
        raise JobError(f"output {results.outputs[name]} holds no Masks or Boxes; {choices}")
    hint = did_you_mean(name, results.outputs)
    raise JobError(f"there is no output {name!r}; {hint or f'objects are in: {choices}'}")


def _plain(number: np.floating[Any]) -> float:
    """A float32 with its own digits, not those of the float64 that is equal to it."""
    return float(str(number))
