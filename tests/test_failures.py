"""One item's failure never touches its neighbours, and says where, what and why."""

from __future__ import annotations

import dataclasses
import pickle
import re
import traceback
from typing import Any, NamedTuple

import pytest

from visionweave import Input, Node, NodeFailed, Origin, Pipeline, Text, node
from visionweave.execution.executor import Result
from visionweave.execution.failures import Raised, without_frames


@node("fail.split")
class Split(Node):
    """The words of a text, as its objects; "!" cannot be split."""

    def run(self, text: Text) -> list[Text]:
        if text.text == "!":
            raise LookupError("nothing to split")
        words = text.text.split()
        return [Text(w, Origin("street.jpg", 10 + i, f"word {w}")) for i, w in enumerate(words)]


@node("fail.letters")
class Letters(Node):
    """The letters of a text."""

    def run(self, text: Text) -> list[Text]:
        return [Text(letter) for letter in text.text]


@node("fail.shout")
class Shout(Node):
    """A text in capitals; not one with a "?"."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def run(self, text: Text) -> Text:
        self.seen.append(text.text)
        if "?" in text.text:
            raise ValueError(f"cannot shout {text.text!r}")
        return Text(text.text.upper(), text.origin)


@node("fail.join")
class Join(Node):
    """Texts as one."""

    def run(self, texts: list[Text]) -> Text:
        return Text("+".join(each.text for each in texts))


TEXT = Input("text", Text)


def plain(value: Any) -> Any:
    return [plain(each) for each in value] if isinstance(value, list) else value.text


def described(result: Result) -> list[str]:
    return [str(failure) for failure in result.failures]


@pytest.mark.parametrize("chunk", [1, 2, 64])
def test_an_item_fails_alone_whatever_the_chunk(chunk: int) -> None:
    results = list(Pipeline(loud=Shout()(TEXT)).map(["a", "b?", "c"], chunk=chunk))
    assert [result.ok for result in results] == [True, False, True]
    assert [plain(results[i]["loud"]) for i in (0, 2)] == ["A", "C"]
    (failure,) = results[1].failures
    assert str(failure) == (
        "step 'loud' (fail.shout) failed on item 1: ValueError: cannot shout 'b?'"
    )
    assert (failure.object, failure.label) == (None, "")
    assert isinstance(failure.__cause__, ValueError)
    assert results[1].missing == {"loud": failure}
    assert results[1].outputs == {}


def test_a_failure_is_passed_on_and_recorded_once() -> None:
    first, second, third = Shout(), Shout(), Shout()
    loud = first(TEXT)
    pipeline = Pipeline(loud=loud, louder=second(loud), joined=Join()(third(Letters()(loud))))
    result = next(pipeline.map(["b?"]))
    assert described(result) == [
        "step 'loud' (fail.shout) failed on item 0: ValueError: cannot shout 'b?'"
    ]
    assert result.missing == dict.fromkeys(["loud", "louder", "joined"], result.failures[0])
    assert (second.seen, third.seen) == ([], [])


def test_one_bad_object_keeps_its_siblings_and_says_which_it_was() -> None:
    words = Split()(TEXT)
    loud = Shout()(words)
    pipeline = Pipeline(words=words, loud=loud, joined=Join()(loud))
    result = pipeline.run(text="a b? c")
    assert plain(result["words"]) == ["a", "b?", "c"]
    assert plain(result["loud"]) == ["A", "C"]
    assert plain(result["joined"]) == "A+C"
    assert described(result) == [
        "step 'loud' (fail.shout) failed on item 0, object 11 (word b?): "
        "ValueError: cannot shout 'b?'"
    ]
    assert not result.ok


def test_an_object_without_an_origin_is_called_by_its_place() -> None:
    result = Pipeline(out=Shout()(Letters()(TEXT))).run(text="ab?")
    assert [(failure.object, failure.label) for failure in result.failures] == [(2, "")]


def test_objects_that_fail_on_different_ways_leave_those_that_do_on_neither() -> None:
    @node("fail.pair")
    class Pair(Node):
        def run(self, first: Text, second: Text) -> Text:
            return Text(first.text + second.text)

    @node("fail.lower")
    class Lower(Node):
        def run(self, text: Text) -> Text:
            if text.text == "c":
                raise KeyError("c")
            return Text(text.text.lower())

    words = Split()(TEXT)
    result = Pipeline(pairs=Pair()(Shout()(words), Lower()(words))).run(text="a b? c d")
    assert plain(result["pairs"]) == ["Aa", "Dd"]
    assert [(f.step, f.object, f.error, f.reason) for f in result.failures] == [
        ("fail_shout", 11, "ValueError", "cannot shout 'b?'"),
        ("fail_lower", 12, "KeyError", "'c'"),
    ]


def test_an_object_whose_objects_fail_keeps_those_that_do_not() -> None:
    letters = Letters()(Split()(TEXT))
    pipeline = Pipeline(loud=Shout()(letters), joined=Join()(Shout()(letters)))
    result = pipeline.run(text="ab? ? c")
    assert plain(result["loud"]) == [["A", "B"], [], ["C"]]
    assert plain(result["joined"]) == ["A+B", "", "C"]
    assert [failure.object for failure in result.failures] == [2, 0]


def test_a_step_that_fails_before_the_objects_are_there_fails_the_item() -> None:
    pipeline = Pipeline(loud=Shout()(Split()(TEXT)), text=TEXT)
    result = next(pipeline.map(["!"]))
    assert plain(result["text"]) == "!"
    assert described(result) == [
        "step 'fail_split' (fail.split) failed on item 0: LookupError: nothing to split"
    ]
    with pytest.raises(NodeFailed, match="nothing to split"):
        result["loud"]


def test_an_output_that_does_not_exist_is_told_from_one_that_failed() -> None:
    result = next(Pipeline(loud=Shout()(TEXT), text=TEXT).map(["?"]))
    with pytest.raises(KeyError, match="there is no output 'lout'; the outputs are text, loud"):
        result["lout"]


# Wrong results --------------------------------------------------------------------------------


class Parts(NamedTuple):
    head: Text
    rest: list[Text]


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        pytest.param(Text, "a", "return Text, as it is annotated; got str", id="str"),
        pytest.param(Text, None, "return Text, as it is annotated; got NoneType", id="None"),
        pytest.param(Text, [], "return Text, as it is annotated; got list of nothing", id="list"),
        pytest.param(list[Text], Text("a"), "return list[Text], as it is annotated; got Text"),
        pytest.param(
            list[Text],
            [Text("a"), "b", 3],
            "return list[Text], as it is annotated; got list of Text, int, str",
            id="list with others",
        ),
        pytest.param(Parts, (Text("a"), []), "return head: Text, as it is annotated; got tuple"),
        pytest.param(
            Parts,
            Parts(Text("a"), Text("b")),  # type: ignore[arg-type]
            "return rest: list[Text], as it is annotated; got Text",
            id="one field",
        ),
        pytest.param(
            Parts, Text("a"), "return head: Text, as it is annotated; got Text", id="no tuple"
        ),
    ],
)
def test_a_result_of_the_wrong_type_fails_and_says_what_was_promised(
    annotation: Any, value: Any, message: str
) -> None:
    class Wrong(Node):
        def run(self, text: Text) -> Any:
            return value

    Wrong.run.__annotations__["return"] = annotation
    output = node("fail.wrong")(Wrong)()(TEXT)
    head = output.head if annotation is Parts else output
    with pytest.raises(NodeFailed, match=re.escape(f"NodeError: fail.wrong.run must {message}")):
        Pipeline(out=head).run(text="a")


# Errors without frames ------------------------------------------------------------------------


def caught(function: Any, *arguments: Any) -> Exception:
    try:
        function(*arguments)
    except Exception as error:
        return error
    raise AssertionError("it was to raise")


def shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def test_a_failure_shows_the_line_that_raised() -> None:
    (failure,) = next(Pipeline(out=Shout()(TEXT)).map(["?"])).failures
    assert failure.__cause__ is not None
    assert failure.__cause__.__traceback__ is None
    text = shown(failure)
    assert "ValueError: cannot shout '?'\nRaised at:\n" in text
    assert 'raise ValueError(f"cannot shout {text.text!r}")' in text


def test_an_error_keeps_the_errors_behind_it_as_text() -> None:
    def explained() -> None:
        try:
            {}["missing"]
        except KeyError as error:
            raise ValueError("no such word") from error

    def by_the_way() -> None:
        try:
            {}["missing"]
        except KeyError:
            raise ValueError("no such word")  # noqa: B904 - that is the case in question

    def without() -> None:
        try:
            {}["missing"]
        except KeyError:
            raise ValueError("no such word") from None

    for function, told in ((explained, True), (by_the_way, True), (without, False)):
        error = Raised(caught(function)).error
        assert (error.__traceback__, error.__cause__, error.__context__) == (None, None, None)
        assert ("because of:\nTraceback" in shown(error)) == told
        assert ("KeyError: 'missing'" in shown(error)) == told


def test_the_error_that_a_caller_is_handling_keeps_its_frames() -> None:
    def recover() -> None:
        try:
            raise OSError("the caller's")
        except OSError:
            failures.extend(next(Pipeline(out=Shout()(TEXT)).map(["?"])).failures)
            raise

    failures: list[NodeFailed] = []
    error = caught(recover)
    assert error.__traceback__ is not None
    assert shown(error).endswith("OSError: the caller's\n")
    assert "OSError: the caller's" in shown(failures[0])


def test_an_error_that_was_never_raised_is_left_as_it_is() -> None:
    error = ValueError("quiet")
    assert without_frames(error) is error
    assert shown(error) == "ValueError: quiet\n"


@dataclasses.dataclass(frozen=True)
class FrozenError(Exception):
    """One that nobody may change."""

    text: str


class MuteError(Exception):
    """One whose message cannot be had."""

    def __str__(self) -> str:
        raise IndexError("no words")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        pytest.param(FrozenError("no"), "FrozenError: no", id="frozen"),
        pytest.param(
            MuteError(),
            "MuteError: (its message cannot be shown: IndexError in its __str__)",
            id="mute",
        ),
        pytest.param(SystemExit(7), "SystemExit: 7", id="exit"),
    ],
)
def test_an_item_fails_alone_whatever_its_error_is_like(error: BaseException, message: str) -> None:
    @node("fail.odd")
    class Odd(Node):
        def run(self, text: Text) -> Text:
            if text.text == "?":
                raise error
            return text

    bad, good = Pipeline(out=Odd()(TEXT)).map(["?", "a"])
    assert described(bad) == [f"step 'out' (fail.odd) failed on item 0: {message}"]
    assert good["out"] == Text("a")
    assert "raise error" in shown(bad.failures[0])


def test_one_error_that_is_raised_for_many_items_says_once_where() -> None:
    error = ValueError("always the same")

    @node("fail.same")
    class Same(Node):
        def run(self, text: Text) -> Text:
            raise error

    results = list(Pipeline(out=Same()(TEXT)).map(["a", "b", "c"]))
    assert [str(each.failures[0].__cause__) for each in results] == ["always the same"] * 3
    assert shown(error).count("raise error") == 1


def test_where_an_error_was_raised_survives_pickling() -> None:
    error = without_frames(caught(Shout().run, Text("?")))
    assert shown(pickle.loads(pickle.dumps(error))) == shown(error)
