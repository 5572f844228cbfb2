"""Nodes are found by entry points: a package adds some with nothing but its own pyproject.toml."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from visionweave import Image, Node, Pipeline, PipelineError, node, registry
from visionweave.errors import NodeError
from visionweave.registry import find_node, node_ids, replaced

PYPROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "{name}"
version = "1.0"

[tool.setuptools]
py-modules = ["{module}"]

[project.entry-points."visionweave.nodes"]
"""

ACME = '''\
"""A package of somebody else's."""

from visionweave import Node, Text, node


@node("acme.shout")
class Shout(Node):
    """The same, louder."""

    def __init__(self, marks: int = 1) -> None:
        self.marks = marks

    def run(self, text: Text) -> Text:
        return Text(text.text.upper() + "!" * self.marks)


@node("acme.echo")
class Echo(Node):
    def run(self, text: Text) -> Text:
        return text


class Quiet(Echo):
    """Not a node of its own: it is not decorated."""


no_node = "a text"
'''

RIVAL = "from visionweave import Node, Text, node\n"
BROKEN = "import a_library_that_is_not_installed\n"
LEAVING = "import sys\n\nsys.exit(3)\n"

ENTRIES = {
    "acme": {
        "acme.shout": "Shout",
        "acme.other": "Echo",
        "acme.quiet": "Quiet",
        "acme.text": "no_node",
        "acme.nothing": "Nothing",
        "acme.claimed": "Shout",
    },
    "rival": {"acme.claimed": "Shout"},
    "broken": {"broken.node": "Blur"},
    "leaving": {"leaving.node": "Blur"},
}
MODULES = {"acme": ACME, "rival": RIVAL, "broken": BROKEN, "leaving": LEAVING}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which these packages were installed by pip, from their sources alone."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for name, module in MODULES.items():
        folder = source / name
        folder.mkdir()
        (folder / f"{name}_nodes.py").write_text(module)
        entries = [f'"{id}" = "{name}_nodes:{cls}"' for id, cls in ENTRIES[name].items()]
        project = PYPROJECT.format(name=f"{name}-vision", module=f"{name}_nodes")
        (folder / "pyproject.toml").write_text(project + "\n".join(entries) + "\n")
    install = ["install", "--no-index", "--no-build-isolation", "--no-deps", "--quiet"]
    folders = [str(source / name) for name in MODULES]
    command = [sys.executable, "-m", "pip", *install, "--target", str(target), *folders]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def python(site: Path, code: str) -> str:
    """What a fresh Python prints that sees the installed packages."""
    env = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


RUN = """
import visionweave as vw

pipeline = vw.Pipeline.from_yaml('''
visionweave: 1
inputs: {text: Text}
steps:
  loud: {node: acme.shout, text: $text, marks: 2}
outputs: [loud]
''')
print(pipeline.run(text="hello")["loud"].text)
print(pipeline.to_python())
"""


def test_a_package_adds_a_node_by_its_pyproject_alone(site: Path) -> None:
    assert python(site, RUN) == (
        "HELLO!!\n"
        "import visionweave as vw\n"
        "from acme_nodes import Shout as AcmeShout\n"
        "\n"
        "text = vw.Input('text', vw.Text)\n"
        "loud = AcmeShout(marks=2)(text=text)\n"
        "pipeline = vw.Pipeline(loud=loud)\n\n"
    )


LIST = """
import sys
from visionweave.registry import node_ids

print(*(id for id in node_ids() if id.startswith(("acme", "broken", "leaving"))))
print(*(name for name in sys.modules if name.endswith("_nodes") or name == "torch"))
"""


