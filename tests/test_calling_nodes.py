"""A node called with values runs at once; with a list of them, once for each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import pytest

from visionweave import (
    Image,
    Node,
    NodeFailed,
    Origin,
    PipelineError,
    Points,
    Tags,
    Text,
    batched,
    node,
)


@node("eager.shout")
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


@node("eager.split")
class Split(Node):
    """The words of a text."""

    def run(self, text: Text) -> list[Text]:
        words = text.text.split()
        return [Text(w, Origin("a.jpg", index, w)) for index, w in enumerate(words)]


@node("eager.tagged")
class Tagged(Node):
    """A text with its tags."""

    def run(self, text: Text, tags: Tags) -> Text:
        return Text(f"{text.text}: {' '.join(tags.phrases)}")


@node("eager.count")
class Count(Node):
    """How many texts there are."""

    def run(self, texts: list[Text], device: Text | Tags = Text("cpu")) -> Text:  # noqa: B008
        return Text(f"{len(texts)} on {device.text if isinstance(device, Text) else 'tags'}")


class Ends(NamedTuple):
    first: Text
    others: list[Text]


@node("eager.ends")
class FirstAndOthers(Node):
    """The first letter of a text, and the others."""

    def run(self, text: Text) -> Ends:
        return Ends(Text(text.text[:1]), [Text(letter) for letter in text.text[1:]])


@node("eager.size")
class Size(Node):
    """The size of a photo."""

    def run(self, image: Image) -> Text:
        return Text("{}x{}".format(*image.size_wh))


@node("eager.middle")
class Middle(Node):
    """The middle of some points."""

    def run(self, points: Points) -> Text:
        return Text(str(points.xy.mean(axis=0).tolist()))


def plain(value: Any) -> Any:
    return [plain(each) for each in value] if isinstance(value, list) else value.text


def test_a_node_called_with_values_runs_at_once() -> None:
    assert Shout("!")(Text("a")) == Text("A!")
    assert Shout()("plain data") == Text("PLAIN DATA")
    assert plain(Split()(text="a b")) == ["a", "b"]
    assert FirstAndOthers()("abc") == Ends(Text("a"), [Text("b"), Text("c")])
    assert plain(Count()([Text("a"), "b"])) == "2 on cpu"
    assert plain(Count()([], device=["tag"])) == "0 on tags"


def test_a_list_of_values_runs_a_node_for_each_in_batches() -> None:
    shout = Shout()
    words = [Text(word) for word in "abcdef"]
    assert plain(shout(words)) == list("ABCDEF")
    assert shout.sizes == [4, 2]
    assert plain(Tagged()(words[:2], ["x", "y"])) == ["a: x y", "b: x y"]
    assert plain(Tagged()(words[:2], [Tags(["x"]), Tags([])])) == ["a: x", "b: "]
    assert FirstAndOthers()(["ab", "c"]) == [Ends(Text("a"), [Text("b")]), Ends(Text("c"), [])]
    assert shout([]) == []


@pytest.mark.parametrize(
    ("made", "given", "expected"),
    [
        pytest.param(Middle(), [[1, 2], [3, 4]], "[2.0, 3.0]", id="points are one value"),
        pytest.param(Shout(), ["a", "b"], ["A", "B"], id="texts are several"),
        pytest.param(Size(), [np.zeros((2, 3, 3), np.uint8)] * 2, ["3x2", "3x2"], id="arrays"),
    ],
)
def test_plain_data_in_a_list_is_one_value_where_it_can_be(
    made: Node, given: Sequence[Any], expected: Any
) -> None:
    assert plain(made(given)) == expected


def test_paths_in_a_list_are_several_photos(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (4, 3)).save(tmp_path / "a.png")
    assert plain(Size()([tmp_path / "a.png", str(tmp_path / "a.png")])) == ["4x3", "4x3"]
    with pytest.raises(NodeFailed, match=r"input 'image' failed on none\.png: ImageError: "):
        Size()("none.png")


def test_lists_of_two_lengths_do_not_meet() -> None:
    message = r"eager\.tagged: the lists given differ in length\n.*\n  got: .*'text': 2, 'tags': 1"
    with pytest.raises(PipelineError, match=message):
        Tagged()(["a", "b"], [Tags(["x"])])


def test_a_node_called_with_values_raises_its_first_failure() -> None:
    message = re.escape("step 'eager.shout' (eager.shout) failed on item 1: ValueError: what?")
    with pytest.raises(NodeFailed, match=message):
        Shout()(["a", "?", "c", "?"])


def test_a_node_called_with_the_wrong_value_says_what_it_takes() -> None:
    with pytest.raises(PipelineError, match=r"input 'image' is wrong\n  expected: Image\n  got: "):
        Size()(3)
