"""Printing nodes and ready pipelines: tables for people, JSON for programs."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from visionweave.contract import ModelNode, NodeSpec
from visionweave.errors import NodeError, WeightsError
from visionweave.pipeline import ready_pipelines
from visionweave.registry import find_node, node_ids
from visionweave.settings import describe_setting
from visionweave.weights import checkpoint
from visionweave.weights.lookup import ABOUT_MINI

__all__ = ["all_nodes", "node_json", "node_page", "node_table", "pipeline_table"]


def all_nodes() -> tuple[list[NodeSpec], list[str]]:
    """Return all nodes that can be used, and why the others cannot."""
    found, broken = [], []
    for id in node_ids():
        try:
            spec = find_node(id).spec
            spec.settings  # noqa: B018  made when first asked for, which may fail as well
        except NodeError as error:
            broken.append(str(error))
        else:
            found.append(spec)
    return found, broken


def node_table(specs: list[NodeSpec]) -> None:
    """Print one line per node: id, ports, what it does."""
    table = _table("node", "ports", "what it does")
    for spec in specs:
        table.add_row(Text(spec.id, "bold"), Text(spec.signature), Text(spec.summary))
    _print(table)


def node_page(spec: NodeSpec) -> None:
    """Print all there is to know of one node."""
    console, fields = _console(), spec.settings.model_fields
    console.print(Text.assemble((spec.id, "bold"), f"  version {spec.version}"))
    console.print(Text(spec.about))
    ports = _table("port", "type", "")
    for port in spec.ports.values():
        ports.add_row(port.name, Text(str(port.type)), "optional" if port.optional else "")
    for name, output in spec.outputs.items():
        ports.add_row(Text(f"-> {name}".strip()), Text(str(output)), "output")
    console.print(ports)
    if fields:
        settings = _table("setting", "type", "default", "")
        for name, field in fields.items():
            allowed, default = describe_setting(spec.settings, name)
            settings.add_row(name, Text(allowed), Text(default), Text(field.description or ""))
        console.print(settings)
    for title, text in _label(spec):
        console.print(Text.assemble((f"{title}: ", "bold"), text))


def node_json(spec: NodeSpec) -> dict[str, Any]:
    """Return all there is to know of one node as plain JSON data."""
    return {
        "id": spec.id,
        "version": spec.version,
        "summary": spec.summary,
        "ports": {
            port.name: {"type": str(port.type), "optional": port.optional}
            for port in spec.ports.values()
        },
        "outputs": {name: str(kind) for name, kind in spec.outputs.items()},
        "settings": spec.settings.model_json_schema().get("properties", {}),
    } | dict(_label(spec))


def pipeline_table() -> None:
    """Print one line per ready pipeline: name, and the first line of its opening comment."""
    table = _table("pipeline", "what it does")
    for name, text in ready_pipelines().items():
        first = text.splitlines()[0].lstrip("# ")
        table.add_row(Text(name, "bold"), Text(first.removeprefix(f"{name}: ")))
    _print(table)


def _label(spec: NodeSpec) -> list[tuple[str, str]]:
    """The museum label: what is said of the model behind a node."""
    lines = []
    model = spec.settings.model_fields.get("model")
    if issubclass(spec.cls, ModelNode) and model is not None:
        lines.append(("model", _model(spec, str(model.default))))
    if spec.license:
        lines.append(("license", spec.license))
    if spec.paper:
        lines.append(("paper", spec.paper))
    return lines


def _model(spec: NodeSpec, name: str) -> str:
    """The checkpoint that a node uses by default, and on what terms."""
    try:
        entry = checkpoint(name, spec.id)
    except WeightsError:  # a node of another package may keep its weights elsewhere
        return name
    about = f"; {ABOUT_MINI}" if entry.shipped else ""
    return f"{name}: {entry.name}, {entry.license}, commercial use: {entry.commercial}{about}"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _console() -> Console:
    # Into a file or a pipe, lines are not cut at the width of a terminal that is not there.
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=200)


def _print(table: Table) -> None:
    _console().print(table)
