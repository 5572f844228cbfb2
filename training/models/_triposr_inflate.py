"""Drawings inflated to solids, seen by TripoSR's camera.

The frame is TripoSR's: +x towards the camera, +y to the picture's right, +z up; the camera stands
on +x, `DISTANCE` from the origin, and its picture spans +-`HALF_SIDE` in the plane x = 0.
S is the side of a picture, M a number of points.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from visionweave.nodes.triposr import CAMERA_DISTANCE, CAMERA_FOV_DEG

__all__ = ["DISTANCE", "HALF_SIDE", "Inflated", "inflate", "on_picture", "to_space"]

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

DISTANCE = CAMERA_DISTANCE
HALF_SIDE = DISTANCE * float(np.tan(np.deg2rad(CAMERA_FOV_DEG / 2)))

SLENDER = 1 / 18
"""Below about this radius a part is thicker than it is wide, so that a grid can still hold it."""


def on_picture(points: Floats) -> Floats:
    """Where points (M, 3) appear, (M, 2): y and z of their rays in the plane x = 0."""
    seen: Floats = points[:, 1:] * (DISTANCE / (DISTANCE - points[:, :1]))
    return seen


def to_space(seen: Floats, x: Floats) -> Floats:
    """The points (M, 3) at depths x (M,) on the rays through `seen` (M, 2)."""
    return np.column_stack([x, seen * ((DISTANCE - x[:, None]) / DISTANCE)])


@dataclass(frozen=True, slots=True)
class Inflated:
    """A drawing as a solid: the camera's ray through a pixel is inside while |x| < `half` there.

    So its silhouette is the drawing's own, whatever its thickness.

    Attributes:
        distance: (S, S) to the outline, in pixels, positive inside.
        half: (S, S) half the thickness, 0 outside.
        rgb: (S, S, 3) the drawing, in [0, 1].
    """

    distance: Floats
    half: Floats
    rgb: Floats

    def inside(self, points: Floats) -> Flags:
        """Which of the points (M, 3) are in the solid."""
        places = self.pixels(on_picture(points))
        within = _sampled(self.distance, places) > 0
        inside: Flags = within & (np.abs(points[:, 0]) < _sampled(self.half, places))
        return inside

    def depth(self, points: Floats) -> Floats:
        """About how far points (M, 3) in the solid are under its surface."""
        places = self.pixels(on_picture(points))
        along = _sampled(self.half, places) - np.abs(points[:, 0])
        across = _sampled(self.distance, places) * np.float32(2 * HALF_SIDE / len(self.half))
        return np.minimum(along, across)

    def colours(self, points: Floats) -> Floats:
        """The drawing's colours (M, 3) where the points' rays meet it: on both sides alike."""
        return _sampled(self.rgb, self.pixels(on_picture(points)))

    def pixels(self, seen: Floats) -> Floats:
        """(M, 2) y and z in the plane x = 0 to column and row; 0 is the middle of the first."""
        side = len(self.half)
        return (seen * np.float32([1, -1]) / HALF_SIDE + 1) * (side / 2) - 0.5

    def seen(self, pixels: Floats) -> Floats:
        """The reverse of `pixels`."""
        side = len(self.half)
        return ((pixels + 0.5) / (side / 2) - 1) * HALF_SIDE * np.float32([1, -1])


def inflate(mask: Flags, rgb: Floats) -> Inflated:
    """Inflate a drawing.

    Its section through the picture is the mask. Through it lies the union of all balls that are
    centred in the picture's plane and fit into the mask, which rounds a disc to a ball and a bar
    to a rod, without a seam; then what is large is flattened, and what is thin thickened.

    Args:
        mask: (S, S) where the drawing is.
        rgb: (S, S, 3) its colours, in [0, 1].
    """
    distance = _to_outline(mask) - _to_outline(~mask)
    half = _balls(distance.clip(0)) * np.float32(2 * HALF_SIDE / len(mask))
    half = np.sqrt(half * (half / 2 + np.float32(SLENDER)))
    return Inflated(distance, np.where(mask, half, np.float32(0)), rgb)


def _to_outline(mask: Flags) -> Floats:
    """From each pixel's middle to the nearest edge of the mask; 0 outside of it."""
    framed = np.pad(mask, 1).astype(np.uint8)
    found = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    distance: Floats = np.maximum(found - 0.5, 0).astype(np.float32)
    return distance


def _balls(radius: Floats) -> Floats:
    """(S, S) the height of the union of balls with the given radii, each around its pixel.

    Felzenszwalb and Huttenlocher 2012, "Distance Transforms of Sampled Functions": the greatest
    radius^2 - distance^2, first along the rows and then along the columns.
    """
    axis = np.arange(len(radius), dtype=np.float32)
    apart = (axis[:, None] - axis) ** 2
    along = (radius[:, None, :] ** 2 - apart).max(axis=2)
    both = (along.T[:, None, :] - apart).max(axis=2).T
    height: Floats = np.sqrt(both.clip(0))
    return height


def _sampled(grid: Floats, places: Floats) -> Floats:
    """Bilinear values of a grid (S, S[, 3]) at columns and rows (M, 2); beyond it, its border."""
    side = len(grid)
    inside = places.clip(0, side - 1)
    first = np.minimum(inside.astype(np.intp), side - 2)
    right, down = (inside - first).T.reshape(2, -1, *[1] * (grid.ndim - 2))
    flat, corner = grid.reshape(side * side, *grid.shape[2:]), first[:, 1] * side + first[:, 0]
    above = flat[corner] * (1 - right) + flat[corner + 1] * right
    below = flat[corner + side] * (1 - right) + flat[corner + side + 1] * right
    found: Floats = above * (1 - down) + below * down
    return found
