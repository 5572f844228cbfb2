"""What a person or a detector would say about an object of a scene, drawn by chance.

Places are columns and rows of pixels, (N, 2) float32, whole numbers for the middles of pixels, as
SAM's prompt encoder takes them. S the side of a scene.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["beside", "deepest", "inside", "jittered", "prompt", "roughened", "stroke", "tight_box"]

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]


def prompt(kind: str, mask: Mask, count: int, rng: np.random.Generator) -> dict[str, Any]:
    """Return what is said about an object.

    Args:
        kind: "box", "point", "points", "stroke", "box and points" or "rough".
        mask: (S, S), the object.
        count: of points, where the kind has several; the first is always on the object.
        rng: where the chance comes from.

    Returns:
        Of "box" (4,), "xy" (P, 2) with "positive" (P,) bool, and "rough" (S, S) bool: those that
        make up the kind.
    """
    said: dict[str, Any] = {}
    if kind in ("box", "box and points"):
        said["box"] = jittered(tight_box(mask), rng, len(mask))
    if kind == "point":
        said |= {"xy": inside(mask, 1, rng), "positive": np.ones(1, bool)}
    if kind in ("points", "box and points"):
        positive = np.concatenate([[True], rng.random(count - 1) < 0.6])
        on, off = inside(mask, count, rng), beside(mask, count, rng)
        said |= {"xy": np.where(positive[:, None], on, off), "positive": positive}
    if kind == "stroke":
        said |= {"xy": stroke(mask, count, rng), "positive": np.ones(count, bool)}
    if kind == "rough":
        said["rough"] = rough = roughened(mask, rng)
        around = mask if rng.random() < 0.5 or not rough.any() else rough
        said["box"] = jittered(tight_box(around), rng, len(mask))
    return said


def tight_box(mask: Mask) -> Floats:
    """Return the xyxy of a mask's pixels, x2 and y2 exclusive; the mask is not empty."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)


def jittered(xyxy: Floats, rng: np.random.Generator, side: int) -> Floats:
    """Return a box as a detector finds it: each edge off by some per cent, or hardly at all.

    So far off are the boxes of mini-grounding-dino: half of their edges by 4% of the object's
    side, one in ten by 12%.
    """
    size = np.tile(xyxy[2:] - xyxy[:2], 2)
    moved = xyxy + rng.normal(0, rng.uniform(0, 0.13), 4) * size
    corners = moved.clip(0, side).reshape(2, 2)
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)]).astype(np.float32)


def depth(mask: Mask) -> Floats:
    """Return the distance of each pixel to the nearest one that is not on the object, (S, S)."""
    padded = np.pad(mask.astype(np.uint8), 1)
    return cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]


def deepest(mask: Mask) -> Floats:
    """Return the place farthest from the outline, (1, 2): SAM's paper clicks there (its D.1)."""
    row, column = np.unravel_index(depth(mask).argmax(), mask.shape)
    return np.array([[column, row]], np.float32)


def inside(mask: Mask, count: int, rng: np.random.Generator) -> Floats:
    """Return places on an object: anywhere on it, or well inside, as people click."""
    if rng.random() < 0.5:
        deep = depth(mask)
        mask = deep >= rng.uniform(0.3, 0.9) * deep.max()
    return _drawn(mask, count, rng)


def beside(mask: Mask, count: int, rng: np.random.Generator) -> Floats:
    """Return places that are not on an object, most of them near it."""
    x1, y1, x2, y2 = tight_box(mask)
    reach = 2 + 0.2 * max(x2 - x1, y2 - y1)
    near = np.zeros_like(mask)
    near[max(0, int(y1 - reach)) : int(y2 + reach), max(0, int(x1 - reach)) : int(x2 + reach)] = 1
    near &= ~mask
    return _drawn(near if near.any() else ~mask, count, rng)


def stroke(mask: Mask, count: int, rng: np.random.Generator) -> Floats:
    """Return places along a stroke between two points of an object; it may leave it for a bit."""
    ends = inside(mask, 2, rng)
    share = ((np.arange(count) + 0.5) / count)[:, None]
    along = np.rint(ends[:1] * (1 - share) + ends[1:] * share).astype(int)
    on = mask[along[:, 1], along[:, 0]] | (rng.random(count) < 0.2)
    return np.where(on[:, None], along, inside(mask, count, rng)).astype(np.float32)


def roughened(mask: Mask, rng: np.random.Generator) -> Mask:
    """Return a mask as another model or a hasty person draws it: swollen, shifted, blocky …"""
    x1, y1, x2, y2 = tight_box(mask)
    size = max(x2 - x1, y2 - y1)
    rough = mask.astype(np.float32)
    if rng.random() < 0.5:  # drawn in blocks
        cells = max(3, int(len(mask) / (size * rng.uniform(0.08, 0.25))))
        small = cv2.resize(rough, (cells, cells), interpolation=cv2.INTER_AREA)
        rough = cv2.resize(small, mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
    shift = np.eye(2, 3, dtype=np.float32)
    shift[:, 2] = rng.normal(0, 0.04 * size, 2)
    rough = cv2.warpAffine(rough, shift, mask.shape[::-1])
    # Blurred, its threshold swells or shrinks it, and rounds it off.
    rough = cv2.GaussianBlur(rough, (0, 0), 0.5 + rng.uniform(0, 0.08) * size)
    return rough > rng.uniform(0.2, 0.8)


def _drawn(mask: Mask, count: int, rng: np.random.Generator) -> Floats:
    """Return places on a mask by chance; (0, 0) where it is empty."""
    rows, columns = np.nonzero(mask)
    if len(rows) == 0:
        return np.zeros((count, 2), np.float32)
    which = rng.integers(len(rows), size=count)
    return np.stack([columns[which], rows[which]], axis=1).astype(np.float32)
