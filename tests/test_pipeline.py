"""Pipeline: building, loading, running."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from visionweave import (
    Image,
    Input,
    Node,
    NodeFailed,
    Origin,
    Pipeline,
    PipelineError,
    PipelineWarning,
    Text,
    batched,
    node,
)
from visionweave.graph import GraphInput
from visionweave.pipeline import ready_pipelines
from visionweave.types import PortType


@node("pipe.shout")
class Shout(Node):
    """A text in capitals; not of a "?"."""

    def __init__(self, mark: str = "") -> None:
        self.mark = mark
        self.sizes: list[int] = []

    async def run(self, text: Text) -> Text:
        return await self.shout(text)

    @batched(size=4)
    def shout(self, texts: list[Text]) -> list[Text]:
        self.sizes.append(len(texts))
        if any(text.text == "?" for text in texts):
            raise ValueError("what?")
        return [Text(text.text.upper() + self.mark, text.origin) for text in texts]


@node("pipe.split")
class Split(Node):
    """The words of a text."""

    def run(self, text: Text) -> list[Text]:
        words = text.text.split()
        return [Text(w, Origin("a.jpg", index, w)) for index, w in enumerate(words)]


@node("pipe.count")
class Count(Node):
    """How many texts there are."""

    def run(self, texts: list[Text]) -> Text:
        return Text(str(len(texts)))


TEXT = Input("text", Text)
WORDS = Split()(TEXT)


def plain(value: Any) -> Any:
    return [plain(each) for each in value] if isinstance(value, list) else value.text


# Building -------------------------------------------------------------------------------------


def test_a_pipeline_knows_its_inputs_outputs_and_itself() -> None:
    pipeline = Pipeline(words=WORDS, count=Count()(WORDS))
    assert pipeline.inputs == {"text": GraphInput("text", PortType((Text,)))}
    assert {name: str(flow) for name, flow in pipeline.outputs.items()} == {
        "words": "list[Text]",
        "count": "Text",
    }
    assert repr(pipeline) == "Pipeline(text: Text -> words: list[Text], count: Text)"


def test_a_pipeline_without_outputs_is_refused() -> None:
    with pytest.raises(PipelineError, match=r"outputs: the pipeline gives nothing\n  fix:"):
        Pipeline()


def test_a_graph_is_checked_before_it_is_planned() -> None:
    graph = Pipeline(out=Shout()(TEXT)).graph
    graph.steps["out"].bindings.clear()
    with pytest.raises(PipelineError, match=r"step 'out': port 'text' is not connected"):
        Pipeline.from_graph(graph)


# Running --------------------------------------------------------------------------------------


def test_run_returns_the_outputs_of_one_item() -> None:
    result = Pipeline(loud=Shout("!")(WORDS), text=TEXT).run(text="a b")
    assert (result.name, result.ok, result.failures) == ("item 0", True, ())
    assert plain(result["loud"]) == ["A!", "B!"]
    assert plain(result["text"]) == "a b"


def test_run_raises_the_failure_because_of_which_an_output_is_missing() -> None:
    message = re.escape("step 'loud' (pipe.shout) failed on item 0: ValueError: what?")
    with pytest.raises(NodeFailed, match=message) as raised:
        Pipeline(words=WORDS, loud=Shout()(TEXT)).run(text="?")
    assert isinstance(raised.value.__cause__, ValueError)


def test_run_returns_what_there_is_when_only_objects_failed() -> None:
    result = Pipeline(loud=Shout()(WORDS)).run(text="a ? b")
    assert plain(result["loud"]) == ["A", "B"]
    assert [(failure.object, failure.label) for failure in result.failures] == [(1, "?")]


@pytest.mark.parametrize(
    ("chunk", "batch"), [pytest.param(0, None, id="chunk"), pytest.param(64, 0, id="batch")]
)
def test_map_refuses_to_do_nothing_at_a_time(chunk: int, batch: int | None) -> None:
    with pytest.raises(ValueError, match=f"at least 1; got {chunk} and {batch}"):
        Pipeline(text=TEXT).map(["a"], chunk=chunk, batch=batch)


@pytest.mark.parametrize(
    ("items", "kind"),
    [
        pytest.param("street.jpg", "str", id="path as text"),
        pytest.param(Path("street.jpg"), "Path", id="path"),
        pytest.param({"text": "a"}, "dict", id="inputs"),
        pytest.param(Text("a"), "Text", id="value"),
    ],
)
def test_map_refuses_one_item_in_the_place_of_several(items: Any, kind: str) -> None:
    with pytest.raises(PipelineError, match=f"map was given one item\n(.*\n)*.*got: .*{kind}"):
        Pipeline(text=TEXT).map(items)


# Files ----------------------------------------------------------------------------------------

SMALL = """visionweave: 1
inputs:
  photo: Image
