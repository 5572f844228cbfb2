"""The nodes that take pixels from a photo; those that paint on it are in `draw` and `redact`."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL.Image import Resampling
from pydantic import Field

from visionweave import Boxes, Cutout, Fit, Image, Masks, Node, node

from .._paint import Colour, parse_colour, soften
from .._regions import (
    Margin,
    Pixels,
    Region,
    check_frame,
    clipped,
    covering,
    moved_inside,
    padded,
    squared,
    union,
    window,
)

Side = Annotated[int, Field(ge=1)]


@node("image.cutout")
class CutOut(Node):
    """Cut objects out of a photo, each on a transparent background or on one colour.

    Alpha is the mask, holes included, times the photo's own alpha. Pixels with alpha 0 hold no
    colour either, (0, 0, 0, 0): nothing of the background stays in the file. Resize cutouts with
    premultiplied alpha, as Pillow does, and no dark edge appears. An object with an empty mask has
    no pixels and gives no cutout.

    Settings:
        margin: room around the object's tight box, as a fraction of the box's longer side. It may
            reach out of the photo; there is nothing there but background.
        square: make the region square, the object in its middle (to half a pixel).
        background: a colour; None for transparency.
        feather: the edge is soft this many pixels to either side of the mask's border; what is
            thinner grows faint. Where the photo's border cuts an object off, that edge stays hard.
    """

    def __init__(
        self,
        margin: Margin = 0.0,
        square: bool = False,
        background: Colour | None = None,
        feather: Annotated[float, Field(ge=0, le=100)] = 0.0,
    ) -> None:
        self.margin = margin
        self.square = square
        self.background = background
        self.feather = feather

    def run(self, image: Image, masks: Masks) -> list[Cutout]:
        """Cut out every object, in the order of the masks."""
        check_frame(image, masks)
        masks = masks[masks.areas > 0]
        colours = _straight(image)
        # Where there may be alpha: a mask and its soft edge, as far as they lie in the photo.
        insides = masks.windows(math.ceil(self.feather))
        cutouts = []
        for index, (tight, inside) in enumerate(zip(masks.windows(), insides, strict=True)):
            region = union(padded(tight, self.margin), inside)
            if self.square:
                region = squared(region)
            part = window(inside)
            opacity = soften(masks.crop(index, inside), self.feather / 3)
            if image.alpha is not None:
                opacity = np.rint(opacity * (image.alpha[part] / 255)).astype(np.uint8)
            rgba = _embed(colours[part], opacity, inside, region)
            cutouts.append(self._on_background(Cutout(rgba, region, masks.origin(index))))
        return cutouts

    def _on_background(self, cutout: Cutout) -> Cutout:
        if self.background is None:
            return cutout
        flat = cutout.over(parse_colour(self.background))
        rgba = np.dstack([flat, np.full(flat.shape[:2], 255, np.uint8)])
        return Cutout(rgba, cutout.region, cutout.origin)


@node("image.crop")
class Crop(Node):
    """Crop a photo to each of its boxes.

    A crop holds every pixel that its box touches, knows its photo and its object, and never
    sticks out of the photo. A box that lies outside, or has no area, gives no crop.

    Settings:
        margin: room around the box, as a fraction of its longer side; cut off at the border.
        square: make the crop square: grown about the box's middle, and moved where it would stick
            out. Only where the photo is too small is it cut off and not square.
    """

    def __init__(self, margin: Margin = 0.0, square: bool = False) -> None:
        self.margin = margin
        self.square = square

    def run(self, image: Image, boxes: Boxes) -> list[Image]:
        """Crop to every box, in their order."""
        check_frame(image, boxes)
        pixels = image.pixels if image.alpha is None else np.asarray(image.to_pil())
        crops = []
        for index in range(len(boxes)):
            touched = covering(boxes.xyxy[index].tolist())
            if clipped(touched, image.size_wh) is None:
                continue
            region = padded(touched, self.margin)
            if self.square:
                region = moved_inside(squared(region), image.size_wh)
            inside = clipped(region, image.size_wh)
            assert inside is not None  # it only grew
            part = pixels[window(inside)].copy()  # a view would keep the whole photo in memory
            crops.append(Image.from_array(part, origin=boxes.origin(index)))
        return crops


@node("image.resize")
class Resize(Node):
    """Shrink a photo to a size, its proportions kept.

    Every side that a setting names becomes at most as long as it says, and one of them exactly as
    long: `longest: 1024`, or `width: 640` with `height: 480` for what fits into that frame. Lanczos
    filter; transparency is weighed in, so that no colour bleeds out of transparent pixels. The
    result is a photo of its own: boxes found in it are in its pixels.

    Settings:
        longest, shortest: the longer and the shorter side, in pixels.
        width, height: these sides, in pixels. At least one of the four must be given.
        enlarge: also enlarge a photo that is smaller; else it is passed on as it is.
    """

    def __init__(
        self,
        longest: Side | None = None,
        shortest: Side | None = None,
        width: Side | None = None,
        height: Side | None = None,
        enlarge: bool = False,
    ) -> None:
        if all(side is None for side in (longest, shortest, width, height)):
            raise ValueError("give at least one of longest, shortest, width and height, in pixels")
        self.longest = longest
        self.shortest = shortest
        self.width = width
        self.height = height
        self.enlarge = enlarge

    def fit(self) -> Fit:
        """A size that is never below the result's, be the photo upright or wide."""
        short = [side for side in (self.shortest, self.width, self.height) if side is not None]
        long = [] if self.longest is None else [self.longest]
        if self.width is not None and self.height is not None:
            long.append(max(self.width, self.height))
        return Fit(min(short, default=None), min(long, default=None))

    def run(self, image: Image) -> Image:
        """Resize."""
        size_wh = self._size(image.size_wh)
        if size_wh == image.size_wh:
            return image
        if image.alpha is None:
            picture = PIL.Image.fromarray(image.shrunk(self.fit()))
        else:
            picture = image.to_pil()  # which Pillow resizes with premultiplied alpha
        resized = picture.resize(size_wh, Resampling.LANCZOS)
        return Image.from_array(np.asarray(resized), origin=image.origin)

    def _size(self, size_wh: tuple[int, int]) -> tuple[int, int]:
        width, height = size_wh
        bounds = (
            (self.longest, max(size_wh)),
            (self.shortest, min(size_wh)),
            (self.width, width),
            (self.height, height),
        )
        scale = min(bound / side for bound, side in bounds if bound is not None)
        if scale > 1 and not self.enlarge:
            scale = 1.0
        return max(1, round(width * scale)), max(1, round(height * scale))


