"""Static cardinality, the order of steps, and the Python way to write a graph."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from visionweave import Boxes, Cutout, Image, Input, Node, Pipeline, Points, Tags, Text, node
from visionweave.errors import PipelineError, Problem
from visionweave.graph import Ref, Step, in_order, needed_steps
from visionweave.registry import replaced

PHOTO = np.zeros((8, 8, 3), np.uint8)


@node("toy.find")
class Find(Node):
    """One box per phrase, side by side."""

    def run(self, image: Image, phrases: Tags) -> Boxes:
        edges = np.arange(len(phrases), dtype=np.float32)
        zeros = np.zeros_like(edges)
        xyxy = np.stack([edges, zeros, edges + 1, zeros + 1], axis=1)
        return Boxes(xyxy, image.image_hw, labels=phrases.phrases)


@node("toy.cut")
class Cut(Node):
    def run(self, image: Image, boxes: Boxes) -> list[Cutout]:
        pixel = np.zeros((1, 1, 4), np.uint8)
        return [Cutout(pixel, (i, 0, i + 1, 1), boxes.origin(i)) for i in range(len(boxes.labels))]


@node("toy.describe")
class Describe(Node):
    def __init__(self, mark: str = "") -> None:
        self.mark = mark

    def run(self, cutout: Cutout, hint: Text = Text("")) -> Text:  # noqa: B008
        return Text(f"{hint}{cutout.origin.label}{self.mark}")


@node("toy.words")
class Words(Node):
    """The letters of a text."""

    def run(self, text: Text) -> list[Text]:
        return [Text(letter) for letter in text.text]


@node("toy.join")
class Join(Node):
    def run(self, texts: list[Text]) -> Text:
        return Text("+".join(text.text for text in texts))


@node("toy.pair")
class Pair(Node):
    def run(self, first: Text, second: Text) -> Text:
        return Text(f"{first}{second}")


class Halves(NamedTuple):
    left: Text
    right: list[Text]


@node("toy.split")
class Split(Node):
    def run(self, text: Text) -> Halves:
        return Halves(Text(text.text[:1]), [Text(letter) for letter in text.text[1:]])


@node("toy.mark")
class Mark(Node):
    def run(self, prompt: Boxes | Points, image: Image | None = None) -> Text:
        return Text(f"{type(prompt).__name__} {len(prompt)}")


NODES: dict[str, type[Node]] = {
    cls.spec.id: cls for cls in (Find, Cut, Describe, Words, Join, Pair, Split, Mark)
}


@pytest.fixture(autouse=True)
def _toys() -> Iterator[None]:
    with replaced(NODES):
        yield


@pytest.fixture
def photo() -> Input:
    return Input("photo", Image)


def cutouts(photo: Input, *phrases: str) -> Any:
    return Cut()(photo, Find()(photo, list(phrases)))


def read(*steps: str, outputs: str) -> Pipeline:
    body = "\n".join(f"  {step}" for step in steps)
    text = f"visionweave: 1\ninputs: {{photo: Image}}\nsteps:\n{body}\noutputs: [{outputs}]\n"
    return Pipeline.from_yaml(text, "cut.yaml")


def problem(code: Any) -> Problem:
    """The one problem for which `code()` is refused."""
    with pytest.raises(PipelineError, match=r"\w") as caught:
        code()
    (found,) = caught.value.problems
    return found  # type: ignore[no-any-return]


BOXES = "boxes: {node: toy.find, image: $photo, phrases: [ab, c]}"
CUTS = "cuts: {node: toy.cut, image: $photo, boxes: $boxes}"
TEXTS = "texts: {node: toy.describe, cutout: $cuts}"
LETTERS = "letters: {node: toy.words, text: $texts}"


@pytest.mark.parametrize(
    ("steps", "output", "kind", "value"),
    [
        pytest.param(
            [BOXES, CUTS, TEXTS],
            "texts",
            "list[Text]",
            [Text("ab"), Text("c")],
            id="a list into a port of one runs per object",
        ),
        pytest.param(
            [BOXES, CUTS, "texts: {node: toy.describe, cutout: $cuts, hint: a }"],
            "texts",
            "list[Text]",
            [Text("aab"), Text("ac")],
            id="a literal is the same for every object",
        ),
        pytest.param(
            [
                BOXES,
                CUTS,
                TEXTS,
                "all: {node: toy.join, texts: $texts}",
                "out: {node: toy.pair, first: $texts, second: $all}",
            ],
            "out",
            "list[Text]",
            [Text("abab+c"), Text("cab+c")],
            id="a scalar is the same for every object",
        ),
        pytest.param(
            [BOXES, CUTS, TEXTS, LETTERS],
            "letters",
            "list[list[Text]]",
            [[Text("a"), Text("b")], [Text("c")]],
            id="a list per object is a nested list",
        ),
        pytest.param(
            [BOXES, CUTS, TEXTS, LETTERS, "joined: {node: toy.join, texts: $letters}"],
            "joined",
            "list[Text]",
            [Text("a+b"), Text("c")],
            id="a list port takes the innermost axis",
        ),
        pytest.param(
            [BOXES, CUTS, TEXTS, LETTERS, "out: {node: toy.pair, first: $letters, second: $texts}"],
            "out",
            "list[list[Text]]",
            [[Text("aab"), Text("bab")], [Text("cc")]],
            id="an outer list is broadcast along the inner one",
        ),
        pytest.param(
            [BOXES, CUTS, TEXTS, "more: {node: toy.describe, cutout: $cuts, hint: $texts}"],
            "more",
            "list[Text]",
            [Text("abab"), Text("cc")],
            id="two lists of the same origin meet element by element",
        ),
        pytest.param(
            [
                "halves: {node: toy.split, text: abc}",
                "out: {node: toy.pair, first: $halves.left, second: $halves.right}",
            ],
            "out",
            "list[Text]",
            [Text("ab"), Text("ac")],
            id="one of several outputs is a list",
        ),
        pytest.param(
            [
                "none: {node: toy.find, image: $photo, phrases: []}",
                "cuts: {node: toy.cut, image: $photo, boxes: $none}",
                TEXTS,
                "all: {node: toy.join, texts: $texts}",
            ],
            "all",
            "Text",
            Text(""),
            id="no objects, one answer",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:.*no output needs input 'photo'")
def test_cardinality_is_known_before_anything_runs(
    steps: list[str], output: str, kind: str, value: Any
) -> None:
    pipeline = read(*steps, outputs=output)
    assert str(pipeline.outputs[output]) == kind
    assert pipeline.run(photo=PHOTO)[output] == value


def test_a_list_in_an_input_is_an_axis() -> None:
    names = Input("names", list[Text])
    pipeline = Pipeline(out=Pair()(names, "!"))
    assert str(pipeline.outputs["out"]) == "list[Text]"
    assert pipeline.run(names=["a", "b"])["out"] == [Text("a!"), Text("b!")]


def test_lists_of_different_origin_are_refused_in_yaml() -> None:
    steps = [
        BOXES,
        CUTS,
        TEXTS,
        "dogs: {node: toy.find, image: $photo, phrases: [dog, dog]}",
        "cuts2: {node: toy.cut, image: $photo, boxes: $dogs}",
        "texts2: {node: toy.describe, cutout: $cuts2}",
        "pairs: {node: toy.pair, first: $texts, second: $texts2}",
    ]
    found = problem(lambda: read(*steps, outputs="pairs"))
    assert found == Problem(
        "cut.yaml:10, step 'pairs' (toy.pair)",
        "ports 'first' and 'second' get lists of different origin",
        "lists made from one and the same list",
        "$texts, one per Cutout of step 'cuts'; $texts2, one per Cutout of step 'cuts2'",
        "make both from the output of one step",
    )


def test_lists_of_different_origin_are_refused_in_python(photo: Input) -> None:
    mine = Describe()(cutouts(photo, "a"))
    letters = Words()(Describe()(cutouts(photo, "b")))
    found = problem(lambda: Pair()(mine, letters))
    assert found.what == "ports 'first' and 'second' get lists of different origin"
    output = "the output of toy"
    assert found.got == (
        f"{output}.describe, one per Cutout of toy.cut; {output}.words, one per Cutout of toy.cut"
    )


def test_one_cannot_go_into_a_list_port(photo: Input) -> None:
    text = Join()(Describe()(cutouts(photo, "a")))
    assert problem(lambda: Join()(text)) == Problem(
        "toy.join",
        "cannot connect the output of toy.join to port 'texts'",
        "list[Text]",
        "one Text",
        "connect a list, or the output of a step that runs once per object",
    )


def test_a_union_port_takes_each_of_its_types(photo: Input) -> None:
    spots, boxes = Input("spots", Points), Find()(photo, ["a", "b"])
    pipeline = Pipeline(one=Mark()(spots), two=Mark()(boxes, image=None), three=Mark()(boxes))
    result = pipeline.run(photo=PHOTO, spots=[[1, 2]])
    assert result["one"] == Text("Points 1")
    assert result["two"] == result["three"] == Text("Boxes 2")


def test_a_union_output_does_not_fit_a_port_of_one_type() -> None:
    prompt = Input("prompt", Boxes | Points)
    found = problem(lambda: Cut()(Input("photo", Image), prompt))
    assert (found.expected, found.got) == ("Boxes", "Boxes | Points")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        pytest.param(
            lambda photo: Find()(photo, ["a"], 3),
            "toy.find: too many ports\n"
            "  expected: at most 2 by place: image, phrases\n"
            "  got:      3",
            id="too many arguments",
        ),
        pytest.param(
            lambda photo: Find()(photo, ["a"], image=photo),
            "toy.find: port 'image' is given twice\n  fix:      give it once, by place or by name",
            id="port given twice",
        ),
        pytest.param(
            lambda photo: Find()(photo, phrase=["a"]),
            "toy.find: there is no port or setting 'phrase'\n"
            "  expected: ports image (Image), phrases (Tags); settings none\n"
            "  fix:      did you mean phrases?",
            id="misspelt port",
        ),
        pytest.param(
            lambda photo: Describe()(cutouts(photo, "a"), mark="!"),
            "toy.describe: 'mark' is a setting, not a port\n"
            "  fix:      give it when the node is built: Describe(mark=...)",
            id="setting in the call",
        ),
        pytest.param(
            lambda photo: Find()(photo),
            "toy.find: port 'phrases' is not connected\n"
            "  expected: Tags\n"
            "  got:      nothing\n"
            "  fix:      give it by place or by name: phrases=...",
            id="missing port",
        ),
        pytest.param(
            lambda photo: Find()(photo, photo),
            "toy.find: cannot connect input 'photo' to port 'phrases'\n"
            "  expected: Tags\n"
            "  got:      Image\n"
            "  fix:      did you mean port 'image'?",
            id="type mismatch",
        ),
        pytest.param(
            lambda photo: Find()(photo, 3),
            "toy.find, port 'phrases': this literal does not fit\n  expected: Tags\n  got:      3",
            id="literal that does not fit",
        ),
        pytest.param(
            lambda photo: Find()(photo, object()),
            "toy.find, port 'phrases': this literal does not fit\n"
            "  expected: Tags\n"
            "  got:      a value of type object",
            id="an object that is no data",
        ),
        pytest.param(
            lambda photo: Pair()(Split()(Describe()(cutouts(photo, "a"))), "b"),
            "toy.pair, port 'first': several outputs cannot go into one port\n"
            "  expected: Text\n"
            "  got:      left, right\n"
            "  fix:      connect one of them: left, right",
            id="several outputs into one port",
        ),
        pytest.param(
            lambda photo: Join()([Describe()(each) for each in [cutouts(photo, "a")]]),
            "toy.join, port 'texts': a list of outputs cannot be connected\n"
            "  expected: one output\n"
            "  got:      a list of 1\n"
            "  fix:      connect the output of a step that gives a list",
            id="a list of outputs",
        ),
        pytest.param(
            lambda photo: Input("my photo", Image),
            "input 'my photo': 'my photo' cannot be a name\n"
            "  expected: letters, digits and _, not beginning with a digit\n"
            "  fix:      write my_photo",
            id="input with a bad name",
        ),
        pytest.param(
            lambda photo: Input("device", Text),
            "input 'device': 'device' cannot be the name of an input\n"
            "  expected: another name\n"
            "  fix:      `run(device=...)` means something else",
            id="input with a name that run takes",
        ),
        pytest.param(
            lambda photo: Input("photo", np.ndarray),
            "input 'photo': this is no type of an input\n"
            "  expected: a value type, such as Image or list[Image]\n"
            "  got:      numpy.ndarray",
            id="input of no value type",
        ),
        pytest.param(
            lambda photo: Input("photo", "Image"),
            "input 'photo': this is no type of an input\n"
            "  expected: a value type, such as Image or list[Image]\n"
            '  got:      "Image"',
            id="input of a type in quotes",
        ),
        pytest.param(
            lambda photo: Input("words", Tags, default=3),
            "input 'words': this literal does not fit\n  expected: Tags\n  got:      3",
            id="default that does not fit",
        ),
        pytest.param(
            lambda photo: Pipeline(**{"the-photo": photo}),
            "output 'the-photo': 'the-photo' cannot be a name\n"
            "  expected: letters, digits and _, not beginning with a digit\n"
            "  fix:      write the_photo",
            id="output with a bad name",
        ),
        pytest.param(
            lambda photo: Pipeline(photo="photo"),
            "output 'photo': an output must be what a node returned, or an input\n"
            "  expected: the result of calling a node on an Input\n"
            '  got:      "photo"',
            id="output that is a name",
        ),
        pytest.param(
            lambda photo: Pipeline(halves=Split()(Describe()(cutouts(photo, "a")))),
            "output 'halves': an output must be what a node returned, or an input\n"
            "  expected: one output\n"
            "  got:      2 outputs\n"
            "  fix:      give each a name of its own",
            id="several outputs as one",
        ),
        pytest.param(
            lambda photo: Pipeline(a=photo, b=Words()(Input("photo", Text))),
            "inputs: two different inputs are called 'photo'\n  fix:      give each its own name",
            id="two inputs of one name",
        ),
    ],
)
def test_a_wrong_call_is_an_error_of_its_own_line(photo: Input, call: Any, said: str) -> None:
    with pytest.raises(PipelineError, match=r"\w") as caught:
        call(photo)
    assert str(caught.value) == said


def test_handles_say_what_they_are_and_have_no_value(photo: Input) -> None:
    cuts = cutouts(photo, "a")
    halves = Split()(Describe()(cuts))
    assert repr(photo) == "<input 'photo': Image>"
    assert repr(cuts) == "<the output of toy.cut: list[Cutout]>"
    assert repr(halves.right) == "<the output 'right' of toy.split: list[list[Text]]>"
    with pytest.raises(TypeError, match=r"<the output of toy\.cut: .*> has no value yet; run"):
        bool(cuts)
    with pytest.raises(TypeError, match="has no elements yet; connect it to a port of one"):
        list(cuts)


def test_steps_are_named_after_outputs_then_after_nodes(photo: Input) -> None:
    first, second = cutouts(photo, "a"), cutouts(photo, "b")
    pipeline = Pipeline(mine=first, photo=Describe()(second), yours=second, again=second)
    assert list(pipeline.graph.steps) == ["toy_find", "mine", "toy_find_2", "yours", "toy_describe"]
    assert pipeline.graph.outputs["again"] == Ref("yours")


def test_inputs_come_in_the_order_in_which_they_are_read(photo: Input) -> None:
    words, last, hint = Input("words", Tags), Input("last", Text), Input("hint", Text)
    texts = Describe()(Cut()(photo, Find()(photo, words)), hint)
    assert list(Pipeline(last=last, texts=texts).inputs) == ["photo", "words", "hint", "last"]


def test_two_inputs_that_are_alike_are_one() -> None:
    first, second = (Input("words", Tags, default=["a"]) for _ in range(2))
    pipeline = Pipeline(a=first, b=second)
    assert list(pipeline.inputs) == ["words"]
    assert pipeline.run()["b"] == Tags(("a",))


def test_paths_are_written_down_as_text(tmp_path: Path) -> None:
    photos = Input("photos", list[Image], default=[tmp_path / "a.jpg", "b.jpg"])
    pipeline = Pipeline(boxes=Find()(photos, ["a"]), photos=photos)
    assert pipeline.inputs["photos"].default is not None
    assert pipeline.inputs["photos"].default.data == [str(tmp_path / "a.jpg"), "b.jpg"]
    assert Pipeline.from_yaml(pipeline.to_yaml()).hash == pipeline.hash


def graph(arrows: dict[str, list[str]]) -> dict[str, Step]:
    """Steps by name, each reading the steps in its list."""
    return {
        name: Step(name, Words(), {str(index): Ref(read) for index, read in enumerate(reads)})
        for name, reads in arrows.items()
    }


@pytest.mark.parametrize(
    ("arrows", "order", "cycles"),
    [
        pytest.param({}, [], [], id="nothing"),
        pytest.param({"b": [], "a": []}, ["b", "a"], [], id="the written order is kept"),
        pytest.param({"b": ["a"], "a": [], "c": []}, ["a", "b", "c"], [], id="where it can be"),
        pytest.param(
            {"d": ["b", "c"], "b": ["a"], "c": ["a"], "a": []},
            ["a", "b", "c", "d"],
            [],
            id="two branches that merge",
        ),
        pytest.param({"a": ["photo"]}, ["a"], [], id="inputs are no steps"),
        pytest.param({"a": ["a"], "b": ["a"]}, ["b"], [["a", "a"]], id="a step that reads itself"),
        pytest.param(
            {"a": ["c"], "b": ["a"], "c": ["b"], "d": ["c"]},
            ["d"],
            [["a", "b", "c", "a"]],
            id="a circle, in the direction of the data",
        ),
        pytest.param(
            {"a": ["b"], "b": ["a"], "c": ["d"], "d": ["c"]},
            [],
            [["a", "b", "a"], ["c", "d", "c"]],
            id="two circles",
        ),
    ],
)
def test_steps_come_after_those_they_read(
    arrows: dict[str, list[str]], order: list[str], cycles: list[list[str]]
) -> None:
    found, circles = in_order(graph(arrows))
    assert found == order
    assert [rotated(circle) for circle in circles] == cycles


def rotated(circle: list[str]) -> list[str]:
    """The same circle, beginning at its first name."""
    first = circle.index(min(circle))
    turned = circle[first:-1] + circle[:first]
    return [*turned, turned[0]]


def test_only_steps_that_an_output_needs_are_needed() -> None:
    steps = graph({"a": ["photo"], "b": ["a"], "c": ["a"], "d": ["b", "b"]})
    outputs = {"x": Ref("d"), "y": Ref("photo")}
    assert needed_steps(steps, outputs) == {"a", "b", "d"}


@pytest.mark.parametrize("several", [list, tuple])
def test_literal_paths_are_written_down_as_text(several: type) -> None:
    @node("graph.many")
    class Many(Node):
        def run(self, image: Image, images: list[Image]) -> Text:
            return Text(str(len(images)))

    given = several([Path("a.jpg"), Path("b.jpg")])
    pipeline = Pipeline(count=Many()(Input("photo", Image), given))
    assert "images: [a.jpg, b.jpg]" in pipeline.to_yaml()
