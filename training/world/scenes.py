"""Scenes: sprites pasted on a background, with everything known about each of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from training.world.artwork import TRAINED
from training.world.backgrounds import Backdrops, Rgb
from training.world.names import NAMES, Drawing, drawings
from training.world.sprites import Rgba, recoloured, recolouring, scaled, sprite
from training.world.variation import FREEDOM, MARGIN, bent, redrawn

__all__ = ["Placed", "Scene", "World"]

_IN_SIGHT = 0.68  # of an object's pixels, else nobody could name it


@dataclass(frozen=True, slots=True)
class Placed:
    """One object of a scene.

    Attributes:
        name_index: its class; -1 outside the vocabulary.
        style: whose drawing it is.
        xyxy: the box of its visible part, float32 (4,), pixels, x2 and y2 exclusive.
        visible: the share of its pixels that are in sight.
        colour: its colour, where that matters; else "".
    """

    name_index: int
    style: str
    xyxy: npt.NDArray[np.float32]
    visible: float
    colour: str = ""

    @property
    def name(self) -> str:
        """Its English name."""
        return NAMES[self.name_index]


@dataclass(slots=True)
class Scene:
    """A picture, and what is in it.

    Attributes:
        image: uint8 (side, side, 3), RGB.
        ids: uint8 (side, side): 0 for background, k where `objects[k - 1]` shows.
        objects: from the hindmost to the foremost.
    """

    image: Rgb
    ids: npt.NDArray[np.uint8]
    objects: list[Placed] = field(default_factory=list)


@dataclass(slots=True)
class _Layer:
    """A sprite laid into the frame: where, its colours premultiplied, its alpha in 0..1."""

    drawing: Drawing
    left: int
    top: int
    colours: npt.NDArray[np.float32]
    alpha: npt.NDArray[np.float32]
    pixels: int  # of the whole sprite, also outside the frame

    @property
    def window(self) -> tuple[slice, slice]:
        height, width = self.alpha.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


class World:
    """Makes scenes by chance, the same ones for the same generator.

    Args:
        styles: the styles of the artwork.
        split: "train" or "test": they share no backgrounds. Seeds are the caller's.
        artwork: "vocabulary", or "all" concrete things, of class -1 where they have no name here.
        hold_out: names of things that do not occur.
        only: the reverse: the names of the only things that occur.
        redraws: whether drawings are redrawn, see `variation`; by default those of "train" are.
    """

    def __init__(
        self,
        styles: tuple[str, ...] = TRAINED,
        split: str = "train",
        artwork: str = "vocabulary",
        hold_out: tuple[str, ...] = (),
        only: tuple[str, ...] = (),
        redraws: bool | None = None,
    ) -> None:
        self._backdrops = Backdrops(split)
        self._redraws = split == "train" if redraws is None else redraws
        unwanted = {NAMES.index(name) for name in hold_out}
        if only:
            unwanted |= set(range(len(NAMES))) - {NAMES.index(name) for name in only}
        by_thing: dict[object, list[Drawing]] = {}
        for drawing in drawings(styles, everything=artwork == "all"):
            if drawing.name_index not in unwanted:
                key = drawing.name_index if drawing.name_index >= 0 else drawing.icon
                by_thing.setdefault(key, []).append(drawing)
        # A thing first, one of its drawings then: five drawings make a thing no likelier.
        self._things = list(by_thing.values())

    def drawing(self, rng: np.random.Generator) -> Drawing:
        """Return a drawing of a thing, all things being equally likely."""
        thing = self._things[rng.integers(len(self._things))]
        return thing[rng.integers(len(thing))]

    def sprite(self, rng: np.random.Generator) -> tuple[Rgba, int, str]:
        """Return the bare artwork: RGBA uint8, longer side 128; its class; its style."""
        drawing = self.drawing(rng)
        return sprite(drawing), drawing.name_index, drawing.style

    def scene(
        self,
        rng: np.random.Generator,
        side: int = 160,
        count: tuple[int, int] = (1, 5),
        scale: tuple[float, float] = (0.2, 0.55),
    ) -> Scene:
        """Return a scene.

        Args:
            rng: where the chance comes from.
            side: of the picture, in pixels.
            count: the least and the greatest number of objects. One that would hide another, or
                lie too far outside, is moved; where no place is found there is one object less.
            scale: the least and the greatest length of an object, as a share of `side`.
        """
        wanted = int(rng.integers(count[0], count[1] + 1))
        layers: list[_Layer] = []
        ids = np.zeros((side, side), np.uint8)
        for _ in range(wanted):
            placed = self._place(rng, side, scale, layers, ids)
            if placed is not None:
                layers.append(placed[0])
                ids = placed[1]
        image = _composed(rng, self._backdrops(rng, side), layers)
        return Scene(image, ids, [_described(layer, ids, k + 1) for k, layer in enumerate(layers)])

    def single(
        self, rng: np.random.Generator, side: int = 80, fill: tuple[float, float] = (0.5, 0.98)
    ) -> tuple[Rgb, int]:
        """Return a picture that one object fills, uint8 (side, side, 3), and its class."""
        scene = self.scene(rng, side, (1, 1), fill)
        return scene.image, scene.objects[0].name_index

    def _place(
        self,
        rng: np.random.Generator,
        side: int,
        scale: tuple[float, float],
        layers: list[_Layer],
        ids: npt.NDArray[np.uint8],
    ) -> tuple[_Layer, npt.NDArray[np.uint8]] | None:
        drawing = self.drawing(rng)
        for attempt in range(8):
            length = side * rng.uniform(*scale) * 0.93**attempt
            layer = _laid(rng, drawing, length, side, self._redraws)
            if layer is None:
                continue
            covered = ids.copy()
            covered[layer.window][layer.alpha > 0.5] = len(layers) + 1
            totals = [other.pixels for other in (*layers, layer)]
            seen = np.bincount(covered.ravel(), minlength=len(totals) + 1)[1:]
            if all(part >= _IN_SIGHT * total for part, total in zip(seen, totals, strict=True)):
                return layer, covered
        return None


def _laid(
    rng: np.random.Generator, drawing: Drawing, length: float, side: int, redraws: bool
) -> _Layer | None:
    """Turn, stretch, flip and recolour a sprite, and lay it somewhere into the frame."""
    pixels = scaled(drawing, length)
    colours = recolouring(rng, keep_hue=bool(drawing.colour))
    matrix, size = _warp(rng, pixels.shape[:2], length, redraws)
    if redraws:
        warped = redrawn(bent(pixels, matrix, size, rng), rng)
    else:
        warped = cv2.warpAffine(pixels, matrix, size, flags=cv2.INTER_LINEAR)
    warped = recoloured(warped, colours)
    whole = int(np.count_nonzero(warped[..., 3] > 127))
    outside = rng.uniform(0, 0.12) if rng.random() < 0.25 else 0.0
    spots = [int(rng.uniform(-outside * s, side - s + outside * s + 1e-6)) for s in size]
    if whole < 12 or any(s > side for s in size):
        return None
    left, top = spots
    x1, y1 = max(0, -left), max(0, -top)
    x2, y2 = min(size[0], side - left), min(size[1], side - top)
    inside = warped[y1:y2, x1:x2].astype(np.float32)
    return _Layer(drawing, left + x1, top + y1, inside[..., :3], inside[..., 3] / 255, whole)


def _warp(
    rng: np.random.Generator, shape: tuple[int, int], length: float, redraws: bool
) -> tuple[npt.NDArray[np.float32], tuple[int, int]]:
    """The affine map of a sprite to its place in a window of its own, and that window's size.

    One that is redrawn is turned, sheared and stretched more, and has room to be bent.
    """
    height, width = shape
    freedom, room = (FREEDOM, 1 - 2 * MARGIN) if redraws else (1.0, 1.0)
    angle, shear = np.deg2rad(rng.normal(0, 12 * freedom)), rng.normal(0, 0.08 * freedom)
    stretch = np.exp(rng.normal(0, 0.08 * freedom, 2)) * length / max(shape)
    flip = rng.choice([-1.0, 1.0])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.array([[1, shear], [0, 1]]) @ np.diag(stretch * [flip, 1])
    corners = np.array([[-width, -height], [width, -height], [-width, height], [width, height]]) / 2
    reach = (corners @ linear.T).max(0)
    longest = max(1.0, 2 * reach.max() / length)  # a turned box is longer than its drawing
    linear, reach = linear / longest, reach / longest
    size = (max(2, int(np.ceil(2 * reach[0]))), max(2, int(np.ceil(2 * reach[1]))))
    linear = linear * room
    offset = np.array(size) / 2 - linear @ (np.array([width, height]) / 2 - 0.5) - 0.5
    return np.column_stack([linear, offset]).astype(np.float32), size


def _composed(rng: np.random.Generator, picture: Rgb, layers: list[_Layer]) -> Rgb:
    canvas = picture.astype(np.float32)
    shadows = rng.random() < 0.5
    for layer in layers:
        if shadows:
            _cast(rng, canvas, layer)
        under = canvas[layer.window]
        canvas[layer.window] = under * (1 - layer.alpha[..., None]) + layer.colours
    side = len(canvas)
    if rng.random() < 0.25:
        canvas = cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.3, 1.0) * side / 160)
    if rng.random() < 0.4:
        canvas += rng.standard_normal((side, side, 1), np.float32) * rng.uniform(1, 9)
    return np.clip(canvas * rng.uniform(0.85, 1.1) + rng.uniform(-8, 8), 0, 255).astype(np.uint8)


def _cast(rng: np.random.Generator, canvas: npt.NDArray[np.float32], layer: _Layer) -> None:
    """Darken what lies below and beside an object, softly."""
    side = len(canvas)
    shift = (rng.uniform(-0.03, 0.03) * side, rng.uniform(0.0, 0.04) * side)
    shade = np.zeros(canvas.shape[:2], np.float32)
    shade[layer.window] = layer.alpha
    moved = cv2.warpAffine(shade, np.float32([[1, 0, shift[0]], [0, 1, shift[1]]]), (side, side))
    moved = cv2.blur(moved, (max(1, side // 32),) * 2)
    canvas *= 1 - rng.uniform(0.1, 0.5) * moved[..., None]


def _described(layer: _Layer, ids: npt.NDArray[np.uint8], number: int) -> Placed:
    rows, columns = np.nonzero(ids[layer.window] == number)
    corners = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    xyxy = np.float32(corners) + np.float32([layer.left, layer.top] * 2)
    drawing = layer.drawing
    return Placed(drawing.name_index, drawing.style, xyxy, len(rows) / layer.pixels, drawing.colour)
