"""The outlines of masks as polygons, along the edges of pixels.

Where it has no holes, a mask is restored from its outline bit by bit by whatever fills the pixels
whose middle lies inside; pycocotools does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Outline", "join", "trace"]

Ring = npt.NDArray[np.float64]
"""(M, 2) corners x, y of a closed polygon, in pixels; the first is not repeated at the end."""


@dataclass(frozen=True, slots=True)
class Outline:
    """The outline of a mask.

    Attributes:
        parts: the polygons around its parts, the largest first. Pixels that touch at a corner
            only are two parts.
        holes: how many holes the parts have, which are not in the polygons.
    """

    parts: list[Ring]
    holes: int


def trace(mask: npt.NDArray[np.bool_], x: int = 0, y: int = 0, tolerance: float = 0.0) -> Outline:
    """Return the outline of a mask.

    Args:
        mask: (h, w) bool.
        x: where its first column lies in the photo.
        y: where its first row lies in the photo.
        tolerance: by how many pixels the polygons may pass beside the edges of pixels, to have
            fewer corners (Douglas and Peucker, 1973).
    """
    rings = list(_rings(np.pad(mask, 1)))
    parts = sorted((ring for ring, is_part in rings if is_part), key=_area, reverse=True)
    placed = [np.add(_simplify(ring, tolerance), [x, y]) for ring in parts]
    return Outline(placed, len(rings) - len(parts))


def join(parts: list[Ring]) -> Ring:
    """Join polygons to one, by lines there and back between their nearest corners."""
    whole = parts[0]
    for part in parts[1:]:
        apart = ((whole[:, None] - part) ** 2).sum(axis=2)
        here, there = np.unravel_index(np.argmin(apart), apart.shape)
        way = np.roll(part, -int(there), axis=0)
        whole = np.concatenate([whole[: here + 1], way, way[:1], whole[here:]])
    return whole


def _rings(padded: npt.NDArray[np.bool_]) -> Iterator[tuple[Ring, bool]]:
    """Yield the polygons around the parts and holes of a mask, and whether each is of a part.

    Along a row of corners, every second stretch is an edge, and so it is along a column: each
    corner has one neighbour in its row and one in its column, and a polygon goes by them in turn.
    """
    corners, in_row, in_column = _corners(padded)
    row, column = _partners(in_row), _partners(in_column)
    left = set(in_row)
    for start in in_row:  # of each polygon, the leftmost of its highest corners comes first
        if start not in left:
            continue
        path = []
        here = start
        while here in left:
            path += [here, row[here]]
            left -= {here, row[here]}
            here = column[row[here]]
        x, y = corners[start]
        yield corners[path].astype(float), bool(padded[y + 1, x + 1])


def _corners(
    padded: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.int64], list[int], list[int]]:
    """The corners x, y of a mask's edges; their order by rows, and by columns.

    Where pixels meet only there, a corner is two, one of each pixel.
    """
    above, below = padded[:-1], padded[1:]
    one, two, three, four = above[:, :-1], above[:, 1:], below[:, :-1], below[:, 1:]
    falling = one & four & ~two & ~three
    rising = two & three & ~one & ~four
    y, x = np.nonzero((one ^ two ^ three ^ four) | falling | rising)
    copies = 1 + (falling | rising)[y, x]
    is_rising = np.repeat(rising[y, x], copies)
    x, y = np.repeat(x, copies), np.repeat(y, copies)
    second = np.zeros(len(x), bool)
    second[1:] = (x[1:] == x[:-1]) & (y[1:] == y[:-1])
    # The left pixel's corner is first in its row. It is the upper one, too, if they are falling.
    in_row = np.lexsort([second, x, y]).tolist()
    in_column = np.lexsort([second ^ is_rising, y, x]).tolist()
    return np.stack([x, y], axis=1), in_row, in_column


def _partners(order: list[int]) -> list[int]:
    """For each corner the one that an edge joins it with, given their order along the edges."""
    partners = [0] * len(order)
    for one, two in zip(order[::2], order[1::2], strict=True):
        partners[one], partners[two] = two, one
    return partners


def _area(ring: Ring) -> float:
    x, y = ring.T
    return 0.5 * float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum())


def _simplify(ring: Ring, tolerance: float) -> Ring:
    if not tolerance:
        return ring
    from skimage import measure  # half a second to import: only those who need it pay

    closed = np.concatenate([ring, ring[:1]])
    approximate: Any = measure.approximate_polygon
    simpler: Ring = approximate(closed, tolerance)[:-1]
    return simpler if len(simpler) >= 3 else ring  # no polygon is left of a small part
