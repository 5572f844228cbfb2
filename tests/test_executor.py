"""The executor's policy, sentence by sentence: order, axes, models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visionweave import Input, ModelNode, Node, Pipeline, Text, batched, node
from visionweave.execution.executor import Result
from visionweave.runtime import Runtime


@node("exec.shout")
class Shout(Node):
    """A text in capitals."""

    def __init__(self, mark: str = "") -> None:
        self.mark = mark
        self.calls: list[str] = []

    def run(self, text: Text) -> Text:
        self.calls.append(text.text)
        return Text(text.text.upper() + self.mark)


@node("exec.split")
class Split(Node):
    """The parts of a text."""

    def __init__(self, at: str = " ") -> None:
        self.at = at

    def run(self, text: Text) -> list[Text]:
        return [Text(part) for part in text.text.split(self.at) if part]


@node("exec.join")
class Join(Node):
    """Texts as one."""

    def run(self, texts: list[Text], between: Text = Text("+")) -> Text:  # noqa: B008 - frozen
        return Text(between.text.join(each.text for each in texts))


@node("exec.add")
class Add(Node):
    """One text after another."""

    def run(self, first: Text, second: Text) -> Text:
        return Text(first.text + second.text)


class Ends(NamedTuple):
    first: Text
    others: list[Text]


@node("exec.ends")
class FirstAndOthers(Node):
    """The first letter of a text, and the others."""

    def run(self, text: Text) -> Ends:
        return Ends(Text(text.text[:1]), [Text(letter) for letter in text.text[1:]])


@node("exec.reverse")
class Reverse(ModelNode):
    """A model that reverses texts: it pads them to one length, as models do."""

    def __init__(self, name: str = "") -> None:
        self.loads, self.sizes = 0, list[int]()

    def load(self, runtime: Runtime) -> None:
        self.loads += 1

    def forward_context(self) -> AbstractContextManager[None]:
        return nullcontext()

    async def run(self, text: Text) -> Text:
        codes = np.frombuffer(text.text.encode("utf-32-le"), np.uint32)
        reversed_codes = await self.reverse(codes)
        return Text(reversed_codes.tobytes().decode("utf-32-le"))

    @batched(size=4)
    def reverse(self, codes: list[np.ndarray]) -> list[np.ndarray]:
        self.sizes.append(len(codes))
        lengths = [len(each) for each in codes]
        padded_NL = np.stack([np.pad(c, (0, max(lengths) - len(c))) for c in codes])
        flipped_NL = padded_NL[:, ::-1]
        return [row[len(row) - n :] for row, n in zip(flipped_NL, lengths, strict=True)]


TEXT = Input("text", Text)


def texts(results: Iterator[Result], output: str = "out") -> list[Any]:
    return [plain(result[output]) for result in results]


def plain(value: Any) -> Any:
    return [plain(each) for each in value] if isinstance(value, list) else value.text


# Order and batches ----------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    items=st.lists(st.text("abcé ", max_size=12), max_size=12),
    batch=st.sampled_from([1, 2, 3, 7, 32, None]),
    chunk=st.sampled_from([1, 2, 5, 64]),
)
def test_results_are_the_same_and_in_order_for_every_batch_and_chunk(
    items: list[str], batch: int | None, chunk: int
) -> None:
    words = Split()(TEXT)
    pipeline = Pipeline(out=Join()(Reverse()(words)), whole=Reverse()(TEXT), words=words)
    results = list(pipeline.map(map(Text, items), batch=batch, chunk=chunk))
    assert [result.name for result in results] == [f"item {i}" for i in range(len(items))]
    assert [plain(result["out"]) for result in results] == [
        "+".join(word[::-1] for word in item.split()) for item in items
    ]
    assert [plain(result["whole"]) for result in results] == [item[::-1] for item in items]
    assert [plain(result["words"]) for result in results] == [item.split() for item in items]


@pytest.mark.parametrize(
    ("batch", "chunk", "sizes"),
    [
        pytest.param(None, 64, [4, 4, 1], id="across photos, as large as the node states"),
        pytest.param(5, 64, [5, 4], id="as large as the user says"),
        pytest.param(64, 2, [5, 4], id="not across chunks"),
        pytest.param(1, 64, [1] * 9, id="one by one"),
    ],
)
def test_a_batch_goes_across_items_and_their_objects(
    batch: int | None, chunk: int, sizes: list[int]
) -> None:
    model = Reverse()
    pipeline = Pipeline(out=model(Split()(TEXT)))
    found = texts(pipeline.map(["ab cd ef gh ij", "", "kl", "mn op qr"], batch=batch, chunk=chunk))
    assert found == [["ba", "dc", "fe", "hg", "ji"], [], ["lk"], ["nm", "po", "rq"]]
    assert model.sizes == sizes


# Axes -----------------------------------------------------------------------------------------


def test_a_step_repeats_along_nested_lists_and_a_list_port_collects_the_innermost() -> None:
    lines = Split(at="/")(TEXT)
    words = Split()(lines)
    pipeline = Pipeline(loud=Shout()(words), lines=Join()(words, between=lines), all=lines)
    result = pipeline.run(text="a b/cd//e")
    assert plain(result["loud"]) == [["A", "B"], ["CD"], ["E"]]
    assert plain(result["lines"]) == ["aa bb", "cd", "e"]


def test_a_value_without_an_axis_is_the_same_for_every_element() -> None:
    lines = Split(at="/")(TEXT)
    words = Split()(lines)
    both = Pipeline(out=Add()(words, Add()(lines, Shout()(TEXT))))
    assert plain(both.run(text="a b/c")["out"]) == [["aa bA B/C", "ba bA B/C"], ["ccA B/C"]]


def test_zero_objects_are_an_answer_and_load_no_model() -> None:
    model = Reverse()
    words = Split()(TEXT)
    pipeline = Pipeline(out=model(words), joined=Join()(words), nested=Split()(words))
    result = pipeline.run(text="")
    assert result.ok
    assert (result["out"], plain(result["joined"]), result["nested"]) == ([], "", [])
    assert (model.loads, model.sizes) == (0, [])


def test_the_fields_of_a_named_tuple_are_outputs_of_their_own() -> None:
    first, others = FirstAndOthers()(Split()(TEXT))
    pipeline = Pipeline(first=first, others=others, loud=Shout()(others))
    result = pipeline.run(text="abc d")
    assert plain(result["first"]) == ["a", "d"]
    assert plain(result["others"]) == [["b", "c"], []]
    assert plain(result["loud"]) == [["B", "C"], []]


def test_a_node_without_ports_runs_once_per_item() -> None:
    @node("exec.constant")
    class Constant(Node):
        def run(self) -> Text:
            return Text("always")

    pipeline = Pipeline(out=Add()(TEXT, Constant()()))
    assert texts(pipeline.map(["a", "b"])) == ["aalways", "balways"]


def test_equal_steps_run_once_and_steps_that_no_output_needs_do_not_run() -> None:
    twins, unused = [Shout("!"), Shout("!")], Shout("?")
    unused(TEXT)
    pipeline = Pipeline(a=twins[0](TEXT), b=twins[1](TEXT))
    result = pipeline.run(text="x")
    assert plain(result["a"]) == plain(result["b"]) == "X!"
    assert [*twins[0].calls, *twins[1].calls] == ["x"]
    assert unused.calls == []


# Models ---------------------------------------------------------------------------------------


def test_a_model_is_loaded_once_for_all_chunks_and_runs() -> None:
    model = Reverse()
    pipeline = Pipeline(out=model(TEXT))
    assert model.loads == 0
    assert texts(pipeline.map(["ab", "cd", "ef"], chunk=1)) == ["ba", "dc", "fe"]
    assert plain(pipeline.run(text="gh")["out"]) == "hg"
    assert model.loads == 1
    pipeline.run(text="gh", precision="bf16")  # another runtime
    assert model.loads == 2
    model.unload()
    pipeline.run(text="gh")
    assert model.loads == 3


def test_two_nodes_load_what_they_share_once() -> None:
    class Network:
        pass

    built: list[Network] = []

    def build() -> Network:
        built.append(Network())
        return built[-1]

    @node("exec.sharing")
    class Sharing(Reverse):
        def load(self, runtime: Runtime) -> None:
            self.network = runtime.share("exec/network", build)

    one, other = Sharing("one"), Sharing("other")
    result = Pipeline(one=one(TEXT), other=other(one(TEXT))).run(text="ab")
    assert (plain(result["one"]), plain(result["other"])) == ("ba", "ab")
    assert one.network is other.network is built[0]
    assert len(built) == 1


def test_a_model_that_cannot_be_loaded_ends_the_run_with_its_error() -> None:
    @node("exec.unloadable")
    class Unloadable(Reverse):
        def load(self, runtime: Runtime) -> None:
            raise FileNotFoundError("no weights at reverse.safetensors")

    results = Pipeline(out=Unloadable()(TEXT)).map(["a", "b"])
    with pytest.raises(FileNotFoundError, match=r"no weights at reverse\.safetensors"):
        next(results)
    assert list(results) == []
