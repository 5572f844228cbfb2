"""The house's walls: who may import whom, and what starting up may not import."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import visionweave

ROOT = Path(__file__).parent.parent
ENGINE = sorted((ROOT / "visionweave").rglob("*.py"))
NODES = sorted((ROOT / "nodes").rglob("*.py"))
HEAVY = {"torch", "torchvision", "transformers", "open_clip", "segment_anything", "groundingdino"}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports(path: Path, *, everywhere: bool) -> Iterator[str]:
    """The modules a file imports: at module level, or also inside functions."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if everywhere else module_level(tree.body):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = path.relative_to(ROOT).with_suffix("").parts[: -node.level]
                base = ".".join([*parent, *([base] if base else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def module_level(body: list[ast.stmt]) -> Iterator[ast.AST]:
    for node in body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        for part in ("body", "orelse", "handlers", "finalbody"):
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                yield from module_level(getattr(node, part, []))


@pytest.mark.parametrize("path", ENGINE, ids=module_of)
def test_the_engine_imports_no_node(path: Path) -> None:
    found = [name for name in imports(path, everywhere=True) if "visionweave.nodes." in f"{name}."]
    assert found == []


def family_of(path: Path) -> str:
    """`sam` for `nodes/sam/net.py`, `boxes` for `nodes/boxes.py`; what families share is of all."""
    name = path.relative_to(ROOT / "nodes").parts[0].removesuffix(".py")
    return "__init__" if name.startswith("_") else name


@pytest.mark.parametrize("path", NODES, ids=module_of)
def test_a_family_of_nodes_imports_no_other_family(path: Path) -> None:
    families = {family_of(p) for p in NODES} - {family_of(path), "__init__"}
    found = {
        name
        for name in imports(path, everywhere=True)
        for family in families
        if f"{name}.".startswith((f"nodes.{family}.", f"visionweave.nodes.{family}."))
    }
    assert found == set()


def is_network(path: Path) -> bool:
    """`nodes/sam/net.py` and its like: networks, whose classes need torch to be defined."""
    return path.parent.parent == ROOT / "nodes" and f"_{path.stem}".endswith("_net")


@pytest.mark.parametrize(
    "path", [path for path in ENGINE + NODES if not is_network(path)], ids=module_of
)
def test_model_libraries_and_networks_are_imported_inside_functions_only(path: Path) -> None:
    for name in imports(path, everywhere=False):
        assert name.split(".")[0] not in HEAVY
        assert not re.search(r"[._](net)$", name), (
            "a network imports torch: import it where it is built"
        )


def test_the_engine_has_no_import_cycles() -> None:
    modules = {module_of(path): path for path in ENGINE if path.name != "__init__.py"}
    packages = {module_of(path) for path in ENGINE if path.name == "__init__.py"}
    graph = {}
    for name, path in modules.items():
        read = set(imports(path, everywhere=False)) & modules.keys()
        # A package's own surface is made of its modules; within it, they import each other.
        inside = {p for p in packages if name.startswith(f"{p}.") and p != "visionweave"}
        for package in (set(imports(path, everywhere=False)) & packages) - inside:
            read |= {m for m in modules if m.startswith(f"{package}.") and package != "visionweave"}
        graph[name] = read - {name}
    assert len(list(TopologicalSorter(graph).static_order())) == len(modules)


def test_the_public_surface_is_pinned() -> None:
    assert visionweave.__all__ == [
        "Box",
        "Boxes",
        "Cutout",
        "DeviceError",
        "Embedding",
        "Fit",
        "Hits",
        "Image",
        "ImageError",
        "ImageWarning",
        "Input",
        "JobError",
        "Masks",
        "Mesh",
        "ModelNode",
        "Node",
        "NodeError",
        "NodeFailed",
        "Observer",
        "Origin",
        "Pipeline",
        "PipelineError",
        "PipelineWarning",
        "Points",
        "Result",
        "Runtime",
        "Scribble",
        "Tags",
        "Text",
        "Value",
        "ValueTypeError",
        "Views",
        "WeaveError",
        "WeaveWarning",
        "WeightsError",
        "batched",
        "node",
    ]
    for name in visionweave.__all__:
        assert getattr(visionweave, name) is not None
        assert name in dir(visionweave)


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["nodes"], ["check", "split-objects"], ["schema"], ["pipelines"]],
    ids=" ".join,
)
def test_looking_at_things_imports_no_torch(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom visionweave.cli import main\n"
        f"assert main({arguments!r}) == 0\n"
        "print([name for name in ('torch', 'trimesh') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
