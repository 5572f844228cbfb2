"""Meshes without a model: look at them from all sides, measure them, remove loose parts.

Drawing is done in numpy, because trimesh's own viewers need OpenGL and a display. Meshes are in
glTF's frame: +y up, +z towards the photo's camera.
"""

from __future__ import annotations

from .camera import Camera
from .nodes import Clean, Measures, Render, Report, measure
from .raster import silhouette

__all__ = ["Camera", "Clean", "Measures", "Render", "Report", "measure", "silhouette"]
