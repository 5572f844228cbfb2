"""Procedural solids: signed distances to simple shapes, put together to things.

Inigo Quilez, "Distance functions", gives the formulas. Distances are exact outside of one shape and
a lower bound for several, which is what sphere tracing needs. M is a number of points; lengths are
in the solid's own unit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

__all__ = ["SHAPES", "Part", "Rng", "Solid", "turn"]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.uint8]
Rng = np.random.Generator


def _box(p: Floats, size: Floats) -> Floats:
    """Half sides `size`."""
    q = np.abs(p) - size
    deepest = np.maximum(np.maximum(q[:, 0], q[:, 1]), q[:, 2])  # faster than .max(axis=1)
    return _length(np.maximum(q, 0)) + np.minimum(deepest, 0)


def _ball(p: Floats, size: Floats) -> Floats:
    """Radius size[0]."""
    return _length(p) - size[0]


def _cylinder(p: Floats, size: Floats) -> Floats:
    """Radius size[0], half height size[2], along z."""
    across, along = _length(p[:, :2]) - size[0], np.abs(p[:, 2]) - size[2]
    beyond = np.hypot(np.maximum(across, 0), np.maximum(along, 0))
    return beyond + np.minimum(np.maximum(across, along), 0)


def _cone(p: Floats, size: Floats) -> Floats:
    """Radius size[0] below and size[1] above, half height size[2], along z."""
    low, high, half = size
    q = np.column_stack([_length(p[:, :2]), p[:, 2]])
    slope = np.float32([high - low, 2 * half])
    ends = np.where(q[:, 1] < 0, low, high)
    to_end = np.column_stack([q[:, 0] - np.minimum(q[:, 0], ends), np.abs(q[:, 1]) - half])
    from_top = q - np.float32([high, half])
    along = (-from_top @ slope / (slope @ slope)).clip(0, 1)
    to_side = from_top + slope * along[:, None]
    inside = (to_side[:, 0] < 0) & (to_end[:, 1] < 0)
    nearest = np.minimum((to_end**2).sum(axis=1), (to_side**2).sum(axis=1))
    return np.where(inside, -1, 1) * np.sqrt(nearest)


def _torus(p: Floats, size: Floats) -> Floats:
    """Radius size[0] around z, of a tube of radius size[1]."""
    return np.hypot(_length(p[:, :2]) - size[0], p[:, 2]) - size[1]


def _capsule(p: Floats, size: Floats) -> Floats:
    """Radius size[0] around a segment of half length size[2] along z."""
    beyond = p[:, 2] - p[:, 2].clip(-size[2], size[2])
    return np.sqrt((p[:, :2] ** 2).sum(axis=1) + beyond**2) - size[0]


SHAPES: dict[str, Callable[[Floats, Floats], Floats]] = {
    "ball": _ball,
    "box": _box,
    "capsule": _capsule,
    "cone": _cone,
    "cylinder": _cylinder,
    "torus": _torus,
}


@dataclass(frozen=True, slots=True)
class Part:
    """A simple shape in its place.

    Attributes:
        shape: one of `SHAPES`.
        size: (3,) what its function takes.
        centre: (3,).
        turn: (3, 3) rotation from its own axes to the solid's.
        rounding: the radius of its edges, added all around.
        colour: which of the solid's colours it has; parts may share one.
        hollow: it takes away from the parts before it.
    """

    shape: str
    size: Sequence[float]
    centre: Sequence[float] = (0.0, 0.0, 0.0)
    turn: npt.NDArray[np.float64] | None = None
    rounding: float = 0.0
    colour: int = 0
    hollow: bool = False

    def distance(self, points: Floats) -> Floats:
        """(M,) signed distances, negative inside."""
        local = points - np.float32(self.centre)
        if self.turn is not None:
            local = local @ self.turn.astype(np.float32)
        return SHAPES[self.shape](local, np.float32(self.size)) - np.float32(self.rounding)


@dataclass(frozen=True, slots=True)
class Solid:
    """Parts, turned, scaled and moved as one: a point p of theirs lies at scale * (turn p) + shift.

    Attributes:
        parts: at least one; the first adds.
        turn: (3, 3) rotation.
        scale, shift: a length, and (3,).
    """

    parts: tuple[Part, ...]
    turn: npt.NDArray[np.float64]
    scale: float = 1.0
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def distance(self, points: Floats) -> tuple[Floats, Ints]:
        """Signed distances (M,) of points (M, 3), and the colour (M,) of the part nearest to each.

        What is hollowed out shows the colour of what it was taken from.
        """
        local = (points - np.float32(self.shift)) @ self.turn.astype(np.float32)
        local = local / np.float32(self.scale)
        nearest = np.full(len(points), np.inf, np.float32)
        colours = np.zeros(len(points), np.uint8)
        for part in self.parts:
            found = part.distance(local)
            if part.hollow:
                nearest = np.maximum(nearest, -found)
            else:
                colours[found < nearest] = part.colour
                nearest = np.minimum(nearest, found)
        return nearest * np.float32(self.scale), colours

    def placed(self, scale: float, shift: tuple[float, float, float]) -> Solid:
        """The same elsewhere."""
        return replace(self, scale=scale, shift=shift)


def turn(azimuth: float, elevation: float = 0.0, roll: float = 0.0) -> npt.NDArray[np.float64]:
    """The rotation by which a thing that stands upright, z up, shows another side to +x.

    Args:
        azimuth: how far it turns about z, in radians.
        elevation: from how far above it is then seen.
        roll: how far the picture then turns.
    """
    (ca, sa), (ce, se), (cr, sr) = ((np.cos(a), np.sin(a)) for a in (azimuth, elevation, roll))
    about_z = np.array([[ca, -sa, 0], [sa, ca, 0], [0, 0, 1]])
    about_y = np.array([[ce, 0, se], [0, 1, 0], [-se, 0, ce]])
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    return about_x @ about_y @ about_z


def _length(vectors: Floats) -> Floats:
    length: Floats = np.sqrt(np.einsum("mk,mk->m", vectors, vectors))
    return length
