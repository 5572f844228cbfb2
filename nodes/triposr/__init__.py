"""TripoSR: a coloured 3D model from one cutout of an object.

Paper: Tochilkin et al. 2024, "TripoSR: Fast 3D Object Reconstruction from a Single Image",
arXiv:2403.02151. Code and weights: VAST-AI-Research and Stability AI, MIT; this is an
implementation of its own. weights.lock: triposr.
"""

from __future__ import annotations

from .input import framed
from .nodes import CAMERA_DISTANCE, CAMERA_FOV_DEG, Mesh

__all__ = ["CAMERA_DISTANCE", "CAMERA_FOV_DEG", "Mesh", "framed"]
