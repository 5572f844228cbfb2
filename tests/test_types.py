"""Port types: read from annotations and from text, checked soundly, and given plain data."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visionweave.errors import ValueTypeError
from visionweave.types import PortType, parse_type, read_annotation
from visionweave.values import (
    TYPES,
    Boxes,
    Cutout,
    Image,
    JsonValue,
    Masks,
    Points,
    Scribble,
    Tags,
    Text,
    Value,
)

PROMPTS = PortType((Boxes, Points))


class Crop(Image):
    """A subclass of a value type."""


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        pytest.param("Image", PortType((Image,)), id="one"),
        pytest.param(" Boxes|Points ", PROMPTS, id="union"),
        pytest.param("list[Cutout]", PortType((Cutout,), many=True), id="list"),
        pytest.param("list[ Boxes | Points ]", PortType((Boxes, Points), many=True), id="list of"),
        pytest.param("Text | Text", PortType((Text,)), id="the same twice"),
    ],
)
def test_a_type_is_read_from_text(text: str, kind: PortType) -> None:
    assert parse_type(text) == kind
    assert parse_type(str(kind)) == kind


@settings(max_examples=50, deadline=None, database=None, derandomize=True)
@given(st.lists(st.sampled_from(sorted(TYPES)), min_size=1, unique=True), st.booleans())
def test_every_type_is_read_from_its_own_text(names: list[str], many: bool) -> None:
    kind = PortType(tuple(TYPES[name] for name in names), many)
    assert parse_type(str(kind)) == kind


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("Imgae", "unknown type 'Imgae'; did you mean Image\\?", id="near"),
        pytest.param("mask", "unknown type 'mask'; did you mean Masks\\?", id="lower case"),
        pytest.param("Boxes | Pointz", "unknown type 'Pointz'; did you mean Points", id="in union"),
        pytest.param("list[Cutouts]", "'Cutouts'; did you mean Cutout\\?", id="in list"),
        pytest.param(
            "float", r"'float'; the types are Image, Text, .*, and list\[\.\.\.\] of", id="far"
        ),
        pytest.param("", "unknown type ''; the types are Image", id="nothing"),
        pytest.param("list[list[Image]]", r"'list\[Image\]'; the types are .*list\[", id="nested"),
        pytest.param(
            "Boxes | list[Points]", r"'list\[Points\]'; the types are", id="list in union"
        ),
    ],
)
def test_an_unknown_type_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueTypeError, match=said):
        parse_type(text)


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        pytest.param(Image, PortType((Image,)), id="one"),
        pytest.param(Boxes | Points, PROMPTS, id="union"),
        pytest.param(Union[Boxes, Points], PROMPTS, id="old union"),  # noqa: UP007
        pytest.param(Boxes | None, PortType((Boxes,)), id="need not be connected"),
        pytest.param(Optional[Boxes], PortType((Boxes,)), id="old optional"),  # noqa: UP045
        pytest.param(list[Cutout], PortType((Cutout,), many=True), id="list"),
        pytest.param(typing.List[Cutout], PortType((Cutout,), many=True), id="old list"),  # noqa: UP006
        pytest.param(
            list[Boxes | Points], PortType((Boxes, Points), many=True), id="list of union"
        ),
        pytest.param(Crop, PortType((Crop,)), id="subclass"),
        pytest.param(Value, PortType((Value,)), id="any value"),
        pytest.param(list[Boxes | None], None, id="list with gaps"),
        pytest.param(list[list[Boxes]], None, id="list of lists"),
        pytest.param(list, None, id="list of anything"),
        pytest.param(Boxes | list[Boxes], None, id="one or many"),
        pytest.param(Boxes | int, None, id="union with another"),
        pytest.param(int, None, id="another"),
        pytest.param(None, None, id="none"),
        pytest.param("Boxes", None, id="text"),
    ],
)
def test_a_type_is_read_from_an_annotation(annotation: Any, kind: PortType | None) -> None:
    assert read_annotation(annotation) == kind


@pytest.mark.parametrize(
    ("kinds", "fits"),
    [
        pytest.param((Boxes,), True, id="one of them"),
        pytest.param((Points, Boxes), True, id="all of them"),
        pytest.param((Boxes, Scribble), False, id="only some of what it may be"),
        pytest.param((Scribble,), False, id="another"),
        pytest.param((JsonValue,), False, id="their base"),
    ],
)
def test_the_subtype_check_is_sound(kinds: tuple[type[Value], ...], fits: bool) -> None:
    assert PROMPTS.accepts(kinds) is fits


def test_a_subclass_fits_where_its_base_does() -> None:
    assert PortType((Image,)).accepts((Crop,))
    assert not PortType((Crop,)).accepts((Image,))
    assert PortType((Value,)).accepts((Image, Tags, Masks))


# Plain data -------------------------------------------------------------------------------------

BOXES = Boxes(np.array([[0, 0, 1, 1]], np.float32), (5, 5))
POINTS = Points(np.array([[1, 2]], np.float32))


def test_a_value_of_a_port_is_taken_as_it_is() -> None:
    assert PROMPTS.coerce(POINTS) is POINTS
    values = [BOXES, POINTS]
    taken = parse_type("list[Boxes | Points]").coerce(values)
    assert [id(value) for value in taken] == [id(value) for value in values]


@pytest.mark.parametrize(
    ("kind", "data", "value"),
    [
        pytest.param("Text", "a cup", Text("a cup"), id="one"),
        pytest.param("Text | Tags", "a, b", Text("a, b"), id="the first that fits"),
        pytest.param("Tags | Text", "a, b", Tags(("a", "b")), id="the order written counts"),
        pytest.param("Boxes | Points", [[1, 2]], POINTS, id="a later one fits"),
        pytest.param("list[Text]", ["a", Text("b")], [Text("a"), Text("b")], id="list"),
        pytest.param("list[Text]", (), [], id="empty tuple"),
    ],
)
def test_plain_data_becomes_a_value_of_the_port(kind: str, data: Any, value: Any) -> None:
    assert parse_type(kind).coerce(data) == value


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        pytest.param("Boxes", 3, r"^expected Boxes; got int 3$", id="one"),
        pytest.param("Boxes", Path("a"), r"^expected Boxes; got \w+Path\('a'\)$", id="path"),
        pytest.param(
            "Boxes", Text("a"), r"^expected Boxes; got Text\(text='a', origin", id="value"
        ),
        pytest.param(
            "Tags", ["a", ""], r"^Tags\.phrases must hold no blank str; got ''$", id="why"
        ),
        pytest.param("Boxes | Masks", 3, r"^expected Boxes \| Masks; got int 3$", id="union"),
        pytest.param(
            "Boxes | Points",
            [1, 2],
            r"^expected Boxes \| Points; as Points: Points\.xy must have shape \(N, 2\); "
            r"got \(2,\); got list \[1, 2\]$",
            id="union, with the reason of the one that could be",
        ),
        pytest.param("list[Text]", "a", r"^expected list\[Text\]; got str 'a'$", id="no list"),
        pytest.param("list[Image]", None, r"^expected list\[Image\]; got None$", id="nothing"),
        pytest.param(
            "list[Text]",
            ["a", 3],
            r"^element 1 of list\[Text\]: expected Text; got int 3$",
            id="element",
        ),
        pytest.param(
            "list[Text]", ["a", "b", ["d"]], r"^element 2 of .*; got list \['d'\]$", id="nested"
        ),
        pytest.param("Text", list(range(99)), r"^expected Text; got list of 99$", id="a long list"),
    ],
)
def test_data_that_does_not_fit_a_port_is_refused(kind: str, data: Any, said: str) -> None:
    with pytest.raises(ValueTypeError, match=said):
        parse_type(kind).coerce(data)
