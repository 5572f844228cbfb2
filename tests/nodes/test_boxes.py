"""Filtering boxes, and non-maximum suppression against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionweave.errors import PipelineError
from visionweave.nodes.boxes import Filter, Nms
from visionweave.values import Boxes

IMAGE_HW = (100, 200)


def found() -> Boxes:
    """Four boxes of a photo of 200 x 100: an eighth of it, a hundredth, a sliver, all of it."""
    return Boxes(
        [[0, 0, 50, 50], [100, 50, 120, 60], [10, 10, 90, 11], [-50, -50, 250, 150]],
        IMAGE_HW,
        labels=("Cup", "apple", "cup", "table"),
        scores=[0.9, 0.4, 0.4, 0.7],
        ids=[7, 3, 5, 0],
        flags=((), ("small",), (), ("truncated",)),
        photo="street/004.jpg",
    )


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        pytest.param({}, [7, 3, 5, 0], id="without settings all stay"),
        pytest.param({"min_score": 0.7}, [7, 0], id="the lowest score stays"),
        pytest.param({"max_score": 0.7}, [3, 5, 0], id="the highest score stays"),
        pytest.param({"labels": ["CUP"]}, [7, 5], id="upper and lower case are the same"),
        pytest.param({"labels": []}, [], id="none of no labels"),
        pytest.param({"without_labels": ["cup", "pear"]}, [3, 0], id="labels that go"),
        pytest.param({"min_side": 10}, [7, 3, 0], id="the shorter side counts"),
        pytest.param({"min_side": 101}, [], id="a side outside the photo does not count"),
        pytest.param({"min_area": 0.125}, [7, 0], id="the smallest area stays"),
        pytest.param({"max_area": 0.5}, [7, 3, 5], id="larger than half the photo"),
        pytest.param({"keep": 2}, [7, 0], id="the two best, in their order"),
        pytest.param({"keep": 3}, [7, 3, 0], id="of equal scores the earlier"),
        pytest.param({"keep": 9}, [7, 3, 5, 0], id="fewer than could be kept"),
        pytest.param({"labels": ["cup"], "keep": 1}, [7], id="the best of those left"),
    ],
)
def test_filter(settings: dict[str, object], kept: list[int]) -> None:
    boxes = found()
    expected = boxes[[boxes.ids.tolist().index(id) for id in kept]]
    assert Filter(**settings).run(boxes) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"min_score": 1.5}, "(?s)setting 'min_score'.*0 to 1", id="score"),
        pytest.param({"keep": 0}, "(?s)setting 'keep'.*at least 1", id="keep nothing"),
        pytest.param({"labels": "cup"}, "(?s)setting 'labels'.*list", id="one text"),
    ],
)
def test_filter_refuses(settings: dict[str, object], message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        Filter(**settings)


@pytest.mark.parametrize(
    "node", [Filter(min_score=0.5, min_side=1, labels=["cup"], keep=1), Nms(), Nms(across=True)]
)
def test_no_boxes_stay_no_boxes(node: Filter | Nms) -> None:
    nothing = Boxes.empty(IMAGE_HW, photo="a.jpg")
    assert node.run(nothing) == nothing


A, NEAR_A, FAR = [0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60]


@pytest.mark.parametrize(
    ("xyxy", "labels", "scores", "settings", "kept"),
    [
        pytest.param([A, NEAR_A, FAR], "aaa", [0.5, 0.9, 0.1], {}, [1, 2], id="the better stays"),
        pytest.param([A, A], "aa", [0.5, 0.5], {}, [0], id="of equal ones the earlier"),
        pytest.param([A, A], "ab", [0.5, 0.9], {}, [0, 1], id="two labels"),
        pytest.param([A, A], "ab", [0.5, 0.9], {"across": True}, [1], id="across labels"),
        pytest.param([A, NEAR_A], "aa", [1, 1], {"iou": 0.9}, [0, 1], id="the threshold is above"),
        pytest.param([A, NEAR_A], "aa", [1, 1], {"iou": 0.89}, [0], id="just above"),
        pytest.param(
            [A, A], "aa", [1, 1], {"iou": 1}, [0, 1], id="nothing overlaps by more than 1"
        ),
        pytest.param([A, [9, 9, 20, 20]], "aa", [1, 1], {"iou": 0}, [0], id="any overlap"),
        pytest.param([A, [10, 0, 20, 10]], "aa", [1, 1], {"iou": 0}, [0, 1], id="touching is none"),
        pytest.param(
            [[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]],
            "aaa",
            [0.9, 0.8, 0.7],
            {"iou": 0.4},
            [0, 2],
            id="what is suppressed suppresses nothing",
        ),
        pytest.param([[5, 5, 5, 9]] * 2 + [A], "aaa", [1, 1, 1], {}, [0, 1, 2], id="without area"),
    ],
)
def test_nms(
    xyxy: list[list[int]],
    labels: str,
    scores: list[float],
    settings: dict[str, object],
    kept: list[int],
) -> None:
    boxes = Boxes(xyxy, IMAGE_HW, labels=tuple(labels), scores=scores)
    assert Nms(**settings).run(boxes) == boxes[kept]


@st.composite
def crowds(draw: st.DrawFn) -> Boxes:
    """Up to nine boxes on a small grid, so that they overlap and tie often."""
    side = st.integers(0, 6)
    corners = st.tuples(side, side, side, side)
    rows = [(x, y, x + w, y + h) for x, y, w, h in draw(st.lists(corners, max_size=9))]
    count = len(rows)
    labels = draw(st.lists(st.sampled_from("ab"), min_size=count, max_size=count))
    scores = draw(st.lists(st.sampled_from([0.25, 0.5, 1.0]), min_size=count, max_size=count))
    xyxy = np.array(rows, np.float32).reshape(-1, 4)
    return Boxes(xyxy, (12, 12), tuple(labels), np.array(scores, np.float32))


def pixels(boxes: Boxes, index: int) -> set[tuple[int, int]]:
    x1, y1, x2, y2 = boxes.xyxy[index].astype(int).tolist()
    return {(x, y) for x in range(x1, x2) for y in range(y1, y2)}


@given(crowds(), st.sampled_from([0.0, 0.25, 0.3, 0.5, 1.0]), st.booleans())
def test_nms_is_what_its_definition_says(boxes: Boxes, iou: float, across: bool) -> None:
    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda i: (-boxes.scores[i], i)):
        rivals = [k for k in kept if across or boxes.labels[k] == boxes.labels[index]]
        mine = pixels(boxes, index)
        overlaps = (
            len(mine & theirs) > iou * len(mine | theirs)
            for theirs in (pixels(boxes, rival) for rival in rivals)
        )
        if not any(overlaps):
            kept.append(index)
    assert Nms(iou, across).run(boxes) == boxes[sorted(kept)]


@given(crowds(), crowds())
def test_iou_counts_pixels(boxes: Boxes, others: Boxes) -> None:
    expected = np.zeros((len(boxes), len(others)), np.float32)
    for i in range(len(boxes)):
        for j in range(len(others)):
            union = pixels(boxes, i) | pixels(others, j)
            if union:
                expected[i, j] = len(pixels(boxes, i) & pixels(others, j)) / len(union)
    np.testing.assert_allclose(boxes.iou(others), expected, rtol=1e-6, strict=True)
