"""Every value type comes back exactly from its file form, whatever it holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visionweave.errors import ValueTypeError
from visionweave.values import (
    TYPES,
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

# The same examples every time: a suite that fails by chance is not believed.
exhaustive = settings(max_examples=50, deadline=None, database=None, derandomize=True)

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
PHRASES = WORDS.filter(str.strip)
FLAGS = st.lists(WORDS, max_size=2).map(tuple)
SIDES = st.integers(1, 6)
SCORES = st.floats(0, 1, width=32)


def floats(shape: tuple[int, ...], limit: float | None = None) -> st.SearchStrategy[Any]:
    """Float32 arrays, of all finite numbers or of those within a limit."""
    low = None if limit is None else -limit
    elements = st.floats(low, limit, width=32, allow_nan=False, allow_infinity=False)
    return hnp.arrays(np.float32, shape, elements=elements)


def ordered(corners: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(N, 2, 2) corners as (N, 4) boxes."""
    return np.sort(corners, axis=1).reshape(-1, 4)


@st.composite
def origins(draw: st.DrawFn) -> Origin:
    corners = draw(st.none() | floats((1, 2, 2)))
    return Origin(
        draw(WORDS),
        draw(st.none() | st.integers(0, 2**31 - 1)),
        draw(WORDS),
        draw(st.none() | st.floats(0, 1)),
        None if corners is None else tuple(ordered(corners)[0].tolist()),
        draw(FLAGS),
    )


@st.composite
def images(draw: st.DrawFn) -> Image:
    shape = (draw(SIDES), draw(SIDES), draw(st.sampled_from([3, 4])))
    return Image.from_array(draw(hnp.arrays(np.uint8, shape)), origin=draw(origins()))


@st.composite
def tags(draw: st.DrawFn) -> Tags:
    phrases = draw(st.lists(PHRASES, max_size=4))
    scores = draw(st.none() | hnp.arrays(np.float32, len(phrases), elements=SCORES))
    return Tags(tuple(phrases), scores, draw(origins()))


@st.composite
def hits(draw: st.DrawFn) -> Hits:
    keys = draw(st.lists(PHRASES, max_size=4))
    return Hits(tuple(keys), -np.sort(draw(floats((len(keys),)))), draw(WORDS))


@st.composite
def boxes(draw: st.DrawFn, count: int | None = None, image_hw: Any = None) -> Boxes:
    if count is None:
        count = draw(st.integers(0, 4))
    if image_hw is None:
        image_hw = (draw(SIDES), draw(SIDES))  # nearly every box sticks out
    ids = st.lists(st.integers(0, 2**31 - 1), min_size=count, max_size=count, unique=True)
    return Boxes(
        ordered(draw(floats((count, 2, 2)))),
        image_hw,
        tuple(draw(st.lists(WORDS, min_size=count, max_size=count))),
        draw(hnp.arrays(np.float32, count, elements=SCORES)),
        np.array(draw(ids), np.int32),
        tuple(draw(st.lists(FLAGS, min_size=count, max_size=count))),
        draw(WORDS),
    )


@st.composite
def masks(draw: st.DrawFn) -> Masks:
    count, height, width = draw(st.integers(0, 3)), draw(SIDES), draw(SIDES)
    array = draw(hnp.arrays(bool, (count, height, width)))
    given = draw(st.booleans())
    return Masks.from_array(array, draw(boxes(count, (height, width))) if given else None)


@st.composite
def points(draw: st.DrawFn) -> Points:
    count = draw(st.integers(0, 4))
    objects = draw(hnp.arrays(np.int32, count, elements=st.integers(0, 2**31 - 1)))
    return Points(draw(floats((count, 2))), draw(hnp.arrays(bool, count)), objects, draw(WORDS))


@st.composite
def scribbles(draw: st.DrawFn) -> Scribble:
    strokes = draw(st.lists(SIDES.flatmap(lambda count: floats((count, 2))), max_size=3))
    width = draw(st.floats(0, 1e6, exclude_min=True))
    signs = draw(hnp.arrays(bool, len(strokes)))
    return Scribble(tuple(strokes), signs, width=width, photo=draw(WORDS))


@st.composite
def cutouts(draw: st.DrawFn) -> Cutout:
    rgba = draw(hnp.arrays(np.uint8, (draw(SIDES), draw(SIDES), 4)))
    x, y = (draw(st.floats(-1e6, 1e6)) for _ in "xy")
    width, height = (draw(st.floats(0.001, 1e6)) for _ in "wh")
    return Cutout(rgba, (x, y, x + width, y + height), draw(origins()))


@st.composite
def embeddings(draw: st.DrawFn) -> Embedding:
    vector = draw(floats((draw(SIDES),)).filter(np.any))
    return Embedding.normalised(vector, draw(WORDS.filter(bool)), draw(origins()))


@st.composite
def views(draw: st.DrawFn) -> Views:
    count = draw(st.integers(0, 2))
    return Views(
        draw(hnp.arrays(np.uint8, (count, draw(SIDES), draw(SIDES), 3))),
        draw(floats((count,))),
        draw(floats((count,), 90)),
        np.maximum(np.abs(draw(floats((count,)))), np.float32(0.5)),
        draw(st.floats(0, 180, exclude_min=True, exclude_max=True)),
        draw(origins()),
    )


