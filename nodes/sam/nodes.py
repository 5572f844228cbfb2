"""The nodes that ask SAM, HQ-SAM, MobileSAM or SAM 2 for masks; SAM 3's is in `text`.

Shapes: H W the photo; S the model's square, 1024 as published; L = S / 4 a low-resolution mask;
C h w the photo's embedding; P points of a prompt; K masks a prompt, 1 or 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from visionweave import Boxes, Fit, Image, Masks, Points, Scribble, node

from .._regions import Mask, Pixels, Region
from .everything import Finder, Found, as_masks, best_of, crop_windows, point_grid, tidied
from .frame import Frame, tight
from .model import SamNode
from .prompts import Answer, Asked, Objects, gather

PAPER = "Kirillov et al. 2023, arXiv:2304.02643"

Share = Annotated[float, Field(ge=0, le=1)]

AT_ONCE = 64
"""Points of which the masks are held at once; three low-resolution masks each."""


@node("sam.segment", version=2, paper=PAPER, license="Apache-2.0")
class Segment(SamNode):
    """Masks for boxes, points, scribbles and rough masks, or any mix of them.

    Prompts of one number speak of one object: the `ids` of boxes and rough masks, the `objects` of
    points and strokes. There is one mask for each object, in the order of the boxes, then the rough
    masks, then what points and strokes alone speak of; labels, scores, ids and flags are kept. An
    object without a box gets the tight box of its mask. A rough mask is refined within its box. A
    box without area in the photo says nothing: an object of which nothing else is said has an empty
    mask, and 0 for its predicted IoU.

    The photo is encoded once, whatever the number of prompts. `tolerance` is 1 less the mean
    intersection over union of bf16's masks with fp32's.

    Settings:
        model: a profile or a checkpoint: "mini", "base", "large", "sam2.1-hiera-small-hf" …
        multimask: take the best of the three masks that SAM offers for an ambiguous prompt, by the
            IoU that it predicts; else its single mask, for which SAM 2 itself takes the best of the
            three where that is unstable. Good for one click; a box needs it rarely.
        score: "keep" the scores of boxes and rough masks, or replace them by the predicted "iou";
            objects that had none get that anyway.
        mask_threshold: the logit above which a pixel is on the object.
        stroke_points: a stroke is told to SAM as this many points at most, evenly spread along it.
        fast_attention: use the fused attention, which gives the same; else the published one. The
            first SAM and HQ-SAM have the choice.
    """

    def __init__(
        self,
        model: str = "mini",
        multimask: bool = False,
        score: Literal["keep", "iou"] = "keep",
        mask_threshold: float = 0.0,
        stroke_points: Annotated[int, Field(ge=1)] = 5,
        fast_attention: bool = True,
    ) -> None:
        self.model, self.multimask, self.score = model, multimask, score
        self.mask_threshold, self.stroke_points = mask_threshold, stroke_points
        self.fast_attention = fast_attention

    async def run(
        self,
        image: Image,
        boxes: Boxes | None = None,
        points: Points | None = None,
        scribble: Scribble | None = None,
        masks: Masks | None = None,
    ) -> Masks:
        """Return a mask for each object.

        Raises:
            ValueTypeError: no prompt is connected, or prompts contradict the photo; see `gather`.
        """
        objects = gather(image, boxes, points, scribble, masks, self.stroke_points)
        if len(objects.boxes) == 0:
            return Masks((), objects.boxes)
        frame = self.frame(image.image_hw)
        embedding = await self.encode(frame.scaled(image.shrunk(frame.fit)))
        asked = dict(objects.asked(frame, embedding))
        answers = await self.decode.each(list(asked.values()))
        return self._masks(objects, dict(zip(asked, answers, strict=True)), frame)

    def _masks(self, objects: Objects, answers: dict[int, Answer], frame: Frame) -> Masks:
        """Put the answers at the photo's size, one at a time: a large photo's logits are large."""
        count = len(objects.boxes)
        best = {place: int(iou.argmax()) for place, (_, iou) in answers.items()}
        iou = np.zeros(count, np.float32)
        for place, (_, predicted) in answers.items():
            iou[place] = predicted[best[place]].clip(0, 1)  # a regression, which may go beyond

        def crops() -> Iterator[tuple[int, int, Mask]]:
            for place in range(count):
                if place in answers:
                    logits = frame.full_logits(answers[place][0][best[place]])
                    yield tight(logits > self.mask_threshold)
                else:
                    yield 0, 0, np.zeros((0, 0), bool)

        found = Masks.from_crops(crops(), objects.boxes)
        keeps = objects.known & (self.score == "keep")
        boxes = objects.boxes.replace(
            scores=np.where(keeps, objects.boxes.scores, iou),
            xyxy=np.where(objects.known[:, None], objects.boxes.xyxy, found.tight_xyxy),
        )
        return Masks(found.counts, boxes)


@node("sam.everything", paper=PAPER, license="Apache-2.0")
class Everything(SamNode):
    """Masks of all there is, without prompts: a grid of points, and the good masks of each.

    As published: of the three masks for each point those stay that SAM predicts to be good and that
    change little when the threshold does; of those whose boxes overlap much, the best. Labels are
    "", scores the predicted IoU; the best come first. Photos with many points take long: each photo
    or crop is encoded once, each point decoded.

    Settings:
        model: a profile or a checkpoint, as in sam.segment.
        points_per_side: the grid has as many points squared.
        pred_iou_thresh: a mask stays when its predicted IoU is above it; SAM 2's authors take 0.8.
        stability_score_thresh: and when so much of it stays as the threshold moves.
        stability_score_offset: by how much the threshold moves, up and down.
        box_nms_thresh: overlap of two boxes above which the worse goes.
        crop_n_layers: also search 4 crops of the photo, then 16, and so on; small things show.
        crop_nms_thresh: the same as box_nms_thresh between crops; the smaller crop's mask stays.
        crop_overlap_ratio: overlap of the first crops, as a share of the photo's short side.
        crop_n_points_downscale_factor: divides points_per_side for each layer of crops.
        min_mask_region_area: smaller holes are filled and smaller specks removed, in pixels.
        mask_threshold: the logit above which a pixel is on the object.
        fast_attention: as in sam.segment.
    """

    multimask = True

    def __init__(
        self,
        model: str = "mini",
        points_per_side: Annotated[int, Field(ge=1)] = 32,
        pred_iou_thresh: Share = 0.88,
        stability_score_thresh: Share = 0.95,
        stability_score_offset: Annotated[float, Field(ge=0)] = 1.0,
        box_nms_thresh: Share = 0.7,
        crop_n_layers: Annotated[int, Field(ge=0, le=4)] = 0,
        crop_nms_thresh: Share = 0.7,
        crop_overlap_ratio: Share = 512 / 1500,
        crop_n_points_downscale_factor: Annotated[int, Field(ge=1)] = 1,
        min_mask_region_area: Annotated[int, Field(ge=0)] = 0,
        mask_threshold: float = 0.0,
        fast_attention: bool = True,
    ) -> None:
        self.model, self.fast_attention = model, fast_attention
        self.points_per_side = points_per_side
        self.crop_n_layers, self.crop_overlap_ratio = crop_n_layers, crop_overlap_ratio
        self.crop_n_points_downscale_factor = crop_n_points_downscale_factor
        self.box_nms_thresh, self.crop_nms_thresh = box_nms_thresh, crop_nms_thresh
        self.min_mask_region_area = min_mask_region_area
        self.finder = Finder(
            pred_iou_thresh, stability_score_thresh, stability_score_offset, mask_threshold
        )

    def fit(self) -> Fit | None:
        """As in sam.segment; None where crops are searched, which need the photo in full."""
        return super().fit() if self.crop_n_layers == 0 else None

    async def run(self, image: Image) -> Masks:
        """Return the masks found, the best first."""
        hw = image.image_hw
        crops = crop_windows(hw, self.crop_n_layers, self.crop_overlap_ratio)
        scaled = [self._scaled(image, window) for _, window in crops]
        embeddings = await self.encode.each(scaled)
        found: list[Found] = []
        for (layer, window), embedding in zip(crops, embeddings, strict=True):
            here = await self._search(embedding, layer, window, hw)
            found += best_of(here, [each.iou for each in here], self.box_nms_thresh)
        if len(crops) > 1:
            smallest_first = [1 / _area(each.window) for each in found]
            found = best_of(found, smallest_first, self.crop_nms_thresh)
        if self.min_mask_region_area > 0:
            most_iou = max(self.box_nms_thresh, self.crop_nms_thresh)
            found = tidied(found, self.min_mask_region_area, most_iou, hw)
        return as_masks(found, hw, image.origin.photo)

    def _scaled(self, image: Image, window: Region) -> Pixels:
        x1, y1, x2, y2 = window
        frame = self.frame((y2 - y1, x2 - x1))
        if frame.image_hw == image.image_hw:
            return frame.scaled(image.shrunk(frame.fit))
        return frame.scaled(image.pixels[y1:y2, x1:x2])

    async def _search(
        self, embedding: Any, layer: int, window: Region, image_hw: tuple[int, int]
    ) -> list[Found]:
        """Return the good masks of one crop, in the order of its points."""
        x1, y1, x2, y2 = window
        frame = self.frame((y2 - y1, x2 - x1))
        per_side = int(self.points_per_side / self.crop_n_points_downscale_factor**layer)
        places = frame.xy(point_grid(max(1, per_side)) * (x2 - x1, y2 - y1))
        asked = [Asked(embedding, place[None], np.ones(1, bool)) for place in places]
        found: list[Found] = []
        for start in range(0, len(asked), AT_ONCE):
            for low, iou in await self.decode.each(asked[start : start + AT_ONCE]):
                found += self.finder.good(low, iou, frame, window, image_hw)
        return found


def _area(window: Region) -> int:
    return (window[2] - window[0]) * (window[3] - window[1])