steps:
  small: {node: image.resize, image: $photo, longest: 4}
outputs: [small]
"""


def test_a_pipeline_is_saved_and_loaded(tmp_path: Path) -> None:
    pipeline = Pipeline.from_yaml(SMALL)
    path = pipeline.save(tmp_path / "small.yaml")
    assert path == tmp_path / "small.yaml"
    for again in (Pipeline.load(path), Pipeline.load(str(path))):
        assert (again.hash, again.canonical()) == (pipeline.hash, pipeline.canonical())
    scope: dict[str, Any] = {}
    exec(pipeline.to_python(), scope)
    assert scope["pipeline"].hash == pipeline.hash
    photo = Image.from_array(np.zeros((6, 8, 3), np.uint8))
    assert pipeline.run(photo=photo)["small"].size_wh == (4, 3)


@pytest.mark.parametrize("name", ready_pipelines())
def test_a_ready_pipeline_is_loaded_by_its_name(name: str) -> None:
    assert Pipeline.load(name).hash == Pipeline.from_yaml(ready_pipelines()[name]).hash


def test_a_file_is_found_before_a_ready_pipeline_and_needs_no_suffix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("thumbnails").write_text("\ufeff" + SMALL, encoding="utf-8")
    assert Pipeline.load("thumbnails").hash == Pipeline.from_yaml(SMALL).hash


def missing(folder: Path) -> Path:
    return folder / "none.yaml"


def a_folder(folder: Path) -> Path:
    return folder


def not_text(folder: Path) -> Path:
    (folder / "photo.yaml").write_bytes(b"\xff\xd8\xff\xe0")
    return folder / "photo.yaml"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (missing, r"none\.yaml: there is no such file\n  expected: a \.yaml file, or one of "),
        (a_folder, r": this is a folder\n  expected: a \.yaml file, or one of "),
        (not_text, r"photo\.yaml: this is not a text file\n  expected: UTF-8 text in YAML\n"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, make: Any, message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        Pipeline.load(make(tmp_path))


def test_a_name_that_is_nearly_one_is_put_right() -> None:
    message = (
        r"thumbnail: there is no such pipeline\n  expected: a \.yaml file, or one of .*thumbnails"
        r"(?s:.*)fix:      did you mean thumbnails\?"
    )
    with pytest.raises(PipelineError, match=message):
        Pipeline.load("thumbnail")


def test_a_remark_on_a_pipeline_points_to_the_line_that_reads_it(tmp_path: Path) -> None:
    text = SMALL.replace(
        "outputs: [small]", "  idle: {node: image.resize, image: $photo, longest: 9}\n"
    )
    path = tmp_path / "idle.yaml"
    path.write_text(text + "outputs: [small]\n")
    for read in (lambda: Pipeline.load(path), lambda: Pipeline.from_yaml(path.read_text())):
        with pytest.warns(PipelineWarning, match="no output needs step 'idle'") as caught:
            read()
        assert [warning.filename for warning in caught] == [__file__]
