"""A node in a package of its own: the main colours of an object."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from visionweave import Cutout, Node, Tags, node

COLOURS = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "grey": (128, 128, 128),
    "red": (210, 40, 40),
    "orange": (240, 150, 50),
    "yellow": (240, 220, 70),
    "green": (70, 150, 80),
    "blue": (50, 110, 190),
    "pink": (240, 130, 170),
    "brown": (120, 70, 40),
}


@node("acme.colours")
class Colours(Node):
    """Name the main colours of an object, each with its share of the pixels.

    Settings:
        most: at most this many colours, the largest first.
    """

    def __init__(self, most: Annotated[int, Field(ge=1, le=len(COLOURS))] = 2) -> None:
        self.most = most

    def run(self, cutout: Cutout) -> Tags:
        """Count each opaque pixel for the nearest of the colours."""
        pixels = cutout.rgba[cutout.rgba[:, :, 3] > 127][:, :3].astype(int)
        palette = np.array(list(COLOURS.values()))
        nearest = ((pixels[:, None] - palette) ** 2).sum(axis=2).argmin(axis=1)
        counts = np.bincount(nearest, minlength=len(palette))
        order = [place for place in np.argsort(-counts, kind="stable") if counts[place] > 0]
        names = list(COLOURS)
        best = order[: self.most]
        shares = (counts[best] / max(1, len(pixels))).astype(np.float32)
        return Tags(tuple(names[place] for place in best), shares, cutout.origin)