@st.composite
def meshes(draw: st.DrawFn) -> Mesh:
    count = draw(st.integers(1, 6))
    corner = st.integers(0, count - 1)  # some vertices are in no face, and some faces are flat
    faces = draw(hnp.arrays(np.int32, (draw(SIDES), 3), elements=corner))
    colours = draw(st.none() | hnp.arrays(np.uint8, (count, 4)))
    return Mesh(draw(floats((count, 3))), faces, colours, draw(origins()))


STRATEGIES: dict[str, st.SearchStrategy[Value]] = {
    "Image": images(),
    "Text": st.builds(Text, WORDS, origins()),
    "Tags": tags(),
    "Boxes": boxes(),
    "Points": points(),
    "Scribble": scribbles(),
    "Masks": masks(),
    "Cutout": cutouts(),
    "Embedding": embeddings(),
    "Hits": hits(),
    "Views": views(),
    "Mesh": meshes(),
}


@pytest.mark.parametrize("kind", TYPES)
def test_every_value_comes_back_from_its_bytes(kind: str) -> None:
    @exhaustive
    @given(STRATEGIES[kind])
    def check(value: Value) -> None:
        data = value.to_bytes()
        again = TYPES[kind].from_bytes(data)
        assert again == value
        assert again.to_bytes() == data  # tells -0.0 from 0.0, where == does not

    check()


@pytest.mark.parametrize("kind", TYPES)
def test_every_value_comes_back_from_its_file(kind: str, tmp_path: Path) -> None:
    @settings(exhaustive, max_examples=5)
    @given(STRATEGIES[kind])
    def check(value: Value) -> None:
        path = value.save(tmp_path / f"value{value.SUFFIX}")
        assert TYPES[kind].load(str(path)) == value

    check()


@exhaustive
@given(origins())
def test_an_origin_comes_back_from_json(origin: Origin) -> None:
    data = json.loads(json.dumps(origin.to_json()))
    assert Origin.from_json(data) == origin


def test_an_origin_writes_only_what_is_known() -> None:
    assert Origin().to_json() == {}
    origin = Origin("street/004.jpg", 2, "apple", 0.83, (1, 2, 3, 4.5), ("truncated",))
    assert origin.to_json() == {
        "photo": "street/004.jpg",
        "object": 2,
        "label": "apple",
        "score": 0.83,
        "box": [1, 2, 3, 4.5],
        "flags": ["truncated"],
    }


@pytest.mark.parametrize(
    "text", ["\0", "\r\n\t", "🍎", "e\u0301", "\u2028", '"\\{}', "ﷺ", "\uffff"]
)
def test_any_unicode_is_kept(text: str) -> None:
    origin = Origin(photo=text, label=text, flags=(text,))
    rgba = np.zeros((1, 1, 4), np.uint8)
    for value in (
        Text(text, origin),
        Cutout(rgba, (0, 0, 1, 1), origin),
        Image.from_array(rgba, photo=text),
        Boxes(np.zeros((1, 4), np.float32), (1, 1), (text,), flags=((text, text),), photo=text),
        Embedding(np.ones(1, np.float32), text, origin),
    ):
        assert type(value).from_bytes(value.to_bytes()) == value


def test_strings_of_numpy_become_plain_ones() -> None:
    labels = np.array(["cup", "pear"])
    found = Boxes(np.zeros((2, 4), np.float32), (1, 1), labels)
    assert [type(label) for label in found.labels] == [str, str]
    assert Boxes.from_bytes(found.to_bytes()) == found


SURROGATE: dict[str, Callable[[str], Value | Origin]] = {
    "Text.text": Text,
    "Tags.phrases": lambda text: Tags((text,)),
    "Hits.keys": lambda text: Hits((text,), np.ones(1, np.float32)),
    "Hits.query": lambda text: Hits((), np.ones(0, np.float32), text),
    "Boxes.labels": lambda text: Boxes(np.zeros((1, 4), np.float32), (1, 1), (text,)),
    "Boxes.flags": lambda text: Boxes(np.zeros((1, 4), np.float32), (1, 1), flags=((text,),)),
    "Boxes.photo": lambda text: Boxes.empty((1, 1), text),
    "Points.photo": lambda text: Points(np.zeros((0, 2), np.float32), photo=text),
    "Scribble.photo": lambda text: Scribble((), photo=text),
    "Embedding.space": lambda text: Embedding(np.ones(1, np.float32), text),
    "Origin.photo": Origin,
    "Origin.label": lambda text: Origin(label=text),
    "Origin.flags": lambda text: Origin(flags=(text,)),
}


@pytest.mark.parametrize("field", SURROGATE)
def test_half_a_surrogate_pair_is_refused(field: str) -> None:
    with pytest.raises(
        ValueTypeError, match=rf"{field} must be valid Unicode; got 'a\\ud83c': surrogates not"
    ):
        SURROGATE[field]("a\ud83c")
