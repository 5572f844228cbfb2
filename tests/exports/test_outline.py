"""Outlines run along the edges of pixels, so that nothing but holes is lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from pycocotools import mask as coco
from scipy import ndimage

from visionweave.exports.outline import join, trace

# pycocotools 2.0.11 decodes with numpy's old way of copying.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Mask = NDArray[np.bool_]

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12))


def mask_of(text: str) -> Mask:
    return np.array([[letter == "#" for letter in line] for line in text.split()])


def filled(mask: Mask) -> Mask:
    """The mask without its holes; background that meets at a corner is connected."""
    return np.asarray(ndimage.binary_fill_holes(mask, np.ones((3, 3))))


def drawn(polygons: list[NDArray[np.float64]], mask: Mask) -> Mask:
    if not polygons:
        return np.zeros_like(mask)
    height, width = mask.shape
    rles = coco.frPyObjects([polygon.ravel().tolist() for polygon in polygons], height, width)
    return np.asarray(coco.decode(coco.merge(rles)), bool)


def area(ring: NDArray[np.float64]) -> float:
    x, y = ring.T
    return 0.5 * float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum())


@given(masks)
@settings(deadline=None)
def test_pycocotools_fills_an_outline_to_the_mask_without_holes(mask: Mask) -> None:
    outline = trace(mask)
    assert np.array_equal(drawn(outline.parts, mask), filled(mask))
    assert (outline.holes == 0) == np.array_equal(mask, filled(mask))


@given(masks)
@settings(deadline=None)
def test_parts_come_largest_first_and_one_polygon_joins_them(mask: Mask) -> None:
    parts = trace(mask).parts
    areas = [area(part) for part in parts]
    assert areas == sorted(areas, reverse=True)
    if parts:
        assert area(join(parts)) == pytest.approx(sum(areas))


@pytest.mark.parametrize(
    ("mask", "parts", "holes"),
    [
        pytest.param("... ...", [], 0, id="nothing"),
        pytest.param("#", [[0, 0, 1, 0, 1, 1, 0, 1]], 0, id="one pixel"),
        pytest.param("... .## ...", [[1, 1, 3, 1, 3, 2, 1, 2]], 0, id="two pixels"),
        pytest.param("### #.# ###", [[0, 0, 3, 0, 3, 3, 0, 3]], 1, id="a ring"),
        pytest.param(
            "#.. .## .##", [[1, 1, 3, 1, 3, 3, 1, 3], [0, 0, 1, 0, 1, 1, 0, 1]], 0, id="a corner"
        ),
    ],
)
def test_the_corners_are_those_of_pixels(mask: str, parts: list[list[float]], holes: int) -> None:
    outline = trace(mask_of(mask))
    rolled = [
        np.roll(part, -int(np.lexsort(part.T[::1])[0]), axis=0).ravel() for part in outline.parts
    ]
    assert [part.tolist() for part in rolled] == parts
    assert outline.holes == holes


def test_an_outline_lies_where_the_mask_does() -> None:
    (here,) = trace(mask_of("#")).parts
    (there,) = trace(mask_of("#"), 10, 20).parts
    assert np.array_equal(there, np.add(here, [10, 20]))


def test_a_tolerance_saves_corners_and_moves_the_edge_by_no_more() -> None:
    y, x = np.mgrid[:80, :80] - 39.5
    disc = x**2 + y**2 < 30**2
    (exact,), (rough,) = trace(disc).parts, trace(disc, tolerance=1.0).parts
    assert len(rough) < len(exact) / 4
    radii = np.hypot(*(rough - 40).T)
    assert radii.min() > 28.5
    assert radii.max() < 31


def test_a_small_part_keeps_its_corners_whatever_the_tolerance() -> None:
    (part,) = trace(mask_of("#"), tolerance=5.0).parts
    assert area(part) == 1


@given(st.integers(2, 5))
@settings(deadline=None)
def test_the_join_of_far_parts_has_no_area_of_its_own(count: int) -> None:
    mask = np.zeros((3, 10 * count), bool)
    mask[1, ::10] = True
    whole = join(trace(mask).parts)
    assert area(whole) == count
    assert len(whole) == 4 * count + 2 * (count - 1)
