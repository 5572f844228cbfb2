"""The node image.draw: boxes, masks and names of objects, drawn into their photo."""

from __future__ import annotations

from typing import Annotated, TypeVar

import numpy as np
import PIL.Image
from pydantic import Field

from visionweave import Boxes, Image, Masks, Node, Origin, node

from .. import _paint
from .._regions import Region, check_frames, clipped, covering, grown
from . import chips

__all__ = ["Draw"]

T = TypeVar("T", Boxes, Masks)


@node("image.draw")
class Draw(Node):
    """Draw boxes and masks into a photo, each object with its name.

    Masks are filled with a translucent colour and have a contour; boxes are outlined with a dark
    and a light line beside the coloured one, so that they show on any picture. An object has the
    same colour in every picture, by its index, from a palette that colour-blind people can read.
    Chips such as "apple 0.83" keep inside the picture and clear of each other where there is room.
    An object without a label is called by its index, "#2", and so is one whose label no font at
    hand can write (Pillow's own has ASCII letters only): set `font`. The result is opaque; a
    transparent photo is drawn on white.

    Settings:
        labels, scores: what stands on the chips; without both there are none.
        mask_opacity: of the fill of masks, 0 for contours only.
        line_width: of contours and outlines, in pixels; None: by the photo's size.
        text_size: of the letters, in pixels; None: by the photo's size.
        font: a font file to write with, or the name of an installed one; else what is found.
    """

    def __init__(
        self,
        labels: bool = True,
        scores: bool = True,
        mask_opacity: Annotated[float, Field(ge=0, le=1)] = 0.4,
        line_width: Annotated[int, Field(ge=1)] | None = None,
        text_size: Annotated[int, Field(ge=chips.MIN_TEXT)] | None = None,
        font: chips.FontFile | None = None,
    ) -> None:
        self.labels = labels
        self.scores = scores
        self.mask_opacity = mask_opacity
        self.line_width = line_width
        self.text_size = text_size
        self.font = font

    def run(self, image: Image, boxes: Boxes | None = None, masks: Masks | None = None) -> Image:
        """Draw; small objects last, so that large ones do not hide them."""
        check_frames(image, boxes, masks)
        line = self.line_width or _paint.line_width(image.size_wh)
        picture = PIL.Image.fromarray(image.pixels)
        named: dict[int, Origin] = {}
        if masks is not None:
            masks = masks[masks.areas > 0]
            self._paint_masks(picture, _largest_first(masks), line)
            named |= _origins(masks.boxes)
        if boxes is not None:
            _paint_boxes(picture, _largest_first(boxes), line)
            named |= _origins(boxes)
        self._paint_chips(picture, named, line)
        return Image.from_array(np.asarray(picture), origin=image.origin)

    def _paint_masks(self, picture: PIL.Image.Image, masks: Masks, line: int) -> None:
        for index, region in enumerate(masks.windows()):
            mask, colour = masks.crop(index, region), _paint.colour_of(masks.boxes.ids[index])
            _paint.paint_mask(picture, mask, region, colour, self.mask_opacity, line)

    def _paint_chips(self, picture: PIL.Image.Image, named: dict[int, Origin], line: int) -> None:
        size = self.text_size or max(chips.MIN_TEXT, 6 * _paint.line_width(picture.size))
        taken: list[Region] = []
        for index, origin in named.items():
            assert origin.box is not None
            region = clipped(covering(origin.box), picture.size)
            chip = chips.make_chip(self._words(origin), size, picture.size, self.font)
            if region is None or chip is None:
                continue
            around = grown(region, _paint.outline_width(line))
            spot = chips.place(chip.size_wh, around, picture.size, taken)
            chips.paint_chip(picture, chip, spot, _paint.colour_of(index))
            taken.append(spot)

    def _words(self, origin: Origin) -> tuple[str, ...]:
        """What a chip may say, best first; nothing when there shall be no chips."""
        number = f"#{origin.object}"
        label = " ".join(origin.label.split()) or number
        score = f"{origin.score:.2f}"
        if self.labels and self.scores:
            return f"{label} {score}", f"{number} {score}", number
        return (label, number) if self.labels else (score,) if self.scores else ()


def _paint_boxes(picture: PIL.Image.Image, boxes: Boxes, line: int) -> None:
    for box, object in zip(boxes.xyxy.tolist(), boxes.ids, strict=True):
        region = clipped(covering(box), picture.size)
        if region is not None:
            _paint.paint_outline(picture, region, _paint.colour_of(object), line)


def _origins(boxes: Boxes) -> dict[int, Origin]:
    return {int(boxes.ids[index]): boxes.origin(index) for index in range(len(boxes))}


def _largest_first(objects: T) -> T:
    return objects[np.argsort(-objects.areas, kind="stable")]
