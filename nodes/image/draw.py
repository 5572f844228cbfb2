"""The node image.draw: boxes, masks and names of objects, drawn into their photo."""

from __future__ import annotations

from typing import Annotated, TypeVar

import numpy as np
import numpy.typing as npt
import PIL.Image
from pydantic import Field

from visionweave import Boxes, Image, Masks, Node, Origin, node

from .. import _paint
from .._regions import Region, check_frames, clipped, covering, grown
from . import chips

__all__ = ["Draw"]

T = TypeVar("T", Boxes, Masks)


@node("image.draw", version=2)
class Draw(Node):
    """Draw boxes and masks into a photo, each object with its name.

    Masks are filled with a translucent colour and have a contour; boxes are outlined with a dark
    and a light line beside the coloured one, so that they show on any picture. An object has the
    same colour in every picture, by its index, from a palette that colour-blind people can read.
    Chips such as "apple 0.83" keep inside the picture and clear of each other where there is room.
    An object without a label is called by its index, "#2", and so is one whose label no font at
    hand can write (Pillow's own has ASCII letters only): set `font`. A mask and a box of one index
    are one object, named once, where they share their label or their box. The result is opaque; a
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
        named: list[Origin] = []
        if masks is not None:
            masks = masks[masks.areas > 0]
            self._paint_masks(picture, _largest_first(masks), line)
            named = _origins(_placed(masks))
        if boxes is not None:
            boxes = boxes[_in_photo(boxes)]
            _paint_boxes(picture, _largest_first(boxes), line)
            named = _joined(named, _origins(boxes))
        self._paint_chips(picture, named, line)
        return Image.from_array(np.asarray(picture), origin=image.origin)

    def _paint_masks(self, picture: PIL.Image.Image, masks: Masks, line: int) -> None:
        for index, region in enumerate(masks.windows()):
            mask, colour = masks.crop(index, region), _paint.colour_of(masks.boxes.ids[index])
            _paint.paint_mask(picture, mask, region, colour, self.mask_opacity, line)

    def _paint_chips(self, picture: PIL.Image.Image, named: list[Origin], line: int) -> None:
        size = self.text_size or max(chips.MIN_TEXT, 6 * _paint.line_width(picture.size))
        taken: list[Region] = []
        for origin in named:
            assert origin.box is not None
            assert origin.object is not None
            region = clipped(covering(origin.box), picture.size)
            assert region is not None
            chip = chips.make_chip(self._words(origin), size, picture.size, self.font)
            if chip is None:
                continue
            around = grown(region, _paint.outline_width(line))
            spot = chips.place(chip.size_wh, around, picture.size, taken)
            chips.paint_chip(picture, chip, spot, _paint.colour_of(origin.object))
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
        assert region is not None
        _paint.paint_outline(picture, region, _paint.colour_of(object), line)


def _in_photo(boxes: Boxes) -> npt.NDArray[np.bool_]:
    """(N,): which boxes touch a pixel of their photo."""
    size_wh = boxes.image_hw[1], boxes.image_hw[0]
    regions = [clipped(covering(box), size_wh) for box in boxes.xyxy.tolist()]
    return np.array([region is not None for region in regions], bool)


def _placed(masks: Masks) -> Boxes:
    """The boxes of masks; the tight ones of those whose own show nothing of the photo."""
    shown = _in_photo(masks.boxes)[:, None]
    return masks.boxes.replace(xyxy=np.where(shown, masks.boxes.xyxy, masks.tight_xyxy))


def _origins(boxes: Boxes) -> list[Origin]:
    return [boxes.origin(index) for index in range(len(boxes))]


def _joined(masks: list[Origin], boxes: list[Origin]) -> list[Origin]:
    """The objects of masks, then those of boxes; one that is among both counts once, by its box."""
    rest = {box.object: box for box in boxes}
    joined: list[Origin] = []
    for mask in masks:
        box = rest.get(mask.object)
        same = box is not None and (box.label == mask.label or box.box == mask.box)
        joined.append(rest.pop(mask.object) if same else mask)
    return joined + list(rest.values())


def _largest_first(objects: T) -> T:
    return objects[np.argsort(-objects.areas, kind="stable")]
