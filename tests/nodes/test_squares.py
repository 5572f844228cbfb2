"""Cutouts in a square: what Pillow makes of the whole square, which is never there."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
from PIL.Image import Resampling

from visionweave import Cutout
from visionweave.nodes._squares import in_square

GREEN = (3, 250, 120)


def cutout(height: int, width: int) -> Cutout:
    rgba = np.random.default_rng(5).integers(0, 256, (height, width, 4), np.uint8)
    return Cutout(rgba, (0.0, 0.0, 9.0, 9.0))


@pytest.mark.parametrize("way", [Resampling.BICUBIC, Resampling.BILINEAR], ids=["cubic", "linear"])
@pytest.mark.parametrize("side", [24, 64])
@pytest.mark.parametrize(
    "hw",
    [(1, 1), (7, 4), (24, 24), (33, 90), (91, 64), (5, 3000), (3000, 5), (1500, 1201)],
    ids=str,
)
def test_a_cutout_is_resized_as_the_middle_of_a_square(
    hw: tuple[int, int], side: int, way: Resampling
) -> None:
    (height, width), longer = hw, max(hw)
    top, left = (longer - height) // 2, (longer - width) // 2
    square = np.full((longer, longer, 3), GREEN, np.uint8)
    square[top : top + height, left : left + width] = cutout(*hw).over(GREEN)
    expected = np.asarray(PIL.Image.fromarray(square).resize((side, side), way))
    np.testing.assert_array_equal(in_square(cutout(*hw), side, GREEN, way), expected)


def test_a_line_takes_memory_by_its_length_not_by_its_square() -> None:
    line = cutout(1, 400_000)  # in a square of 480 GB
    assert in_square(line, 8, GREEN, Resampling.BICUBIC).shape == (8, 8, 3)
