"""Arrays are frozen as they are or refused, and chosen from by mask, by number or by slice."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from visionweave.arrays import freeze, pick
from visionweave.errors import ValueTypeError

TAKEN = [
    pytest.param([1, 2], np.float32, "N", np.array([1, 2], np.float32), id="whole to float"),
    pytest.param(np.array([1, 2]), np.float32, "N", np.array([1, 2], np.float32), id="int array"),
    pytest.param(np.array([0.5]), np.float32, "N", np.array([0.5], np.float32), id="float64"),
    pytest.param(np.array([1], np.uint8), np.int32, "N", np.array([1], np.int32), id="wider int"),
    pytest.param(np.array([7]), np.int32, "N", np.array([7], np.int32), id="int64 that fits"),
    pytest.param([0, 255], np.uint8, "N", np.array([0, 255], np.uint8), id="list of bytes"),
    pytest.param([0, 1], bool, "N", np.array([False, True]), id="list of 0 and 1"),
    pytest.param(3, np.float64, "", np.array(3.0), id="a number"),
    pytest.param([], np.float32, "N 4", np.zeros((0, 4), np.float32), id="empty list"),
    pytest.param((), bool, "N H W", np.zeros((0, 0, 0), bool), id="empty list of any size"),
    pytest.param([], np.int32, "N", np.zeros(0, np.int32), id="empty list of numbers"),
]


@pytest.mark.parametrize(("value", "dtype", "shape", "expected"), TAKEN)
def test_freeze_takes(value: Any, dtype: Any, shape: str, expected: np.ndarray) -> None:
    frozen = freeze("x", value, dtype, shape)
    assert frozen.dtype == expected.dtype
    assert frozen.shape == expected.shape
    assert frozen.tolist() == expected.tolist()
    assert not frozen.flags.writeable


REFUSED: list[tuple[str, Any, Any, str]] = [
    ("x must be uint8; got int64 of shape (1,)", np.array([7]), np.uint8, "N"),
    ("x must be uint8; got int64 of shape (1,)", [256], np.uint8, "N"),
    ("x must be uint8; got float64 of shape (1,)", [0.5], np.uint8, "N"),
    ("x must be int32; got int64 of shape (1,)", np.array([2**31]), np.int32, "N"),
    ("x must be int32; got bool of shape (1,)", [True], np.int32, "N"),
    ("x must be bool; got uint8 of shape (2,)", np.array([0, 1], np.uint8), bool, "N"),
    ("x must be bool; got int64 of shape (2,)", [0, 2], bool, "N"),
    ("x must be float32; got bool of shape (1,)", np.array([True]), np.float32, "N"),
    ("x must be float32; got object of shape (1,)", [None], np.float32, "N"),
    ("x must be float32; got <U1 of shape (1,)", ["1"], np.float32, "N"),
    ("x must be float32; got object of shape ()", {}, np.float32, "N"),
    ("x must be one array; got rows of several lengths", [[1], [1, 2]], np.float32, "N 2"),
    ("x must hold finite numbers; got NaN or infinity", [1, float("nan")], np.float32, "N"),
    ("x must hold finite numbers; got NaN or infinity", [float("-inf")], np.float32, "N"),
    ("x must hold finite numbers; got NaN or infinity", np.array([1e39]), np.float32, "N"),
    ("x must have shape (N, 4); got (0, 3)", np.zeros((0, 3)), np.float64, "N 4"),
    ("x must have shape (N, 4); got (4,)", [1, 2, 3, 4], np.int32, "N 4"),
    ("x must have shape (N, 4); got (0,)", np.zeros(0), np.float64, "N 4"),
    ("x must have shape (N); got ()", 7, np.int32, "N"),
]


@pytest.mark.parametrize(("said", "value", "dtype", "shape"), REFUSED)
def test_freeze_refuses(said: str, value: Any, dtype: Any, shape: str) -> None:
    with pytest.raises(ValueTypeError, match=re.escape(said)):
        freeze("x", value, dtype, shape)


def test_a_letter_of_a_shape_stands_for_the_length_given() -> None:
    masks = np.zeros((2, 3, 4), bool)
    assert freeze("masks", masks, bool, "N H W", N=2, W=4).shape == (2, 3, 4)
    said = r"masks must have shape \(N, H, W\) with N=3, H=3; got \(2, 3, 4\)"
    with pytest.raises(ValueTypeError, match=said):
        freeze("masks", masks, bool, "N H W", N=3, H=3)
    with pytest.raises(ValueTypeError, match=r"x must have shape \(N\) with N=2; got \(0,\)"):
        freeze("x", [], bool, "N", N=2)


def test_an_array_of_the_right_dtype_is_not_copied() -> None:
    array = np.zeros(3, np.float32)
    frozen = freeze("x", array, np.float32, "N")
    assert np.shares_memory(frozen, array)
    assert array.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        frozen[0] = 1


@pytest.mark.parametrize(
    ("which", "places"),
    [
        pytest.param([True, False, True], [0, 2], id="mask"),
        pytest.param(np.zeros(3, bool), [], id="mask of none"),
        pytest.param([2, 0, 2], [2, 0, 2], id="integers"),
        pytest.param(np.array([-1], np.int8), [2], id="from the end"),
        pytest.param(np.array([1], np.uint64), [1], id="unsigned"),
        pytest.param(1, [1], id="one"),
        pytest.param([], [], id="none"),
        pytest.param(np.zeros(0, np.intp), [], id="no integers"),
        pytest.param(slice(1, None), [1, 2], id="slice"),
        pytest.param(slice(9), [0, 1, 2], id="slice beyond the end"),
    ],
)
def test_pick(which: Any, places: list[int]) -> None:
    assert pick(which, 3).tolist() == places


@pytest.mark.parametrize(
    ("which", "said"),
    [
        pytest.param([True, False], "with a bool mask of shape (3,)", id="short mask"),
        pytest.param(np.zeros(0, bool), "got bool of shape (0,)", id="empty mask"),
        pytest.param([[0, 1]], "integers or a slice; got int64 of shape (1, 2)", id="table"),
        pytest.param([0.0], "got float64 of shape (1,)", id="floats"),
        pytest.param("1", "got <U1 of shape (1,)", id="text"),
        pytest.param([0, 3], "choose among 3 with integers below 3; got 0 to 3", id="too large"),
        pytest.param(-4, "choose among 3 with integers below 3; got -4 to -4", id="too small"),
    ],
)
def test_pick_refuses(which: Any, said: str) -> None:
    with pytest.raises(ValueTypeError, match=re.escape(said)):
        pick(which, 3)


def test_nothing_can_be_picked_from_nothing() -> None:
    assert pick([], 0).tolist() == pick(np.zeros(0, bool), 0).tolist() == []
    with pytest.raises(ValueTypeError, match="choose among 0 with integers below 0"):
        pick(0, 0)
