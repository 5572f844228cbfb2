"""Boxes without a model."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from visionweave import Boxes, Node, node


@node("boxes.filter")
class Filter(Node):
    """Keep the boxes that score well."""

    def __init__(self, min_score: Annotated[float, Field(ge=0, le=1)] = 0.5) -> None:
        self.min_score = min_score

    def run(self, boxes: Boxes) -> Boxes:
        """Run."""
        return boxes[boxes.scores >= self.min_score]
