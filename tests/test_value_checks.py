"""Values are frozen, check themselves, compare by every element, and keep their identity."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from visionweave.values import (
    Boxes,
    Cutout,
    Embedding,
    Hits,
    Image,
    Masks,
    Mesh,
    Origin,
    Points,
    Scribble,
    Tags,
    Text,
    Value,
    Views,
)

HW = (20, 30)
XYXY = np.array([[1, 2, 5, 6], [0, 0, 9.5, 3], [-4, 7, 40, 9]], np.float32)
BOXES = Boxes(
    XYXY,
    HW,
    ("apple", "cup", ""),
    np.array([0.83, 0.5, 1], np.float32),
    np.array([2, 0, 7], np.int32),
    (("truncated",), (), ("tiny", "dark")),
    "street/004.jpg",
)
MASKS = Masks.from_array(np.arange(1800).reshape(3, *HW) % 7 > 3, BOXES)
RGBA = np.zeros((2, 3, 4), np.uint8)
BOX = (0.0, 0.0, 3.0, 2.0)
CORNERS = np.eye(3, dtype=np.float32)
FACE = np.array([[0, 1, 2]], np.int32)
ANGLES = np.zeros(1, np.float32)
VALUES: list[Value] = [
    Image.from_array(RGBA),
    Text("x"),
    Tags(("a", "b")),
    BOXES,
    Points(XYXY[:, :2]),
    Scribble((XYXY[:, :2],)),
    MASKS,
    Cutout(RGBA, BOX),
    Embedding.normalised([3, 4], "clip/mini"),
    Hits(("a", "b"), np.array([2, 1])),
    Views(RGBA[None, ..., :3], ANGLES, ANGLES, ANGLES + 1, 50.0),
    Mesh(CORNERS, FACE, RGBA[0]),
]
each_value = pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)


def boxes(*xyxy: Any, **fields: Any) -> Boxes:
    return Boxes(list(xyxy) or [(0, 0, 1, 1)], HW, **fields)


# Frozen -----------------------------------------------------------------------------------------


@each_value
def test_no_field_can_be_set(value: Value) -> None:
    fields = ["origin", "pixels"] if isinstance(value, Image) else dataclasses.fields(value)
    for field in fields:
        name = field if isinstance(field, str) else field.name
        with pytest.raises(AttributeError, match=f"cannot (set|assign to field) '{name}'"):
            setattr(value, name, None)


@each_value
def test_no_array_can_be_written(value: Value) -> None:
    names = [name for cls in type(value).__mro__ for name in getattr(cls, "__slots__", ())]
    held = [getattr(value, name) for name in names if not name.startswith("_")]
    held += [value.pixels, value.alpha] if isinstance(value, Image) else []
    held += list(value.strokes) if isinstance(value, Scribble) else []
    arrays = [each for each in held if isinstance(each, np.ndarray)]
    assert arrays or isinstance(value, (Text, Masks))
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_an_array_is_taken_over_without_a_copy() -> None:
    pixels = np.zeros((2, 2, 3), np.uint8)
    assert np.shares_memory(Image.from_array(pixels).pixels, pixels)
    assert pixels.flags.writeable


@each_value
def test_a_value_has_no_truth_and_no_hash(value: Value) -> None:
    with pytest.raises(TypeError, match=rf"a {type(value).__name__} is neither true nor false"):
        bool(value)
    with pytest.raises(TypeError, match="unhashable type"):
        hash(value)


@pytest.mark.parametrize("value", [BOXES, Tags(("a",))], ids=["Boxes", "Tags"])
def test_a_loop_over_a_value_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="not iterable"):
        list(value)


def test_an_image_is_built_by_name() -> None:
    with pytest.raises(TypeError, match=r"build an Image with Image\.open, Image\.from_array or"):
        Image()


# Equality and repr ------------------------------------------------------------------------------

DIFFERENT: list[Any] = [
    pytest.param(Text("1"), Tags(("1",)), id="type"),
    pytest.param(Text("a"), Text("b"), id="text"),
    pytest.param(Text("a"), Text("a", Origin("b")), id="origin"),
    pytest.param(boxes(), boxes((0, 0, 1, 1.0001)), id="one number"),
    pytest.param(boxes(), boxes((0, 0, 1, 1), (0, 0, 1, 1)), id="length"),
    pytest.param(boxes(), boxes(ids=[1]), id="ids"),
    pytest.param(boxes(), boxes(flags=[("a",)]), id="flags"),
    pytest.param(MASKS, MASKS[[0, 2, 1]], id="order"),
    pytest.param(Mesh(CORNERS, FACE), Mesh(CORNERS, FACE, RGBA[0]), id="no colours"),
    pytest.param(Scribble((XYXY[:1, :2],)), Scribble((XYXY[:1, :2],) * 2), id="strokes"),
    pytest.param(Image.from_array(RGBA), Image.from_array(RGBA + 1), id="pixels"),
    pytest.param(
        Image.from_array(RGBA[..., :3]),
        Image.from_array(RGBA[..., :3].reshape(3, 2, 3)),
        id="shape",
    ),
    pytest.param(Image.from_array(RGBA), Image.from_array(RGBA[..., :3]), id="alpha"),
    pytest.param(Image.from_array(RGBA), Image.from_array(RGBA, "a.jpg"), id="name"),
]


@pytest.mark.parametrize(("a", "b"), DIFFERENT)
def test_values_differ_by(a: Value, b: Value) -> None:
    assert a != b
    assert a == type(a).from_bytes(a.to_bytes())


def test_arrays_of_two_dtypes_differ() -> None:
    single, double = np.ones(1, np.float32), np.ones(1)
    value, other = Embedding(single, "s"), Embedding(single, "s")
    object.__setattr__(other, "vector", double)
    assert value != other
    assert Points([[0.0, 0]]) == Points([[-0.0, 0]])


def test_a_value_differs_from_other_things() -> None:
    assert Text("a") != "a"
    assert (Text("a") == None) is False  # noqa: E711


def test_a_repr_is_short_and_holds_no_array() -> None:
    many = Boxes(np.tile(XYXY, (400, 1)), HW, ("a long label " * 9,) * 1200, photo="p" * 300)
    for value in [many, Masks.from_array(np.zeros((0, *HW), bool)), *VALUES]:
        assert len(repr(value)) < 500, repr(value)
        assert "array" not in repr(value)
        assert "\n" not in repr(value)
    assert len(repr(many)) < 400
    assert repr(Tags(("a", "b"), origin=BOXES.origin(0))) == (
        "Tags(phrases=('a', 'b'), scores=<float32 (2,)>, "
        "origin=<apple 0.83, object 2 of street/004.jpg>)"
    )
    assert repr(Text("x")) == "Text(text='x', origin=<unknown>)"
    assert str(Text("x")) == "x"


# Identity ---------------------------------------------------------------------------------------

SAME: list[Any] = [
    pytest.param([2, 0], id="integers"),
    pytest.param(np.array([-1, 0]), id="from the end"),
    pytest.param(slice(None, None, -2), id="slice"),
]


@pytest.mark.parametrize("which", SAME)
def test_boxes_and_masks_are_chosen_with_all_that_belongs_to_them(which: Any) -> None:
    chosen = Boxes(
        np.array([[-4, 7, 40, 9], [1, 2, 5, 6]], np.float32),
        HW,
        ("", "apple"),
        np.array([1, 0.83], np.float32),
        np.array([7, 2], np.int32),
        (("tiny", "dark"), ("truncated",)),
        "street/004.jpg",
    )
    assert BOXES[which] == chosen
    assert MASKS[which] == Masks((MASKS.counts[2], MASKS.counts[0]), chosen)
    assert Tags(("a", "b", "c"), [0, 0.5, 1])[which] == Tags(("c", "a"), [1, 0])


def test_a_bool_mask_chooses_in_place() -> None:
    kept = BOXES[BOXES.scores > 0.6]
    assert kept == BOXES[[0, 2]]
    assert kept.ids.tolist() == [2, 7]
    assert kept[[1]].origin(0) == BOXES.origin(2)
    assert MASKS[BOXES.scores > 2] == Masks.empty(HW, "street/004.jpg")


def test_an_origin_names_its_object() -> None:
    assert str(BOXES.origin(0)) == "apple 0.83, object 2 of street/004.jpg"
    assert MASKS.origin(0) == BOXES.origin(0)
    assert MASKS.origin(-1) == Origin(
        "street/004.jpg", 7, "", 1.0, (-4, 7, 40, 9), ("tiny", "dark")
    )


@pytest.mark.parametrize(
    ("origin", "text"),
    [
        pytest.param(Origin(), "", id="unknown"),
        pytest.param(Origin("a.jpg"), "a.jpg", id="photo"),
        pytest.param(Origin("a.jpg", 0), "object 0 of a.jpg", id="object"),
        pytest.param(Origin("a.jpg", score=0.0), "0.00 of a.jpg", id="score"),
        pytest.param(Origin(label="cup", object=3), "cup, object 3", id="without a photo"),
    ],
)
def test_an_origin_says_what_is_known(origin: Origin, text: str) -> None:
    assert str(origin) == text


def test_numbers_of_numpy_become_plain_ones_in_an_origin() -> None:
    origin = Origin(object=np.int32(3), score=np.float32(0.5), box=XYXY[0], flags=["tiny"])
    assert origin == Origin(object=3, score=0.5, box=(1, 2, 5, 6), flags=("tiny",))
    assert repr(origin.object) == "3"


def test_boxes_fill_in_what_is_not_given() -> None:
    filled = Boxes(XYXY, HW, ("",) * 3, np.ones(3, np.float32), np.arange(3), ((), (), ()))
    assert Boxes(XYXY, HW) == filled
    assert Boxes.empty(HW, "a.jpg") == Boxes([], HW, photo="a.jpg")
    assert len(Boxes.empty(HW)) == 0


def test_boxes_are_clipped_to_the_photo() -> None:
    inside = np.array([[1, 2, 5, 6], [0, 0, 9.5, 3], [0, 7, 30, 9]], np.float32)
    assert BOXES.clip() == BOXES.replace(xyxy=inside)
    assert BOXES.areas.tolist() == [16, 28.5, 88]
    with pytest.raises(TypeError, match="unexpected keyword argument 'boxes'"):
        BOXES.replace(boxes=inside)


def test_plain_data_becomes_a_value() -> None:
    assert Text.coerce("a") == Text("a")
    assert (
        Tags.coerce("a cup, , pear,") == Tags.coerce(["a cup", "pear"]) == Tags(("a cup", "pear"))
    )
    assert Tags.coerce("") == Tags.coerce([]) == Tags(())
    assert Points.coerce([[1, 2]]) == Points(np.array([[1, 2]], np.float32))
    assert len(Points.coerce([])) == len(Scribble.coerce([])) == 0
    assert Scribble.coerce([[[1, 2], [3, 4]]]) == Scribble(
        (np.array([[1, 2], [3, 4]], np.float32),)
    )
    assert Boxes.coerce({"xyxy": [[0, 0, 1, 1]], "image_hw": [5, 5]}) == Boxes(
        np.array([[0, 0, 1, 1]], np.float32), (5, 5)
    )
    assert Text.coerce({"text": "a", "origin": {"photo": "b"}}) == Text("a", Origin("b"))
    assert Boxes.coerce(BOXES) is BOXES


def test_lengths() -> None:
    assert [len(value) for value in VALUES if hasattr(value, "__len__")] == [2, 3, 3, 1, 3, 2, 1]


def test_embeddings_are_compared_by_angle() -> None:
    a, b = Embedding.normalised([3, 4], "s"), Embedding.normalised([4, 3], "s")
    assert a.vector.tolist() == pytest.approx([0.6, 0.8])
    assert a.similarity(b) == pytest.approx(0.96)
    assert a.similarity(Embedding.normalised([-3, -4], "s")) == -1
    assert (
        a == Embedding.normalised([3e200, 4e200], "s") == Embedding.normalised([3e-60, 4e-60], "s")
    )


def test_a_cutout_is_laid_over_a_colour() -> None:
    rgba = np.array([[[200, 0, 0, 0], [200, 0, 0, 128], [200, 0, 0, 255]]], np.uint8)
    over = Cutout(rgba, BOX).over((0, 100, 255))
    assert over.tolist() == [[[0, 100, 255], [100, 50, 127], [200, 0, 0]]]
