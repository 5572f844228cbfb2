"""What there is to draw of a pipeline: boxes and the links between them, in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from visionweave.canonical import step_digests
from visionweave.flow import Axis, Flow
from visionweave.graph import Constant, Graph, Ref, Step
from visionweave.pipeline import Pipeline

__all__ = ["Box", "Diagram", "Link", "clip", "make_diagram"]

Kind = Literal["input", "step", "output"]


@dataclass(frozen=True, slots=True)
class Box:
    """An input, a step or an output.

    Attributes:
        kind: which of them.
        name: its name in the pipeline.
        node: the node's id; "" for inputs and outputs.
        types: the static types of its outputs by field, such as {"": "list[Cutout]"}.
        ports: what each port is connected to, "$photo" or a literal; an output's is called "".
        settings: the settings that differ from their defaults, and the default of an input.
        runs: how often it runs, "once per object of 'cutouts'"; "" for inputs and outputs.
        many: whether it runs more than once per item.
    """

    kind: Kind
    name: str
    node: str
    types: Mapping[str, str]
    ports: Mapping[str, str]
    settings: Mapping[str, str]
    runs: str = ""
    many: bool = False

    @property
    def literals(self) -> dict[str, str]:
        """What is written out in the box: ports bound to a literal, then the settings."""
        bound = {name: text for name, text in self.ports.items() if not text.startswith("$")}
        return bound | dict(self.settings)


@dataclass(frozen=True, slots=True)
class Link:
    """An edge: a value of `source` that `target` reads.

    Attributes:
        source: the index of the box that gives it.
        target: the index of the box that reads it.
        field: which output of the source; "" for the only one.
        ports: the target's ports that read it; empty for an output.
        type: its static type.
        many: whether it is a list.
    """

    source: int
    target: int
    field: str
    ports: tuple[str, ...]
    type: str
    many: bool

    @property
    def label(self) -> str:
        """The type, with the field where a step has several outputs."""
        return f"{self.field}: {self.type}" if self.field else self.type


@dataclass(frozen=True, slots=True)
class Diagram:
    """Boxes, inputs first and outputs last, and the links between them by their indices."""

    description: str
    boxes: tuple[Box, ...]
    links: tuple[Link, ...]


def make_diagram(pipeline: Pipeline) -> Diagram:
    """Say in words what there is to draw."""
    graph, flows = pipeline.graph, pipeline.flows
    item = "photo" if pipeline.plan.reads_images else "item"
    boxes = _input_boxes(graph) + _step_boxes(graph, flows, item) + _output_boxes(graph, flows)
    return Diagram(_printable(graph.description), tuple(boxes), tuple(_links(graph, flows)))


def clip(text: str, length: int) -> str:
    """Shorten a text to `length` characters, with "…" for what is left out."""
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}…"


def _input_boxes(graph: Graph) -> list[Box]:
    return [
        Box(
            "input",
            given.name,
            "",
            {"": str(given.type)},
            {},
            {} if given.default is None else {"default": _written(given.default.data)},
        )
        for given in graph.inputs.values()
    ]


def _step_boxes(graph: Graph, flows: Mapping[Ref, Flow], item: str) -> list[Box]:
    digests = step_digests(graph)
    first: dict[str, str] = {}
    twins = {name: first.setdefault(digest, name) for name, digest in digests.items()}
    openers = _openers(graph, flows)
    boxes = []
    for step in graph.steps.values():
        outputs = step.node.spec.outputs
        loop = _loop(step, flows)
        runs = f"once per {openers[loop[-1]]}" if loop else f"once per {item}"
        twin = twins.get(step.name)
        if twin is None:
            runs = "never: no output needs it"
        elif twin != step.name:
            runs = f"never: it is the same as '{twin}'"
        types = {field: str(flows[Ref(step.name, field)]) for field in outputs}
        ports = {port: _bound(binding) for port, binding in step.bindings.items()}
        settings = {name: _written(value) for name, value in step.own_settings().items()}
        id, many = step.node.spec.id, len(loop) > 0
        boxes.append(Box("step", step.name, id, types, ports, settings, runs, many))
    return boxes


def _output_boxes(graph: Graph, flows: Mapping[Ref, Flow]) -> list[Box]:
    return [
        Box("output", name, "", {"": str(flows[ref])}, {"": _bound(ref)}, {})
        for name, ref in graph.outputs.items()
    ]


def _links(graph: Graph, flows: Mapping[Ref, Flow]) -> list[Link]:
    """One link per value and reader, however many of the reader's ports it goes to."""
    index = {name: place for place, name in enumerate([*graph.inputs, *graph.steps])}
    readers: list[tuple[Ref, int, list[str]]] = []
    for step in graph.steps.values():
        for ref in dict.fromkeys(step.refs()):
            ports = [port for port, binding in step.bindings.items() if binding == ref]
            readers.append((ref, index[step.name], ports))
    for place, ref in enumerate(graph.outputs.values(), len(index)):
        readers.append((ref, place, []))
    return [
        Link(
            index[ref.name], target, ref.field, tuple(ports), str(flows[ref]), bool(flows[ref].axes)
        )
        for ref, target, ports in readers
    ]


def _loop(step: Step, flows: Mapping[Ref, Flow]) -> tuple[Axis, ...]:
    """The axes along which a step repeats: those of an output, without the one that it opens."""
    field, kind = next(iter(step.node.spec.outputs.items()))
    axes = flows[Ref(step.name, field)].axes
    return axes[:-1] if kind.many else axes


def _openers(graph: Graph, flows: Mapping[Ref, Flow]) -> dict[Axis, str]:
    """Where each axis comes from, in words: "object of 'cutouts'"."""
    openers = {}
    for name, given in graph.inputs.items():
        if given.type.many:
            openers[flows[Ref(name)].axes[-1]] = f"element of '{name}'"
    for step in graph.steps.values():
        for field, kind in step.node.spec.outputs.items():
            if kind.many:
                ref = Ref(step.name, field)
                openers[flows[ref].axes[-1]] = f"object of '{str(ref)[1:]}'"
    return openers


def _bound(binding: Ref | Constant) -> str:
    return str(binding) if isinstance(binding, Ref) else _written(binding.data)


def _written(data: Any) -> str:
    """Data about as a pipeline file has it: "[cat, dog]", "0.35", "true"."""
    if isinstance(data, str):
        plain = data and data == data.strip() and data.isprintable() and data[0] not in "$\"'[{"
        return data if plain else _printable(json.dumps(data, ensure_ascii=False))
    if isinstance(data, (list, tuple)):
        return f"[{', '.join(map(_written, data))}]"
    if isinstance(data, Mapping):
        return f"{{{', '.join(f'{key}: {_written(value)}' for key, value in data.items())}}}"
    if data is None or isinstance(data, (bool, int, float)):
        return json.dumps(data)
    return _printable(repr(data))


def _printable(text: str) -> str:
    """The text with a sign in place of characters that terminals obey or XML forbids."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
