"""The unseen scenes that everything is measured on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from training.world import Scene, World
from visionweave import Image

__all__ = ["photo_of", "unseen", "unseen_singles"]

_SEED = 977  # trainings use others


def unseen(
    styles: tuple[str, ...],
    count: int,
    side: int = 320,
    objects: tuple[int, int] = (1, 5),
    scale: tuple[float, float] = (0.2, 0.55),
) -> Iterator[tuple[np.random.Generator, Scene]]:
    """Yield scenes on backgrounds of the test split, each with a generator of its own."""
    world = World(styles, "test")
    for number in range(count):
        rng = np.random.default_rng((_SEED, number))
        scene = world.scene(rng, side, objects, scale)
        yield rng, scene


def unseen_singles(styles: tuple[str, ...], count: int) -> list[tuple[Image, int]]:
    """Return pictures that one object fills, with its class."""
    world = World(styles, "test")
    found = []
    for number in range(count):
        picture, name_index = world.single(np.random.default_rng((_SEED, 1, number)), 128)
        found.append((Image.from_array(picture, f"single {number}"), name_index))
    return found


def photo_of(scene: Scene, name: str = "scene") -> Image:
    """Return a scene as the value that pipelines take."""
    return Image.from_array(scene.image, name)
