"""The lists of nodes, and one node in full, also with plug-ins that are not as they should be."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest

from visionweave import Image, Node, node
from visionweave.cli import main
from visionweave.registry import replaced


@node("toy.nodoc")
class NoDoc(Node):
    def run(self, image: Image) -> Image: ...


@node("toy.uncheckable")
class Uncheckable(Node):
    def __init__(self, kernel: np.ndarray) -> None: ...  # type: ignore[type-arg]

    def run(self, image: Image) -> Image: ...


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    with replaced({"toy.nodoc": NoDoc, "toy.uncheckable": Uncheckable}):
        yield


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["table", "json"])
def test_a_node_whose_settings_cannot_be_checked_is_left_out_of_the_list(
    capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    code, out, err = run(capsys, "nodes", *options)
    assert code == 0
    assert "toy.nodoc" in out
    assert "toy.uncheckable" not in out
    said = (
        "test_cli_catalogue.Uncheckable.__init__: setting 'kernel: numpy.ndarray' cannot be checked"
    )
    assert said in err
    assert err.count("\n") == 1
    if options:
        assert "toy.nodoc" in [each["id"] for each in json.loads(out)]


def test_a_node_whose_settings_cannot_be_checked_is_an_error_by_itself(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, err = run(capsys, "nodes", "toy.uncheckable")
    assert (code, out) == (1, "")
    assert "setting 'kernel: numpy.ndarray' cannot be checked" in err


def test_a_node_without_a_docstring_is_not_described_as_another(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, out, _ = run(capsys, "nodes", "toy.nodoc")
    assert out.startswith("toy.nodoc  version 1\n\nport ")
    assert "The base of all nodes" not in out
