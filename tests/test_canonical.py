"""One pipeline has one canonical form and one hash, however it is written."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field

from visionweave import (
    Boxes,
    Cutout,
    Image,
    Input,
    Node,
    Pipeline,
    PipelineError,
    Points,
    Tags,
    Text,
    node,
)
from visionweave.canonical import constant_data, digest
from visionweave.files.writer import to_python
from visionweave.graph import Constant
from visionweave.registry import replaced

Score = Annotated[float, Field(ge=0, le=1)]


@node("toy.find")
class Find(Node):
    def __init__(self, min_score: Score = 0.5, labels: tuple[str, ...] = ()) -> None: ...

    def run(self, image: Image, phrases: Tags) -> Boxes: ...


@node("toy.cut")
class Cut(Node):
    def run(self, image: Image, boxes: Boxes) -> list[Cutout]: ...


@node("toy.describe")
class Describe(Node):
    def __init__(self, style: str = "plain", options: dict[str, Any] | None = None) -> None: ...

    def run(self, cutout: Cutout, hint: Text | None = None) -> Text: ...


@node("toy.join")
class Join(Node):
    def run(self, texts: list[Text]) -> Text: ...


class Halves(NamedTuple):
    left: Text
    right: Text


@node("toy.split")
class Split(Node):
    def __init__(self, at: int) -> None: ...

    def run(self, text: Text) -> Halves: ...


@node("toy.pair")
class Pair(Node):
    def run(self, first: Text, second: Text) -> Text: ...


@node("toy.mark")
class Mark(Node):
    def run(self, prompt: Points | Boxes, image: Image) -> Boxes: ...


NODES: dict[str, type[Node]] = {
    cls.spec.id: cls for cls in (Find, Cut, Describe, Join, Split, Pair, Mark)
}


@pytest.fixture(autouse=True)
def _toys() -> Iterator[None]:
    with replaced(NODES):
        yield


def python(**phrases: Any) -> Pipeline:
    photo = Input("photo", Image)
    boxes = Find(min_score=0.3)(photo, phrases.get("phrases", ["cat", "dog"]))
    texts = Describe()(Cut()(photo, boxes), "in short")
    return Pipeline(boxes=boxes, story=Join()(texts))


YAML = """\
# a story of all objects
visionweave: 1
inputs:
  photo: Image
steps:
  boxes: {node: toy.find, image: $photo, phrases: [cat, dog], min_score: 0.3}
  cuts: {node: toy.cut, image: $photo, boxes: $boxes}
  texts: {node: toy.describe, cutout: $cuts, hint: in short}
  story: {node: toy.join, texts: $texts}
outputs: [boxes, story]
"""

BLOCK = """\
visionweave: 1 # the format
steps:
  story:
    texts: $t
    node: toy.join
  t: {hint: {text: in short}, style: plain, options: null, cutout: $c, node: "toy.describe"}
  c:
    node: toy.cut
    boxes: $found
    image: $photo

  # the boxes
  found:
    node: toy.find
    labels: []
    min_score: 3e-1
    phrases:
      - cat
      - 'dog'
    image: $photo
