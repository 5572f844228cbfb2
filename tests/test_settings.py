"""Settings are data, checked strictly, and described in plain words."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from pydantic import AfterValidator, BaseModel, Field

from visionweave import Image, Node, node
from visionweave.errors import NodeError, Problem
from visionweave.settings import check_settings, describe_setting, make_settings_model


def check_odd(size: int) -> int:
    if size % 2 == 0:
        raise ValueError("a size must be odd")
    return size


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Margin(BaseModel):
    left: int
    right: int = 0


class Bench:
    """One setting of every kind."""

    def __init__(
        self,
        score: Annotated[float, Field(ge=0, le=1)],
        ratio: Annotated[float, Field(gt=0)] = 1,
        below: Annotated[float, Field(lt=10)] = 1,
        size: Annotated[int, AfterValidator(check_odd)] = 3,
        step: Annotated[int, Field(multiple_of=8)] = 8,
        flag: bool = False,
        mode: Literal["fast", "exact"] = "fast",
        only: Literal["x"] = "x",
        colour: Colour = Colour.RED,
        name: Annotated[str, Field(min_length=1, max_length=8, pattern="^[a-z]+$")] = "a",
        labels: tuple[str, ...] = (),
        pair: tuple[int, float] = (1, 2.0),
        sizes: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)] = [1],  # noqa: B006
        grid: Annotated[list[list[int]], Field(min_length=2, max_length=2)] = [[1], [2]],  # noqa: B006
        table: dict[str, float] | None = None,
        margin: Margin = Margin(left=1),  # noqa: B008
        either: int | str = 1,
        anything: Any = None,
        made: list[int] = Field(default_factory=lambda: [1, 2]),  # noqa: B008
    ) -> None: ...


MODEL = make_settings_model(Bench)


def problem(name: str, value: Any) -> Problem:
    """The one problem of one wrong setting."""
    settings, problems = check_settings(MODEL, {"score": 0.5, name: value}, lambda n: f"at {n}")
    assert settings == {}
    assert list(problems) == [name]
    return problems[name]


@pytest.mark.parametrize(
    ("name", "words", "default"),
    [
        ("score", "number, 0 to 1", ""),
        ("ratio", "number, above 0", "1"),
        ("below", "number, below 10", "1"),
        ("size", "whole number", "3"),
        ("step", "whole number, a multiple of 8", "8"),
        ("flag", "true or false", "false"),
        ("mode", 'one of "fast", "exact"', '"fast"'),
        ("only", '"x"', '"x"'),
        ("colour", 'one of "red", "blue"', '"red"'),
        ("name", "text, 1 to 8 characters, like ^[a-z]+$", '"a"'),
        ("labels", "list (each: text)", "[]"),
        ("pair", "list of 2 entries (whole number; number)", "[1, 2.0]"),
        ("sizes", "list of at least 1 entries (each: whole number, at least 1)", "[1]"),
        ("grid", "list of 2 entries (each: list (each: whole number))", "[[1], [2]]"),
        ("table", "table (each: number), or nothing (null)", "null"),
        ("margin", "table", '{"left": 1, "right": 0}'),
        ("either", "whole number, or text", "1"),
        ("anything", "anything", "null"),
        ("made", "list (each: whole number)", "[1, 2]"),
    ],
)
def test_a_setting_is_described_in_plain_words(name: str, words: str, default: str) -> None:
    assert describe_setting(MODEL, name) == (words, default)


@pytest.mark.parametrize(
    ("name", "value", "what", "got"),
    [
        ("score", 1.5, "setting 'score' is out of range", "1.5"),
        ("score", -1, "setting 'score' is out of range", "-1"),
        ("score", "0.5", "setting 'score' does not fit", '"0.5"'),
        ("score", True, "setting 'score' does not fit", "true"),
        ("score", float("nan"), "setting 'score' does not fit", "NaN"),
        ("ratio", float("inf"), "setting 'ratio' does not fit", "Infinity"),
        ("below", 10, "setting 'below' is out of range", "10"),
        ("size", 4, "setting 'size' is refused: a size must be odd", "4"),
        ("size", 3.0, "setting 'size' does not fit", "3.0"),
        ("step", 12, "setting 'step' is out of range", "12"),
        ("flag", 1, "setting 'flag' does not fit", "1"),
        ("flag", "yes", "setting 'flag' does not fit", '"yes"'),
        ("mode", "slow", "setting 'mode' does not fit", '"slow"'),
        ("colour", "green", "setting 'colour' does not fit", '"green"'),
        ("name", "", "setting 'name' is out of range", '""'),
        ("name", "A b", "setting 'name' does not fit", '"A b"'),
        ("labels", "cat", "setting 'labels' does not fit", '"cat"'),
        ("labels", ["a", 3], "entry 2 of setting 'labels' does not fit", "3"),
        ("pair", [1, 2.0, 3], "setting 'pair' is out of range", "[1, 2.0, 3]"),
        ("sizes", [], "setting 'sizes' is out of range", "[]"),
        ("sizes", [3, 0], "entry 2 of setting 'sizes' is out of range", "0"),
        ("grid", [[1], [2, "x"]], "entry 2 of entry 2 of setting 'grid' does not fit", '"x"'),
        ("table", {"a": "b"}, "setting 'table' does not fit", '{"a": "b"}'),
        ("margin", {}, "setting 'margin' does not fit", "{}"),
        ("margin", {"left": "x"}, "setting 'margin' does not fit", '{"left": "x"}'),
        ("either", [1], "setting 'either' does not fit", "[1]"),
        ("either", None, "setting 'either' does not fit", "nothing (null)"),
        ("name", "x" * 99, "setting 'name' is out of range", f'"{"x" * 58}…'),
        ("anything", object(), "setting 'anything' is no plain data", "a value of type object"),
        ("labels", b"cat", "setting 'labels' is no plain data", "a value of type bytes"),
    ],
)
def test_a_wrong_setting_is_one_problem(name: str, value: Any, what: str, got: str) -> None:
    found = problem(name, value)
    assert (found.where, found.what, found.got) == (f"at {name}", what, got)
    assert found.expected == describe_setting(MODEL, name)[0]


def test_a_setting_that_must_be_given_is_missed() -> None:
    settings, problems = check_settings(MODEL, {}, lambda name: "here")
    said = Problem("here", "setting 'score' must be given", "number, 0 to 1", "nothing")
    assert (settings, problems) == ({}, {"score": said})


def test_an_unknown_setting_gets_the_nearest_name() -> None:
    found = problem("colou", "red")
    assert found.what == "there is no setting 'colou'"
    assert found.expected == f"one of the settings {', '.join(MODEL.model_fields)}"
    assert found.fix == "did you mean colour?"


def test_a_list_that_holds_itself_is_no_data() -> None:
    endless: list[Any] = []
    endless.append(endless)
    settings, problems = check_settings(MODEL, {"score": 1, "anything": endless}, lambda name: "")
    assert settings == {}
    assert problems["anything"].what == "setting 'anything' is no plain data"


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        pytest.param("score", 1, 1.0, id="a whole number may stand for a float"),
        pytest.param("score", np.float32(0.5), 0.5, id="numpy's numbers are numbers"),
        pytest.param("sizes", np.array([1, 2]), [1, 2], id="an array is a list"),
        pytest.param("labels", ["a"], ("a",), id="a list may stand for a tuple"),
        pytest.param("labels", {"b", "a"}, ("a", "b"), id="a set is a sorted list"),
        pytest.param("colour", "blue", Colour.BLUE, id="an enum by its value"),
        pytest.param("colour", Colour.BLUE, Colour.BLUE, id="an enum"),
        pytest.param("margin", {"left": 2}, Margin(left=2), id="a table for a model"),
        pytest.param("margin", Margin(left=2), Margin(left=2), id="a model"),
        pytest.param("either", 10**30, 10**30, id="a large number"),
        pytest.param("anything", {"a": [1, None]}, {"a": [1, None]}, id="any data"),
    ],
)
def test_settings_are_taken_as_json_has_them(name: str, given: Any, value: Any) -> None:
    settings, problems = check_settings(MODEL, {"score": 0.5, name: given}, str)
    assert problems == {}
    assert settings[name] == value
    assert type(settings[name]) is type(value)


def test_defaults_are_filled_in_and_checked() -> None:
    settings, _ = check_settings(MODEL, {"score": 0}, str)
    assert list(settings) == list(MODEL.model_fields)
    assert (settings["score"], settings["ratio"], settings["made"]) == (0.0, 1.0, [1, 2])
    assert type(settings["ratio"]) is float


def test_settings_may_be_called_as_pydantic_calls_its_own() -> None:
    @node("toy.extract")
    class Extract(Node):
        def __init__(self, schema: str = "a", copy: bool = True, model: str = "x") -> None:
            self.parts = (schema, copy, model)

        def run(self, image: Image) -> Image: ...

    assert Extract(schema="b").parts == ("b", True, "x")
    assert Extract(copy=False).settings == {"schema": "a", "copy": False, "model": "x"}


def test_a_type_that_pydantic_cannot_check_is_refused() -> None:
    class Blur(Node):
        def __init__(self, kernel: np.random.Generator) -> None: ...

    said = (
        r"test_settings\..*Blur\.__init__: setting 'kernel: numpy\.random\._generator\.Generator' "
        r"cannot be checked: Unable to .*; settings are numbers, text, booleans, lists and tables$"
    )
    with pytest.raises(NodeError, match=said):
        make_settings_model(Blur)


def test_a_type_that_no_file_could_hold_is_refused() -> None:
    class Blur(Node):
        def __init__(self, size: int, kernel: Callable[[int], int]) -> None: ...

    with pytest.raises(NodeError, match=r"setting 'kernel: .*Callable.*' cannot be checked: "):
        make_settings_model(Blur)


def test_a_setting_called_as_what_is_done_with_settings_is_refused() -> None:
    class Blur(Node):
        def __init__(self, model_dump: int = 1) -> None: ...

    with pytest.raises(NodeError, match="'model_dump' means something else to pydantic; rename it"):
        make_settings_model(Blur)


def test_a_default_that_breaks_its_own_rule_is_refused() -> None:
    @node("toy.late")
    class Late(Node):
        def __init__(self, score: Annotated[float, Field(le=1)] = 7) -> None: ...

        def run(self, image: Image) -> Image: ...

    said = (
        r"Late\.__init__: the default of setting 'score' does not fit: expected number, at most 1; "
        "got 7"
    )
    with pytest.raises(NodeError, match=said):
        Late()


def test_a_default_that_is_no_data_is_refused() -> None:
    class Late(Node):
        def __init__(self, anything: Any = Path("a")) -> None: ...

    with pytest.raises(NodeError, match="the default of setting 'anything' does not fit"):
        make_settings_model(Late)


@dataclasses.dataclass(frozen=True)
class Size:
    width: int = 2


def test_a_dataclass_is_a_table() -> None:
    @node("toy.crop")
    class Crop(Node):
        def __init__(self, size: Size = Size(3)) -> None:
            self.size = size

        def run(self, image: Image) -> Image: ...

    assert describe_setting(Crop.spec.settings, "size")[1] == '{"width": 3}'
    assert Crop().settings == {"size": {"width": 3}}
    assert Crop(size={"width": 4}).size == Size(4)  # type: ignore[arg-type]
    assert Crop(size=Size(5)).size == Size(5)


def test_a_path_is_no_setting() -> None:
    found = problem("name", Path("a"))
    assert found.fix == "settings are numbers, text, booleans, lists and tables"
