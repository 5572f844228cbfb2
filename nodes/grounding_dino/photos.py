"""What Grounding DINO sees of photos: their size, and which may go through it together."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL.Image import Resampling

from visionweave import Fit, Image

Pixels = npt.NDArray[np.uint8]
P = TypeVar("P")
R = TypeVar("R")


class Preparation(NamedTuple):
    """How photos are prepared: resized to `short` and at most `long`; mean and spread of R G B.

    With a `step` the sides are multiples of it, for networks whose cells are large beside a photo:
    a last cell that reaches far beyond the edge would put its neighbours beside their places.
    """

    short: int = 800
    long: int = 1333
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    step: int = 1

    @property
    def fit(self) -> Fit:
        """The size that photos are shrunk to."""
        return Fit(self.short, self.long)


def prepared(image: Image, preparation: Preparation) -> Pixels:
    """Return a photo resized for the model, (H, W, 3) uint8."""
    sides = resized_hw(image.image_hw, preparation.short, preparation.long)
    height, width = (_stepped(side, preparation.step) for side in sides)
    pixels = PIL.Image.fromarray(image.shrunk(preparation.fit))
    return np.asarray(pixels.resize((width, height), Resampling.BILINEAR))


def resized_hw(image_hw: tuple[int, int], short: int, long: int) -> tuple[int, int]:
    """The height and width that a photo is resized to: `short`, unless `long` would be passed.

    Rounded as transformers does, so that both see the same pixels.
    """
    least, most = min(image_hw), max(image_hw)
    side: float = short
    if most / least * short > long:
        side = long * least / most
    sides = max(1, round(side)), max(1, int(side * most / least))
    return sides if image_hw[0] <= image_hw[1] else sides[::-1]


def _stepped(side: int, step: int) -> int:
    return max(1, round(side / step)) * step


def by_size(
    items: Sequence[P], size: Callable[[P], Hashable], forward: Callable[[list[P]], list[R]]
) -> list[R]:
    """Run `forward` once for the items of each size; return the results in the items' order.

    Photos of several sizes would have to be padded to one, and the image backbone sees that: what
    is beyond a photo's edge changes what is found inside it.
    """
    groups: dict[Hashable, list[int]] = {}
    for place, item in enumerate(items):
        groups.setdefault(size(item), []).append(place)
    results: dict[int, R] = {}
    for places in groups.values():
        results |= zip(places, forward([items[place] for place in places]), strict=True)
    return [results[place] for place in range(len(items))]
