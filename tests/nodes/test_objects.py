"""What is flagged as unfit for 3D, in drawings and in geometry."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from visionweave.nodes.objects import Flag
from visionweave.values import Boxes, Masks

Array = npt.NDArray[np.bool_]
HEIGHT, WIDTH = 120, 160


def block(x1: int, y1: int, x2: int, y2: int) -> Array:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y1:y2, x1:x2] = True
    return mask


def disc(x: float, y: float, radius: float) -> Array:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    return np.asarray((columns - x) ** 2 + (rows - y) ** 2 < radius**2)


def flags_of(*masks: Array, **settings: object) -> list[tuple[str, ...]]:
    return list(Flag(**settings).run(Masks.from_array(np.stack(masks))).masks.boxes.flags)


NOTHING, WHOLE = block(0, 0, 0, 0), block(40, 40, 80, 80)


@pytest.mark.parametrize(
    ("mask", "settings", "expected"),
    [
        pytest.param(WHOLE, {}, (), id="whole"),
        pytest.param(NOTHING, {"min_area": 1}, ("empty",), id="empty and nothing else"),
        pytest.param(block(0, 40, 40, 80), {}, ("truncated",), id="left border"),
        pytest.param(block(120, 40, 160, 80), {}, ("truncated",), id="right border"),
        pytest.param(block(40, 0, 80, 40), {}, ("truncated",), id="top border"),
        pytest.param(block(40, 80, 80, 120), {}, ("truncated",), id="bottom border"),
        pytest.param(block(1, 1, 159, 119), {}, (), id="a pixel beside all borders"),
        pytest.param(WHOLE | block(60, 0, 62, 40), {}, (), id="two pixels touch"),
        pytest.param(WHOLE | block(60, 0, 63, 40), {}, ("truncated",), id="three pixels touch"),
        pytest.param(
            WHOLE | block(60, 0, 63, 40), {"border": 4}, (), id="three are less than four"
        ),
        pytest.param(WHOLE | block(0, 0, 2, 1), {}, ("truncated",), id="a corner counts twice"),
        pytest.param(block(40, 40, 64, 64), {}, (), id="a side of 24"),
        pytest.param(block(40, 40, 80, 63), {}, ("small",), id="the shorter side of 23"),
        pytest.param(block(40, 40, 80, 63), {"min_side": 0}, (), id="any side"),
        pytest.param(WHOLE, {"min_area": 1600 / (HEIGHT * WIDTH)}, (), id="the smallest area"),
        pytest.param(WHOLE, {"min_area": 0.084}, ("small",), id="a smaller area"),
        pytest.param(block(40, 40, 41, 80) | block(40, 40, 80, 41), {}, ("sparse",), id="sparse"),
        pytest.param(disc(60, 60, 30) & ~disc(60, 60, 20), {}, (), id="a ring is not sparse"),
        pytest.param(
            block(0, 0, 1, 100) | block(0, 0, 20, 1),
            {"min_fill": 0.1},
            ("truncated", "small", "sparse"),
            id="all that is true, in order",
        ),
    ],
)
def test_one_object(mask: Array, settings: dict[str, object], expected: tuple[str, ...]) -> None:
    assert flags_of(mask, **settings) == [expected]


CAR, POLE = block(20, 40, 140, 80), block(70, 10, 95, 110)
TABLE, PLATE = block(10, 20, 150, 100), disc(80, 60, 30)
CHAIR = block(50, 30, 90, 60) | block(50, 60, 60, 90) | block(80, 60, 90, 90)
MUG = disc(60, 60, 25) | (disc(85, 60, 14) & ~disc(85, 60, 8))


@pytest.mark.parametrize(
    ("behind", "in_front", "expected"),
    [
        pytest.param(CAR, POLE, True, id="a pole cuts a car in two"),
        pytest.param(TABLE, PLATE, True, id="a plate on a table"),
        pytest.param(TABLE, disc(80, 60, 15), False, id="too small a thing on a table"),
        pytest.param(TABLE, CHAIR, True, id="a chair on a carpet, which is seen between its legs"),
        pytest.param(TABLE, MUG, True, id="a mug, the table seen through its handle"),
        pytest.param(block(20, 20, 100, 100), block(60, 60, 140, 115), True, id="over a corner"),
        pytest.param(block(20, 20, 80, 80), block(80, 20, 140, 80), False, id="side by side"),
        pytest.param(
            disc(60, 60, 50) & ~disc(60, 60, 35), disc(60, 60, 28), False, id="far from the ring"
        ),
    ],
)
def test_occlusion(behind: Array, in_front: Array, expected: bool) -> None:
    assert flags_of(behind & ~in_front, in_front) == [("occluded",) if expected else (), ()]


def test_a_part_of_an_object_does_not_occlude_it() -> None:
    assert flags_of(TABLE, PLATE) == [(), ()]


def test_masks_in_front_are_counted_together() -> None:
    plates = [disc(x, 60, 14) for x in (30, 80, 130)]
    table = TABLE & ~np.any(plates, axis=0)
    assert flags_of(table & ~plates[0], plates[0]) == [(), ()]
    assert flags_of(table, *plates) == [("occluded",), (), (), ()]


def test_the_share_that_may_be_hidden_is_a_setting() -> None:
    hidden = PLATE.sum() / TABLE.sum()
    for share, flags in ((hidden - 0.01, ("occluded",)), (hidden + 0.01, ())):
        assert flags_of(TABLE & ~PLATE, PLATE, max_hidden=share) == [flags, ()]


def test_occlusion_does_not_depend_on_the_size_of_the_photo() -> None:
    large = [mask.repeat(10, axis=0).repeat(10, axis=1) for mask in (CAR & ~POLE, POLE)]
    masks = Masks.from_array(np.stack(large))
    assert Flag().run(masks).masks.boxes.flags == (("occluded",), ())


def test_a_line_that_slips_through_the_grid_is_not_occluded() -> None:
    line = np.pad(np.eye(600, k=1, dtype=bool), 1)
    line[2, 1] = True  # so that the tight box begins one pixel beside the line
    masks = Masks.from_array(np.stack([line, ~line]))
    assert Flag().run(masks).masks.boxes.flags == (("sparse",), ("truncated",))


def labelled() -> Masks:
    """A cup with a flag of its own, a cut-off table, a crumb."""
    xyxy = [[40, 40, 80, 80], [0, 90, 160, 120], [100, 20, 103, 23]]
    boxes = Boxes(
        xyxy,
        (HEIGHT, WIDTH),
        labels=("cup", "table", "crumb"),
        scores=[0.5, 0.25, 1.0],
        ids=[4, 1, 9],
        flags=(("also:mug",), ("truncated", "blurred"), ()),
        photo="street/004.jpg",
    )
    return Masks.from_array(np.stack([block(*row) for row in xyxy]), boxes)


def test_flags_are_added_and_all_else_is_kept() -> None:
    masks = labelled()
    flags = (("also:mug",), ("truncated", "blurred"), ("small",))
    flagged, good = Flag().run(masks)
    assert flagged == Masks(masks.counts, masks.boxes.replace(flags=flags))
    assert good == flagged[[0]]


@pytest.mark.parametrize(
    ("bad", "good"),
    [
        pytest.param([], [0, 1, 2], id="no flag keeps out"),
        pytest.param(["small"], [0, 1], id="one of ours"),
        pytest.param(["blurred", "also:mug"], [2], id="those of others"),
    ],
)
def test_the_user_says_which_flags_keep_an_object_out(bad: list[str], good: list[int]) -> None:
    result = Flag(bad=bad).run(labelled())
    assert result.good == result.masks[good]


def test_no_objects_are_an_answer() -> None:
    nothing = Masks.empty((HEIGHT, WIDTH), photo="a.jpg")
    assert Flag().run(nothing) == (nothing, nothing)


@given(arrays(bool, st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6))))
def test_flagging_twice_is_flagging_once(masks: Array) -> None:
    once = Flag(min_side=3).run(Masks.from_array(masks))
    assert Flag(min_side=3).run(once.masks) == once
    assert [flags == ("empty",) for flags in once.masks.boxes.flags] == [
        not mask.any() for mask in masks
    ]
