"""The table of mistakes that a user can make in a pipeline file, and what is said to each."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import pytest
from pydantic import Field

from visionweave import Boxes, Cutout, Image, Node, Pipeline, Tags, Text, node
from visionweave.errors import PipelineError, PipelineWarning, Problem
from visionweave.registry import replaced

Score = Annotated[float, Field(ge=0, le=1)]


@node("toy.find")
class Find(Node):
    def __init__(self, min_score: Score = 0.5, mode: Literal["fast", "exact"] = "fast") -> None: ...

    def run(self, image: Image, phrases: Tags) -> Boxes: ...


@node("toy.cut")
class Cut(Node):
    def run(self, image: Image, boxes: Boxes) -> list[Cutout]: ...


@node("toy.describe")
class Describe(Node):
    def run(self, cutout: Cutout) -> Text: ...


@node("toy.join")
class Join(Node):
    def run(self, texts: list[Text]) -> Text: ...


@node("toy.pair")
class Pair(Node):
    def run(self, first: Text, second: Text) -> Text: ...


@node("toy.polish")
class Polish(Node):
    def run(self, text: Text) -> Text: ...


class Halves(NamedTuple):
    left: Image
    right: Image


@node("toy.split")
class Split(Node):
    def __init__(self, at: Score) -> None: ...

    def run(self, image: Image) -> Halves: ...


@node("toy.resize")
class Resize(Node):
    def __init__(self, longest: int | None = None, shortest: int | None = None) -> None:
        if longest is not None and shortest is not None:
            raise ValueError("give longest or shortest")

    def run(self, image: Image, sizes: Text | Tags | None = None) -> Image: ...


@node("toy.tile")
class Tile(Node):
    def __init__(
        self,
        grid: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=2)],
        gaps: dict[str, float] | None = None,
    ) -> None: ...

    def run(self, image: Image) -> Image: ...


NODES = {cls.spec.id: cls for cls in (Find, Cut, Describe, Join, Pair, Polish, Split, Resize, Tile)}


BOXES = "boxes: {node: toy.find, image: $photo, phrases: [cat]}"
CUTS = "cuts: {node: toy.cut, image: $photo, boxes: $boxes}"
TEXTS = "texts: {node: toy.describe, cutout: $cuts}"
ALL = "all: {node: toy.join, texts: $texts}"


@pytest.fixture(autouse=True)
def _toys() -> Iterator[None]:
    with replaced(NODES):
        yield


def file(*steps: str, inputs: str = "{photo: Image}", outputs: str = "[boxes]") -> str:
    """A pipeline file: line 1 the version, line 2 the inputs, line 4 the first step."""
    lines = ["visionweave: 1", f"inputs: {inputs}", "steps:", *(f"  {step}" for step in steps)]
    return "\n".join([*lines, f"outputs: {outputs}", ""])


def mistakes(text: str) -> tuple[Problem, ...]:
    with pytest.raises(PipelineError, match=r"cut\.yaml:\d") as caught:
        Pipeline.from_yaml(text, "cut.yaml")
    problems: tuple[Problem, ...] = caught.value.problems
    return problems


LAUGHS = "visionweave: 1\na0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n"
LAUGHS += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))

MISTAKES = [
    # nodes
    pytest.param(
        file("boxes: {node: toy.fnd, image: $photo, phrases: [cat]}"),
        "cut.yaml:4, step 'boxes': unknown node 'toy.fnd'; did you mean toy.find?",
        id="unknown node",
    ),
    pytest.param(
        file("boxes: {node: blur, image: $photo, phrases: [cat]}"),
        "cut.yaml:4, step 'boxes': unknown node 'blur'; `visionweave nodes` lists the nodes "
        "installed",
        id="node like no other",
    ),
    pytest.param(
        file("boxes: {image: $photo, phrases: [cat]}"),
        "cut.yaml:4, step 'boxes': the step does not say its node\n"
        "  expected: node: family.verb\n"
        "  fix:      `visionweave nodes` lists the nodes",
        id="no node",
    ),
    pytest.param(
        file("boxes: {node: 3, image: $photo}"),
        "cut.yaml:4, step 'boxes': the step does not say its node\n"
        "  expected: node: family.verb\n"
        "  got:      3\n"
        "  fix:      `visionweave nodes` lists the nodes",
        id="node is a number",
    ),
    pytest.param(
        file("boxes: toy.find"),
        "cut.yaml:4, step 'boxes': a step must be a table\n"
        "  expected: such as {node: family.verb, port: $name}\n"
        '  got:      "toy.find"',
        id="step is a string",
    ),
    pytest.param(
        file("boxes: [toy.find, $photo]"),
        "cut.yaml:4, step 'boxes': a step must be a table\n"
        "  expected: such as {node: family.verb, port: $name}\n"
        '  got:      ["toy.find", "$photo"]',
        id="step is a list",
    ),
    # ports and settings
    pytest.param(
        file("boxes: {node: toy.find, imge: $photo, phrases: [cat]}"),
        "cut.yaml:4, step 'boxes' (toy.find): there is no port or setting 'imge'\n"
        "  expected: ports image (Image), phrases (Tags); settings min_score, mode\n"
        "  fix:      did you mean image?",
        id="misspelt port",
    ),
    pytest.param(
        file(BOXES.replace("}", ", min_scor: 0.9}")),
        "cut.yaml:4, step 'boxes' (toy.find): there is no port or setting 'min_scor'\n"
        "  expected: ports image (Image), phrases (Tags); settings min_score, mode\n"
        "  fix:      did you mean min_score?",
        id="misspelt setting",
    ),
    pytest.param(
        file("boxes: {node: toy.split, image: $photo, att: 0.5}", outputs="[boxes.left]"),
        "cut.yaml:4, step 'boxes' (toy.split): there is no port or setting 'att'\n"
        "  expected: ports image (Image); settings at\n"
        "  fix:      did you mean at?",
        id="misspelt setting that must be given",
    ),
    pytest.param(
        file(BOXES.replace("}", ", colour: red}")),
        "cut.yaml:4, step 'boxes' (toy.find): there is no port or setting 'colour'\n"
        "  expected: ports image (Image), phrases (Tags); settings min_score, mode",
        id="name like no port or setting",
    ),
    pytest.param(
        file(
            "boxes:", "  node: toy.find", "  image: $photo", "  phrases: [cat]", "  min_score: high"
        ),
        "cut.yaml:8, step 'boxes' (toy.find): setting 'min_score' does not fit\n"
        "  expected: number, 0 to 1\n"
        '  got:      "high"',
        id="setting of wrong type, in its own line",
    ),
    pytest.param(
        file(BOXES.replace("}", ", min_score: '0.5'}")),
        "cut.yaml:4, step 'boxes' (toy.find): setting 'min_score' does not fit\n"
        "  expected: number, 0 to 1\n"
        '  got:      "0.5"',
        id="number in quotes",
    ),
    pytest.param(
        file(BOXES.replace("}", ", min_score: 1.5}")),
        "cut.yaml:4, step 'boxes' (toy.find): setting 'min_score' is out of range\n"
        "  expected: number, 0 to 1\n"
        "  got:      1.5",
        id="setting out of range",
    ),
    pytest.param(
        file(BOXES.replace("}", ", min_score: .inf}")),
        "cut.yaml:4, step 'boxes' (toy.find): setting 'min_score' does not fit\n"
        "  expected: number, 0 to 1\n"
        "  got:      Infinity",
        id="setting is infinite",
    ),
    pytest.param(
        file(BOXES.replace("}", ", mode: slow}")),
        "cut.yaml:4, step 'boxes' (toy.find): setting 'mode' does not fit\n"
        '  expected: one of "fast", "exact"\n'
        '  got:      "slow"',
        id="setting is none of the choices",
    ),
    pytest.param(
        file(BOXES.replace("}", ", min_score: }")),
        "cut.yaml:4, step 'boxes' (toy.find): setting 'min_score' does not fit\n"
        "  expected: number, 0 to 1\n"
        "  got:      nothing (null)",
        id="setting without a value",
    ),
    pytest.param(
        file("tiles: {node: toy.tile, image: $photo, grid: [3, 0]}", outputs="[tiles]"),
        "cut.yaml:4, step 'tiles' (toy.tile): entry 2 of setting 'grid' is out of range\n"
        "  expected: list of 2 entries (each: whole number, at least 1)\n"
        "  got:      0",
        id="entry of a setting out of range",
    ),
    pytest.param(
        file("tiles: {node: toy.tile, image: $photo, grid: [1, 2, 3]}", outputs="[tiles]"),
        "cut.yaml:4, step 'tiles' (toy.tile): setting 'grid' is out of range\n"
        "  expected: list of 2 entries (each: whole number, at least 1)\n"
        "  got:      [1, 2, 3]",
        id="list setting too long",
    ),
    pytest.param(
        file(
            "tiles: {node: toy.tile, image: $photo, grid: [1, 2], gaps: {x: wide}}",
            outputs="[tiles]",
        ),
        "cut.yaml:4, step 'tiles' (toy.tile): setting 'gaps' does not fit\n"
        "  expected: table (each: number), or nothing (null)\n"
        '  got:      {"x": "wide"}',
        id="table setting of wrong type",
    ),
    pytest.param(
        file("halves: {node: toy.split, image: $photo}", outputs="[halves.left]"),
        "cut.yaml:4, step 'halves' (toy.split): setting 'at' must be given\n"
        "  expected: number, 0 to 1\n"
        "  got:      nothing",
        id="required setting missing",
    ),
    pytest.param(
        file(
            "small: {node: toy.resize, image: $photo, longest: 512, shortest: 256}",
            outputs="[small]",
        ),
        "cut.yaml:4, step 'small' (toy.resize): these settings do not go together: give "
        "longest or shortest\n"
        "  got:      longest: 512, shortest: 256",
        id="settings that do not go together",
    ),
    pytest.param(
        file(BOXES.replace("}", ", min_score: $photo}")),
        "cut.yaml:4, step 'boxes' (toy.find): 'min_score' is a setting: it cannot be connected\n"
        "  expected: number, 0 to 1\n"
        '  got:      "$photo"\n'
        "  fix:      write a value, or $$ for a dollar sign",
        id="reference for a setting",
    ),
    pytest.param(
        file(BOXES, "cuts: {node: toy.cut, image: $photo}", outputs="[cuts]"),
        "cut.yaml:5, step 'cuts' (toy.cut): port 'boxes' is not connected\n"
        "  expected: Boxes\n"
        "  got:      nothing\n"
        "  fix:      add `boxes: $boxes`",
        id="missing required port",
    ),
    pytest.param(
        file("cuts: {node: toy.cut, image: $photo}", outputs="[cuts]"),
        "cut.yaml:4, step 'cuts' (toy.cut): port 'boxes' is not connected\n"
        "  expected: Boxes\n"
        "  got:      nothing\n"
        "  fix:      add `boxes: $name-of-an-input-or-step`",
        id="missing port that nothing fits",
    ),
    # types
    pytest.param(
        file(BOXES, "cuts: {node: toy.cut, image: $photo, boxes: $photo}", outputs="[cuts, boxes]"),
        "cut.yaml:5, step 'cuts' (toy.cut): cannot connect $photo to port 'boxes'\n"
        "  expected: Boxes\n"
        "  got:      Image\n"
        "  fix:      did you mean port 'image'?",
        id="type mismatch, another port fits",
    ),
    pytest.param(
        file(BOXES, "all: {node: toy.join, texts: $boxes}", outputs="[all]"),
        "cut.yaml:5, step 'all' (toy.join): cannot connect $boxes to port 'texts'\n"
        "  expected: list[Text]\n"
        "  got:      Boxes\n"
        "  fix:      toy.join takes texts: list[Text] -> Text",
        id="type mismatch, no port fits",
    ),
    pytest.param(
        file(
            "one: {node: toy.polish, text: hello}",
            "all: {node: toy.join, texts: $one}",
            inputs="{}",
            outputs="[all]",
        ),
        "cut.yaml:5, step 'all' (toy.join): cannot connect $one to port 'texts'\n"
        "  expected: list[Text]\n"
        "  got:      one Text\n"
        "  fix:      connect a list, or the output of a step that runs once per object",
        id="one into a list port",
    ),
    pytest.param(
        file(
            BOXES,
            CUTS,
            TEXTS,
            BOXES.replace("boxes", "dogs"),
            "cuts2: {node: toy.cut, image: $photo, boxes: $dogs}",
            "texts2: {node: toy.describe, cutout: $cuts2}",
            "pairs: {node: toy.pair, first: $texts, second: $texts2}",
            outputs="[pairs]",
        ),
        "cut.yaml:10, step 'pairs' (toy.pair): ports 'first' and 'second' get lists of "
        "different origin\n"
        "  expected: lists made from one and the same list\n"
        "  got:      $texts, one per Cutout of step 'cuts'; $texts2, one per Cutout of step "
        "'cuts2'\n"
        "  fix:      make both from the output of one step",
        id="lists of different origin",
    ),
    pytest.param(
        file(
            "pairs: {node: toy.pair, first: $mine, second: $yours}",
            inputs='{mine: "list[Text]", yours: "list[Text]"}',
            outputs="[pairs]",
        ),
        "cut.yaml:4, step 'pairs' (toy.pair): ports 'first' and 'second' get lists of "
        "different origin\n"
        "  expected: lists made from one and the same list\n"
        "  got:      $mine, one per Text of input 'mine'; $yours, one per Text of input 'yours'\n"
        "  fix:      make both from the output of one step",
        id="lists in two inputs",
    ),
    # references
    pytest.param(
        file(
            "a: {node: toy.polish, text: $c}",
            "b: {node: toy.polish, text: $a}",
            "c: {node: toy.polish, text: $b}",
            inputs="{}",
            outputs="[c]",
        ),
        "cut.yaml:4, step 'a' (toy.polish): the steps read each other in a circle\n"
        "  expected: steps that read what is made before them\n"
        "  got:      a -> b -> c -> a",
        id="cycle",
    ),
    pytest.param(
        file("a: {node: toy.polish, text: $a}", inputs="{}", outputs="[a]"),
        "cut.yaml:4, step 'a' (toy.polish): the step reads its own output\n"
        "  expected: steps that read what is made before them\n"
        "  got:      a -> a",
        id="self-reference",
    ),
    pytest.param(
        file("boxes: {node: toy.find, image: $phto, phrases: [cat]}"),
        "cut.yaml:4, step 'boxes' (toy.find): $phto refers to nothing\n"
        "  expected: an input or step: photo, boxes\n"
        "  fix:      did you mean $photo?",
        id="reference to nothing",
    ),
    pytest.param(
        file(
            "halves: {node: toy.split, image: $photo, at: 0.5}",
            BOXES.replace("$photo", "$halves.lft"),
        ),
        "cut.yaml:5, step 'boxes' (toy.find): 'halves' has no output 'lft'\n"
        "  expected: $halves.left or $halves.right\n"
        "  got:      $halves.lft\n"
        "  fix:      did you mean $halves.left?",
        id="field that does not exist",
    ),
    pytest.param(
        file(BOXES, CUTS.replace("$boxes", "$boxes.first"), outputs="[cuts]"),
        "cut.yaml:5, step 'cuts' (toy.cut): 'boxes' has no output 'first'\n"
        "  expected: $boxes\n"
        "  got:      $boxes.first\n"
        "  fix:      did you mean $boxes?",
        id="field of a step with one output",
    ),
    pytest.param(
        file(
            "halves: {node: toy.split, image: $photo, at: 0.5}", BOXES.replace("$photo", "$halves")
        ),
        "cut.yaml:5, step 'boxes' (toy.find): 'halves' has several outputs\n"
        "  expected: $halves.left or $halves.right\n"
        "  got:      $halves\n"
        "  fix:      say which",
        id="several outputs without a field",
    ),
    pytest.param(
        file(BOXES.replace("[cat]", "[cat, $words]")),
        "cut.yaml:4, step 'boxes' (toy.find): a reference cannot stand inside a list or table\n"
        "  expected: $name alone\n"
        '  got:      ["cat", "$words"]\n'
        "  fix:      refer to a step that gives them all; write $$ for a dollar sign",
        id="reference inside a list",
    ),
    pytest.param(
        file(BOXES.replace("$photo", "$photo.0")),
        "cut.yaml:4, step 'boxes' (toy.find): \"$photo.0\" is no reference\n"
        "  expected: $name or $name.field\n"
        "  fix:      write $$ for a dollar sign",
        id="malformed reference",
    ),
    # literals
    pytest.param(
        file(BOXES.replace("[cat]", "3")),
        "cut.yaml:4, step 'boxes' (toy.find), port 'phrases': this literal does not fit\n"
        "  expected: Tags\n"
        "  got:      3",
        id="literal that does not fit a port",
    ),
    pytest.param(
        file(BOXES.replace("[cat]", "['']")),
        "cut.yaml:4, step 'boxes' (toy.find), port 'phrases': this literal does not fit\n"
        "  expected: Tags.phrases must hold no blank str\n"
        '  got:      [""]',
        id="literal with a blank phrase",
    ),
    pytest.param(
        file("small: {node: toy.resize, image: $photo, sizes: 3}", outputs="[small]"),
        "cut.yaml:4, step 'small' (toy.resize), port 'sizes': this literal does not fit\n"
        "  expected: Text | Tags\n"
        "  got:      3",
        id="literal for a port of two types",
    ),
    # inputs and outputs
    pytest.param(
        file(BOXES, inputs="{photo: Imag}"),
        "cut.yaml:2, input 'photo': unknown type 'Imag'; did you mean Image?",
        id="unknown input type",
    ),
    pytest.param(
        file(BOXES, inputs="{photo: {default: x.jpg}}"),
        "cut.yaml:2, input 'photo': the input does not say its type\n"
        "  expected: `photo: Image`, or `photo: {type: Image, default: ...}`",
        id="input without a type",
    ),
    pytest.param(
        file(
            BOXES.replace("[cat]", "$words"),
            inputs="{photo: Image, words: {type: Tags, default: 3}}",
        ),
        "cut.yaml:2, default of input 'words': this literal does not fit\n"
        "  expected: Tags\n"
        "  got:      3",
        id="default that does not fit",
    ),
    pytest.param(
        file(BOXES, inputs="{photo: {type: Image, defalt: x.jpg}}"),
        "cut.yaml:2: unknown key 'defalt' in input 'photo'\n"
        "  expected: one of type, default\n"
        "  fix:      did you mean default?",
        id="misspelt key of an input",
    ),
    pytest.param(
        file(BOXES, inputs="{photo: Image, device: Text}", outputs="[boxes, device]"),
        "cut.yaml:2, input 'device': 'device' cannot be the name of an input\n"
        "  expected: another name\n"
        "  fix:      `run(device=...)` means something else",
        id="input with a name that run takes",
    ),
    pytest.param(
        file(BOXES, "photo: {node: toy.split, image: $photo, at: 0.5}"),
        "cut.yaml:5: 'photo' is an input (line 2) and a step\n"
        "  expected: different names\n"
        "  fix:      give one of them another name",
        id="input and step of one name",
    ),
    pytest.param(
        file("a: {node: toy.polish, text: hello}", inputs="[photo]", outputs="[a]"),
        "cut.yaml:2: `inputs` must be a table\n"
        "  expected: lines of `key: value`\n"
        '  got:      ["photo"]',
        id="inputs is a list",
    ),
    pytest.param(
        file(BOXES, outputs="boxes"),
        "cut.yaml:5: `outputs` must be a list\n"
        "  expected: such as [masks, boxes]\n"
        '  got:      "boxes"',
        id="outputs is text",
    ),
    pytest.param(
        file(BOXES, outputs="[]"),
        "cut.yaml:5: the pipeline gives nothing\n"
        "  expected: at least one output\n"
        "  got:      none\n"
        "  fix:      list the steps whose results you want",
        id="outputs is empty",
    ),
    pytest.param(
        file(BOXES, outputs="[{boxes: boxes}]"),
        "cut.yaml:5: an output must be the name of an input or step\n"
        "  expected: `name`, or `name.field`\n"
        '  got:      {"boxes": "boxes"}',
        id="output that is a table",
    ),
    pytest.param(
        file(BOXES, outputs="[boxs]"),
        "cut.yaml:5, output 'boxs': $boxs refers to nothing\n"
        "  expected: an input or step: photo, boxes\n"
        "  fix:      did you mean $boxes?",
        id="unknown output",
    ),
    pytest.param(
        file(BOXES, outputs="[boxes, $boxes]"),
        "cut.yaml:5, output 'boxes': this output is given twice\n"
        "  expected: each output once\n"
        "  fix:      remove one, or write `name: $step`",
        id="output twice",
    ),
    pytest.param(
        file(BOXES.replace("boxes", "my boxes"), outputs="[photo]"),
        "cut.yaml:4: 'my boxes' cannot be a name\n"
        "  expected: letters, digits and _, not beginning with a digit\n"
        "  fix:      write my_boxes",
        id="name that is no identifier",
    ),
    pytest.param(
        file(BOXES, outputs="{the-boxes: $boxes}"),
        "cut.yaml:5, output 'the-boxes': 'the-boxes' cannot be a name\n"
        "  expected: letters, digits and _, not beginning with a digit\n"
        "  fix:      write the_boxes",
        id="output name that is no identifier",
    ),
    # the file
    pytest.param(
        "visionweave: 1\ninputs: {photo: Image}\nsteps: {}\n",
        "cut.yaml:1: the file has no `outputs`\n  expected: a key `outputs` beside `visionweave`",
        id="no outputs",
    ),
    pytest.param(
        "visionweave: 1\ninputs: {photo: Image}\noutputs: [photo]\n",
        "cut.yaml:1: the file has no `steps`\n  expected: a key `steps` beside `visionweave`",
        id="no steps",
    ),
    pytest.param(
        file(BOXES).replace("steps", "stpes"),
        "cut.yaml:3: unknown key 'stpes' in the file\n"
        "  expected: one of visionweave, inputs, steps, outputs\n"
        "  fix:      did you mean steps?",
        id="misspelt top-level key",
    ),
    pytest.param(
        file(BOXES, CUTS, BOXES),
        "cut.yaml:6: the key 'boxes' is given twice\n"
        "  expected: each key once\n"
        "  got:      first in line 4\n"
        "  fix:      rename or remove one of them",
        id="duplicate key",
    ),
    pytest.param(
        file(BOXES).replace("visionweave: 1", "visionweave: 2"),
        "cut.yaml:1: this version of the format is unknown\n"
        "  expected: visionweave: 1\n"
        "  got:      visionweave: 2\n"
        "  fix:      a newer visionweave may know it: pip install -U visionweave",
        id="wrong version",
    ),
    pytest.param(
        file(BOXES).replace("visionweave: 1", "visionweave: '1'"),
        "cut.yaml:1: this version of the format is unknown\n"
        "  expected: visionweave: 1\n"
        '  got:      visionweave: "1"\n'
        "  fix:      write the number without quotes",
        id="version in quotes",
    ),
    pytest.param(
        file(BOXES).replace("visionweave: 1\n", "\n"),
        "cut.yaml:2: the file does not say its version\n"
        "  expected: visionweave: 1\n"
        "  fix:      begin the file with `visionweave: 1`",
        id="missing version",
    ),
    pytest.param(
        "",
        "cut.yaml:1: the file is empty\n"
        "  expected: a table of `key: value`\n"
        "  fix:      begin with `visionweave: 1`, then `inputs:`, `steps:`, `outputs:`",
        id="empty file",
    ),
    pytest.param(
        "# masks: a mask for every object\n# by me\n",
        "cut.yaml:1: the file is empty\n"
        "  expected: a table of `key: value`\n"
        "  fix:      begin with `visionweave: 1`, then `inputs:`, `steps:`, `outputs:`",
        id="only comments",
    ),
    pytest.param(
        "- boxes\n- masks\n",
        "cut.yaml:1: the file is no pipeline\n"
        "  expected: a table of `key: value`\n"
        '  got:      ["boxes", "masks"]\n'
        "  fix:      begin with `visionweave: 1`, then `inputs:`, `steps:`, `outputs:`",
        id="top level is a list",
    ),
    pytest.param(
        file(BOXES) + "---\n" + file(BOXES),
        "cut.yaml:6: this is not valid YAML: there are two documents\n"
        "  got:      ---\n"
        "  fix:      remove the ---: one file, one pipeline",
        id="two documents",
    ),
    # YAML
    pytest.param(
        file(BOXES).replace("  boxes", "\tboxes"),
        "cut.yaml:4: this is not valid YAML: a tab stands where YAML wants spaces\n"
        "  got:      boxes: {node: toy.find, image: $photo, phrases: [cat]}\n"
        "  fix:      indent with spaces",
        id="tab indentation",
    ),
    pytest.param(
        file("boxes: !!python/object/apply:os.system ['touch pwned']"),
        "cut.yaml:4: the YAML tag !!python/object/apply:os.system is not allowed\n"
        "  expected: plain data: text, numbers, true, false, null, lists and tables\n"
        "  fix:      remove the tag; a pipeline file cannot build objects",
        id="python tag",
    ),
    pytest.param(
        file(BOXES.replace("[cat]", "!env PHRASES")),
        "cut.yaml:4: the YAML tag !env is not allowed\n"
        "  expected: plain data: text, numbers, true, false, null, lists and tables\n"
        "  fix:      remove the tag; a pipeline file cannot build objects",
        id="custom tag",
    ),
    pytest.param(
        file(BOXES.replace("cat", "dog, !env PHRASE")),
        "cut.yaml:4: the YAML tag !env is not allowed\n"
        "  expected: plain data: text, numbers, true, false, null, lists and tables\n"
        "  fix:      remove the tag; a pipeline file cannot build objects",
        id="custom tag in a list",
    ),
    pytest.param(
        file(BOXES.replace("}", ", min_score: !!float much}")),
        'cut.yaml:4: this value cannot be read\n  expected: a number\n  got:      "much"',
        id="tagged setting",
    ),
    pytest.param(
        file("boxes: {node: !c toy.find}", inputs="{photo: !b Image}", outputs="!d [boxes]"),
        "3 problems\n"
        "cut.yaml:2: the YAML tag !b is not allowed\n"
        "  expected: plain data: text, numbers, true, false, null, lists and tables\n"
        "  fix:      remove the tag; a pipeline file cannot build objects\n"
        "cut.yaml:4: the YAML tag !c is not allowed\n"
        "  expected: plain data: text, numbers, true, false, null, lists and tables\n"
        "  fix:      remove the tag; a pipeline file cannot build objects\n"
        "cut.yaml:5: the YAML tag !d is not allowed\n"
        "  expected: plain data: text, numbers, true, false, null, lists and tables\n"
        "  fix:      remove the tag; a pipeline file cannot build objects",
        id="tagged node, input and outputs",
    ),
    pytest.param(
        file(BOXES, outputs="{found: !a boxes}"),
        "cut.yaml:5: the YAML tag !a is not allowed\n"
        "  expected: plain data: text, numbers, true, false, null, lists and tables\n"
        "  fix:      remove the tag; a pipeline file cannot build objects",
        id="tagged output",
    ),
    pytest.param(
        "a0: &a0 []\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 60)),
        "cut.yaml:1: this YAML is nested too deeply\n  expected: at most 50 levels",
        id="aliases nested too deeply",
    ),
    pytest.param(
        LAUGHS,
        "cut.yaml:2: this YAML is too large\n"
        "  expected: at most 10000 entries, with aliases written out\n"
        "  fix:      use fewer aliases, or split the pipeline",
        id="alias bomb",
    ),
    pytest.param(
        file("boxes: &b {node: toy.find, image: $photo, phrases: [*b]}"),
        "cut.yaml:4: the alias *b stands inside what it stands for\n  fix:      remove it",
        id="self-referencing alias",
    ),
    pytest.param(
        file("boxes: &b {node: toy.find, <<: *b}"),
        "cut.yaml:4: the alias *b stands inside what it stands for\n  fix:      remove it",
        id="self-merging table",
    ),
    pytest.param(
        file(BOXES.replace("}", ", <<: all}")),
        "cut.yaml:4: only a table can be merged with <<\n  expected: <<: *name-of-a-table",
        id="merge of a text",
    ),
    pytest.param(
        file(BOXES.replace("[cat]", "*cats")),
        "cut.yaml:4: this is not valid YAML: found undefined alias 'cats'\n"
        "  got:      boxes: {node: toy.find, image: $photo, phrases: *cats}\n"
        "  fix:      define it with & before, or write the value out",
        id="undefined alias",
    ),
    pytest.param(
        file(BOXES.replace("[cat]", "[cat")),
        "cut.yaml:4: this is not valid YAML: a [ is not closed\n"
        "  got:      boxes: {node: toy.find, image: $photo, phrases: [cat}\n"
        "  fix:      write the ] that belongs to it, or a comma before",
        id="unclosed bracket",
    ),
    pytest.param(
        file(BOXES.replace("}", "")),
        "cut.yaml:4: this is not valid YAML: a { is not closed\n"
        "  got:      boxes: {node: toy.find, image: $photo, phrases: [cat]\n"
        "  fix:      write the } that belongs to it, or a comma before",
        id="unclosed brace",
    ),
    pytest.param(
        file(BOXES.replace("[cat]", "'cat")),
        "cut.yaml:4: this is not valid YAML: a quotation mark is not closed\n"
        "  got:      boxes: {node: toy.find, image: $photo, phrases: 'cat}\n"
        "  fix:      write the one that belongs to it",
        id="unclosed quotation mark",
    ),
    pytest.param(
        file(BOXES.replace("[cat]", r'"C:\words"')),
        "cut.yaml:4: this is not valid YAML: found unknown escape character 'w'\n"
        '  got:      boxes: {node: toy.find, image: $photo, phrases: "C:\\words"}\n'
        "  fix:      write \\\\ for a backslash, or put the text in single quotes",
        id="backslash in quotation marks",
    ),
    pytest.param(
        file(BOXES.replace("[cat]", r'"\UFFFFFFFF"')),
        "cut.yaml:4: an escape (\\U) stands for no character\n  expected: at most \\U0010FFFF",
        id="character beyond Unicode",
    ),
    pytest.param(
        file(BOXES.replace("[cat]", "!<cat")),
        "cut.yaml:4: this is not valid YAML: expected '>' but found '}'\n"
        "  got:      boxes: {node: toy.find, image: $photo, phrases: !<cat}",
        id="tag that does not end",
    ),
    pytest.param(
        file(BOXES, "note: see: below"),
        "cut.yaml:5: this is not valid YAML: a `: ` stands in plain text\n"
        "  got:      note: see: below\n"
        "  fix:      put the text in quotes",
        id="colon in plain text",
    ),
    pytest.param(
        file(BOXES, "cuts", "texts: {}"),
        "cut.yaml:5: this is not valid YAML: a key has no `: `\n"
        "  got:      cuts\n"
        "  fix:      write `key: value`",
        id="key without a colon",
    ),
    pytest.param(
        file("boxes:", "  node: toy.find", " image: $photo"),
        "cut.yaml:6: this is not valid YAML: the lines are not indented alike\n"
        "  got:      image: $photo\n"
        "  fix:      indent the entries of one table equally",
        id="uneven indentation",
    ),
    pytest.param(
        file(BOXES.replace("[cat]", "@cat")),
        "cut.yaml:4: this is not valid YAML: found character '@' that cannot start any token\n"
        "  got:      boxes: {node: toy.find, image: $photo, phrases: @cat}\n"
        "  fix:      put text in quotes",
        id="character that begins nothing",
    ),
    pytest.param(
        file("[a, b]: {node: toy.find}", BOXES),
        "cut.yaml:4: a key must be a word\n  expected: text\n  got:      a list or a table",
        id="key that is a list",
    ),
    pytest.param(
        file(BOXES.replace("cat", "c\0at")),
        "cut.yaml:4: the character U+0000 is not allowed in YAML\n"
        "  expected: UTF-8 text\n"
        "  fix:      remove it, or save the file as UTF-8",
        id="control character",
    ),
    pytest.param(
        file("boxes: " + "[" * 5000 + "]" * 5000),
        "cut.yaml:4: this YAML is nested too deeply\n  expected: at most 50 levels",
        id="huge nesting depth",
    ),
    pytest.param(
        file("boxes: " + "[" * 60 + "]" * 60),
        "cut.yaml:4: this YAML is nested too deeply\n  expected: at most 50 levels",
        id="nesting depth",
    ),
]


@pytest.mark.parametrize(("text", "said"), MISTAKES)
def test_every_mistake_is_named_with_its_line_and_a_way_out(text: str, said: str) -> None:
    problems = mistakes(text)
    assert str(PipelineError(problems)) == said
    for problem in problems:
        lines = str(problem).splitlines()
        assert len(lines) <= 4
        assert not any(word in lines[0] for word in ("Error", " object at ", "class ", "<vision"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"\xff\xd8\xff\xe0\x00\x10JFIF", "not a text file", id="a photo"),
        pytest.param(file(BOXES).encode("utf-16"), "not a text file", id="UTF-16"),
        pytest.param(file(BOXES).encode("utf-16-le"), r"U\+0000 is not allowed", id="no mark"),
        pytest.param(file("# caf\xe9").encode("latin-1"), "not a text file", id="Latin-1"),
    ],
)
def test_a_file_that_is_no_utf8_text(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "cut.yaml"
    path.write_bytes(content)
    with pytest.raises(PipelineError, match=rf"cut\.yaml.*: .*{reason}.*\n  expected: UTF-8 text"):
        Pipeline.load(path)


def test_a_python_tag_runs_nothing(tmp_path: Path) -> None:
    victim = tmp_path / "touched"
    for tag in ("python/object/apply:os.system", "python/object/new:os.system"):
        (problem,) = mistakes(file(f"boxes: !!{tag} ['touch {victim}']"))
        assert problem.what == f"the YAML tag !!{tag} is not allowed"
    assert not victim.exists()


TEN = """\
visionweave: 2
inputs:
  photo: Imag
  names: {type: Tags, default: 3}
