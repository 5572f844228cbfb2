"""overlay.jpg: a photo with what was found in it, to look at.

It is drawn from the results, beside the steps, by the node image.draw: at SIDE pixels, so that a
large photo takes hardly longer than a small one, and a JPEG of one is not even decoded in full.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from visionweave.errors import NodeFailed
from visionweave.pipeline import Pipeline
from visionweave.registry import find_node
from visionweave.values import Boxes, Image, Masks
from visionweave.values.small import small_objects, small_photo

__all__ = ["NAME", "SIDE", "Overlay", "make_overlay", "overlay_failure"]

NAME = "overlay.jpg"

SIDE = 1600
"""The long side of an overlay in pixels, at most: enough to judge outlines by on a screen."""

QUALITY = 88

SAME_SHAPE = 0.01
"""How much a picture that objects were found in may differ from the photo in its proportions."""


@dataclass(frozen=True, slots=True)
class Overlay:
    """Draws the overlays of a job.

    Attributes:
        outputs: the outputs that hold objects, the one to be drawn first; of those that failed, or
            were found in a crop, the next one is drawn.
    """

    outputs: tuple[str, ...]

    def draw(self, photo: Image, results: Mapping[str, Any]) -> bytes | None:
        """Return a JPEG, or None where nothing was found that lies in the photo.

        Args:
            photo: the photo, best opened for a fit of SIDE.
            results: its results by output.

        Raises:
            ImageError: the photo cannot be read, or has changed.
        """
        values = (results[name] for name in self.outputs if name in results)
        found = next((each for each in values if _lies_in(each, photo)), None)
        if found is None:
            return None
        small = small_photo(photo, SIDE)
        objects = small_objects(found, (small.height, small.width))
        masks = objects if isinstance(objects, Masks) else None
        boxes = objects.boxes if isinstance(objects, Masks) else objects
        scores = bool(np.any(boxes.scores != 1))  # who is sure of everything says nothing
        drawn = _draw(scores)(
            Image.from_array(np.asarray(small), origin=photo.origin), boxes, masks
        )
        data = io.BytesIO()
        # Colour at full resolution, or lines of a pixel or two would lose theirs.
        drawn.to_pil().save(data, "JPEG", quality=QUALITY, subsampling=0)
        return data.getvalue()


def make_overlay(pipeline: Pipeline, wanted: bool | None) -> Overlay | None:
    """Return what draws the overlays of a pipeline's results; None where there are to be none.

    Masks are drawn rather than boxes, which they come with, and of several the last ones.

    Args:
        pipeline: the pipeline.
        wanted: whether there shall be overlays, where there is something to draw; None: unless the
            pipeline makes a picture of the photo itself, be it drawn on or with something hidden.
    """
    flows = {name: flow for name, flow in pipeline.outputs.items() if not flow.axes}
    steps, outputs = pipeline.graph.steps, pipeline.graph.outputs
    pictures = [name for name, flow in flows.items() if Image in flow.kinds]
    if wanted is False or (wanted is None and any(outputs[n].name in steps for n in pictures)):
        return None
    names = [
        name for kind in (Masks, Boxes) for name in reversed(flows) if flows[name].kinds == (kind,)
    ]
    return Overlay(tuple(names)) if names else None


def overlay_failure(photo: str, error: Exception) -> NodeFailed:
    """What is recorded of an overlay that could not be drawn."""
    failure = NodeFailed(NAME, "image.draw", photo, None, "", type(error).__name__, str(error))
    failure.__cause__ = error
    return failure


def _draw(scores: bool) -> Any:
    return find_node("image.draw")(scores=scores).run  # type: ignore[call-arg]


def _lies_in(found: Boxes | Masks, photo: Image) -> bool:
    (height, width), (h, w) = found.image_hw, photo.image_hw
    return abs(w / width * height - h) <= max(2, SAME_SHAPE * h)
