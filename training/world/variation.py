"""How drawings vary while a network learns: as if other hands had drawn them.

A few drawings of each thing are soon known by heart, and what is learnt then is those, not the
thing. So in training they are bent, shaded and outlined at random; scenes for measuring are not.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from training.world.sprites import Rgba

__all__ = ["FREEDOM", "MARGIN", "bent", "redrawn"]

_BEND = 0.035
"""How far a point is moved, as a share of a drawing's length: standard deviation at the knots."""

MARGIN = 0.05
"""What share of a drawing's length a bent one is kept away from the edges of its window."""

FREEDOM = 1.6
"""How many times more a redrawn one is turned, sheared and stretched."""


def bent(
    pixels: Rgba,
    matrix: npt.NDArray[np.float32],
    size: tuple[int, int],
    rng: np.random.Generator,
) -> Rgba:
    """Return a premultiplied sprite laid by an affine map and bent, as cv2.warpAffine lays it.

    Args:
        pixels: (H, W, 4) uint8.
        matrix: (2, 3), from the sprite's pixels to the window's.
        size: of the window, (width, height).
        rng: where the chance comes from.
    """
    back = cv2.invertAffineTransform(matrix).astype(np.float32)
    x = np.arange(size[0], dtype=np.float32)
    y = np.arange(size[1], dtype=np.float32)[:, None]
    knots = rng.normal(0, _BEND * max(pixels.shape[:2]), (4, 4, 2)).astype(np.float32)
    moved = cv2.resize(knots, size, interpolation=cv2.INTER_CUBIC)
    for axis in range(2):
        moved[..., axis] += back[axis, 0] * x + (back[axis, 1] * y + back[axis, 2])
    return cv2.remap(pixels, moved, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


def redrawn(pixels: Rgba, rng: np.random.Generator) -> Rgba:
    """Return a premultiplied sprite lit from elsewhere, and perhaps with a darker outline.

    What becomes too bright for its alpha, `recoloured` mends.
    """
    height, width = pixels.shape[:2]
    light = np.ones((height, width), np.float32)
    if rng.random() < 0.6:
        knots = rng.uniform(0.65, 1.35, (3, 3)).astype(np.float32)
        light = cv2.resize(knots, (width, height), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.2:
        reach = max(1, round(0.025 * max(height, width)))
        inner = cv2.erode(pixels[..., 3], np.ones((2 * reach + 1,) * 2, np.uint8))
        light *= 1 - np.float32(rng.uniform(0.4, 1.0) / 255) * (255 - inner)
    whole = np.ones_like(light)
    return cv2.multiply(pixels, cv2.merge([light] * 3 + [whole]), dtype=cv2.CV_8U)
