"""A mesh as a script: what a page that was opened from the disk may read.

Browsers let such a page load scripts and pictures, but no other files, GLB among them. So the
viewer gets the geometry as base64 in a script, smaller than the GLB: corners of 16 bits, which no
eye tells from 32 at the size of a screen.
"""

from __future__ import annotations

import base64

import numpy as np

from visionweave.report.page import as_script
from visionweave.values import Mesh

__all__ = ["GREY", "mesh_script"]

GREY = (186, 190, 196)
"""The colour of a mesh that has none, in sRGB."""

STEPS = 65535


def mesh_script(name: str, mesh: Mesh) -> bytes:
    """Return a script that hands a mesh to the page.

    Its data are, one after the other and little-endian: (V, 3) uint16 corners, from 0 at the
    mesh's lowest to 65535 at its lowest plus `side`; (V, 3) uint8 colours, sRGB; padding to four
    bytes; (F, 3) uint32 faces.

    Args:
        name: what the page asks for.
        mesh: the mesh.
    """
    low = mesh.vertices.min(axis=0)
    size = mesh.vertices.max(axis=0) - low
    side = float(size.max()) or 1.0
    corners = np.rint((mesh.vertices - low) / side * STEPS).astype("<u2")
    colours = np.tile(np.array(GREY, np.uint8), (len(corners), 1))
    if mesh.colours is not None:
        colours = mesh.colours[:, :3]
    data = corners.tobytes() + np.ascontiguousarray(colours).tobytes()
    data += bytes(-len(data) % 4) + mesh.faces.astype("<u4").tobytes()
    form = {
        "vertices": len(corners),
        "faces": len(mesh.faces),
        "size": (size / side).tolist(),
        "data": base64.b64encode(data).decode("ascii"),
    }
    return as_script(name, form)