steps:
  a: {node: toy.fnd, image: $photo}
  b: {node: toy.find, image: $photo, phrases: [cat], min_score: 7}
  c: {node: toy.cut, image: $names, boxes: $b}
  d: {node: toy.describe, cutot: $c}
  e: {node: toy.pair, first: $d, second: $nobody}
  f: {node: toy.polish, text: $f}
  2g: {node: toy.polish, text: $d}
outputs: [f, nothing]
"""


def test_ten_mistakes_are_reported_at_once_in_the_order_of_their_lines() -> None:
    with pytest.raises(PipelineError, match=r"^11 problems\n") as caught:
        Pipeline.from_yaml(TEN, "/home/me:7/ten.yaml")
    assert [f"{each.where}: {each.what}" for each in caught.value.problems] == [
        f"/home/me:7/ten.yaml:{said}"
        for said in (
            "1: this version of the format is unknown",
            "3, input 'photo': unknown type 'Imag'; did you mean Image?",
            "4, default of input 'names': this literal does not fit",
            "6, step 'a': unknown node 'toy.fnd'; did you mean toy.find?",
            "7, step 'b' (toy.find): setting 'min_score' is out of range",
            "8, step 'c' (toy.cut): cannot connect $names to port 'image'",
            "9, step 'd' (toy.describe): there is no port or setting 'cutot'",
            "10, step 'e' (toy.pair): $nobody refers to nothing",
            "11, step 'f' (toy.polish): the step reads its own output",
            "12: '2g' cannot be a name",
            "13, output 'nothing': $nothing refers to nothing",
        )
    ]


@pytest.mark.parametrize(
    ("steps", "lines"),
    [
        pytest.param(
            ["boxes: {node: toy.fnd}", CUTS, TEXTS, ALL],
            [4],
            id="what an unknown step gives may well be a list",
        ),
        pytest.param(
            [BOXES, "cuts: {node: toy.cut, image: $photo}", TEXTS, ALL],
            [5],
            id="a step that lacks a port still opens its list",
        ),
        pytest.param(
            [BOXES, CUTS, "texts: {node: toy.describe, cutout: $boxes}", ALL],
            [6],
            id="a step with a wrong input may still repeat",
        ),
        pytest.param(
            [BOXES, CUTS, TEXTS.replace("}", ", colour: red}"), ALL.replace("$texts", "$boxes")],
            [6, 7],
            id="behind a mistake, the next is found",
        ),
        pytest.param(
            ["texts: {node: toy.polish, text: $b}", "b: {node: toy.polish, text: $b, x: 3}", ALL],
            [5, 5],
            id="mistakes in a circle",
        ),
        pytest.param(
            [BOXES.replace("}", ", imag: $cuts}"), CUTS],
            [4],
            id="a misspelt port does not hide the right one",
        ),
    ],
)
def test_one_mistake_is_reported_once(steps: list[str], lines: list[int]) -> None:
    problems = mistakes(file(*steps, outputs="[photo]"))
    places = [problem.where.split(":")[1].split(",")[0] for problem in problems]
    assert [int(place) for place in places] == lines


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(
            file(BOXES, CUTS),
            "cut.yaml:5, step 'cuts' (toy.cut): no output needs step 'cuts'\n"
            "  fix:      add it to `outputs`, connect it, or remove it",
            id="unused step",
        ),
        pytest.param(
            file(BOXES, inputs="{photo: Image, hint: Text}"),
            "cut.yaml:2: no output needs input 'hint'\n"
            "  fix:      add it to `outputs`, connect it, or remove it",
            id="unused input",
        ),
    ],
)
def test_what_is_not_needed_is_a_warning(text: str, said: str) -> None:
    with pytest.warns(PipelineWarning, match="no output needs") as caught:
        Pipeline.from_yaml(text, "cut.yaml")
    assert [str(warning.message) for warning in caught] == [said]


def test_a_file_without_mistakes_is_taken_without_a_word() -> None:
    with warnings.catch_warnings(record=True) as caught:
        pipeline = Pipeline.from_yaml(file(BOXES, CUTS, outputs="{found: $boxes, cuts: cuts}"))
    assert caught == []
    assert repr(pipeline) == "Pipeline(photo: Image -> found: Boxes, cuts: list[Cutout])"
