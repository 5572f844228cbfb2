"""Masks keep every pixel, agree with pycocotools and numpy, and refuse a broken encoding."""

from __future__ import annotations

import warnings
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from visionweave.errors import ValueTypeError
from visionweave.values import Boxes, Masks

exhaustive = settings(max_examples=50, deadline=None, database=None, derandomize=True)

SIDES = st.integers(1, 12)
ARRAYS = st.tuples(st.integers(0, 4), SIDES, SIDES).flatmap(lambda shape: hnp.arrays(bool, shape))
"""(N, H, W), N from none to four."""


def drawn(*rows: str) -> npt.NDArray[np.bool_]:
    return np.array([[character == "#" for character in row] for row in rows])


SHAPES = {
    "hole": drawn("####", "#..#", "####"),
    "two parts": drawn("#..#", "#..#", "...."),
    "island in a hole": drawn("#####", "#...#", "#.#.#", "#...#", "#####"),
    "diagonal": np.eye(5, dtype=bool),
    "empty": np.zeros((3, 4), bool),
    "full": np.ones((3, 4), bool),
    "one pixel wide": drawn("#", ".", "#", "#"),
    "one pixel high": drawn("#.##"),
    "one pixel": drawn("#"),
    "first pixel": drawn("#...", "...."),
    "last pixel": drawn("....", "...#"),
    "wide": np.arange(70_000).reshape(7, 10_000) % 6_007 > 40,
    "noise": np.random.default_rng(0).random((64, 48)) > 0.5,
}
each_shape = pytest.mark.parametrize("name", SHAPES)


# Encoding and decoding --------------------------------------------------------------------------


@each_shape
def test_every_pixel_comes_back(name: str) -> None:
    mask = SHAPES[name]
    masks = Masks.from_array(mask[None])
    assert masks.image_hw == mask.shape
    assert (masks.mask(0) == mask).all()
    assert masks.mask(0).flags.c_contiguous
    assert Masks.from_bytes(masks.to_bytes()) == masks


@each_shape
def test_pycocotools_decodes_the_same(name: str) -> None:
    (rle,) = Masks.from_array(SHAPES[name][None]).rles()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of its array code, under numpy 2
        assert (coco.decode(rle) == SHAPES[name]).all()


@exhaustive
@given(ARRAYS)
def test_masks_agree_with_numpy(array: npt.NDArray[np.bool_]) -> None:
    masks = Masks.from_array(array, photo="a.jpg")
    assert len(masks) == len(array)
    assert masks.array().shape == array.shape
    assert (masks.array() == array).all()
    assert all((a == b).all() for a, b in zip(masks, array, strict=True))
    assert masks.areas.tolist() == array.sum(axis=(1, 2)).tolist()
    assert masks.areas.dtype == np.int64
    shared = np.einsum("ahw,bhw->ab", array.astype(int), array.astype(int))
    assert masks.intersections().tolist() == shared.tolist()
    assert masks.intersections().shape == (len(array), len(array))


def tight(mask: npt.NDArray[np.bool_]) -> list[int]:
    ys, xs = np.nonzero(mask)
    return [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] if len(xs) else [0, 0, 0, 0]


@exhaustive
@given(ARRAYS)
def test_a_box_is_tight(array: npt.NDArray[np.bool_]) -> None:
    masks = Masks.from_array(array, photo="a.jpg")
    assert masks.tight_xyxy.dtype == np.float32
    assert masks.tight_xyxy.tolist() == [tight(mask) for mask in array]
    assert masks.boxes == Boxes(masks.tight_xyxy, array.shape[1:], photo="a.jpg")


@exhaustive
@given(ARRAYS, st.integers(0, 3))
def test_a_window_holds_the_whole_mask(array: npt.NDArray[np.bool_], margin: int) -> None:
    masks = Masks.from_array(array)
    windows = masks.windows(margin)
    crops = [masks.crop(index, window) for index, window in enumerate(windows)]
    for mask, crop, (x1, y1, x2, y2) in zip(array, crops, windows, strict=True):
        assert (crop == mask[y1:y2, x1:x2]).all()
        assert crop.shape == (y2 - y1, x2 - x1)
        assert crop.sum() == mask.sum()
    parts = ((x1, y1, crop) for (x1, y1, _, _), crop in zip(windows, crops, strict=True))
    assert Masks.from_crops(parts, masks.boxes) == masks


def test_intersections_of_a_large_photo_are_exact() -> None:
    array = np.zeros((3, 3000, 4000), bool)
    array[0, 1:, 1:], array[1, :, :3999], array[2, 2999, 3999] = True, True, True
    shared = Masks.from_array(array).intersections()
    assert shared.tolist() == [
        [2999 * 3999, 2999 * 3998, 1],
        [2999 * 3998, 3000 * 3999, 0],
        [1, 0, 1],
    ]


# Boxes and masks --------------------------------------------------------------------------------

BOXES = Boxes(np.array([[0, 0, 9, 9], [1, 1, 2, 2]], np.float32), (3, 4), ("cup", "pear"))


