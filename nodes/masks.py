"""Masks without a model: keep some of them, each object once, without specks and holes."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from visionweave import Boxes, Masks, Node, node

Share = Annotated[float, Field(ge=0, le=1)]
"""A score, an overlap, or a fraction of an area."""

Mask = npt.NDArray[np.bool_]


@node("masks.filter")
class Filter(Node):
    """Keep masks by score, label, flag, size and number.

    With no setting given, all masks stay but the empty ones. Sizes are of the mask, not of its box.
    Order, ids, labels and flags are kept.

    Settings:
        min_score, max_score: the lowest and the highest score that stay.
        labels: stay only with one of these labels, in upper or lower case; null for any.
        without_labels: labels that go.
        drop_flags: objects with one of these flags go, such as "truncated".
        drop_empty: whether masks without a pixel go.
        min_side: pixels that the shorter side of the tight box must have.
        min_pixels: pixels that the mask must have.
        min_area, max_area: the smallest and the largest mask that stay, as a fraction of the photo.
        keep: at most this many, the best by score; null for all.
    """

    def __init__(
        self,
        min_score: Share = 0.0,
        max_score: Share = 1.0,
        labels: tuple[str, ...] | None = None,
        without_labels: tuple[str, ...] = (),
        drop_flags: tuple[str, ...] = (),
        drop_empty: bool = True,
        min_side: Annotated[int, Field(ge=0)] = 0,
        min_pixels: Annotated[int, Field(ge=0)] = 0,
        min_area: Share = 0.0,
        max_area: Share = 1.0,
        keep: Annotated[int, Field(ge=1)] | None = None,
    ) -> None:
        self.min_score, self.max_score = min_score, max_score
        self.labels, self.without_labels = labels, without_labels
        self.drop_flags = drop_flags
        self.min_side, self.min_pixels = min_side, max(min_pixels, int(drop_empty))
        self.min_area, self.max_area = min_area, max_area
        self.keep = keep

    def run(self, masks: Masks) -> Masks:
        """Return the masks that meet all settings, in their order."""
        kept = masks[self._good_objects(masks.boxes) & self._good_sizes(masks)]
        return kept if self.keep is None else kept[kept.boxes.best(self.keep)]

    def _good_objects(self, boxes: Boxes) -> npt.NDArray[np.bool_]:
        flagged = [not set(self.drop_flags).isdisjoint(flags) for flags in boxes.flags]
        good = (boxes.scores >= self.min_score) & (boxes.scores <= self.max_score)
        good &= ~np.array(flagged, bool) & ~boxes.labelled(self.without_labels)
        return good if self.labels is None else good & boxes.labelled(self.labels)

    def _good_sizes(self, masks: Masks) -> npt.NDArray[np.bool_]:
        height, width = masks.image_hw
        pixels, tight = masks.areas, masks.tight_xyxy
        sides = (tight[:, 2:] - tight[:, :2]).min(axis=1, initial=np.inf)
        areas = pixels / (height * width)
        good = (sides >= self.min_side) & (pixels >= self.min_pixels)
        return np.asarray(good & (areas >= self.min_area) & (areas <= self.max_area))


@node("masks.dedupe", version=2)
class Dedupe(Node):
    """Keep each object once, though it was found twice, under two labels or in two boxes.

    Two masks are duplicates when

    - their intersection over union is at least `iou`; or
    - at least `containment` of one lies in the other, unless it is a part of it, which may stay:
      `keep_parts` is set, it has less than `part_ratio` of the other's pixels, and the labels
      differ. So a hat stays beside the woman who wears it. Of equal labels, a mask around several
      objects and the mask of one of them are duplicates: the better score decides which stays.

    The best by score stays and drops its duplicates; then the best of those left; and so on. Of
    equal scores the larger comes first, then the earlier. Being duplicates is not passed on: what
    is a duplicate of a dropped mask alone stays. Order, ids, labels and flags are kept. An empty
    mask is nobody's duplicate. Labels are equal when they are written the same.

    Settings:
        iou: intersection over union from which two masks are the same object.
        containment: share of a mask inside another from which it is the same object or a part;
            null to go by `iou` alone.
        keep_parts: whether a small part with a label of its own stays.
        part_ratio: the largest part, as a share of the pixels of the whole.
        across: whether two labels may be one object; else only equal labels are compared.
        merge_labels: whether the mask that stays gets a flag "also:LABEL" for each other label
            that its duplicates had.
    """

    def __init__(
        self,
        iou: Annotated[float, Field(gt=0, le=1)] = 0.8,
        containment: Annotated[float, Field(gt=0, le=1)] | None = 0.9,
        keep_parts: bool = True,
        part_ratio: Share = 0.5,
        across: bool = True,
        merge_labels: bool = False,
    ) -> None:
        self.iou, self.containment = iou, containment
        self.keep_parts, self.part_ratio = keep_parts, part_ratio
        self.across, self.merge_labels = across, merge_labels

    def run(self, masks: Masks) -> Masks:
        """Return the masks that stay, in their order."""
        boxes, duplicates = masks.boxes, self._duplicates(masks)
        flags = list(boxes.flags)
        stays = np.ones(len(masks), bool)
        for best in np.lexsort((-masks.areas, -boxes.scores)):
            if stays[best]:
                losers = np.flatnonzero(duplicates[best] & stays)
                stays[losers] = False
                flags[best] = _also(boxes, best, losers)
        if self.merge_labels:
            masks = Masks(masks.counts, boxes.replace(flags=tuple(flags)))
        return masks[stays]

    def _duplicates(self, masks: Masks) -> npt.NDArray[np.bool_]:
        """(N, N) bool, symmetric: which masks show the same object; none itself."""
        areas, shared = masks.areas, masks.intersections()
        one, other = areas[:, None], areas[None, :]
        labels = np.array(masks.boxes.labels, object)
        same_label = labels[:, None] == labels[None, :]
        # Shares, not pixels: .56 * 25 is more than 14. Two empty masks share 0 of 1.
        found = shared / np.maximum(one + other - shared, 1) >= self.iou
        if self.containment is not None:
            smaller, larger = np.minimum(one, other), np.maximum(one, other)
            inside = shared / np.maximum(smaller, 1) >= self.containment
            part = self.keep_parts & (smaller / np.maximum(larger, 1) < self.part_ratio)
            part &= ~same_label
            found |= inside & ~part
        found &= shared > 0
        np.fill_diagonal(found, False)
        return np.asarray(found if self.across else found & same_label)


def _also(boxes: Boxes, best: int, losers: npt.NDArray[np.intp]) -> tuple[str, ...]:
    """The flags of `best` with a remark for every other label of `losers`, none of them twice."""
    others = [boxes.labels[index] for index in losers]
    remarks = [f"also:{label}" for label in others if label not in ("", boxes.labels[best])]
    return tuple(dict.fromkeys([*boxes.flags[best], *remarks]))


@node("masks.clean", version=2)
class Clean(Node):
    """Fill small holes in masks and remove specks beside them.

    Sizes are shares of the object's outline: of its pixels and all its holes. Holes are the parts
    of the background, joined over edges, that the mask encloses; a bay at the photo's border is
    none. Parts of the mask are joined over edges and corners. Holes are filled first; then the
    largest part always stays. The defaults remove what a segmenter leaves by mistake: the hole of a
    doughnut, the handle of a mug and the second lens of a pair of glasses are far larger. Cleaning
    twice changes nothing more (unless it smooths). Order, ids, labels and flags are kept.

    Settings:
        max_hole: the largest hole that is filled, as a share of the outline.
        max_speck: the largest part that is removed, as a share of the outline.
        largest_only: whether all parts but the largest go.
        smooth: radius in pixels over which a ragged border is evened out first; 0 for not at all.
            The border goes where half of a Gaussian of this standard deviation is covered. A mask
            too thin to leave anything stays as it is.
        tighten: whether the boxes become the tight boxes of the masks (0, 0, 0, 0 for an empty
            one); else they stay the detector's.
    """

    def __init__(
        self,
        max_hole: Share = 0.002,
        max_speck: Share = 0.01,
        largest_only: bool = False,
        smooth: Annotated[float, Field(ge=0, le=100)] = 0.0,
        tighten: bool = False,
    ) -> None:
        self.max_hole, self.max_speck = max_hole, max_speck
        self.largest_only, self.smooth, self.tighten = largest_only, smooth, tighten

    def run(self, masks: Masks) -> Masks:
        """Return as many masks, clean."""
        windows = masks.windows(margin=int(np.ceil(4 * self.smooth)))  # as far as the Gaussian
        crops = [
            (window[0], window[1], self._clean(masks.crop(index, window)))
            for index, window in enumerate(windows)
        ]
        cleaned = Masks.from_crops(crops, masks.boxes)
        if not self.tighten:
            return cleaned
        return Masks(cleaned.counts, masks.boxes.replace(xyxy=cleaned.tight_xyxy))

    def _clean(self, mask: Mask) -> Mask:
        if not mask.any():
            return mask
        mask = _smooth(mask, self.smooth) if self.smooth > 0 else mask
        holes, sizes = _holes(mask)
        # One measure for both, which no filling changes: so cleaning twice is cleaning once.
        outline = int(mask.sum() + sizes.sum())
        mask = mask | (sizes / outline <= self.max_hole)[holes] & (holes > 0)
        return _without_specks(mask, self.max_speck, outline, self.largest_only)


def _smooth(mask: Mask, radius: float) -> Mask:
    from skimage.filters import gaussian  # a third of a second to import: only who uses it pays it

    # Beyond the photo's border an object goes on as it meets it: "nearest".
    smoothed = gaussian(mask.astype(np.float32), radius, mode="nearest", truncate=4.0) > 0.5
    return np.asarray(smoothed) if smoothed.any() else mask


def _holes(mask: Mask) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The number of the hole at each pixel, 0 for none; and the holes' pixels, 0 for number 0."""
    from skimage.measure import label

    parts = label(~np.pad(mask, 1), connectivity=1)  # padded, so that all of the outside is one
    parts[parts == parts[0, 0]] = 0
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return parts[1:-1, 1:-1], sizes


def _without_specks(mask: Mask, most: float, outline: int, largest_only: bool) -> Mask:
    """Drop the parts of up to `most` of the outline, or all, but not the largest of them."""
    from skimage.measure import label

    parts = label(mask, connectivity=2)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    stays = np.zeros_like(mask, shape=sizes.shape) if largest_only else sizes / outline > most
    stays[sizes.argmax()] = True
    return np.asarray(stays[parts])
