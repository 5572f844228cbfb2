"""The node image.blur: objects made unrecognisable."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import PIL.Image
from PIL.Image import Resampling
from pydantic import Field

from visionweave import Boxes, Image, Masks, Node, node

from .._paint import Colour, parse_colour
from .._regions import Margin, Mask, Region, check_frames, clipped, covering, padded, window

__all__ = ["Blur"]


@node("image.blur")
class Blur(Node):
    """Make objects of a photo unrecognisable: blurred, in coarse cells, or filled with a colour.

    Blurred and pixelated objects are drawn anew from the average colours of a few cells: nothing
    else is left of them. With the strength 0.2 these are 5 x 5 at most, however large the object.
    Even so few averages let a program tell which of some known faces or numbers is the likeliest
    (McPherson et al. 2016, arXiv:1609.00408); where that matters, fill. With masks and boxes, both
    are hidden.

    Settings:
        method: "blur" (smooth), "pixelate" (cells) or "fill".
        strength: the side of a cell, as a fraction of the object's longer side.
        margin: how far beyond the object to hide, as a fraction of its longer side.
        colour: what "fill" fills with.
    """

    def __init__(
        self,
        method: Literal["blur", "pixelate", "fill"] = "blur",
        strength: Annotated[float, Field(ge=0.1, le=1)] = 0.2,
        margin: Margin = 0.0,
        colour: Colour = "black",
    ) -> None:
        self.method = method
        self.strength = strength
        self.margin = margin
        self.colour = colour

    def run(self, image: Image, masks: Masks | None = None, boxes: Boxes | None = None) -> Image:
        """Hide every object; the rest of the photo stays as it is."""
        check_frames(image, boxes, masks)
        picture = image.to_pil()
        if masks is not None:
            masks = masks[masks.areas > 0]
            for index, tight in enumerate(masks.windows()):
                self._hide(picture, *self._widened(masks, index, tight))
        for box in [] if boxes is None else boxes.xyxy.tolist():
            if clipped(covering(box), image.size_wh) is not None:
                self._hide(picture, padded(covering(box), self.margin), None)
        return Image.from_array(np.asarray(picture), origin=image.origin)

    def _widened(self, masks: Masks, index: int, tight: Region) -> tuple[Region, Mask]:
        """A mask with its margin, as far as it lies in the photo, and where that is."""
        wide = padded(tight, self.margin)
        reach = tight[0] - wide[0]
        if reach == 0:
            return tight, masks.crop(index, tight)
        from skimage.morphology import isotropic_dilation  # half a second to import

        height, width = masks.image_hw
        inside = clipped(wide, (width, height))
        assert inside is not None
        return inside, isotropic_dilation(masks.crop(index, inside), reach)

    def _hide(self, picture: PIL.Image.Image, region: Region, shape: Mask | None) -> None:
        inside = clipped(region, picture.size)
        assert inside is not None
        size_wh = (inside[2] - inside[0], inside[3] - inside[1])
        cover = PIL.Image.new("L", size_wh, 255)
        if shape is not None:
            cover = PIL.Image.fromarray(shape[window(inside, region)])
        if self.method == "fill":
            picture.paste(parse_colour(self.colour), inside, cover)
            return
        cell = self.strength * max(size_wh)
        cells = picture.crop(inside).resize(
            (max(1, round(size_wh[0] / cell)), max(1, round(size_wh[1] / cell))), Resampling.BOX
        )
        way = Resampling.NEAREST if self.method == "pixelate" else Resampling.BICUBIC
        picture.paste(cells.resize(size_wh, way), inside, cover)