@node("image.alpha_masks")
class AlphaMasks(Node):
    """The objects of a transparent picture, such as a sticker sheet: one mask for each.

    An object is what hangs together, corners included, where alpha is high enough; it keeps its
    holes. Objects come in reading order: rows from the top, each from the left. A photo without
    transparency gives none.

    Settings:
        threshold: the least alpha that belongs to an object, 1 to 255.
        min_area: the least area of an object, as a fraction of the picture's; specks are left out.
        label: what all of them are called.
    """

    def __init__(
        self,
        threshold: Annotated[int, Field(ge=1, le=255)] = 128,
        min_area: Annotated[float, Field(ge=0, le=1)] = 0.0001,
        label: str = "object",
    ) -> None:
        self.threshold = threshold
        self.min_area = min_area
        self.label = label

    def run(self, image: Image) -> Masks:
        """Find the objects; every score is 1."""
        hw, photo = image.image_hw, image.origin.photo
        if image.alpha is None or image.alpha.min() >= self.threshold:
            return Masks.empty(hw, photo)
        from skimage.measure import label, regionprops  # half a second to import

        parts = label(image.alpha >= self.threshold, connectivity=2)
        large = np.bincount(parts.reshape(-1)) >= max(1, self.min_area * parts.size)
        large[0] = False  # the background
        found = regionprops((np.cumsum(large) * large)[parts])
        corners = [part.bbox for part in found]
        xyxy = np.array([(x1, y1, x2, y2) for y1, x1, y2, x2 in corners], np.float32)
        order = _reading_order(xyxy)
        boxes = Boxes(xyxy.reshape(-1, 4)[order], hw, (self.label,) * len(order), photo=photo)
        crops = ((corners[index][1], corners[index][0], found[index].image) for index in order)
        return Masks.from_crops(crops, boxes)


def _embed(colours: Pixels, opacity: Pixels, inside: Region, region: Region) -> Pixels:
    """RGBA of a region, of which `inside` is in the photo; 0, 0, 0, 0 where nothing is seen."""
    rgba = np.zeros((region[3] - region[1], region[2] - region[0], 4), np.uint8)
    seen = opacity[:, :, None] > 0
    rgba[window(inside, region)] = np.where(seen, np.dstack([colours, opacity]), 0)
    return rgba


def _straight(image: Image) -> Pixels:
    """The colours of a photo as they are, also where it is transparent; (H, W, 3)."""
    return image.pixels if image.alpha is None else np.asarray(image.to_pil())[:, :, :3]


def _reading_order(xyxy: npt.NDArray[np.float32]) -> list[int]:
    """Sort boxes into rows, top down, and each row from the left.

    A row is opened by the highest box left; all whose middle is above its lower edge are in it.
    """
    left = sorted(range(len(xyxy)), key=lambda index: xyxy[index, 1])
    order: list[int] = []
    while left:
        bottom = xyxy[left[0], 3]
        row = {index for index in left if xyxy[index, 1] + xyxy[index, 3] < 2 * bottom}
        order += sorted(row, key=lambda index: xyxy[index, 0])
        left = [index for index in left if index not in row]
    return order
