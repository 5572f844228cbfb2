"""A node of one's own, in a few lines: checked and chained like those that come along.

python examples/own_node.py

To use it by name in pipeline files and on the command line, put it into a package: see
examples/custom_node/.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

import visionweave as vw
from visionweave.nodes import image


@vw.node("examples.round")
class Round(vw.Node):
    """Keep the masks that are nearly as wide as high, and fill their box as a disc would.

    Settings:
        slack: how far both may be off, as a fraction.
    """

    def __init__(self, slack: Annotated[float, Field(ge=0, le=1)] = 0.15) -> None:
        self.slack = slack

    # The ports are the parameters, the output is what it returns: types are checked before it runs.
    def run(self, masks: vw.Masks) -> vw.Masks:
        """Return the round ones; a photo without objects is no special case."""
        width, height = (masks.tight_xyxy[:, 2:] - masks.tight_xyxy[:, :2]).T
        square = np.abs(width - height) <= self.slack * np.maximum(width, height)
        full = np.abs(masks.areas / np.maximum(width * height, 1) - np.pi / 4)
        return masks[square & (full <= self.slack)]


photo = vw.Input("photo", vw.Image)
found = image.AlphaMasks(label="sticker")(photo)
pipeline = vw.Pipeline(all=found, round=Round(slack=0.12)(found))

samples = Path(__file__).parent / "images" / "stickers"
for result in pipeline.map(sorted(samples.rglob("*.png"))):
    print(f"{Path(result.name).name}: {result['round'].boxes.ids.tolist()} of {len(result['all'])}")

# What does not fit is an error of the line that says it.
try:
    Round()(photo)
except vw.PipelineError as error:
    print(error)
