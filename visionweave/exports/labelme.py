"""LabelMe: a JSON file per photo, for looking at objects and correcting them by hand.

https://github.com/wkentaro/labelme. A mask is LabelMe's shape of that name: its part of the photo
as a PNG, bit by bit. Score, box and number are in fields of their own, which LabelMe keeps. As
LabelMe turns photos upright by their EXIF orientation, everything fits what it shows.
"""

from __future__ import annotations

import base64
import io
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

from visionweave.exports.objects import PhotoObject, PhotoObjects
from visionweave.exports.place import MANIFEST
from visionweave.exports.task import UNNAMED, Task, beside

__all__ = ["write_labelme"]

VERSION = "5.5.0"
"""Of LabelMe, whose form this is; the first with masks is 5.3."""

EMPTY = "objects left out, as their mask has no pixel"

NO_UNICODE = "photos whose path is no Unicode: LabelMe can read it from imagePath, others may not"


def write_labelme(task: Task) -> None:
    """Write the objects of each photo as LabelMe's JSON.

    Masks are shapes of type "mask" or, if so asked, "polygon": one for each part, with the object's
    number as group_id. Boxes alone are of type "rectangle".
    """
    names = _names(task.objects.names)
    for photo in task.read():
        name = names[photo.name]
        height, width = photo.image_hw
        data: dict[str, Any] = {
            "version": VERSION,
            "flags": {},
            "shapes": [shape for each in photo for shape in _shapes(task, photo, each)],
            "imagePath": _image_path(task, photo, name),
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        text = json.dumps(data, ensure_ascii=False, indent=1) + "\n"
        # A path that is no Unicode has surrogates; these become JSON's escapes.
        task.place.write(name, text.encode("utf-8", "backslashreplace"))
        task.bring(photo, photo.name)


def _names(photos: list[str]) -> dict[str, str]:
    """The file of each photo: named without the photo's suffix, where no other has that name."""
    uses = Counter(beside(photo, ".json") for photo in photos)
    taken = {MANIFEST}
    names = {}
    for photo in sorted(photos, key=len):  # x.png before x.png.png, whose file its own may be
        short = beside(photo, ".json")
        alone = uses[short] == 1 and short not in taken
        names[photo] = short if alone else f"{photo}.json"
        taken.add(names[photo])
    return names


def _image_path(task: Task, photo: PhotoObjects, name: str) -> str:
    """Where the photo is, seen from its JSON file."""
    if photo.path is None or task.options.photos != "none":
        return Path(photo.name).name
    folder = Path(os.path.abspath(task.place.path / name)).parent  # noqa: PTH100 - no resolve()
    path = Path(os.path.relpath(photo.path, folder)).as_posix()
    task.notes[NO_UNICODE] += path != path.encode("utf-8", "replace").decode()
    return path


def _shapes(task: Task, photo: PhotoObjects, each: PhotoObject) -> list[dict[str, Any]]:
    task.written += 1
    masks = photo.masks
    if masks is None:
        (x1, y1, x2, y2) = photo.boxes.clip().xyxy[each.index].tolist()
        return [_shape(each, "rectangle", [[x1, y1], [x2, y2]])]
    if task.options.polygons:
        parts = task.outline(photo, each).parts
        if not parts:
            task.written -= 1
            task.notes[EMPTY] += 1
        return [_shape(each, "polygon", part.tolist()) for part in parts]
    assert each.window is not None
    x1, y1, x2, y2 = each.window
    if not each.area:  # LabelMe knows no mask without a pixel; one that is empty says as much
        x2, y2 = 1, 1
    crop = masks.crop(each.index, (x1, y1, x2, y2))
    points = [[x1, y1], [x2 - 1, y2 - 1]]  # the first pixel and the last
    return [_shape(each, "mask", points) | {"mask": _png(crop)}]


def _shape(each: PhotoObject, kind: str, points: list[Any]) -> dict[str, Any]:
    return {
        "label": each.label or UNNAMED,
        "points": points,
        "group_id": each.id,
        "description": "",
        "shape_type": kind,
        "flags": dict.fromkeys(each.flags, True),
        "score": each.score,
        "box": each.xyxy,
    }


def _png(mask: npt.NDArray[np.bool_]) -> str:
    buffer = io.BytesIO()
    PIL.Image.fromarray(mask.view(np.uint8)).save(buffer, "PNG", compress_level=1)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
