"""From the upright photo back to the rows and columns that its file stores.

Everything in visionweave is in the frame of the upright photo. A tool that does not know of EXIF
orientation reads the pixels as they are stored, and needs boxes and masks that are turned back.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import numpy as np

from visionweave.values import Boxes, Masks

__all__ = ["Frame", "to_stored"]

Frame = Literal["upright", "raw"]

Found = TypeVar("Found", Boxes, Masks, Boxes | Masks)

_WAYS = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
"""By EXIF orientation: whether to swap x and y of the upright photo, then to mirror x, then y."""


def to_stored(found: Found, orientation: int) -> Found:
    """Turn boxes or masks from the upright photo to the frame in which its file stores pixels.

    Args:
        found: the boxes or masks.
        orientation: the EXIF orientation of the file, 1 to 8.
    """
    if isinstance(found, Boxes):
        return _turn_boxes(found, orientation)
    swap, mirror_x, mirror_y = _WAYS[orientation]
    boxes = _turn_boxes(found.boxes, orientation)
    height, width = boxes.image_hw
    crops = []
    for index, window in enumerate(found.windows()):
        crop = found.crop(index, window)
        x1, y1, x2, y2 = window
        if swap:
            crop, (x1, y1, x2, y2) = crop.T, (y1, x1, y2, x2)
        if mirror_x:
            crop, x1 = crop[:, ::-1], width - x2
        if mirror_y:
            crop, y1 = crop[::-1], height - y2
        crops.append((x1, y1, crop) if crop.size else (0, 0, crop))
    return Masks.from_crops(crops, boxes)


def _turn_boxes(boxes: Boxes, orientation: int) -> Boxes:
    swap, mirror_x, mirror_y = _WAYS[orientation]
    height, width = boxes.image_hw[::-1] if swap else boxes.image_hw
    x1, y1, x2, y2 = (boxes.xyxy[:, [1, 0, 3, 2]] if swap else boxes.xyxy).T
    if mirror_x:
        x1, x2 = width - x2, width - x1
    if mirror_y:
        y1, y2 = height - y2, height - y1
    xyxy = np.stack([x1, y1, x2, y2], axis=1)
    return boxes.replace(xyxy=xyxy, image_hw=(height, width))
