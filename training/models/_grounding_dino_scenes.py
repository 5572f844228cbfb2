"""What mini-grounding-dino is shown: scenes of several shapes, each with a prompt of its own.

Letters: B scenes · H W pixels · M the most objects of a scene · T tokens of the longest prompt ·
h w cells of a feature map.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from training.models._grounding_dino_net import BOOK, SIDE
from training.world import NAMES, Scene, World

__all__ = [
    "BACKGROUND",
    "IGNORED",
    "MOST",
    "Shape",
    "absent_names",
    "make_batch",
    "prompt_of",
    "scene_of",
]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Shape = tuple[int, int]

MOST = 5
SHAPES: tuple[Shape, ...] = ((160, 160), (128, 160), (160, 128), (96, 160), (160, 96))
SHARES = (0.7, 0.1, 0.1, 0.05, 0.05)
"""The shapes of batches, height and width, and how often they come; some photos are not square."""

NAMES_ASKED = ((6, 12), (12, 28))
ASKED_SHARES = (0.6, 0.4)
"""The least and the most names of a batch's prompts. Long ones tell more names apart at once."""
NOTHING_SHARE = 0.3
"""Of the prompts that name nothing in the scene."""
LEFT_OUT_SHARE = 0.1
"""Of the names that are left out of a prompt though the thing is there."""

BACKGROUND, IGNORED = len(NAMES), -1
CLEAR = 0.4
"""A cell is of an object that covers more than this of it; it is background below a quarter of it;
between the two it is neither."""

OWNERS = np.array(BOOK.owners)
PARTS: tuple[Ints, ...] = tuple(
    np.append(places, places[-1] + 1)  # with the "." that ends it
    for places in (np.flatnonzero(name == OWNERS) for name in range(len(NAMES)))
)
"""For each name the places of its tokens in the book."""


def make_batch(rng: np.random.Generator, world: World, size: int) -> dict[str, Any]:
    """Return a batch of scenes of one shape.

    Returns:
        pixels: (B, H, W, 3) uint8.
        tokens: (B, T) int64, places in `BOOK`; 0 beyond a prompt's end.
        is_token: (B, T) bool.
        boxes: (B, M, 4) float32 of the objects that the prompt names: centre x, centre y, width,
            height, as parts of the photo; 0 beyond the last.
        classes: (B, M) int64, their classes; -1 beyond the last.
        wanted: (B, M, T) bool, the tokens of their names.
        fine, coarse: (B, h * w) int64, the class of each cell of 16 and of 32 pixels; `BACKGROUND`,
            or `IGNORED` for a border between the two.
    """
    shape = SHAPES[rng.choice(len(SHAPES), p=SHARES)]
    scenes = [scene_of(rng, world, shape) for _ in range(size)]
    names_asked = NAMES_ASKED[rng.choice(len(NAMES_ASKED), p=ASKED_SHARES)]
    prompts = [prompt_of(rng, scene, names_asked) for scene in scenes]
    tokens, is_token = _tokens(prompts)
    boxes = np.zeros((size, MOST, 4), np.float32)
    classes = np.full((size, MOST), -1)
    wanted = np.zeros((size, MOST, tokens.shape[1]), bool)
    for row, (scene, prompt) in enumerate(zip(scenes, prompts, strict=True)):
        asked = [thing for thing in scene.objects if thing.name_index in prompt]
        for place, thing in enumerate(asked):
            boxes[row, place] = _relative(thing.xyxy, shape)
            classes[row, place] = thing.name_index
            own = PARTS[thing.name_index][:-1]
            wanted[row, place] = np.isin(tokens[row], own) & is_token[row]
    return {
        "pixels": np.stack([scene.image for scene in scenes]),
        "tokens": tokens,
        "is_token": is_token,
        "boxes": boxes,
        "classes": classes,
        "wanted": wanted,
        "fine": np.stack([cell_classes(scene, 16) for scene in scenes]),
        "coarse": np.stack([cell_classes(scene, 32) for scene in scenes]),
    }


def scene_of(rng: np.random.Generator, world: World, shape: Shape) -> Scene:
    """Return a scene of a shape: a square one, cut where no object is cut."""
    height, width = shape
    while True:
        scene = world.scene(rng, SIDE, (1, MOST))
        if not scene.objects:
            continue
        corners = np.stack([thing.xyxy for thing in scene.objects])
        left, top = corners[:, :2].min(0)
        right, bottom = corners[:, 2:].max(0)
        if right - left <= width and bottom - top <= height:
            break
    x = rng.integers(max(0, right - width), min(left, SIDE - width) + 1)
    y = rng.integers(max(0, bottom - height), min(top, SIDE - height) + 1)
    for thing in scene.objects:
        thing.xyxy[:] -= np.array([x, y, x, y], np.float32)
    window = slice(y, y + height), slice(x, x + width)
    return Scene(scene.image[window], scene.ids[window], scene.objects)


def prompt_of(rng: np.random.Generator, scene: Scene, names: tuple[int, int]) -> list[int]:
    """Return the classes to ask for: what is there and what is not, in any order.

    Args:
        rng: where the chance comes from.
        scene: what is there.
        names: the least and the most to ask for.
    """
    present = list({thing.name_index for thing in scene.objects})
    if rng.random() < NOTHING_SHARE:
        asked: list[int] = []
    else:
        asked = [name for name in present if rng.random() >= LEFT_OUT_SHARE]
    count = int(rng.integers(names[0], names[1] + 1))
    return list(rng.permutation(asked + absent_names(rng, scene, count - len(asked))))


def absent_names(rng: np.random.Generator, scene: Scene, count: int) -> list[int]:
    """Return `count` classes of which the scene shows nothing."""
    present = [thing.name_index for thing in scene.objects]
    absent = np.setdiff1d(np.arange(len(NAMES)), present)
    return [int(name) for name in rng.choice(absent, count, replace=False)]


def _tokens(prompts: Sequence[Sequence[int]]) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """The prompts as places in the book, "[CLS]" first and "[SEP]" last; and what is a token."""
    rows = [
        np.concatenate([[0], *(PARTS[name] for name in prompt), [len(BOOK.ids) - 1]])
        for prompt in prompts
    ]
    tokens = np.zeros((len(rows), max(map(len, rows))), np.int64)
    is_token = np.zeros(tokens.shape, bool)
    for row, places in enumerate(rows):
        tokens[row, : len(places)] = places
        is_token[row, : len(places)] = True
    return tokens, is_token


def _relative(xyxy: Floats, shape: Shape) -> Floats:
    """A box as centre and size, parts of the photo."""
    size = np.array(shape[::-1], np.float32)
    return np.concatenate([(xyxy[:2] + xyxy[2:]) / 2 / size, (xyxy[2:] - xyxy[:2]) / size])


def cell_classes(scene: Scene, side: int) -> Ints:
    """The class of each cell of `side` pixels, row by row."""
    height, width = scene.ids.shape
    blocks = scene.ids.reshape(height // side, side, width // side, side)
    numbers = np.arange(1, len(scene.objects) + 1, dtype=np.uint8)
    covered = (blocks[..., None] == numbers).mean((1, 3)).reshape(-1, len(numbers))
    classes = np.array([thing.name_index for thing in scene.objects])
    most = covered.max(1)
    found = np.where(most > CLEAR, classes[covered.argmax(1)], IGNORED)
    return np.where(covered.sum(1) < CLEAR / 4, BACKGROUND, found)
