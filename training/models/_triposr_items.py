"""What TripoSR learns from: a picture, points in space, and what is at each of them.

S is the side of a picture, M a number of points.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from training.models._triposr_inflate import Inflated, inflate, to_space
from training.models._triposr_shots import Shot, shot
from training.world import World
from training.world.sprites import Rgba, recoloured, recolouring, scaled
from visionweave import Cutout
from visionweave.nodes.triposr.config import Config
from visionweave.nodes.triposr.input import framed, over_grey

__all__ = [
    "FOREGROUND_RATIO",
    "SOLIDS",
    "Item",
    "cut_out",
    "drawing_item",
    "inflated",
    "solid_item",
]

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
Rng = np.random.Generator

SOLIDS = 2500
"""How many shots of solids the training goes through."""

FOREGROUND_RATIO = 0.85
SKIN = 0.06
"""How deep under the surface points have its colour."""


@dataclass(frozen=True, slots=True)
class Item:
    """A picture as the node shows it to the network, and the truth at some points.

    Attributes:
        picture: (S, S, 3) float32 RGB in [0, 1].
        points: (M, 3) float32.
        occupied: (M,) bool, whether in the solid.
        coloured: (M,) bool, whether just under the surface, where `colours` must be right.
        colours: (M, 3) float32 RGB in [0, 1].
    """

    picture: Floats
    points: Floats
    occupied: Flags
    coloured: Flags
    colours: Floats


def drawing_item(rng: Rng, world: World, config: Config, points: int) -> Item:
    """A drawing, cut out as from a photo, inflated."""
    cutout = cut_out(rng, world)
    solid, picture = inflated(cutout, config.image_size)
    places = _points_around(rng, solid, points, config.radius)
    inside = solid.inside(places)
    near = inside & (solid.depth(places) < SKIN)
    return Item(picture, places, inside, near, solid.colours(places))


def inflated(cutout: Cutout, side: int) -> tuple[Inflated, Floats]:
    """The solid that a cutout stands for, and the picture (S, S, 3) that the network sees of it."""
    rgba = framed(cutout, FOREGROUND_RATIO, side)
    mask = rgba[:, :, 3] > 0.5
    rgb = rgba[:, :, :3] / np.maximum(rgba[:, :, 3:], 1 / 255)
    return inflate(mask, rgb), over_grey(rgba)


def cut_out(rng: Rng, world: World, exactly: bool = False) -> Cutout:
    """A drawing at some size, turned, flipped and stretched, cut out of a plain background.

    Args:
        rng: where the chance comes from.
        world: whose drawings.
        exactly: along its own outline, with soft edges; else often along an outline that is a
            little wrong, as a segmentation's is, with hard edges and what lay behind them.
    """
    length = float(np.exp(rng.uniform(np.log(48), np.log(128))))
    pixels = recoloured(scaled(world.drawing(rng), length), recolouring(rng, keep_hue=False))
    pixels = _warped(rng, pixels, length)
    alpha = pixels[:, :, 3].astype(np.float32) / 255
    if exactly or rng.random() < 0.4:
        cut, rgb = alpha, pixels[:, :, :3] / np.maximum(alpha[:, :, None], 1 / 255)
    else:
        rgb = pixels[:, :, :3] + (1 - alpha[:, :, None]) * rng.uniform(0, 255, 3)
        wrong = rng.random() < 0.4
        level = rng.uniform(0.35, 0.65) if wrong else 0.5
        soft = cv2.GaussianBlur(alpha, (0, 0), length / 128 * rng.uniform(1, 3)) if wrong else alpha
        cut = (soft > level).astype(np.float32)
    if np.count_nonzero(cut > 0.5) < 64:  # something as thin as a thread: another one
        return cut_out(rng, world, exactly)
    rgba = np.dstack([rgb, 255 * cut]).clip(0, 255).astype(np.uint8)
    return Cutout(rgba, (0.0, 0.0, float(rgba.shape[1]), float(rgba.shape[0])))


def solid_item(rng: Rng, split: str, number: int, config: Config, points: int) -> Item:
    """A shot of a solid, newly painted and lit; in training also turned and mirrored."""
    taken = shot(split, number, config.image_size, config.radius)
    if split == "train":
        taken = taken.turned(int(rng.integers(4)), bool(rng.random() < 0.5))
    paints = rng.uniform(0.05, 1, (4, 3)).astype(np.float32)
    chosen = _some(rng, len(taken.points), points)
    distances = taken.distances[chosen]
    near = (distances < 0) & (distances > -SKIN)
    colours = paints[taken.owners[chosen]]
    return Item(_lit(rng, taken, paints), taken.points[chosen], distances < 0, near, colours)


def _some(rng: Rng, available: int, wanted: int) -> npt.NDArray[np.intp]:
    return rng.permutation(available)[:wanted] if wanted < available else np.arange(available)


def _lit(rng: Rng, taken: Shot, paints: Floats) -> Floats:
    """(S, S, 3) the shot in colours, lit from one side in front, over grey."""
    light = rng.normal(0, 1, 3) * [0.5, 1, 1] + [1, 0, 0.5]
    light = light / np.linalg.norm(light)
    ambient = rng.uniform(0.3, 0.7)
    shade = ambient + (1 - ambient) * (taken.normals @ light.astype(np.float32)).clip(0)
    painted = paints[taken.materials.clip(0, 3)] * shade[:, :, None]
    picture: Floats = np.where(taken.mask[:, :, None], painted, 0.5).astype(np.float32)
    return picture


def _warped(rng: Rng, pixels: Rgba, length: float) -> Rgba:
    """Turn, mirror, stretch and shear a sprite, into a window that just holds it."""
    height, width = pixels.shape[:2]
    angle = rng.uniform(-np.pi, np.pi) if rng.random() < 0.2 else rng.normal(0, 0.25)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    stretch = np.exp(rng.normal(0, 0.12, 2)) * length / max(height, width)
    shear = np.array([[rng.choice([-1.0, 1.0]), rng.normal(0, 0.1)], [0, 1]])
    linear = turn @ shear @ np.diag(stretch)
    corners = np.array([[-width, -height], [width, -height], [-width, height], [width, height]]) / 2
    size = np.ceil(2 * (corners @ linear.T).max(axis=0)).astype(int) + 2
    offset = size / 2 - 0.5 - linear @ (np.array([width, height]) / 2 - 0.5)
    matrix = np.column_stack([linear, offset]).astype(np.float32)
    return cv2.warpAffine(pixels, matrix, size.tolist(), flags=cv2.INTER_LINEAR)


def _points_around(rng: Rng, solid: Inflated, count: int, radius: float) -> Floats:
    """Points (M, 3): at the surface, more where it is thin; at the outline; on rays; all over.

    Those on rays through the drawing, as far as the cube reaches, keep stray sheets away.
    """
    at_surface, at_outline, on_rays = (int(share * count) for share in (0.4, 0.25, 0.15))
    thin = np.where(solid.distance > 0, 1 / (solid.half + np.float32(0.05)), 0)
    outline = np.abs(solid.distance) < 2
    seen = [
        _chosen(rng, solid, thin, at_surface, 1.5),
        _chosen(rng, solid, outline.astype(np.float32), at_outline, 1.0),
        _chosen(rng, solid, (solid.distance > -4).astype(np.float32), on_rays, 0.5),
    ]
    half = solid.half.ravel()
    x = [
        half[seen[0][1]] * rng.choice([-1, 1], at_surface) + rng.normal(0, 0.03, at_surface),
        half[seen[1][1]] * rng.uniform(-1.5, 1.5, at_outline) + rng.normal(0, 0.03, at_outline),
        rng.uniform(-radius, radius, on_rays),
    ]
    rest = rng.uniform(-radius, radius, (count - at_surface - at_outline - on_rays, 3))
    places = [to_space(a[0], b.astype(np.float32)) for a, b in zip(seen, x, strict=True)]
    points: Floats = np.concatenate([*places, rest]).clip(-radius, radius).astype(np.float32)
    return points


def _chosen(
    rng: Rng, solid: Inflated, weights: Floats, count: int, blur: float
) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Choose pixels by their weights: (M, 2) places beside their middles, and (M,) which they are.

    Args:
        rng: where the chance comes from.
        solid: whose pixels.
        weights: (S, S).
        count: how many.
        blur: the standard deviation of the distance to the middle, in pixels.
    """
    total = np.cumsum(weights.ravel(), dtype=np.float64)
    which = np.searchsorted(total, rng.random(count) * total[-1], side="right")
    rows, columns = np.divmod(which, len(weights))
    pixels = np.column_stack([columns, rows]) + rng.normal(0, blur, (count, 2))
    return solid.seen(pixels.astype(np.float32)), which
