"""SAM: masks from the box of an object, and from one point on it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from training.evaluation.scenes import photo_of, unseen
from visionweave import Boxes, Points
from visionweave.nodes.sam import Segment

__all__ = ["iou", "measure_segmentation"]


def measure_segmentation(styles: tuple[str, ...], count: int) -> dict[str, float]:
    """Return the mean IoU with the visible part of each object.

    The point lies where the object is thickest, as a person would click. From a point the model
    chooses among its three masks by the IoU that it predicts.
    """
    photos, boxes, points, truths = [], [], [], []
    for _, scene in unseen(styles, count):
        hw = scene.image.shape[:2]
        visible = [scene.ids == number + 1 for number in range(len(scene.objects))]
        photos.append(photo_of(scene))
        boxes.append(Boxes(np.stack([thing.xyxy for thing in scene.objects]), hw))
        spots = np.stack([_thickest(mask) for mask in visible])
        points.append(Points(spots, objects=np.arange(len(spots), dtype=np.int32)))
        truths.append(visible)
    by_box = Segment()(photos, boxes=boxes)
    by_point = Segment(multimask=True)(photos, points=points)
    return {
        "box_iou": _mean(by_box, truths),
        "point_iou": _mean(by_point, truths),
    }


def iou(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    """Return intersection over union of two masks; 0 where both are empty."""
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 0.0


def _thickest(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return np.float32([x + 0.5, y + 0.5])


def _mean(found: list, truths: list[list[npt.NDArray[np.bool_]]]) -> float:
    return float(
        np.mean(
            [
                iou(mask, truth)
                for masks, visible in zip(found, truths, strict=True)
                for mask, truth in zip(masks, visible, strict=True)
            ]
        )
    )