def test_given_boxes_are_kept_as_they_are() -> None:
    masks = Masks.from_array(np.ones((2, 3, 4), bool), BOXES)
    assert masks.boxes is BOXES
    assert masks.origin(1).label == "pear"


@pytest.mark.parametrize(
    ("array", "said"),
    [
        pytest.param(np.ones((1, 3, 4), bool), r"with N=2, H=3, W=4; got \(1, 3, 4\)", id="count"),
        pytest.param(np.ones((2, 4, 3), bool), r"N=2, H=3, W=4; got \(2, 4, 3\)", id="size"),
        pytest.param(np.ones((3, 4), bool), r"masks must have shape \(N, H, W\)", id="one mask"),
        pytest.param(np.ones((2, 3, 4), np.uint8), "masks must be bool; got uint8", id="uint8"),
        pytest.param(np.ones((2, 3, 4)), "masks must be bool; got float64", id="logits"),
    ],
)
def test_masks_that_do_not_fit_their_boxes_are_refused(array: Any, said: str) -> None:
    with pytest.raises(ValueTypeError, match=said):
        Masks.from_array(array, BOXES)


@pytest.mark.parametrize("array", [np.ones((1, 0, 4), bool), []], ids=["no rows", "a list"])
def test_masks_without_pixels_are_refused(array: Any) -> None:
    with pytest.raises(ValueTypeError, match=r"image_hw must be \(height, width\) in pixels; got"):
        Masks.from_array(array)


def test_no_masks_are_an_answer() -> None:
    empty = Masks.empty((3, 4), "a.jpg")
    assert empty == Masks.from_array(np.zeros((0, 3, 4), bool), photo="a.jpg")
    assert empty == Masks.from_array([], Boxes.empty((3, 4), "a.jpg"))
    assert empty.array().shape == (0, 3, 4)
    assert empty.tight_xyxy.shape == (0, 4)
    assert empty.areas.shape == (0,)
    assert empty.intersections().shape == (0, 0)
    assert list(empty) == []
    assert empty[[]] == empty


# Broken encodings -------------------------------------------------------------------------------

ONE_BOX = Boxes(np.zeros((1, 4), np.float32), (5, 7))
RLE = st.binary(max_size=12) | st.text("/0123456789:;<=>?@AOPQTUVW_`anop", max_size=6).map(
    str.encode
)


def check_counts(counts: bytes) -> None:
    try:
        masks = Masks((counts,), ONE_BOX)
    except ValueTypeError:
        return
    assert Masks.from_array(masks.array(), ONE_BOX).counts == (counts,)


@settings(exhaustive, max_examples=300)
@given(RLE)
def test_any_bytes_are_the_one_encoding_of_a_mask_or_refused(counts: bytes) -> None:
    check_counts(counts)


@settings(exhaustive, max_examples=200)
@given(hnp.arrays(bool, (5, 7)), st.data())
def test_a_changed_encoding_is_that_of_another_mask_or_refused(
    mask: npt.NDArray[np.bool_], data: st.DataObject
) -> None:
    (counts,) = Masks.from_array(mask[None]).counts
    at = data.draw(st.integers(0, len(counts) - 1))
    check_counts(counts[:at] + data.draw(st.binary(max_size=2)) + counts[at + 1 :])


ALL_35 = b"0S1"  # a run of no zeros, then one of 35 ones: 0b00011 with more to follow, then 0b00001
BROKEN: list[Any] = [
    pytest.param(b"", id="empty"),
    pytest.param("0S1", id="text"),
    pytest.param(b"0", id="too few pixels"),
    pytest.param(b"0T1", id="one pixel too many"),
    pytest.param(b"0S1 ", id="a blank"),
    pytest.param(b"0S1\0", id="NUL"),
    pytest.param(b"0S1\xff", id="beyond six bits"),
    pytest.param(b"0S", id="cut off in a number"),
    pytest.param(b"S10", id="a run of nothing"),
    pytest.param(b"OT1", id="a negative run"),
    pytest.param(b"0SQ0", id="a number longer than needed"),
    pytest.param(b"P0S1", id="a zero longer than needed"),
    pytest.param(b"0S" + b"P" * 10 + b"1", id="a number beyond 55 bits"),
    pytest.param(b"S1" + (b"P" * 10 + b"8") * 2 + b"0" * 2046, id="a sum of 2**64 + 35"),
]


@pytest.mark.parametrize("counts", BROKEN)
def test_a_broken_encoding_is_refused(counts: Any) -> None:
    assert Masks((ALL_35,), ONE_BOX).mask(0).all()
    with pytest.raises(ValueTypeError, match=r"Masks\.counts\[0\] must be a compressed COCO RLE"):
        Masks((counts,), ONE_BOX)


def test_the_broken_one_of_several_is_named() -> None:
    boxes = Boxes(np.zeros((2, 4), np.float32), (5, 7))
    with pytest.raises(ValueTypeError, match=r"Masks\.counts\[1\] must be .* of 35 pixels"):
        Masks((ALL_35, b"1"), boxes)
