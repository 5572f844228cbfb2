"""The objects of a photo: boxes and masks of several outputs, each object once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from visionweave.values import Box, Boxes, Masks
from visionweave.values.small import small_objects

__all__ = ["Thing", "merge", "small_masks"]

SAME = 0.5
"""How much two boxes of the same id and label overlap (IoU) that are one object's: masks have
tighter boxes than detectors give, and two detectors may use an id twice."""


@dataclass(slots=True)
class Thing:
    """An object, as the outputs of a photo tell of it.

    Attributes:
        id, label, score, flags: as in `Boxes`; of several outputs, the last.
        box: in pixels of the photo.
        outputs: the names of the outputs that it is in.
        mask: the masks that its own is among, and its index there; None without a mask.
    """

    id: int
    label: str
    score: float
    flags: tuple[str, ...]
    box: Box
    outputs: list[str]
    mask: tuple[Masks, int] | None


def merge(
    found: Sequence[tuple[str, Boxes | Masks]], size_wh: tuple[int, int]
) -> tuple[list[Thing], list[str]]:
    """Bring the objects of several outputs together.

    Args:
        found: outputs by name, in the order of the pipeline.
        size_wh: of the photo. What was found on a smaller copy of it is scaled.

    Returns:
        The objects; and the outputs that cannot be shown on the photo, since they were found on a
        picture of another shape, such as a crop.
    """
    things: list[Thing] = []
    elsewhere: list[str] = []
    for name, value in found:
        height, width = value.image_hw
        across, down = size_wh[0] / width, size_wh[1] / height
        if abs(across * height - size_wh[1]) > max(2, 0.01 * size_wh[1]):
            elsewhere.append(name)
            continue
        for thing in _things(name, value, np.array([across, down, across, down])):
            _add(things, thing)
    return things, elsewhere


def small_masks(thing: Thing, side: int) -> tuple[int, int, str] | None:
    """Return an object's mask, shrunk so that its long side has `side` pixels: (h, w, RLE)."""
    if thing.mask is None:
        return None
    masks, index = thing.mask
    height, width = masks.image_hw
    scale = min(1.0, side / max(height, width))
    h, w = max(1, round(height * scale)), max(1, round(width * scale))
    return h, w, small_objects(masks[[index]], (h, w)).counts[0].decode("ascii")


def _things(name: str, value: Boxes | Masks, scale: np.ndarray) -> list[Thing]:
    boxes = value.boxes if isinstance(value, Masks) else value
    return [
        Thing(
            id=int(boxes.ids[index]),
            label=boxes.labels[index],
            score=float(boxes.scores[index]),
            flags=boxes.flags[index],
            box=tuple((boxes.xyxy[index] * scale).tolist()),
            outputs=[name],
            mask=(value, index) if isinstance(value, Masks) else None,
        )
        for index in range(len(boxes))
    ]


def _add(things: list[Thing], new: Thing) -> None:
    """Add an object, or what is new of it to the one that it is."""
    for old in things:
        if (old.id, old.label) == (new.id, new.label) and _iou(old.box, new.box) >= SAME:
            old.score, old.flags = new.score, new.flags or old.flags
            old.outputs += [name for name in new.outputs if name not in old.outputs]
            if new.mask is not None:
                old.box, old.mask = new.box, new.mask
            return
    things.append(new)


def _iou(a: Box, b: Box) -> float:
    across = min(a[2], b[2]) - max(a[0], b[0])
    down = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(across, 0) * max(down, 0)
    union = _area(a) + _area(b) - shared
    return shared / union if union > 0 else float(a == b)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
