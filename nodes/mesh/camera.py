"""A camera that looks at a mesh."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from visionweave import Mesh

__all__ = ["Camera"]

Floats = npt.NDArray[np.float64]

MARGIN = 1.05
"""How much more than the mesh fits into a picture."""

SMALLEST = 1e-6
"""The radius that a mesh without any extent is taken to have."""


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole camera that looks at one point, upright, with a square picture.

    Attributes:
        azimuth_deg: 0 in front of the object (+z), 90 at its right-hand side (-x: to the left for
            who faces it), 180 behind it.
        elevation_deg: in [-90, 90], positive above.
        distance: from the point, above 0.
        fov_deg: the angle that the picture spans, from edge to edge.
        target: the point, xyz.
    """

    azimuth_deg: float
    elevation_deg: float
    distance: float
    fov_deg: float
    target: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @classmethod
    def around(cls, mesh: Mesh, azimuth_deg: float, elevation_deg: float, fov_deg: float) -> Self:
        """A camera that sees the whole mesh and looks at the middle of its bounds.

        Its distance is the same from every side. Vertices without a face are not seen.
        """
        used = mesh.vertices[np.unique(mesh.faces)]
        middle = (used.min(axis=0).astype(float) + used.max(axis=0)) / 2
        radius = max(float(np.linalg.norm(used - middle, axis=1).max()), SMALLEST)
        distance = MARGIN * radius / math.sin(math.radians(fov_deg) / 2)
        x, y, z = middle.tolist()
        return cls(azimuth_deg, elevation_deg, distance, fov_deg, (x, y, z))

    @property
    def axes(self) -> Floats:
        """(3, 3): the directions right, up and back (from the point to the camera), as rows."""
        azimuth, elevation = math.radians(self.azimuth_deg), math.radians(self.elevation_deg)
        right = np.array([math.cos(azimuth), 0.0, math.sin(azimuth)])
        level = np.array([-math.sin(azimuth), 0.0, math.cos(azimuth)])
        back = math.cos(elevation) * level + math.sin(elevation) * np.array([0.0, 1.0, 0.0])
        return np.stack([right, np.cross(back, right), back])

    def project(self, points: npt.NDArray[np.floating], size: int) -> Floats:
        """Where points (..., 3) appear in a picture of `size` x `size` pixels.

        Returns:
            (..., 3) x right and y down in pixels, and the depth, positive in front of the camera.
        """
        right, up, back = np.moveaxis((points - np.array(self.target)) @ self.axes.T, -1, 0)
        depth = self.distance - back
        with np.errstate(divide="ignore", invalid="ignore"):  # in the camera's own plane
            scale = size / 2 / math.tan(math.radians(self.fov_deg) / 2) / depth
            x, y = size / 2 + right * scale, size / 2 - up * scale
        return np.stack([x, y, depth], axis=-1)