def test_listing_nodes_imports_no_package_of_theirs(site: Path) -> None:
    ids = sorted({id for entries in ENTRIES.values() for id in entries})
    assert python(site, LIST) == f"{' '.join(ids)}\n\n"


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The installed packages, in this Python."""
    monkeypatch.syspath_prepend(str(site))
    registry._declared.cache_clear()
    yield
    registry._declared.cache_clear()
    for name in MODULES:
        sys.modules.pop(f"{name}_nodes", None)


ACME_SAYS = "of package acme-vision is declared as acme_nodes:"


@pytest.mark.parametrize(
    ("id", "said"),
    [
        pytest.param(
            "acme.claimed",
            "node 'acme.claimed' is claimed by acme-vision and rival-vision; uninstall one of them",
            id="two packages claim it",
        ),
        pytest.param(
            "broken.node",
            "node 'broken.node' of package broken-vision cannot be imported: ModuleNotFoundError: "
            "No module named 'a_library_that_is_not_installed'; repair or uninstall it",
            id="its module raises",
        ),
        pytest.param(
            "leaving.node",
            "node 'leaving.node' of package leaving-vision cannot be imported: SystemExit: 3; "
            "repair or uninstall it",
            id="its module ends the process",
        ),
        pytest.param(
            "acme.nothing",
            "node 'acme.nothing' of package acme-vision cannot be imported: AttributeError: module "
            "'acme_nodes' has no attribute 'Nothing'; repair or uninstall it",
            id="its module has no such name",
        ),
        pytest.param(
            "acme.text",
            f"node 'acme.text' {ACME_SAYS}no_node, which is no node; decorate it",
            id="it is no class",
        ),
        pytest.param(
            "acme.quiet",
            f"node 'acme.quiet' {ACME_SAYS}Quiet, which is no node; decorate it",
            id="it is not decorated",
        ),
        pytest.param(
            "acme.other",
            f"node 'acme.other' {ACME_SAYS}Echo, which calls itself 'acme.echo'",
            id="it has another id",
        ),
        pytest.param(
            "acme.shuot", "unknown node 'acme.shuot'; did you mean acme.shout?", id="misspelt"
        ),
    ],
)
@pytest.mark.usefixtures("installed")
def test_a_node_declared_wrongly_says_whose_it_is(id: str, said: str) -> None:
    with pytest.raises(NodeError, match=f"^{re.escape(said)}$"):
        find_node(id)


@pytest.mark.usefixtures("installed")
def test_a_broken_package_is_one_problem_among_others() -> None:
    text = (
        "visionweave: 1\n"
        "steps:\n"
        "  a: {node: broken.node}\n"
        "  b: {node: acme.shout, text: hello, mark: 2}\n"
        "outputs: [b]\n"
    )
    with pytest.raises(PipelineError, match=r"^2 problems") as caught:
        Pipeline.from_yaml(text, "loud.yaml")
    assert [problem.what for problem in caught.value.problems] == [
        "node 'broken.node' of package broken-vision cannot be imported: ModuleNotFoundError: "
        "No module named 'a_library_that_is_not_installed'; repair or uninstall it",
        "there is no port or setting 'mark'",
    ]


@node("toy.blur")
class Blur(Node):
    def run(self, image: Image) -> Image: ...


@node("toy.sharpen")
class Sharpen(Node):
    def run(self, image: Image) -> Image: ...


def test_nodes_are_replaced_for_the_length_of_a_with() -> None:
    before = node_ids()
    with replaced({"toy.blur": Blur}):
        assert find_node("toy.blur") is Blur
        with replaced({"toy.blur": Sharpen, "toy.sharpen": Sharpen}):
            assert find_node("toy.blur") is Sharpen
            assert node_ids() == sorted([*before, "toy.blur", "toy.sharpen"])
        assert find_node("toy.blur") is Blur
        with pytest.raises(NodeError, match=r"unknown node 'toy\.blurr'; did you mean toy\.blur\?"):
            find_node("toy.blurr")
    assert node_ids() == before


def test_nodes_come_back_after_an_error() -> None:
    before = node_ids()
    with pytest.raises(KeyError, match="stop"), replaced({"toy.blur": Blur}):
        raise KeyError("stop")
    assert node_ids() == before


def test_a_node_like_no_other_points_to_the_list() -> None:
    with pytest.raises(NodeError, match="unknown node 'qqq'; `visionweave nodes` lists the nodes"):
        find_node("qqq")


def test_all_nodes_of_ours_can_be_found() -> None:
    assert [find_node(id).spec.id for id in node_ids()] == node_ids()
