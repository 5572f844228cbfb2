"""Drawing triangles with a depth buffer, in numpy: no graphics card, driver or display.

Every triangle offers the pixels of its bounding box; what lies inside and is nearest stays. Pixel
(i, j) stands for the point (j + 0.5, i + 0.5). P is a number of pixels offered.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from visionweave import Mesh

from .camera import Camera

__all__ = ["Seen", "rasterise", "render", "silhouette"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Pixels = npt.NDArray[np.uint8]

OFFERED = 2**19
"""About how many pixels are looked at at once."""

FINER = 2
"""Pixels are averages of this many on each side, so that edges are smooth."""

PLAIN = 200
"""The grey of a mesh without colours."""

AMBIENT = 0.55
"""The brightness of a surface that turns away from the light; one that faces it has 1."""

CREASE = 0.7
"""The cosine of the angle between two directions above which a surface looks smooth."""

ON_EDGE = 1e-9
"""A pixel on the edge of two faces belongs to both, whatever the rounding."""

EDGEWISE = 1e-9
"""A face that covers less, in square pixels, is seen from its edge and not drawn."""

LIGHT = (-0.3, 0.5, 1.0)
"""The direction of the light from the surface: right, up, back towards the camera."""


class Seen(NamedTuple):
    """What each pixel shows.

    Attributes:
        faces: (S, S) the index of the face, -1 where there is none.
        weights: (S, S, 3) how much of each corner, in space, not in the picture; they sum to 1.
    """

    faces: Ints
    weights: Floats


def silhouette(mesh: Mesh, camera: Camera, size: int) -> npt.NDArray[np.bool_]:
    """Which pixels of a (size, size) picture show the mesh."""
    return rasterise(mesh, camera, size).faces >= 0


def render(mesh: Mesh, camera: Camera, size: int, background: tuple[int, int, int]) -> Pixels:
    """Draw a mesh: (size, size, 3) RGB, lit from above the camera's left shoulder.

    Colours vary smoothly between vertices; so does the light, but across a crease.
    """
    seen = rasterise(mesh, camera, size * FINER)
    drawn = seen.faces >= 0
    faces, weights = seen.faces[drawn], seen.weights[drawn]
    colours = np.full((1, 1, 3), PLAIN) if mesh.colours is None else _corner_colours(mesh)[faces]
    lights = _corner_lights(mesh, camera)[faces]
    picture = np.empty((*drawn.shape, 3))
    picture[:] = background
    shades = np.einsum("pk,pk->p", weights, lights)
    picture[drawn] = shades[:, None] * np.einsum("pk,pkc->pc", weights, colours)
    parts = [picture[i::FINER, j::FINER] for i in range(FINER) for j in range(FINER)]
    return np.rint(sum(parts) / len(parts)).astype(np.uint8)


def rasterise(mesh: Mesh, camera: Camera, size: int) -> Seen:
    """Find the nearest face at each pixel. Faces that reach behind the camera are left out."""
    corners = camera.project(mesh.vertices, size)[mesh.faces]  # F 3 3
    depth = np.full(size * size, np.inf)
    faces = np.full(size * size, -1, np.intp)
    weights = np.zeros((size * size, 3))
    for chosen, start, stop in _boxes(corners, size):
        pixel, owner, share = _inside(corners, chosen, start, stop, size)
        share /= corners[owner, :, 2].T  # what is linear in space is so in the picture once divided
        distance = 1 / (share[0] + share[1] + share[2])
        np.minimum.at(depth, pixel, distance)
        nearest = distance == depth[pixel]
        pixel = pixel[nearest]
        faces[pixel] = owner[nearest]
        weights[pixel] = (share[:, nearest] * distance[nearest]).T
    return Seen(faces.reshape(size, size), weights.reshape(size, size, 3))


def _corner_colours(mesh: Mesh) -> Floats:
    """(F, 3, 3) the RGB of each face's corners."""
    assert mesh.colours is not None
    return mesh.colours[:, :3].astype(float)[mesh.faces]


def _corner_lights(mesh: Mesh, camera: Camera) -> Floats:
    """(F, 3) how bright each face's corners are.

    A corner is lit by the mean direction of the faces around its vertex, weighted by their areas;
    where that is far from the face's own, by the face's own.
    """
    a, b, c = mesh.vertices[mesh.faces].astype(float).transpose(1, 0, 2)
    across = np.cross(b - a, c - a)
    vertex = mesh.faces.reshape(-1)
    sums = [np.bincount(vertex, np.repeat(across[:, axis], 3)) for axis in range(3)]
    around = _unit(np.stack(sums, axis=1))[mesh.faces]  # F 3 3
    own = _unit(across)[:, None]
    is_smooth = (around * own).sum(axis=2, keepdims=True) > CREASE
    lit = np.where(is_smooth, around, own) @ (_unit(np.array(LIGHT)) @ camera.axes)
    lights: Floats = AMBIENT + (1 - AMBIENT) * lit.clip(0)
    return lights


def _boxes(corners: Floats, size: int) -> Iterator[tuple[Ints, Ints, Ints]]:
    """The faces in front of the camera, a part at a time, with the pixels that each may cover.

    Yields:
        (N,) faces, (N, 2) first x and y, (N, 2) x and y after the last.
    """
    front = np.flatnonzero((corners[:, :, 2] > 0).all(axis=1))
    xy = corners[front, :, :2]
    start = np.ceil(xy.min(axis=1) - 0.5).clip(0, size).astype(np.intp)
    stop = (np.floor(xy.max(axis=1) - 0.5) + 1).clip(0, size).astype(np.intp)
    areas = (stop - start).clip(0).prod(axis=1)
    some = np.flatnonzero(areas)
    part = np.cumsum(areas[some]) // OFFERED
    for index in np.split(some, np.flatnonzero(np.diff(part)) + 1):
        yield front[index], start[index], stop[index]


def _inside(
    corners: Floats, faces: Ints, start: Ints, stop: Ints, size: int
) -> tuple[Ints, Ints, Floats]:
    """The pixels inside of faces, as (P,) pixel, (P,) face, (3, P) barycentric in the picture."""
    wide, high = (stop - start).T
    count = wide * high
    which = np.repeat(np.arange(len(faces)), count)
    place = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    column = start[which, 0] + place % wide[which]
    row = start[which, 1] + place // wide[which]
    x, y = corners[faces, :, 0].T, corners[faces, :, 1].T  # each 3 N
    across, down = np.roll(x, 1, 0) - np.roll(x, -1, 0), np.roll(y, 1, 0) - np.roll(y, -1, 0)
    area = across[0] * down[1] - down[0] * across[1]
    area[np.abs(area) < EDGEWISE] = np.nan  # which is not above any bound
    per_x, per_y = -down / area, across / area
    at_zero = -per_x * np.roll(x, -1, 0) - per_y * np.roll(y, -1, 0)
    share = per_x[:, which] * (column + 0.5) + per_y[:, which] * (row + 0.5) + at_zero[:, which]
    inside = (share > -ON_EDGE).all(axis=0)
    return (row * size + column)[inside], faces[which[inside]], share[:, inside]


def _unit(vectors: Floats) -> Floats:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length > 0, length, 1)  # type: ignore[no-any-return]