outputs: {story: story, boxes: $found}
inputs: {photo: {type: Image}}
"""

TWICE = YAML.replace("boxes: $boxes}", "boxes: $same}").replace(
    "  cuts:",
    "  same: {node: toy.find, image: $photo, phrases: 'cat, dog', min_score: 0.3}\n  cuts:",
)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(YAML, id="YAML"),
        pytest.param(BLOCK, id="other names, order, style, comments, defaults written out"),
        pytest.param(TWICE, id="equal steps are one"),
        pytest.param(
            YAML.replace(
                "outputs", "  idle: {node: toy.cut, image: $photo, boxes: $boxes}\noutputs"
            ),
            id="a step that no output needs",
            marks=pytest.mark.filterwarnings("ignore:.*no output needs step 'idle'"),
        ),
        pytest.param(
            YAML.replace("Image", "Image\n  idle: Text"),
            id="an input that no output needs",
            marks=pytest.mark.filterwarnings("ignore:.*no output needs input 'idle'"),
        ),
        pytest.param(YAML.replace("[cat, dog]", "'cat,dog'"), id="phrases as text"),
        pytest.param(
            YAML.replace("[cat, dog]", "{phrases: [cat, dog], scores: [1, 1]}"), id="JSON fields"
        ),
    ],
)
def test_what_computes_the_same_has_one_hash(text: str) -> None:
    pipeline = Pipeline.from_yaml(text)
    assert pipeline.canonical() == python().canonical()
    assert pipeline.hash == python().hash


def test_a_list_of_phrases_is_the_tags_of_it() -> None:
    assert python(phrases=Tags(("cat", "dog"))).hash == python().hash
    assert python(phrases=("cat", "dog")).hash == python().hash
    assert python(phrases=Tags(("cat", "dog"), [1, 0.5])).hash != python().hash  # type: ignore[arg-type]


def test_equal_calls_are_one_step_of_the_plan() -> None:
    pipeline = Pipeline.from_yaml(TWICE)
    assert [step.name for step in pipeline.plan.steps] == ["boxes", "cuts", "texts", "story"]
    assert len(pipeline.canonical()["steps"]) == 4


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("0.3", "0.31", id="a setting"),
        pytest.param("[cat, dog]", "[dog, cat]", id="a literal"),
        pytest.param("hint: in short", "hint: at length", id="a text"),
        pytest.param(", hint: in short", "", id="a port left out"),
        pytest.param("$photo", "$picture", id="an input's name"),
        pytest.param("photo: Image", "photo: {type: Image, default: a.jpg}", id="a default"),
        pytest.param("[boxes, story]", "[boxes]", id="fewer outputs"),
        pytest.param("[boxes, story]", "{found: boxes, story: story}", id="an output's name"),
        pytest.param("[boxes, story]", "{story: boxes, boxes: story}", id="outputs exchanged"),
        pytest.param("toy.join, texts: $texts", "toy.join, texts: [a]", id="what a port reads"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*no output needs")
def test_what_computes_something_else_has_another_hash(old: str, new: str) -> None:
    text = YAML.replace(old, new)
    if old == "$photo":
        text = text.replace("photo: Image", "picture: Image")
    assert text != YAML
    assert Pipeline.from_yaml(text).hash != python().hash


def test_a_new_version_of_a_node_is_another_hash() -> None:
    @node("toy.find", version=2)
    class NewFind(Find):
        pass

    with replaced({"toy.find": NewFind}):
        assert Pipeline.from_yaml(YAML).hash != python().hash


def test_the_field_that_is_read_counts() -> None:
    halves = Split(1)(Input("text", Text))
    assert Pipeline(out=halves.left).hash != Pipeline(out=halves.right).hash


def test_the_order_of_inputs_and_of_keys_does_not_count() -> None:
    first, second = Input("first", Text), Input("second", Text)
    there = Pipeline(a=first, b=second, c=Describe(options={"x": 1, "y": 2})(Input("c", Cutout)))
    back = Pipeline(c=Describe(options={"y": 2, "x": 1})(Input("c", Cutout)), b=second, a=first)
    assert there.hash == back.hash


def test_the_canonical_form_is_plain_json() -> None:
    form = python().canonical()
    assert json.loads(json.dumps(form)) == form
    assert form["visionweave"] == 1
    assert form["inputs"] == {"photo": {"type": "Image"}}
    find = next(step for step in form["steps"].values() if step["node"] == "toy.find")
    assert find["settings"] == {"min_score": 0.3, "labels": []}
    assert find["ports"]["image"] == {"input": "photo"}
    assert find["ports"]["phrases"]["constant"]["phrases"] == ["cat", "dog"]
    assert form["outputs"]["boxes"] == {"step": digest(find)}


def test_constants_of_pixels_are_known_by_their_bytes() -> None:
    black, white = (Image.from_array(np.full((2, 2, 3), tone, np.uint8)) for tone in (0, 255))
    assert constant_data(Constant(black, black))["type"] == "Image"
    assert constant_data(Constant(black, black)) == constant_data(Constant(black, black))
    assert constant_data(Constant(black, black)) != constant_data(Constant(white, white))
    paths = Constant([Image.open("a.jpg"), Image.open("b.jpg")], ["a.jpg", "b.jpg"])
    assert constant_data(paths) == ["a.jpg", "b.jpg"]  # and no file is opened


def test_the_yaml_is_as_a_person_would_write_it() -> None:
    assert Pipeline.from_yaml(BLOCK).to_yaml() == (
        "visionweave: 1\n"
        "inputs:\n"
        "  photo: Image\n"
        "steps:\n"
        "  found: {node: toy.find, phrases: [cat, dog], image: $photo, min_score: 0.3}\n"
        "  c: {node: toy.cut, boxes: $found, image: $photo}\n"
        "  t: {node: toy.describe, hint: {text: in short}, cutout: $c}\n"
        "  story: {node: toy.join, texts: $t}\n"
        "outputs:\n"
        "  story: $story\n"
        "  boxes: $found\n"
    )
    assert Pipeline.from_yaml(YAML).to_yaml() == YAML


def test_the_python_is_as_a_person_would_write_it() -> None:
    assert Pipeline.from_yaml(YAML).to_python() == (
        "# a story of all objects\n"
        "import visionweave as vw\n"
        f"from {__name__} import Cut as ToyCut\n"
        f"from {__name__} import Describe as ToyDescribe\n"
        f"from {__name__} import Find as ToyFind\n"
        f"from {__name__} import Join as ToyJoin\n"
        "\n"
        "photo = vw.Input('photo', vw.Image)\n"
        "boxes = ToyFind(min_score=0.3)(image=photo, phrases=['cat', 'dog'])\n"
        "cuts = ToyCut()(image=photo, boxes=boxes)\n"
        "texts = ToyDescribe()(cutout=cuts, hint='in short')\n"
        "story = ToyJoin()(texts=texts)\n"
        "pipeline = vw.Pipeline(boxes=boxes, story=story)\n"
    )


def from_python(script: str) -> Pipeline:
    scope: dict[str, Any] = {}
    exec(script, scope)
    pipeline: Pipeline = scope["pipeline"]
    return pipeline


def check_round_trips(pipeline: Pipeline) -> None:
    written = pipeline.to_yaml()
    read = Pipeline.from_yaml(written)
    assert read.hash == pipeline.hash
    assert read.to_yaml() == written
    assert from_python(pipeline.to_python()).hash == pipeline.hash
    assert from_python(read.to_python()).hash == pipeline.hash


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "a ", " a", "\n", "a\nb", "a\n\nb\n", "\ta", "\r\n", "x" * 300, "word " * 60),
        *("yes", "no", "on", "true", "null", "~", "1.0", "1e3", "0x10", "0o7", ".inf", "1_000"),
        *("2024-01-31", "12:30", "=", "<<", "-", "?", ":", "a: b", "a #b", "#a", "[a", "{a", "*a"),
        *("&a", "!a", "|", ">", "%a", "@a", "`a", "'", '"', "it's", 'a "b"', "\\", "\\n", "---"),
        *(
            ":0",
            ":",
            "a:",
            ",",
            "a,b",
            "]",
            "}",
            "-a",
            "- a",
            "? a",
            "a?",
            "\xa0",
            "\u2009 x",
            "0 ",
        ),
        *("$", "$a", "$$", "$$a", "a$b", "$photo", "$photo.x", "${HOME}"),
        *("café", "猫", "🐈", "e\u0301", "\u2028", "\x85", "\ufeff", "\u200b", "\x07", "\x7f"),
    ],
)
def test_every_text_survives_as_literal_and_as_setting(text: str) -> None:
    hint = Describe(style=text, options={text: [text]})(Input("cut", Cutout), text)
    read = Pipeline.from_yaml(Pipeline(out=hint).to_yaml()).graph.steps["out"]
    assert read.node.settings == {"style": text, "options": {text: [text]}}
    assert read.bindings["hint"] == Constant(Text(text), text)
    check_round_trips(Pipeline(out=hint))


@pytest.mark.parametrize(
    "number", [0, -1, 10**30, -(2**63), 0.1, 1e-7, 1e300, 5e-324, 1 / 3, 123456789.123456789, -0.0]
)
def test_every_number_survives(number: float) -> None:
    options = {"number": number, "list": [number, True, None]}
    pipeline = Pipeline(out=Describe(options=options)(Input("cut", Cutout)))
    read = Pipeline.from_yaml(pipeline.to_yaml()).graph.steps["out"].node.settings
    assert repr(read["options"]) == repr(options)
    check_round_trips(pipeline)


@pytest.mark.parametrize(
    "name",
    [
        "class",
        "None",
        "vw",
        "pipeline",
        "list",
        "ToyDescribe",
        "toy_describe",
        "print",
        "null",
        "y",
    ],
)
def test_steps_and_outputs_may_have_any_name(name: str) -> None:
    cuts = Input("cuts", list[Cutout])
    check_round_trips(Pipeline(**{name: Describe()(cuts), f"{name}_": Describe("b")(cuts)}))


@pytest.mark.parametrize("name", ["class", "vw", "list", "ToyJoin", "pipeline"])
def test_inputs_may_have_any_name(name: str) -> None:
    texts, more = Input(name, list[Text]), Input("more", list[Text], default=["a", "$b"])
    check_round_trips(Pipeline(out=Join()(texts), more=Join()(more), same=texts))


def test_node_ids_that_look_alike_in_python_are_kept_apart() -> None:
    @node("toy.de_scribe")
    class Other(Describe):
        pass

    cut = Input("cut", Cutout)
    Other.__qualname__ = "Describe"  # as if it stood at the top of another module
    script = to_python(Pipeline(a=Describe()(cut), b=Other()(cut)).graph)
    assert f"from {__name__} import Describe as ToyDescribe\n" in script
    assert f"from {__name__} import Describe as ToyDeScribe\n" in script
    assert "a = ToyDescribe()(cutout=cut)\nb = ToyDeScribe()(cutout=cut)\n" in script


def test_values_are_written_by_their_json_fields() -> None:
    photo = Input("photo", Image)
    points = Points(np.array([[1.5, 2]], np.float32), photo="$a.jpg")
    boxes = Boxes(np.array([[0, 0, 0.1, 1e-7]], np.float32), (4, 4), labels=("$x",))
    pipeline = Pipeline(a=Mark()(points, photo), b=Mark()(boxes, photo), c=Mark()([[1, 2]], photo))
    read = Pipeline.from_yaml(pipeline.to_yaml()).graph.steps
    assert [read[name].bindings["prompt"].value for name in "ab"] == [points, boxes]  # type: ignore[union-attr]
    check_round_trips(pipeline)


def test_a_list_of_values_is_written_by_their_json_fields() -> None:
    check_round_trips(Pipeline(out=Join().connect([Text("a"), "$b"])))


def test_a_step_of_literals_alone_is_a_step_in_python_too() -> None:
    text = "visionweave: 1\nsteps:\n  out: {node: toy.join, texts: [a, b]}\noutputs: [out]\n"
    script = Pipeline.from_yaml(text).to_python()
    assert "out = ToyJoin().connect(texts=['a', 'b'])\n" in script
    check_round_trips(Pipeline.from_yaml(text))


def test_pixels_cannot_be_written_down() -> None:
    black = Image.from_array(np.zeros((2, 2, 3), np.uint8))
    pipeline = Pipeline(boxes=Find()(black, Input("words", Tags)))
    for write in (pipeline.to_yaml, pipeline.to_python):
        with pytest.raises(PipelineError, match="step 'boxes', port 'image': this value cannot be"):
            write()
    pipeline = Pipeline(photo=Input("photo", Image, default=black))
    with pytest.raises(PipelineError, match="the default of an input: this value cannot be wri"):
        pipeline.to_yaml()


def test_a_class_inside_a_function_cannot_be_written_as_python() -> None:
    @node("toy.inner")
    class Inner(Join):
        pass

    pipeline = Pipeline(out=Inner()(Input("texts", list[Text])))
    with pytest.raises(PipelineError, match=r"toy\.inner: this node's class is inside another"):
        pipeline.to_python()


def test_the_description_is_written_but_does_not_count() -> None:
    graph = dataclasses.replace(python().graph, description="a story\n\n  in lines")
    told = Pipeline.from_graph(graph)
    assert told.to_yaml().startswith("# a story\n#\n#   in lines\nvisionweave: 1\n")
    assert told.to_python().startswith("# a story\n#\n#   in lines\nimport visionweave")
    assert Pipeline.from_yaml(told.to_yaml()).graph.description == graph.description
    assert told.hash == python().hash


def test_a_saved_pipeline_is_loaded_again(tmp_path: Any) -> None:
    path = python().save(tmp_path / "story.yaml")
    assert Pipeline.load(path).hash == python().hash


texts = st.text(max_size=12) | st.sampled_from(["$a", "$$", "yes", "1e3", "a\nb ", "null", "é: #"])
phrases = st.lists(texts.filter(str.strip), max_size=3)
data = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from(["a", "b", "class", "vw", "list", "photo", "toy_join", "ToyJoin"])


@st.composite
def pipelines(draw: st.DrawFn) -> Pipeline:
    """A random graph of toy nodes: each call reads inputs, earlier outputs or literals."""
    photo, words = Input("photo", Image), Input("words", Tags, default=draw(phrases))
    texts_made: list[Any] = [Input("text", Text), Input("list", list[Text])]
    boxes_made: list[Any] = [Input("boxes", Boxes)]
    cuts_made: list[Any] = [Input("cut", Cutout)]

    def text() -> Any:
        return draw(st.sampled_from(texts_made) | texts | st.builds(Text, texts))

    for kind in draw(st.lists(st.sampled_from(sorted(NODES)), max_size=8)):
        try:
            if kind == "toy.find":
                what = draw(st.just(words) | phrases | st.builds(Tags, phrases.map(tuple)))
                score = draw(st.floats(0, 1) | st.sampled_from([0, 1]))
                boxes_made.append(Find(score, labels=draw(phrases))(photo, what))
            elif kind == "toy.cut":
                cuts_made.append(Cut()(photo, draw(st.sampled_from(boxes_made))))
            elif kind == "toy.describe":
                options = draw(st.none() | st.dictionaries(texts, data, max_size=2))
                made = Describe(draw(texts), options)(draw(st.sampled_from(cuts_made)), text())
                texts_made.append(made)
            elif kind == "toy.join":
                source = draw(st.sampled_from(texts_made) | st.lists(texts, max_size=2))
                texts_made.append(Join().connect(source))
            elif kind == "toy.split":
                texts_made.extend(Split(draw(st.integers()))(draw(st.sampled_from(texts_made))))
            elif kind == "toy.pair":
                texts_made.append(Pair()(draw(st.sampled_from(texts_made)), text()))
            else:
                boxes_made.append(Mark()(draw(st.sampled_from(boxes_made)), photo))
        except PipelineError:
            continue  # lists of different origin, or one into a list port: not this call
    made = [*texts_made, *boxes_made, *cuts_made, photo, words]
    outputs = draw(st.dictionaries(names, st.sampled_from(made), min_size=1, max_size=4))
    return Pipeline(**outputs)


@settings(max_examples=100, suppress_health_check=list(HealthCheck), deadline=None)
@given(pipelines())
def test_any_pipeline_survives_both_ways_of_writing(pipeline: Pipeline) -> None:
    check_round_trips(pipeline)
