"""Boxes without a model: keep some of them, and each object once."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from visionweave import Boxes, Node, node

Share = Annotated[float, Field(ge=0, le=1)]
"""A score, an overlap, or a fraction of the photo."""


@node("boxes.filter")
class Filter(Node):
    """Keep boxes by score, label, size and number.

    With no setting given, all boxes stay. Sizes are of what lies in the photo. Order, ids, labels
    and flags are kept.

    Settings:
        min_score, max_score: the lowest and the highest score that stay.
        labels: stay only with one of these labels, in upper or lower case; null for any.
        without_labels: labels that go.
        min_side: pixels that the shorter side must have.
        min_area, max_area: the smallest and the largest box that stay, as a fraction of the photo.
        keep: at most this many, the best by score; null for all.
    """

    def __init__(
        self,
        min_score: Share = 0.0,
        max_score: Share = 1.0,
        labels: tuple[str, ...] | None = None,
        without_labels: tuple[str, ...] = (),
        min_side: Annotated[float, Field(ge=0)] = 0.0,
        min_area: Share = 0.0,
        max_area: Share = 1.0,
        keep: Annotated[int, Field(ge=1)] | None = None,
    ) -> None:
        self.min_score, self.max_score = min_score, max_score
        self.labels, self.without_labels = labels, without_labels
        self.min_side, self.min_area, self.max_area = min_side, min_area, max_area
        self.keep = keep

    def run(self, boxes: Boxes) -> Boxes:
        """Return the boxes that meet all settings, in their order."""
        height, width = boxes.image_hw
        visible = boxes.clip()
        sides = (visible.xyxy[:, 2:] - visible.xyxy[:, :2]).min(axis=1, initial=np.inf)
        areas = visible.areas / (height * width)
        good = (boxes.scores >= self.min_score) & (boxes.scores <= self.max_score)
        good &= (sides >= self.min_side) & (areas >= self.min_area) & (areas <= self.max_area)
        good &= ~boxes.labelled(self.without_labels)
        if self.labels is not None:
            good &= boxes.labelled(self.labels)
        kept = boxes[good]
        return kept if self.keep is None else kept[kept.best(self.keep)]


@node("boxes.nms")
class Nms(Node):
    """Keep the best of the boxes that lie on each other.

    Greedy non-maximum suppression, as in Felzenszwalb et al. 2010, "Object Detection with
    Discriminatively Trained Part-Based Models", section 5.2: the box with the highest score stays
    and suppresses those that overlap it by more than a threshold; then the best of those left; and
    so on. Of equal scores the earlier box comes first. Order, ids, labels and flags are kept. A box
    without area overlaps nothing and stays; `boxes.filter` with a `min_side` drops it.

    Settings:
        iou: intersection over union above which the worse box goes.
        across: whether a box suppresses those of other labels too; else only its own label's.
    """

    def __init__(self, iou: Share = 0.5, across: bool = False) -> None:
        self.iou, self.across = iou, across

    def run(self, boxes: Boxes) -> Boxes:
        """Return the boxes that stay, in their order."""
        labels = np.array(boxes.labels, object)
        stays = np.ones(len(boxes), bool)
        for best in np.argsort(-boxes.scores, kind="stable"):
            if stays[best]:
                suppressed = boxes[best].iou(boxes)[0] > self.iou
                if not self.across:
                    suppressed &= labels == labels[best]
                stays[suppressed] = False
                stays[best] = True
        return boxes[stays]
