"""The nodes that take a mesh."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from visionweave import Mesh, Node, Text, Views, node

from .._paint import Colour, parse_colour
from .camera import Camera
from .raster import render

Ints = npt.NDArray[np.intp]


@node("mesh.render", version=2)
class Render(Node):
    """Draw a mesh from all around: a turntable.

    The first view is from the front, the photo's side; the camera then goes round by equal steps,
    to the object's right-hand side first. All views are from one distance, at which the whole mesh
    is in the picture. A light beside the camera shades the colours; edges are smoothed.

    Settings:
        views: how many.
        elevation_deg: the camera's height above the object's middle, as an angle.
        size: the side of the pictures, in pixels.
        fov_deg: the angle that a picture spans.
        background: the colour behind the object.
    """

    def __init__(
        self,
        views: Annotated[int, Field(ge=1, le=360)] = 8,
        elevation_deg: Annotated[float, Field(ge=-90, le=90)] = 15.0,
        size: Annotated[int, Field(ge=8, le=2048)] = 256,
        fov_deg: Annotated[float, Field(ge=1, le=120)] = 40.0,
        background: Colour = "#ffffff",
    ) -> None:
        self.views = views
        self.elevation_deg = elevation_deg
        self.size = size
        self.fov_deg = fov_deg
        self.background = background

    def run(self, mesh: Mesh) -> Views:
        """Draw every view."""
        azimuths = np.arange(self.views, dtype=np.float32) * np.float32(360 / self.views)
        cameras = [
            Camera.around(mesh, azimuth, self.elevation_deg, self.fov_deg)
            for azimuth in azimuths.tolist()
        ]
        background = parse_colour(self.background)
        return Views(
            np.stack([render(mesh, camera, self.size, background) for camera in cameras]),
            azimuths,
            np.full(self.views, self.elevation_deg, np.float32),
            np.array([camera.distance for camera in cameras], np.float32),
            self.fov_deg,
            mesh.origin,
        )


@dataclass(frozen=True, slots=True)
class Measures:
    """What can be measured of a mesh.

    Attributes:
        vertices, faces: how many the mesh has.
        parts: how many pieces, each of faces that hang together.
        watertight: whether every edge joins two faces, so that there is an inside; if need be with
            vertices at one and the same place taken as one. Faces that collapsed do not count.
        volume: in cubed units of the mesh, negative when it is inside out; None without an inside.
        size_whd: width, height and depth of the faces' bounds (x, y, z).
    """

    vertices: int
    faces: int
    parts: int
    watertight: bool
    volume: float | None
    size_whd: tuple[float, float, float]

    def __str__(self) -> str:
        volume = "no volume" if self.volume is None else f"volume {self.volume:.4g}"
        width, height, depth = self.size_whd
        return (
            f"{'watertight' if self.watertight else 'open'}, "
            f"{self.parts} part{'' if self.parts == 1 else 's'}, {volume}, "
            f"{self.faces:,} faces, {self.vertices:,} vertices, "
            f"{width:.3g} wide, {height:.3g} high, {depth:.3g} deep"
        )


@node("mesh.report", version=2)
class Report(Node):
    """Say in a line what a mesh is: watertight or open, its parts, volume, faces and size.

    "watertight, 1 part, volume 0.31, 12,034 faces, 6,019 vertices, 0.61 wide, 1.2 high, 0.58 deep".
    A negative volume is that of a mesh turned inside out.
    """

    def run(self, mesh: Mesh) -> Text:
        """Measure."""
        return Text(str(measure(mesh)), mesh.origin)


@node("mesh.clean")
class Clean(Node):
    """Remove loose parts: specks beside an object, and shells inside of it.

    A part is what hangs together. The largest by surface always stays.

    Settings:
        min_share: the least surface of a part that stays, as a fraction of the largest part's;
            1 keeps the largest alone.
    """

    def __init__(self, min_share: Annotated[float, Field(ge=0, le=1)] = 0.1) -> None:
        self.min_share = min_share

    def run(self, mesh: Mesh) -> Mesh:
        """Keep the large parts."""
        a, b, c = mesh.vertices[mesh.faces].astype(float).transpose(1, 0, 2)
        surface = np.linalg.norm(np.cross(b - a, c - a), axis=1)
        part = _parts(_joined(mesh))
        surfaces = np.bincount(part, surface)
        kept = surfaces[part] >= self.min_share * surfaces.max()
        if kept.all():
            return mesh
        used, faces = np.unique(mesh.faces[kept], return_inverse=True)
        return dataclasses.replace(
            mesh,
            vertices=mesh.vertices[used],
            faces=faces.reshape(-1, 3).astype(np.int32),
            colours=None if mesh.colours is None else mesh.colours[used],
        )


def measure(mesh: Mesh) -> Measures:
    """Measure a mesh."""
    import trimesh  # half a second to import

    joined = _joined(mesh)
    whole = _whole(joined)
    solid = trimesh.Trimesh(mesh.vertices, _whole(mesh.faces), process=False)
    if not solid.is_watertight:
        solid = trimesh.Trimesh(mesh.vertices, whole, process=False)
    watertight = len(whole) > 0 and bool(solid.is_watertight)
    used = mesh.vertices[np.unique(mesh.faces)]
    width, height, depth = (used.max(axis=0) - used.min(axis=0)).tolist()
    return Measures(
        len(mesh.vertices),
        len(mesh.faces),
        int(_parts(joined).max()) + 1,
        watertight,
        float(solid.volume) if watertight else None,
        (width, height, depth),
    )


def _joined(mesh: Mesh) -> Ints:
    """The faces (F, 3) with one and the same index for all vertices at one place."""
    _, first, place = np.unique(mesh.vertices, axis=0, return_index=True, return_inverse=True)
    joined: Ints = first[place.reshape(-1)][mesh.faces]
    return joined


def _whole(faces: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
    """Those of (F, 3) faces that have three corners, and did not collapse to a line or a point."""
    return faces[(faces != np.roll(faces, 1, axis=1)).all(axis=1)]


def _parts(faces: Ints) -> Ints:
    """(F,) the part of each of (F, 3) faces, counted from 0: what has a vertex in common."""
    from scipy.sparse import coo_array  # comes with scikit-image
    from scipy.sparse.csgraph import connected_components

    used, corners = np.unique(faces, return_inverse=True)
    a, b, c = corners.reshape(-1, 3).T
    starts, ends = np.concatenate([a, b]), np.concatenate([b, c])
    links = coo_array((np.ones(len(starts), bool), (starts, ends)), shape=(used.size, used.size))
    parts: Ints = connected_components(links, directed=False)[1][a].astype(np.intp)
    return parts
