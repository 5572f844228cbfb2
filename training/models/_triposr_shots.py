"""Shots of procedural solids: what the camera sees of one, and samples of where it is.

Tracing the camera's rays costs some tens of milliseconds, so a shot is kept on disk; what it keeps
is directions and materials, not colours, so that each use can paint and light it anew and turn it
about the camera's axis. Shot `n` of a split is always the same.
S is the side of a picture, M a number of points.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.models._triposr_inflate import DISTANCE, HALF_SIDE, on_picture
from training.models._triposr_solids import Solid
from training.models._triposr_things import random_solid

__all__ = ["Shot", "placed_solid", "shot", "take"]

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

FOLDER = Path(__file__).parents[1] / "runs" / "triposr-solids"
"""Where shots are kept; not committed."""

POINTS = 6144
NEAR = 0.04
"""How far from the surface the nearer half of the points may lie."""
REACH = 0.6
"""A solid stays within +-REACH on each axis."""
_SEEDS = {"train": 7, "test": 8}
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Shot:
    """A solid seen from one side.

    Attributes:
        normals: (S, S, 3) unit directions of the visible surface, 0 beside it.
        materials: (S, S) uint8 the colour of the part that shows, 255 beside it.
        points: (M, 3), half of them near the surface, half anywhere in the cube.
        distances: (M,) from the surface, negative inside.
        owners: (M,) uint8 the colour of the part nearest to each point.
    """

    normals: Floats
    materials: npt.NDArray[np.uint8]
    points: Floats
    distances: Floats
    owners: npt.NDArray[np.uint8]

    @property
    def mask(self) -> Flags:
        """(S, S) where the solid shows."""
        return self.materials < 255

    def turned(self, quarters: int, mirrored: bool) -> Shot:
        """The same, turned counter-clockwise in the picture, and then mirrored left to right.

        The camera looks along the axis of the turn, so the picture turns with the solid.
        """
        cosine, sine = ((1, 0), (0, 1), (-1, 0), (0, -1))[quarters % 4]
        matrix = np.float32([[1, 0, 0], [0, cosine, sine], [0, -sine, cosine]])
        normals, materials = np.rot90(self.normals, quarters), np.rot90(self.materials, quarters)
        if mirrored:
            matrix = matrix @ np.diag(np.float32([1, -1, 1]))
            normals, materials = normals[:, ::-1], materials[:, ::-1]
        return Shot(normals @ matrix, materials, self.points @ matrix, self.distances, self.owners)


def shot(split: str, number: int, side: int, radius: float) -> Shot:
    """Return shot `number` of "train" or "test", from disk where it has been taken before."""
    path = FOLDER / f"{split}-{side}-{radius:g}-v{_VERSION}" / f"{number:05d}.npz"
    try:
        with np.load(path) as kept:
            normals = kept["normals"].astype(np.float32) / 127
            points, distances = (kept[name].astype(np.float32) for name in ("points", "distances"))
            return Shot(normals, kept["materials"], points, distances, kept["owners"])
    except (OSError, ValueError, EOFError):
        taken = take(placed_solid(split, number), number, side, radius)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{id(taken)}.partial")
    with partial.open("wb") as file:
        np.savez(
            file,
            normals=np.rint(taken.normals * 127).astype(np.int8),
            materials=taken.materials,
            points=taken.points.astype(np.float16),
            distances=taken.distances.astype(np.float16),
            owners=taken.owners,
        )
    partial.replace(path)
    return shot(split, number, side, radius)


def placed_solid(split: str, number: int) -> Solid:
    """Return the solid of shot `number` of "train" or "test", where the node would see it."""
    rng = np.random.default_rng((_SEEDS[split], number))
    while True:
        solid = _framed(random_solid(rng))
        if solid is not None:
            return solid


def take(solid: Solid, seed: int, side: int, radius: float) -> Shot:
    """Look at a solid, and sample the cube of half side `radius` around it."""
    normals, materials = _seen(solid, side)
    rng = np.random.default_rng(seed)
    points = rng.uniform(-radius, radius, (6 * POINTS, 3)).astype(np.float32)
    distances, owners = solid.distance(points)
    near = np.flatnonzero(np.abs(distances) < NEAR)[: POINTS // 2]
    chosen = np.concatenate([near, np.arange(len(points) - (POINTS - len(near)), len(points))])
    return Shot(normals, materials, points[chosen], distances[chosen], owners[chosen])


def _framed(solid: Solid) -> Solid | None:
    """Scale and move a solid so that its picture is framed as the node frames a cutout.

    Returns:
        None where it would then reach out of the cube: it is too deep.
    """
    surface = _surface(solid)
    wanted = 0.85 * HALF_SIDE
    middle = (surface.min(axis=0) + surface.max(axis=0)) / 2
    scale = wanted / float(np.abs(surface - middle).max())
    for _ in range(6):
        seen = on_picture((surface - middle) * scale)
        low, high = seen.min(axis=0), seen.max(axis=0)
        middle[1:] += (low + high) / 2 / scale
        scale *= 2 * wanted / float((high - low).max())
    if np.abs((surface - middle) * scale).max() > REACH:
        return None
    x, y, z = (-middle * scale).tolist()
    return solid.placed(scale, (x, y, z))


def _surface(solid: Solid) -> Floats:
    """Points (M, 3) on the surface, about 0.13 apart."""
    axis = np.linspace(-1.8, 1.8, 28, dtype=np.float32)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    points = points[np.abs(solid.distance(points)[0]) < axis[1] - axis[0]]
    for _ in range(2):
        points = points - solid.distance(points)[0][:, None] * _normals(solid, points)
    return points[np.abs(solid.distance(points)[0]) < 0.01]


def _seen(solid: Solid, side: int) -> tuple[Floats, npt.NDArray[np.uint8]]:
    """What the camera sees: normals (S, S, 3) and materials (S, S), by sphere tracing.

    Hart 1996, "Sphere tracing": a ray may go on by the distance to the surface.
    """
    axis = (((np.arange(side, dtype=np.float32) + 0.5) / side) * 2 - 1) * np.float32(HALF_SIDE)
    y, z = (each.ravel() for each in np.meshgrid(axis, -axis))
    rays = np.column_stack([np.full_like(y, -DISTANCE), y, z])
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    start = np.float32([DISTANCE, 0, 0])
    travelled = np.full(len(rays), DISTANCE - np.sqrt(3) * REACH, np.float32)
    under_way = np.arange(len(rays))
    hit = np.zeros(len(rays), bool)
    for _ in range(64):
        gap = solid.distance(start + rays[under_way] * travelled[under_way, None])[0]
        travelled[under_way] += gap
        arrived = gap < 2e-3
        hit[under_way[arrived]] = True
        under_way = under_way[~arrived & (travelled[under_way] < DISTANCE + np.sqrt(3) * REACH)]
    normals = np.zeros((side * side, 3), np.float32)
    materials = np.full(side * side, 255, np.uint8)
    points = start + rays[hit] * travelled[hit, None]
    normals[hit] = _normals(solid, points)
    materials[hit] = solid.distance(points)[1]
    return normals.reshape(side, side, 3), materials.reshape(side, side)


def _normals(solid: Solid, points: Floats) -> Floats:
    """(M, 3) the direction in which the distance grows, by differences along a tetrahedron."""
    corners = np.float32([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    slope = sum(c * solid.distance(points + np.float32(1e-3) * c)[0][:, None] for c in corners)
    normals: Floats = slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-9)
    return normals
