"""COCO JSON (Lin et al. 2014, arXiv:1405.0312): one file with all photos and objects.

Masks are run-length encoded, as they are in the job's folder: what pycocotools decodes is the mask
bit by bit, with holes and parts. Beyond the format, an annotation has its object's score, number
and flags. Boxes are cut off at the photo's border, and rounded to 1/10,000 of a pixel.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, BinaryIO

import numpy as np

from visionweave import __version__
from visionweave.exports.objects import PhotoObject, PhotoObjects
from visionweave.exports.task import UNNAMED, Task
from visionweave.jobs.receipt import read_receipt

__all__ = ["NAME", "write_coco"]

NAME = "annotations.coco.json"

BITS = 52
"""Of the ids: programs that know numbers as float64 only keep them exact."""


def write_coco(task: Task) -> None:
    """Write the objects of a job as COCO JSON.

    Ids of photos and annotations are made from the photo's name and the object's number, so that
    they stay when photos are added. Categories are numbered from 1, in the order of the classes.
    Objects of a job that has boxes alone have an empty segmentation.
    """
    categories = {name: index + 1 for name, index in task.classes().items()}
    photo_ids, ids = _Ids(), _Ids()
    images: list[bytes] = []  # a fifth of what they take as fields
    with task.place.open(NAME) as file:
        file.write(b'{"info": ' + _line(_info(task)) + b',\n"licenses": [],\n"categories": ')
        file.write(_line([{"id": i, "name": name} for name, i in categories.items()]))
        file.write(b',\n"annotations": [')
        for photo in task.read():
            height, width = photo.image_hw
            image = {"id": photo_ids.of(photo.name), "file_name": photo.name}
            images.append(_line(image | {"width": width, "height": height}))
            for each in photo:
                annotation = {
                    "id": ids.of(f"{photo.name}#{each.id}"),
                    "image_id": image["id"],
                    "category_id": categories[each.label or UNNAMED],
                }
                shape = _shape(task, photo, each)
                more = {"score": each.score, "object": each.id, "flags": each.flags}
                _append(file, _line(annotation | shape | more), first=not task.written)
                task.written += 1
        file.write(b'],\n"images": [')
        for index, line in enumerate(images):
            _append(file, line, first=not index)
        file.write(b"]}\n")


def _shape(task: Task, photo: PhotoObjects, each: PhotoObject) -> dict[str, Any]:
    """The fields of an annotation that say where the object is."""
    height, width = photo.image_hw
    x1, y1, x2, y2 = np.clip(each.xyxy, 0, [width, height, width, height]).tolist()
    box = [round(value, 4) for value in (x1, y1, x2 - x1, y2 - y1)]
    masks, area = photo.masks, each.area
    segmentation: Any = []
    if masks is None:
        area = round((x2 - x1) * (y2 - y1), 4)
    elif task.options.polygons:
        segmentation = [part.ravel().tolist() for part in task.outline(photo, each).parts]
    else:
        counts = masks.counts[each.index].decode("ascii")
        segmentation = {"size": [height, width], "counts": counts}
    return {"bbox": box, "area": area, "segmentation": segmentation, "iscrowd": 0}


def _info(task: Task) -> dict[str, Any]:
    """What made the file; without a date, so that the same results give the same bytes."""
    pipeline = read_receipt(task.results.out / "run.json")["pipeline"]
    return {
        "description": f"visionweave {pipeline['name']}",
        "version": __version__,
        "pipeline": pipeline["hash"],
        "output": task.objects.output.name,
        "frame": task.options.frame,
    }


def _append(file: BinaryIO, line: bytes, *, first: bool) -> None:
    file.write((b"\n" if first else b",\n") + line)


def _line(data: Any) -> bytes:
    return json.dumps(data, ensure_ascii=False, allow_nan=False).encode()


class _Ids:
    """Numbers from 1 for texts: always the same for a text, different for different ones."""

    def __init__(self) -> None:
        self._taken: set[int] = set()

    def of(self, text: str) -> int:
        digest = hashlib.sha256(text.encode()).digest()
        number = int.from_bytes(digest[:8]) >> (64 - BITS)
        while number in self._taken or not number:
            number += 1
        self._taken.add(number)
        return number
