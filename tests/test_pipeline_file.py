"""What a pipeline file may look like; what it may not is in test_mistakes.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from visionweave import Boxes, Image, Node, Pipeline, PipelineError, Points, Tags, Text, node
from visionweave.files.reader import parse_pipeline
from visionweave.files.references import dollar, undollar
from visionweave.files.yaml_tree import read_yaml
from visionweave.graph import Ref
from visionweave.plain import show
from visionweave.registry import replaced


@node("toy.say")
class Say(Node):
    def __init__(self, prefix: str = "", times: int = 1, marks: list[str] | None = None) -> None:
        self.prefix, self.times, self.marks = prefix, times, marks or []

    def run(self, text: Text, hint: Text | None = None) -> Text:
        return Text(f"{self.prefix}{text.text}" * self.times + "".join(self.marks))


@node("toy.count")
class Count(Node):
    def run(self, what: Tags | Points | Boxes) -> Text:
        return Text(f"{type(what).__name__} {len(what)}")


class Halves(NamedTuple):
    left: Text
    right: Text


@node("toy.halve")
class Halve(Node):
    def run(self, text: Text) -> Halves:
        middle = len(text.text) // 2
        return Halves(Text(text.text[:middle]), Text(text.text[middle:]))


@node("toy.join")
class Join(Node):
    def run(self, texts: list[Text]) -> Text:
        return Text(" ".join(text.text for text in texts))


NODES: dict[str, type[Node]] = {cls.spec.id: cls for cls in (Say, Count, Halve, Join)}


@pytest.fixture(autouse=True)
def _toys() -> Iterator[None]:
    with replaced(NODES):
        yield


def run(steps: str, outputs: str = "[out]", **inputs: Any) -> dict[str, str]:
    """The outputs of a pipeline of some lines, as text."""
    body = "".join(f"  {line}\n" for line in steps.splitlines())
    text = f"visionweave: 1\nsteps:\n{body}outputs: {outputs}\n"
    result = Pipeline.from_yaml(text).run(**inputs)
    return {name: result[name].text for name in result.outputs}


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        pytest.param("out: {node: toy.say, text: hello}", "hello", id="text"),
        pytest.param("out: {node: toy.say, text: '3'}", "3", id="text that looks like a number"),
        pytest.param("out: {node: toy.say, text: yes}", "yes", id="yes is text"),
        pytest.param("out: {node: toy.say, text: 2024-01-31}", "2024-01-31", id="a date is text"),
        pytest.param("out: {node: toy.say, text: =}", "=", id="an equals sign is text"),
        pytest.param("out: {node: toy.say, text: $$5}", "$5", id="two dollar signs are one"),
        pytest.param("out: {node: toy.say, text: $$$5}", "$$5", id="three are two"),
        pytest.param("out: {node: toy.say, text: 5$ and $x}", "5$ and $x", id="one inside stays"),
        pytest.param("out: {node: toy.say, text: a, prefix: $$}", "$a", id="also in settings"),
        pytest.param(
            "out: {node: toy.say, text: a, marks: [$$x, $$$]}", "a$x$$", id="also in lists"
        ),
        pytest.param("out: {node: toy.say, text: {text: $$5}}", "$5", id="a value's JSON fields"),
        pytest.param("out: {node: toy.say, text: a, times: 0x3}", "aaa", id="hexadecimal"),
        pytest.param(
            "out: {node: toy.count, what: 'a cat, a dog'}", "Tags 2", id="phrases as text"
        ),
        pytest.param("out: {node: toy.count, what: [a cat]}", "Tags 1", id="phrases as a list"),
        pytest.param("out: {node: toy.count, what: []}", "Tags 0", id="no phrases"),
        pytest.param("out: {node: toy.count, what: [[1, 2]]}", "Points 1", id="the next type"),
        pytest.param(
            "out: {node: toy.count, what: {xyxy: [[0, 0, 1, 1]], image_hw: [4, 4]}}",
            "Boxes 1",
            id="boxes by their JSON fields",
        ),
        pytest.param("out: {node: toy.join, texts: [a, b]}", "a b", id="a list of texts"),
        pytest.param(
            "a: &say {node: toy.say, text: a, times: 2}\n"
            "b: {<<: *say, prefix: b}\n"
            "out: {<<: [*say, {times: 9}], text: $b}",
            "babababa",
            id="anchors and merge keys",
        ),
        pytest.param(
            "a: &x {node: toy.say, text: &x a}\nout: {node: toy.say, text: *x}",
            "a",
            id="an anchor given twice holds from there on",
        ),
        pytest.param(
            "out:\n  node: toy.say\n  # why\n  text: |\n    two\n    lines\n",
            "two\nlines\n",
            id="block style",
        ),
        pytest.param(
            "out: {node: toy.say, text: $b}\nb: {node: toy.say, text: b}", "b", id="any order"
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:.*no output needs step 'a'")
def test_literals_are_what_they_look_like(steps: str, text: str) -> None:
    assert run(steps) == {"out": text}


@pytest.mark.parametrize(
    ("outputs", "named"),
    [
        pytest.param("[halves.left]", {"halves_left": "ab"}, id="a field"),
        pytest.param("[$halves.left]", {"halves_left": "ab"}, id="with a dollar sign"),
        pytest.param("{x: halves.left, y: $halves.right}", {"x": "ab", "y": "cd"}, id="a table"),
        pytest.param(
            "\n  - again\n  - halves.right", {"again": "ab", "halves_right": "cd"}, id="-"
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:.*no output needs step 'again'")
def test_outputs_are_a_list_or_a_table_of_references(outputs: str, named: dict[str, str]) -> None:
    steps = "halves: {node: toy.halve, text: abcd}\nagain: {node: toy.say, text: $halves.left}"
    assert run(steps, outputs) == named


def test_inputs_have_types_and_defaults() -> None:
    graph, remarks = parse_pipeline(
        "visionweave: 1\n"
        "inputs:\n"
        "  photo: Image\n"
        "  photos: 'list[Image]'\n"
        "  prompt: Boxes | Points\n"
        "  words: {type: Tags, default: [cat, $$5]}\n"
        "  text: {type: Text}\n"
        "steps: {}\n"
        "outputs: [photo, photos, prompt, words, text]\n",
        "inputs.yaml",
    )
    assert remarks == []
    assert {name: str(given.type) for name, given in graph.inputs.items()} == {
        "photo": "Image",
        "photos": "list[Image]",
        "prompt": "Boxes | Points",
        "words": "Tags",
        "text": "Text",
    }
    default = graph.inputs["words"].default
    assert default is not None
    assert default.value == Tags(("cat", "$5"))
    assert [name for name, given in graph.inputs.items() if given.default] == ["words"]
    assert graph.outputs["photo"] == Ref("photo")


@pytest.mark.parametrize(
    ("text", "description"),
    [
        pytest.param("", "", id="none"),
        pytest.param("# a pipeline\n", "a pipeline", id="one line"),
        pytest.param(
            "#\n# a pipeline\n#\n#   indented\n#tight\n\n# not this\n",
            "a pipeline\n\n  indented\ntight",
            id="many lines",
        ),
    ],
)
def test_the_leading_comment_is_the_description(text: str, description: str) -> None:
    body = "visionweave: 1\nsteps:\n  out: {node: toy.say, text: a} # not this\noutputs: [out]\n"
    assert Pipeline.from_yaml(text + body).graph.description == description


def test_what_nobody_needs_is_remarked_upon_in_place() -> None:
    _, remarks = parse_pipeline(
        "visionweave: 1\n"
        "inputs: {text: Text}\n"
        "steps:\n"
        "  a: {node: toy.say, text: a}\n"
        "  b: {node: toy.say, text: $a}\n"
        "  c: {node: toy.say, text: c}\n"
        "outputs: [c]\n",
        "x.yaml",
    )
    assert [(remark.where, remark.what) for remark in remarks] == [
        ("x.yaml:2", "no output needs input 'text'"),
        ("x.yaml:4, step 'a' (toy.say)", "no output needs step 'a'"),
        ("x.yaml:5, step 'b' (toy.say)", "no output needs step 'b'"),
    ]


def test_yaml_is_read_with_its_lines() -> None:
    entry, problems = read_yaml("a: 1\nb:\n  - x\n  - c: null\n", "x.yaml")
    assert problems == []
    assert entry is not None
    assert entry.plain() == {"a": 1, "b": ["x", {"c": None}]}
    assert (entry.line, entry.value["b"].line) == (1, 2)
    assert [part.line for part in entry.value["b"].value] == [3, 4]


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
words = st.sampled_from(
    ["$photo", "$a", "$a.left", "$b", "$$", "toy.say", "toy.halve", "toy.join", "Image", "Text"]
)
name = st.sampled_from(["a", "b", "c", "photo", "2", ""])
step = st.dictionaries(
    st.sampled_from(["node", "text", "texts", "what", "times", "marks", "x"]), words | plain
)
files = st.fixed_dictionaries(
    {"visionweave": st.just(1) | plain},
    optional={
        "inputs": st.dictionaries(name, words | plain | st.dictionaries(name, plain)) | plain,
        "steps": st.dictionaries(name, step | plain) | plain,
        "outputs": st.lists(words | name | plain) | plain,
        "extra": plain,
    },
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(files)
def test_no_file_makes_the_reader_fall_over(content: dict[str, Any]) -> None:
    with replaced(NODES):
        try:
            parse_pipeline(json.dumps(content), "any.yaml")
        except PipelineError as error:
            for problem in error.problems:
                assert problem.where.startswith("any.yaml:")


@given(plain)
def test_dollar_signs_survive_being_doubled(data: Any) -> None:
    assert undollar(dollar(data)) == data


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (None, "nothing (null)"),
        (True, "true"),
        ("a", '"a"'),
        ("café", '"café"'),
        ((1, 2.5), "[1, 2.5]"),
        ({"a": [None]}, '{"a": [null]}'),
        ({1: 2}, "a value of type dict"),
        ([Text("a")], "a value of type list"),
        (Image, "a value of type type"),
        ("x" * 100, '"' + "x" * 58 + "…"),
    ],
)
def test_data_is_shown_on_one_line(data: Any, shown: str) -> None:
    assert show(data) == shown
