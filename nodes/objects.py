"""Objects without a model: remarks on which of them are worth a 3D model."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from visionweave import Masks, Node, node

Share = Annotated[float, Field(ge=0, le=1)]

EMPTY, TRUNCATED, SMALL, SPARSE, OCCLUDED = "empty", "truncated", "small", "sparse", "occluded"

GRID = 128
"""Hulls are measured on at most so many cells along an object's longer side: near enough for a
share, and as fast for a photo of 50 megapixels as for a small one."""

Window = tuple[int, int, int, int]


class Flagged(NamedTuple):
    """All masks with their flags, and those of them that no flag keeps back."""

    masks: Masks
    good: Masks


@node("objects.flag")
class Flag(Node):
    """Flag what should not go to 3D: objects cut off, hidden, tiny or full of gaps.

    Flags that the objects have already stay, before the new ones. The flags, in their order:

    - "empty": the mask has no pixel. It gets no other flag.
    - "truncated": the mask has at least `border` pixels in the photo's outermost rows and columns;
      a corner pixel counts in both.
    - "small": the shorter side of the mask's tight box has less than `min_side` pixels, or the mask
      less than `min_area` of the photo.
    - "sparse": the mask fills less than `min_fill` of its tight box (a net, a branch).
    - "occluded": masks in front of it take more than `max_hidden` of its convex hull. Such a mask
      touches it (within two cells of the grid), and a larger share of it lies in this object's hull
      than of this object in its hull. So a pole cuts a car in two, and not the car the pole; a
      table is occluded by the plates on it, not a plate by the table. Each mask in front counts
      with what lies outside this object's mask. It is a lower bound of what is hidden: an object
      cut off along a straight line looks whole.

    Settings:
        border, min_side, min_area, min_fill, max_hidden: see above.
        bad: the flags that keep an object out of `good`, whoever gave them.
    """

    def __init__(
        self,
        border: Annotated[int, Field(ge=1)] = 3,
        min_side: Annotated[int, Field(ge=0)] = 24,
        min_area: Share = 0.0,
        min_fill: Share = 0.05,
        max_hidden: Share = 0.1,
        bad: tuple[str, ...] = (EMPTY, TRUNCATED, SMALL, SPARSE, OCCLUDED),
    ) -> None:
        self.border, self.min_side, self.min_area = border, min_side, min_area
        self.min_fill, self.max_hidden, self.bad = min_fill, max_hidden, bad

    def run(self, masks: Masks) -> Flagged:
        """Return all masks with their flags, and the good ones."""
        found = self._findings(masks)
        flags = tuple(
            tuple(dict.fromkeys([*before, *(flag for flag, has in found.items() if has[index])]))
            for index, before in enumerate(masks.boxes.flags)
        )
        flagged = Masks(masks.counts, masks.boxes.replace(flags=flags))
        good = [index for index, has in enumerate(flags) if set(self.bad).isdisjoint(has)]
        return Flagged(flagged, flagged[good])

    def _findings(self, masks: Masks) -> dict[str, npt.NDArray[np.bool_]]:
        """For each flag, in order, which masks it belongs to: (N,) bool."""
        height, width = masks.image_hw
        tight, pixels = masks.tight_xyxy, masks.areas
        sides = tight[:, 2:] - tight[:, :2]
        some = pixels > 0
        small = (sides < self.min_side).any(axis=1) | (pixels / (height * width) < self.min_area)
        return {
            EMPTY: ~some,
            TRUNCATED: _border_pixels(masks) >= self.border,
            SMALL: some & small,
            SPARSE: pixels < self.min_fill * sides.prod(axis=1),
            OCCLUDED: _hidden_shares(masks) > self.max_hidden,
        }


def _border_pixels(masks: Masks) -> npt.NDArray[np.intp]:
    """(N,) how many pixels each mask has in the first and last rows and columns of the photo."""
    height, width = masks.image_hw
    counts = np.zeros(len(masks), np.intp)
    for index, (x1, y1, x2, y2) in enumerate(masks.windows()):
        if x1 == 0 or y1 == 0 or x2 == width or y2 == height:
            mask = masks.crop(index, (x1, y1, x2, y2))
            edges = ((y1 == 0, mask[:1]), (y2 == height, mask[-1:]))
            edges += ((x1 == 0, mask[:, :1]), (x2 == width, mask[:, -1:]))
            counts[index] = sum(int(edge.sum()) for touches, edge in edges if touches)
    return counts


def _hidden_shares(masks: Masks) -> npt.NDArray[np.float64]:
    """(N,) the share of each mask's convex hull that masks in front of it take; see `Flag`."""
    taken = np.zeros((len(masks), len(masks)))  # [a, b]: pixels of b in the hull of a, not in a
    hulls = np.ones(len(masks))
    tight = masks.tight_xyxy
    for index, window in enumerate(masks.windows()):
        apart = (tight[:, 2:] <= window[:2]) | (tight[:, :2] >= window[2:])
        near = np.flatnonzero(~apart.any(axis=1))
        near = near[near != index]
        if len(near):
            hulls[index], taken[index, near] = _hull_and_taken(masks, index, window, near)
    inside = taken / np.maximum(masks.areas, 1)  # [a, b]: the share of b in the hull of a
    return np.asarray((taken * (inside > inside.T)).sum(axis=1) / hulls)


def _hull_and_taken(
    masks: Masks, index: int, window: Window, near: npt.NDArray[np.intp]
) -> tuple[float, npt.NDArray[np.float64]]:
    """The pixels of a mask's hull, and how many of them each mask of `near` that touches it takes
    beyond the mask itself.
    """
    # A third of a second to import: only who uses it pays it.
    from skimage.morphology import convex_hull_image, isotropic_dilation

    x1, y1, x2, y2 = window
    step = -(-max(x2 - x1, y2 - y1) // GRID)
    own = masks.crop(index, window)[::step, ::step]
    taken = np.zeros(len(near))
    if not own.any():  # so thin that it slips through the grid
        return 1.0, taken
    hull, reach = convex_hull_image(own), isotropic_dilation(own, 2)
    for place, other in enumerate(near):
        seen = masks.crop(int(other), window)[::step, ::step] & ~own
        if (seen & reach).any():
            taken[place] = (seen & hull).sum() * step**2
    return float(hull.sum() * step**2), taken
