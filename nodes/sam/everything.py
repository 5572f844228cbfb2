"""What the search for everything in a photo is made of: a grid, crops, and which masks are good.

The rules are those of segment_anything's SamAutomaticMaskGenerator, and the masks the same.
Its boxes are not visionweave's: x2 and y2 are the last pixel of a mask, not the one after.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from visionweave import Boxes, Masks

from .._regions import Mask, Region
from .frame import Frame, tight

__all__ = ["Finder", "Found", "as_masks", "best_of", "crop_windows", "point_grid", "tidied"]

EDGE = 20
"""A mask that ends so near to the edge of a crop, in pixels, is thought to be cut off by it."""


@dataclass(frozen=True, slots=True)
class Found:
    """A mask that was found.

    Attributes:
        counts: its run-length encoding, at the photo's size.
        box: x1, y1, x2, y2 of its first and last columns and rows; zeros for an empty one.
        iou: its predicted IoU, which may go beyond 1.
        window: the crop of the photo that it was found in.
    """

    counts: bytes
    box: Region
    iou: float
    window: Region


@dataclass(frozen=True, slots=True)
class Finder:
    """Which masks are good enough; the settings of sam.everything by the same names."""

    pred_iou_thresh: float
    stability_score_thresh: float
    stability_score_offset: float
    mask_threshold: float

    def good(
        self,
        low: npt.NDArray[np.float32],
        iou: npt.NDArray[np.float32],
        frame: Frame,
        window: Region,
        image_hw: tuple[int, int],
    ) -> Iterator[Found]:
        """Yield the good ones among the masks for one point.

        Args:
            low: their (K, L, L) logits.
            iou: their (K,) predicted IoU.
            frame: of the crop.
            window: where the crop lies in the photo.
            image_hw: of the photo.
        """
        for logits, predicted in zip(low, iou, strict=True):
            if self.pred_iou_thresh > 0 and not predicted > self.pred_iou_thresh:
                continue
            full = frame.full_logits(logits)
            if self.stability_score_thresh > 0 and not self._is_stable(full):
                continue
            counts, box = _encoded(full > self.mask_threshold, window, image_hw)
            if not _is_cut_off(box, window, image_hw):
                yield Found(counts, box, float(predicted), window)

    def _is_stable(self, full: npt.NDArray[np.float32]) -> bool:
        """Whether the masks at the raised and the lowered threshold have nearly the same pixels."""
        inner = np.count_nonzero(full > self.mask_threshold + self.stability_score_offset)
        outer = np.count_nonzero(full > self.mask_threshold - self.stability_score_offset)
        if outer == 0:
            return False
        return bool(np.float32(inner) / np.float32(outer) >= self.stability_score_thresh)


def point_grid(per_side: int) -> npt.NDArray[np.float64]:
    """Return the (per_side squared, 2) middles of as many cells of a square of side 1, by rows."""
    middles = np.linspace(0.5 / per_side, 1 - 0.5 / per_side, per_side)
    x, y = np.meshgrid(middles, middles)
    return np.stack([x, y], axis=-1).reshape(-1, 2)


def crop_windows(
    image_hw: tuple[int, int], layers: int, overlap_ratio: float
) -> list[tuple[int, Region]]:
    """Return the number of its layer and the window of each crop; layer 0 is the whole photo.

    A layer has 2, 4, 8 … crops a side, and these share ever less of the photo's short side. As
    their sizes are rounded up, fewer may cover a small photo; the others are left out.
    """
    height, width = image_hw
    windows: list[tuple[int, Region]] = [(0, (0, 0, width, height))]
    for layer in range(1, layers + 1):
        count = 2**layer
        shared = int(overlap_ratio * min(height, width) * (2 / count))
        crop_width, crop_height = (
            math.ceil((shared * (count - 1) + side) / count) for side in (width, height)
        )
        for column, row in itertools.product(range(count), repeat=2):
            x, y = column * (crop_width - shared), row * (crop_height - shared)
            if x < width and y < height:
                window = (x, y, min(x + crop_width, width), min(y + crop_height, height))
                windows.append((layer, window))
    return windows


def best_of(found: Sequence[Found], scores: Iterable[float], most_iou: float) -> list[Found]:
    """Return the best by score, then the best of those whose boxes overlap it little, and so on."""
    import torch
    from torchvision.ops import nms

    boxes = torch.tensor([each.box for each in found], dtype=torch.float32).reshape(-1, 4)
    kept = nms(boxes, torch.tensor(list(scores), dtype=torch.float32), most_iou)
    return [found[place] for place in kept.tolist()]


def tidied(
    found: Sequence[Found], smallest: int, most_iou: float, image_hw: tuple[int, int]
) -> list[Found]:
    """Fill holes and remove specks of fewer than `smallest` pixels, then drop new duplicates.

    Masks that had none are preferred.
    """
    tidy, scores = [], []
    whole = (0, 0, image_hw[1], image_hw[0])
    for each in found:
        mask = Masks((each.counts,), _nowhere(image_hw)).mask(0)
        clean = _without_specks(_without_holes(mask, smallest), smallest)
        same = np.array_equal(mask, clean)
        counts, box = _encoded(clean, whole, image_hw)
        tidy.append(each if same else dataclasses.replace(each, counts=counts, box=box))
        scores.append(float(same))
    return best_of(tidy, scores, most_iou)


def as_masks(found: Sequence[Found], image_hw: tuple[int, int], photo: str) -> Masks:
    """Return what was found as a value: tight boxes, no labels, the predicted IoU for scores."""
    counts = tuple(each.counts for each in found)
    scores = np.array([each.iou for each in found], np.float32).clip(0, 1)
    empty = Boxes(np.zeros((len(found), 4), np.float32), image_hw, scores=scores, photo=photo)
    return Masks(counts, empty.replace(xyxy=Masks(counts, empty).tight_xyxy))


def _encoded(mask: Mask, window: Region, image_hw: tuple[int, int]) -> tuple[bytes, Region]:
    """Encode a mask of a window at the photo's size; return also its box in the photo."""
    x, y, part = tight(mask)
    left, top = x + window[0], y + window[1]
    (counts,) = Masks.from_crops([(left, top, part)], _nowhere(image_hw)).counts
    if part.size == 0:
        return counts, (window[0], window[1], window[0], window[1])
    return counts, (left, top, left + part.shape[1] - 1, top + part.shape[0] - 1)


def _is_cut_off(box: Region, window: Region, image_hw: tuple[int, int]) -> bool:
    """Whether a box comes near to an edge of its crop that is no edge of the photo."""
    edges = zip(box, window, (0, 0, image_hw[1], image_hw[0]), strict=True)
    return any(abs(b - w) <= EDGE and abs(b - edge) > EDGE for b, w, edge in edges)


def _without_holes(mask: Mask, smallest: int) -> Mask:
    from skimage.measure import label

    parts = label(~mask, connectivity=2)
    small = np.bincount(parts.ravel()) < smallest
    return mask | small[parts] & (parts > 0)


def _without_specks(mask: Mask, smallest: int) -> Mask:
    """Without the small parts; but with the largest of all, however small."""
    from skimage.measure import label

    parts = label(mask, connectivity=2)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    stays = sizes >= smallest
    stays[sizes.argmax()] = True
    stays[0] = False
    return np.asarray(stays[parts])


def _nowhere(image_hw: tuple[int, int]) -> Boxes:
    """One box, for a mask that has none yet."""
    return Boxes(np.zeros((1, 4), np.float32), image_hw)
