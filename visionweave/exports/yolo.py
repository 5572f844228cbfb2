"""YOLO: a text file per photo with a line per object, as Ultralytics' YOLO reads it.

    data.yaml              where the photos are, and the classes
    classes.txt            the classes, one a line
    images/street/004.jpg  the photos, if they were asked for
    labels/street/004.txt  "class x y width height", or "class x1 y1 x2 y2 ...", as shares of the
                           photo's width and height

A photo without objects has an empty file, which says that nothing is in it. YOLO finds labels by
writing labels/ for the last images/ in a photo's path: folders of photos that are called images are
called images_ here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np

from visionweave.errors import JobError
from visionweave.exports.objects import PhotoObject, PhotoObjects
from visionweave.exports.outline import join
from visionweave.exports.task import UNNAMED, Task, beside

__all__ = ["write_yolo", "write_yolo_seg"]

OUTSIDE = "objects left out, as no part of their box lies in the photo"
EMPTY = "objects left out, as their mask has no pixel"
PARTS = "objects of several parts, joined by lines without width"
SCORES = "objects whose score, number and flags are not in this format"
LABELS_ONLY = "photos to be put into images/ beside labels/ (--photos link or copy does that)"
IMAGES = "photos in a folder called images, which is images_ here, so that YOLO finds their labels"

Shape = Callable[[Task, PhotoObjects, PhotoObject], Sequence[float] | None]


def write_yolo(task: Task) -> None:
    """Write the boxes of objects, cut off at the photo's border."""
    _write(task, _box)


def write_yolo_seg(task: Task) -> None:
    """Write the outlines of objects: one polygon each, which begins with the largest part.

    Holes are filled, and parts are joined by lines without width.

    Raises:
        JobError: the job has no masks.
    """
    if task.objects.output.kind != "Masks":
        name = task.objects.output.name
        raise JobError(f"yolo-seg needs masks, and output '{name}' holds Boxes; --format yolo")
    _write(task, _polygon)


def _write(task: Task, shape: Shape) -> None:
    classes = task.classes()
    _check_names(task.objects.names)
    for photo in task.read():
        lines = []
        for each in photo:
            numbers = shape(task, photo, each)
            if numbers is not None:
                shares = " ".join(f"{number:.6f}" for number in numbers)
                lines.append(f"{classes[each.label or UNNAMED]} {shares}\n")
        name = _name(photo.name)
        task.place.write(f"labels/{beside(name, '.txt')}", "".join(lines))
        task.bring(photo, f"images/{name}")
        task.notes[IMAGES] += name != photo.name
        task.written += len(lines)
    task.notes[SCORES] = task.written
    task.notes[LABELS_ONLY] = task.photos * (task.options.photos == "none")
    task.place.write("classes.txt", "".join(f"{_one_line(name)}\n" for name in classes))
    task.place.write("data.yaml", _data_yaml(classes))


def _box(task: Task, photo: PhotoObjects, each: PhotoObject) -> Sequence[float] | None:
    height, width = photo.image_hw
    x1, y1, x2, y2 = np.clip(each.xyxy, 0, [width, height, width, height]).tolist()
    if x1 == x2 or y1 == y2:
        task.notes[OUTSIDE] += 1
        return None
    middle = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height)
    return *middle, (x2 - x1) / width, (y2 - y1) / height


def _polygon(task: Task, photo: PhotoObjects, each: PhotoObject) -> Sequence[float] | None:
    parts = task.outline(photo, each).parts
    if not parts:
        task.notes[EMPTY] += 1
        return None
    task.notes[PARTS] += len(parts) > 1
    height, width = photo.image_hw
    shares: list[float] = (join(parts) / [width, height]).ravel().tolist()
    return shares


def _name(photo: str) -> str:
    """The name of a photo below images/, and of its labels below labels/."""
    *folders, file = photo.split("/")
    return "/".join([*("images_" if each == "images" else each for each in folders), file])


def _check_names(names: list[str]) -> None:
    """Refuse photos that would share a file, which YOLO finds by the photo's name alone."""
    seen: dict[str, str] = {}
    for name in names:
        file = beside(_name(name), ".txt")
        other = seen.setdefault(file, name)
        if other != name:
            raise JobError(
                f"{other} and {name} would share labels/{file}, as YOLO names labels by the photo "
                "without its suffix; rename one, or use another --format"
            )


def _data_yaml(classes: dict[str, int]) -> str:
    # JSON's texts are YAML's too.
    names = "".join(
        f"  {index}: {json.dumps(name, ensure_ascii=False)}\n" for name, index in classes.items()
    )
    return (
        "# Paths are relative to this file. Both are the same photos: take some out of train to\n"
        "# validate with.\n"
        f"train: images\nval: images\nnames:{' {}' if not classes else ''}\n{names}"
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())
