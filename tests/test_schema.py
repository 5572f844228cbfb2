"""The JSON Schema of pipeline files accepts what the loader accepts, and refuses what it does."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field
from ruamel.yaml import YAML

from visionweave import (
    Boxes,
    Cutout,
    Image,
    Masks,
    Node,
    NodeError,
    Pipeline,
    PipelineError,
    PipelineWarning,
    Points,
    Scribble,
    Tags,
    Text,
    node,
    registry,
)
from visionweave.files.schema import pipeline_schema


class Pen(BaseModel):
    width: float = 1.0


class OtherPen(BaseModel):
    colour: Literal["red", "blue"]


OtherPen.__name__ = "Pen"  # as when two packages have a class of one name


class Found(NamedTuple):
    boxes: Boxes
    tags: Tags


@node("schema.detect", paper="A paper, 2023, arXiv:2304.02643")
class Detect(Node):
    """Find the things that phrases name."""

    def __init__(
        self,
        threshold: Annotated[float, Field(ge=0, le=1, description="The least score")] = 0.5,
        count: int = 10,
        mode: Literal["fast", "good"] = "fast",
        size: Literal[256, 512] = 256,
        prompt: str | None = None,
        words: tuple[str, ...] = (),
        pen: Pen = Pen(),  # noqa: B008
    ) -> None:
        pass

    def run(self, image: Image, phrases: Tags | None = None) -> Found:
        raise NotImplementedError


@node("schema.pick")
class Pick(Node):
    """Masks of what was clicked."""

    def __init__(self, model: str) -> None:
        pass

    def run(self, image: Image, where: Points | Scribble, texts: list[Text]) -> Masks:
        raise NotImplementedError


@node("schema.look")
class Look(Node):
    """Look at a cutout."""

    def run(self, cutout: Cutout) -> Text:
        raise NotImplementedError


@node("schema.draw")
class Draw(Node):
    """Draw, with another class of the same name in its settings."""

    def __init__(self, pen: OtherPen | None = None) -> None:
        pass

    def run(self, image: Image) -> Image:
        raise NotImplementedError


NODES = {cls.spec.id: cls for cls in (Detect, Pick, Look, Draw)}


@pytest.fixture(autouse=True)
def own_nodes() -> Iterator[None]:
    with registry.replaced(NODES):
        yield


def loader_accepts(text: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PipelineWarning)  # unused steps are no concern here
            Pipeline.from_yaml(text)
    except PipelineError:
        return False
    return True


@functools.cache
def validator() -> Draft202012Validator:
    return Draft202012Validator(pipeline_schema())


def schema_accepts(text: str) -> bool:
    data = YAML(typ="safe", pure=True).load(text)
    return bool(validator().is_valid(data))


HEAD = "visionweave: 1\ninputs: {photo: Image, cut: 'list[Cutout]', words: Tags}\n"


def step(text: str) -> str:
    return f"{HEAD}steps:\n  a: {{{text}}}\noutputs: [photo]\n"


def inputs(text: str) -> str:
    return f"visionweave: 1\ninputs: {text}\nsteps: {{}}\noutputs: [photo]\n"


def outputs(text: str) -> str:
    return f"{HEAD}steps:\n  a: {{node: schema.detect, image: $photo}}\noutputs: {text}\n"


GOOD = {
    "a whole pipeline": "visionweave: 1\ninputs: {photo: Image}\nsteps:\n"
    "  found: {node: schema.detect, image: $photo, phrases: [cat], threshold: 0.3}\n"
    "outputs: {boxes: $found.boxes, tags: found.tags}\n",
    "no steps, only an input": inputs("{photo: Image}"),
    "null steps": "visionweave: 1\ninputs: {photo: Image}\nsteps:\noutputs: [photo]\n",
    "no inputs": "visionweave: 1\nsteps: {a: {node: schema.detect, image: a.jpg}}\n"
    "outputs: [a.boxes]\n",
    "a union": inputs("{photo: Boxes | Points}"),
    "a list of a union": inputs("{photo: 'list[ Boxes|Points ]'}"),
    "a default": inputs("{photo: Image, words: {type: Tags, default: [a, b]}}"),
    "a port with a reference": step("node: schema.detect, image: $photo"),
    "a port with the field of a step": f"{HEAD}steps:\n"
    "  a: {node: schema.detect, image: $photo}\n"
    "  b: {node: schema.detect, image: $photo, phrases: $a.tags}\noutputs: [b.tags]\n",
    "a port with a text": step("node: schema.detect, image: photos/a.jpg"),
    "a port with phrases": step("node: schema.detect, image: $photo, phrases: [a cat, a dog]"),
    "a port with phrases in one text": step("node: schema.detect, image: $photo, phrases: 'a, b'"),
    "a port with JSON fields": step(
        "node: schema.detect, image: $photo, phrases: {phrases: [a], scores: [0.5]}"
    ),
    "a port with a dollar sign": step("node: schema.detect, image: $photo, phrases: [$$5, a]"),
    "points": step("node: schema.pick, model: a, image: $photo, where: [[1, 2.5]], texts: [a]"),
    "strokes": step("node: schema.pick, model: a, image: $photo, where: [[[1, 2]]], texts: []"),
    "settings at their limits": step("node: schema.detect, image: $photo, threshold: 1, count: 3"),
    "settings of a few choices": step("node: schema.detect, image: $photo, mode: good, size: 512"),
    "a setting that may be null": step("node: schema.detect, image: $photo, prompt: null"),
    "a setting with a dollar sign": step("node: schema.detect, image: $photo, prompt: $$5"),
    "a setting that is a list": step("node: schema.detect, image: $photo, words: [a, b]"),
    "a setting that is a table": step("node: schema.detect, image: $photo, pen: {width: 2}"),
    "two classes of one name": step("node: schema.draw, image: $photo, pen: {colour: red}"),
    "a list of values for a port of one": step("node: schema.look, cutout: $cut"),
    "outputs with dollar signs": outputs("[$photo, $a.boxes]"),
    "outputs by name": outputs("{first: photo, second: $a.tags}"),
}

BAD = {
    "a list": "[1, 2]",
    "no version": "steps: {}\noutputs: [photo]\ninputs: {photo: Image}\n",
    "another version": inputs("{photo: Image}").replace("1", "2", 1),
    "a version in quotes": inputs("{photo: Image}").replace("1", "'1'", 1),
    "true for a version": inputs("{photo: Image}").replace("1", "true", 1),
    "no steps": "visionweave: 1\ninputs: {photo: Image}\noutputs: [photo]\n",
    "no outputs": "visionweave: 1\ninputs: {photo: Image}\nsteps: {}\n",
    "an unknown key": inputs("{photo: Image}") + "output: [photo]\n",
    "inputs in a list": inputs("[photo]"),
    "an unknown type": inputs("{photo: Picture}"),
    "a list of lists": inputs("{photo: 'list[list[Image]]'}"),
    "half a union": inputs("{photo: 'Image |'}"),
    "an input without a type": inputs("{photo: {default: a.jpg}}"),
    "an input with an unknown key": inputs("{photo: {type: Image, shape: 3}}"),
    "an input that is null": inputs("{photo: null}"),
    "a default of null": inputs("{photo: {type: Image, default: null}}"),
    "an input with a hyphen": inputs("{photo: Image, a-b: Image}"),
    "an input that is an argument of run": inputs("{photo: Image, device: Text}"),
    "steps in a list": f"{HEAD}steps: [a]\noutputs: [photo]\n",
    "a step that is a text": f"{HEAD}steps: {{a: schema.look}}\noutputs: [photo]\n",
    "a step that is null": f"{HEAD}steps: {{a: null}}\noutputs: [photo]\n",
    "a step with a hyphen": f"{HEAD}steps: {{a-b: {{node: schema.look, cutout: $cut}}}}\n"
    "outputs: [photo]\n",
    "no node": step("image: $photo"),
    "an unknown node": step("node: schema.lok, cutout: $cut"),
    "a node that is a number": step("node: 3"),
    "a missing port": step("node: schema.detect, threshold: 0.3"),
    "an unknown port": step("node: schema.detect, image: $photo, picture: $photo"),
    "a port that is null": step("node: schema.detect, image: null"),
    "a port with a number": step("node: schema.detect, image: 3"),
    "a port with a malformed reference": step("node: schema.detect, image: $photo.a.b"),
    "a port with a dollar sign alone": step("node: schema.detect, image: $"),
    "a reference in a list": step("node: schema.detect, image: $photo, phrases: [a, $words]"),
    "an empty phrase": step("node: schema.detect, image: $photo, phrases: ['']"),
    "a value that no file can hold": step("node: schema.look, cutout: a.png"),
    "a point of three numbers": step(
        "node: schema.pick, model: a, image: $photo, where: [[1, 2, 3]], texts: [a]"
    ),
    "one text for a list of texts": step(
        "node: schema.pick, model: a, image: $photo, where: [[1, 2]], texts: a"
    ),
    "a missing setting": step("node: schema.pick, image: $photo, where: [[1, 2]], texts: [a]"),
    "a setting out of range": step("node: schema.detect, image: $photo, threshold: 1.5"),
    "a setting of the wrong type": step("node: schema.detect, image: $photo, threshold: '0.5'"),
    "a fraction for a whole number": step("node: schema.detect, image: $photo, count: 1.5"),
    "true for a number": step("node: schema.detect, image: $photo, count: true"),
    "a table with the keys of another": step("node: schema.draw, image: $photo, pen: {width: 2}"),
    "the setting of another node": step("node: schema.draw, image: $photo, mode: fast"),
    "a choice that is none": step("node: schema.detect, image: $photo, size: 300"),
    "a setting with a reference": step("node: schema.detect, image: $photo, prompt: $words"),
    "a setting with a reference inside": step("node: schema.detect, image: $photo, words: [$a]"),
    "empty outputs": outputs("[]"),
    "null outputs": outputs("null"),
    "an output twice": outputs("[photo, photo]"),
    "an output with two dots": outputs("[a.boxes.xyxy]"),
    "an output that is a list": outputs("[[photo]]"),
    "outputs in a text": outputs("photo"),
    "an output with a hyphen": outputs("{a-b: photo}"),
}


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
def test_good_files(text: str) -> None:
    assert (loader_accepts(text), schema_accepts(text)) == (True, True)


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_bad_files(text: str) -> None:
    assert (loader_accepts(text), schema_accepts(text)) == (False, False)


def test_the_schema_is_one_and_is_plain_data() -> None:
    schema = pipeline_schema()
    Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$schema"]


def test_every_installed_node_is_in_the_schema() -> None:
    schema = pipeline_schema()
    choices = schema["properties"]["steps"]["additionalProperties"]["properties"]["node"]
    assert choices["enum"] == registry.node_ids()
    assert len(choices["enumDescriptions"]) == len(choices["enum"]) > len(NODES)
    for id in choices["enum"]:
        spec = registry.find_node(id).spec
        properties = schema["$defs"][id]["properties"]
        assert list(properties) == ["node", *spec.ports, *spec.settings.model_fields]


def test_every_reference_within_the_schema_leads_somewhere() -> None:
    schema = pipeline_schema()

    def references(part: object) -> Iterator[str]:
        if isinstance(part, dict):
            if isinstance(part.get("$ref"), str):
                yield part["$ref"]
            for each in part.values():
                yield from references(each)
        elif isinstance(part, list):
            for each in part:
                yield from references(each)

    assert {ref.removeprefix("#/$defs/") for ref in references(schema)} <= set(schema["$defs"])


def test_what_an_editor_shows() -> None:
    detect = pipeline_schema()["$defs"]["schema.detect"]
    about = (
        "Find the things that phrases name.\n\n"
        "image: Image, phrases?: Tags -> boxes: Boxes, tags: Tags\n\n"
        "A paper, 2023, arXiv:2304.02643"
    )
    assert (detect["title"], detect["description"]) == ("schema.detect", about)
    shown = {name: each["description"] for name, each in detect["properties"].items()}
    assert shown == {
        "node": about,
        "image": "Port: Image.",
        "phrases": "Port: Tags. Need not be connected.",
        "threshold": "The least score. Setting: number, 0 to 1; default 0.5.",
        "count": "Setting: whole number; default 10.",
        "mode": 'Setting: one of "fast", "good"; default "fast".',
        "size": "Setting: one of 256, 512; default 256.",
        "prompt": "Setting: text, or nothing (null); default null.",
        "words": "Setting: list (each: text); default [].",
        "pen": 'Setting: table; default {"width": 1.0}.',
    }
    threshold = detect["properties"]["threshold"]
    assert [threshold[key] for key in ("type", "minimum", "maximum", "default")] == [
        "number",
        0,
        1,
        0.5,
    ]


def test_a_node_that_cannot_be_imported_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "broken_vision-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-vision\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(
        f"[{registry.GROUP}]\nschema.broken = broken_vision_module:Nothing\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    registry._declared.cache_clear()
    try:
        with pytest.raises(NodeError, match="broken-vision cannot be imported"):
            registry.find_node("schema.broken")
        assert "schema.broken" in registry.node_ids()
        assert "schema.broken" not in pipeline_schema()["$defs"]
    finally:
        registry._declared.cache_clear()


def test_making_the_schema_imports_no_torch() -> None:
    code = (
        "import sys; from visionweave.files.schema import pipeline_schema; pipeline_schema(); "
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
