"""The pictures that BLIP and CLIP learn from: one, two or three things, and cutouts of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from training.world import World
from training.world.scenes import Placed, Scene

__all__ = ["SIDE", "THINGS", "Mix", "cutout", "labelled", "mirrored", "pictures", "unseen"]

SIDE = 80
"""The side of the pictures that both models see, in pixels."""

THINGS = 3
"""The most things in a picture."""

_SCALES = {1: (0.5, 0.98), 2: (0.38, 0.55), 3: (0.28, 0.42)}
"""How long a thing is, as a share of the picture, by how many there are."""


@dataclass(frozen=True, slots=True)
class Mix:
    """Which shares of the pictures show what; what is left shows one thing in a scene.

    Attributes:
        two, three: so many things.
        cutouts: one thing that was cut out, as `describe-objects` asks about it.
    """

    two: float = 0.45
    three: float = 0.1
    cutouts: float = 0.1


def unseen(
    rng: np.random.Generator, styles: tuple[str, ...], count: int, things: int
) -> list[Scene]:
    """Return scenes with so many things each, to measure by; never mirrored, never cut out."""
    world = World(styles, "test")
    return [world.scene(rng, SIDE, (things, things), _SCALES[things]) for _ in range(count)]


def pictures(rng: np.random.Generator, world: World, count: int, mix: Mix) -> list[Scene]:
    """Return `count` scenes of side `SIDE`; every second one is the one before, mirrored.

    A mirrored scene costs a tenth of a new one, and its caption is another.
    """
    scenes: list[Scene] = []
    while len(scenes) < count:
        scenes.append(_picture(rng, world, mix))
        scenes.append(mirrored(scenes[-1], rng))
    return scenes[:count]


def _picture(rng: np.random.Generator, world: World, mix: Mix) -> Scene:
    kinds = [mix.two, mix.three, mix.cutouts]
    kind = int(np.searchsorted(np.cumsum(kinds), rng.random(), side="right"))
    things = (2, 3, 1, 1)[kind]
    scene = world.scene(rng, SIDE, (things, things), _SCALES[things])
    return cutout(rng, scene) if kind == 2 else scene


def mirrored(scene: Scene, rng: np.random.Generator) -> Scene:
    """Return a scene with left and right changed, in a slightly different light."""
    light = np.clip(np.arange(256)[:, None] * rng.uniform(0.85, 1.15, 3), 0, 255).astype(np.uint8)
    image = np.stack([light[scene.image[:, ::-1, c], c] for c in range(3)], axis=-1)
    side = scene.image.shape[1]
    things = [
        Placed(
            thing.name_index,
            thing.style,
            np.array([side - x2, y1, side - x1, y2], np.float32),
            thing.visible,
            thing.colour,
        )
        for thing in scene.objects
        for x1, y1, x2, y2 in [thing.xyxy]
    ]
    return Scene(image, np.ascontiguousarray(scene.ids[:, ::-1]), things)


def cutout(rng: np.random.Generator, scene: Scene) -> Scene:
    """Return what the nodes show of a cutout: the first thing alone, in the middle of a square.

    Its edge is hard, as a mask's is; the ground is white, more often than not.
    """
    thing = scene.objects[0]
    x1, y1, x2, y2 = (int(edge) for edge in thing.xyxy)
    inside = scene.ids[y1:y2, x1:x2] == 1
    ground = np.uint8(255 if rng.random() < 0.7 else rng.integers(0, 256))
    longer = max(inside.shape)
    top, left = (longer - inside.shape[0]) // 2, (longer - inside.shape[1]) // 2
    window = np.s_[top : top + inside.shape[0], left : left + inside.shape[1]]
    image = np.full((longer, longer, 3), ground, np.uint8)
    image[window][inside] = scene.image[y1:y2, x1:x2][inside]
    ids = np.zeros((longer, longer), np.uint8)
    ids[window] = inside
    size = (SIDE, SIDE)
    box = np.array([left, top, left + x2 - x1, top + y2 - y1], np.float32) * (SIDE / longer)
    placed = Placed(thing.name_index, thing.style, box, thing.visible, thing.colour)
    return Scene(
        cv2.resize(image, size, interpolation=cv2.INTER_LINEAR).astype(np.uint8),
        cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST).astype(np.uint8),
        [placed],
    )


def labelled(scenes: list[Scene]) -> dict[str, npt.NDArray[Any]]:
    """Return what a network learns to see in scenes.

    Returns:
        images: uint8 (B, S, S, 3).
        ids: uint8 (B, S, S), as in `Scene`.
        classes: int64 (B, THINGS), of the first, the second … thing; -1 where there is none.
    """
    classes = np.full((len(scenes), THINGS), -1, np.int64)
    for row, scene in zip(classes, scenes, strict=True):
        row[: len(scene.objects)] = [thing.name_index for thing in scene.objects]
    return {
        "images": np.stack([scene.image for scene in scenes]),
        "ids": np.stack([scene.ids for scene in scenes]),
        "classes": classes,
    }
