"""What is given on the command line: inputs by -i, settings by --set, pipelines by name."""

from __future__ import annotations

import json
from pathlib import Path

import PIL.Image
import pytest

from visionweave import Boxes, Image, Node, Text, node
from visionweave.cli import main
from visionweave.registry import replaced
from visionweave.testing import make_boxes, make_image

SHOUT = """\
visionweave: 1
inputs: {text: Text}
steps: {loud: {node: toy.shout, text: $text}}
outputs: [loud]
"""
EITHER = """\
visionweave: 1
inputs: {boxes: Boxes | Image}
steps: {said: {node: toy.either, boxes: $boxes}}
outputs: [said]
"""
MANY = """\
visionweave: 1
inputs: {photos: "list[Image]"}
steps: {said: {node: toy.many, photos: $photos}}
outputs: [said]
"""


@node("toy.shout")
class Shout(Node):
    def run(self, text: Text) -> Text:
        return Text(text.text.upper())


@node("toy.either")
class Either(Node):
    def run(self, boxes: Boxes | Image) -> Text:
        return Text(type(boxes).__name__)


@node("toy.many")
class Many(Node):
    def run(self, photos: list[Image]) -> Text:
        return Text(f"{len(photos)} photos")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in (("shout", SHOUT), ("either", EITHER), ("many", MANY)):
        Path(f"{name}.yaml").write_text(text)
    PIL.Image.new("RGB", (8, 6)).save("a.png")
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with replaced({each.spec.id: each for each in (Shout, Either, Many)}):
        code = main(list(arguments))
    return code, capsys.readouterr().err


def said(name: str) -> str:
    text = json.loads(Path(f"out/{name}.json").read_text())["text"]
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize(
    ("given", "loud"),
    [
        ("[what] is this", "[WHAT] IS THIS"),
        ("{a", "{A"),
        ("@@home", "@HOME"),
        ("at home @@", "AT HOME @@"),
        ("a=b", "A=B"),
    ],
)
def test_any_text_can_be_given(capsys: pytest.CaptureFixture[str], given: str, loud: str) -> None:
    code, err = run(capsys, "run", "shout.yaml", "-i", f"text={given}")
    assert (code, said("loud")) == (0, loud), err


def test_a_file_is_read_as_the_first_kind_that_it_holds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_boxes().save("b.json")
    make_image().save("i.png")
    for file, kind in (("b.json", "Boxes"), ("i.png", "Image")):
        code, err = run(capsys, "run", "either.yaml", "-i", f"boxes=@{file}", "--overwrite")
        assert (code, said("said")) == (0, kind), err


def test_a_file_is_a_list_of_one(capsys: pytest.CaptureFixture[str]) -> None:
    code, err = run(capsys, "run", "many.yaml", "-i", "photos=@a.png")
    assert (code, said("said")) == (0, "1 photos"), err
    code, err = run(capsys, "run", "many.yaml", "-i", "photos=a.png")
    assert (code, "; a list is written -i photos='[a, b]'" in err) == (1, True), err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "shout.yaml", "-i", "text"], "error: -i text: expected NAME=VALUE\n"),
        (
            ["run", "shout.yaml", "-i", "text=a", "-i", "text=b"],
            "error: -i text is given twice, as 'a' and as 'b'\n",
        ),
        (
            ["run", "shout.yaml", "-i", "text=@no.json"],
            "error: -i text=@no.json: cannot read no.json: No such file or directory; a text that "
            "begins with @ is written with @@\n",
        ),
        (
            ["run", "thumbnails", "a.png", "--set", "small"],
            "error: --set small: expected STEP.SETTING=VALUE\n",
        ),
        (
            ["run", "thumbnails", "a.png", "-s", "small.longest=1", "-s", "small.longest=2"],
            "error: --set small.longest is given twice, as '1' and as '2'\n",
        ),
        (
            ["run", "thumbnails", "a.png", "--set", "small=1"],
            "error: small: 'small' is a step, not a setting\n"
            "  expected: one of the settings longest, shortest, width, height, enlarge\n"
            "  fix:      write small.SETTING=1\n",
        ),
        (
            ["run", "thumbnails", "a.png", "--set", "small.image=1"],
            "error: small.image: 'image' is a port, not a setting\n"
            "  expected: one of the settings longest, shortest, width, height, enlarge\n"
            "  fix:      connect it in the pipeline; a setting alone can be changed\n",
        ),
        (
            ["run", "thumbnails", "a.png", "-i", "photo=a.png"],
            "error: thumbnails takes photos as its input 'photo', which is set by -i already; drop "
            "one\n",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_option_that_said_it(
    capsys: pytest.CaptureFixture[str], here: Path, arguments: list[str], message: str
) -> None:
    assert run(capsys, *arguments) == (1, message)
    assert not (here / "out").exists()


def test_a_pipeline_without_inputs_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    text = "visionweave: 1\nsteps: {loud: {node: toy.shout, text: hello}}\noutputs: [loud]\n"
    Path("none.yaml").write_text(text)
    code, err = run(capsys, "run", "none.yaml", "a.png")
    assert (code, err) == (1, "error: none.yaml takes no photos; it has no inputs\n")
    code, err = run(capsys, "run", "none.yaml", "-i", "x=1")
    assert (code, err) == (1, "error: there is no input 'x'; it has no inputs\n")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "there is no such pipeline\n  expected: a .yaml file, or one of "),
        (".", ".: this is a folder\n  expected: a .yaml file, or one of "),
        ("thumbnail.yaml", "thumbnail.yaml: there is no such file\n  expected: a .yaml file, or"),
    ],
)
def test_a_pipeline_that_is_not_there(
    capsys: pytest.CaptureFixture[str], name: str, message: str
) -> None:
    code, err = run(capsys, "check", name)
    assert (code, err.startswith(message)) == (1, True), err
    assert "  fix:      " in err or name == "."


def test_a_file_in_another_encoding_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    Path("old.yaml").write_bytes("# café\n".encode("latin-1"))
    assert (
        "fix:      if it is a pipeline, save it as UTF-8\n" in run(capsys, "check", "old.yaml")[1]
    )
