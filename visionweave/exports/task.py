"""What the writers of all formats share: the photos to be written, and what they leave unsaid."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from visionweave.errors import ImageError, JobError
from visionweave.exports.frame import Frame, to_stored
from visionweave.exports.objects import JobObjects, PhotoObject, PhotoObjects
from visionweave.exports.outline import Outline, trace
from visionweave.exports.place import Place
from visionweave.exports.results import Results
from visionweave.photo.decode import Header, read_header

__all__ = ["UNNAMED", "Options", "Photos", "Task", "beside"]

Photos = Literal["none", "link", "copy"]

UNNAMED = "object"
"""The class of objects without a label, in formats where each has one."""

TURNED = (
    "photos with an EXIF orientation, whose objects are in the frame of the upright photo (for a "
    "tool that reads pixels as they are stored: --frame raw)"
)
STORED = "photos whose objects are in the frame that the file stores: read them without EXIF"
RESIZED = (
    "photos whose objects were found in a picture of another size, and are in that picture's frame"
)
HOLES = "holes filled, as polygons cannot have any"
CHANGED = "photos that changed since the job, whose objects are those of before: run it again"
NOTHING = "photos without objects"
PARTLY = "photos of which some steps failed, and whose results are not complete (failures.jsonl)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to export; each format takes some of these.

    Attributes:
        output: the output that holds the objects, or the meshes; None to find it.
        frame: "upright", as photos are looked at, or "raw": as the pixels lie in the file.
        polygons: outlines in place of masks, where the format has both.
        tolerance: by how many pixels polygons may differ from masks, to have fewer corners.
        classes: the classes, in this order; None for the labels that there are, sorted.
        photos: whether the photos themselves are linked into the export, or copied.
    """

    output: str | None = None
    frame: Frame = "upright"
    polygons: bool = False
    tolerance: float = 0.0
    classes: tuple[str, ...] | None = None
    photos: Photos = "none"

    def __post_init__(self) -> None:
        for name, choices in (("frame", get_args(Frame)), ("photos", get_args(Photos))):
            if getattr(self, name) not in choices:
                raise JobError(
                    f"{name} must be {' or '.join(choices)}; got {getattr(self, name)!r}"
                )
        if self.tolerance < 0:
            raise JobError(f"tolerance must be 0 pixels or more; got {self.tolerance}")
        if self.classes is not None and len(set(self.classes)) != len(self.classes):
            raise JobError(f"classes must be different; got {', '.join(self.classes)}")


@dataclass(slots=True)
class Task:
    """One export.

    Attributes:
        results: the job's results.
        place: where it goes.
        options: how.
        notes: what a reader of the export should know, with how often it is so.
        objects: the job's objects, for the formats that are of objects.
        photos: how many photos were written.
        written: how many objects, or files of meshes.
        used: the outputs that were exported.
    """

    results: Results
    place: Place
    options: Options
    notes: Counter[str] = field(default_factory=Counter)
    photos: int = 0
    written: int = 0
    used: set[str] = field(default_factory=set)
    _objects: JobObjects | None = None

    @property
    def left_out(self) -> dict[str, int]:
        """How many photos are not in the export, by why."""
        failed = len(self.results.entries) - self.photos
        counts = {"failed": failed, "unfinished": self.results.unfinished}
        return {why: count for why, count in counts.items() if count}

    @property
    def objects(self) -> JobObjects:
        """The job's objects.

        Raises:
            JobError: it has none.
        """
        if self._objects is None:
            self._objects = JobObjects(self.results, self.options.output)
            self.used.add(self._objects.output.name)
        return self._objects

    def classes(self) -> dict[str, int]:
        """The classes, with their numbers from 0.

        Raises:
            JobError: an object is of none of the classes that were given.
        """
        found = {label or UNNAMED for label in self.objects.labels()}
        given = self.options.classes
        others = sorted(found - set(given or found))
        if others:
            raise JobError(f"there are objects of other classes: {', '.join(others)}; add them")
        return {name: index for index, name in enumerate(given or sorted(found))}

    def read(self) -> Iterator[PhotoObjects]:
        """The photos with their objects, in the frame that was asked for."""
        for photo in self.objects:
            placed = self._placed(photo)
            self.photos += 1
            self.notes[NOTHING] += not len(photo)
            yield placed

    def outline(self, photo: PhotoObjects, each: PhotoObject) -> Outline:
        """The outline of an object's mask; its holes are noted."""
        assert photo.masks is not None
        assert each.window is not None
        crop = photo.masks.crop(each.index, each.window)
        outline = trace(crop, *each.window[:2], self.options.tolerance)
        self.notes[HOLES] += outline.holes
        return outline

    def bring(self, photo: PhotoObjects, name: str) -> None:
        """Link or copy a photo into the export, if that was asked for."""
        if self.options.photos == "none":
            return
        if photo.path is None or not photo.path.is_file():
            raise JobError(f"{photo.path or photo.name} is not there; export with --photos none")
        self.notes[CHANGED] += photo.has_changed()
        self.place.bring(name, photo.path, link=self.options.photos == "link")

    def _placed(self, photo: PhotoObjects) -> PhotoObjects:
        header = self._header(photo)
        if header is None:
            return photo
        self.notes[RESIZED] += header.size_wh != photo.image_hw[::-1]
        if self.options.frame == "upright":
            self.notes[TURNED] += header.orientation != 1
            return photo
        self.notes[STORED] += header.orientation != 1
        return dataclasses.replace(photo, found=to_stored(photo.found, header.orientation))

    def _header(self, photo: PhotoObjects) -> Header | None:
        """What the photo's file says of itself; None if it is not there, and not needed."""
        needed = self.options.frame == "raw"
        if photo.path is None:
            return Header(photo.image_hw[::-1], "") if needed else None
        try:
            return read_header(photo.path)
        except ImageError as error:
            if needed:
                raise JobError(f"{error}; --frame raw asks for its EXIF orientation") from None
            return None


def beside(photo: str, suffix: str) -> str:
    """The name of a file that belongs to a photo: another suffix, in the place of its own."""
    return str(Path(photo).with_suffix(suffix).as_posix())
