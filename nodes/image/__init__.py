"""Photos and their objects without a model: cut out, crop, resize, draw, redact, read alpha.

Regions are whole pixels of the upright photo. Only an object's own region is worked on, so that
many objects in a large photo cost little more than a few.
"""

from __future__ import annotations

from .draw import Draw
from .nodes import AlphaMasks, Crop, CutOut, Resize
from .redact import Blur

__all__ = ["AlphaMasks", "Blur", "Crop", "CutOut", "Draw", "Resize"]
