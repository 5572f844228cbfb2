"""The graph: inputs, steps, outputs, and the proof that they fit together.

A graph is made from a pipeline file (`files/`) or from chained calls (`chain.py`). Its
steps are in an order in which each comes after those it reads.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from graphlib import CycleError, TopologicalSorter
from typing import Any

from visionweave.contract import Node, Port
from visionweave.errors import Problem, ValueTypeError
from visionweave.flow import Flow, check_call, input_flow, missing_ports, output_flows
from visionweave.plain import show
from visionweave.types import PortType

__all__ = [
    "Constant",
    "Graph",
    "GraphInput",
    "Ref",
    "Step",
    "bind_constant",
    "in_order",
    "infer",
    "needed_steps",
]

Where = Callable[[str, str], str]
"""Gives the place to report for a problem: of a step or input, and of one of its ports or ""."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference to an input or step, or to one field of a step with several outputs."""

    name: str
    field: str = ""

    def __str__(self) -> str:
        return f"${self.name}.{self.field}" if self.field else f"${self.name}"


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal bound to a port.

    Attributes:
        value: the value, or list of values, that the node gets.
        data: what was written: plain JSON data, or the value itself.
    """

    value: Any
    data: Any = field(compare=False)


@dataclass(frozen=True, slots=True)
class GraphInput:
    """An input of a pipeline; one without a default must be given."""

    name: str
    type: PortType
    default: Constant | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One use of a node: what is connected to its ports."""

    name: str
    node: Node
    bindings: dict[str, Ref | Constant]

    def refs(self) -> list[Ref]:
        """The references among the bindings."""
        return [binding for binding in self.bindings.values() if isinstance(binding, Ref)]

    def own_settings(self) -> dict[str, Any]:
        """The settings that differ from their defaults, as plain JSON data."""
        model = self.node.spec.settings
        given = dict(self.node.settings)
        required = {n: given[n] for n, each in model.model_fields.items() if each.is_required()}
        defaults = model.model_construct(**required).model_dump(mode="json")
        return {n: value for n, value in given.items() if n in required or defaults[n] != value}


@dataclass(frozen=True, slots=True)
class Graph:
    """A checked pipeline without a way to run it.

    Attributes:
        inputs: by name.
        steps: by name, each after the steps it reads.
        outputs: what the pipeline gives, by name.
        description: what the pipeline is for; no part of its identity.
    """

    inputs: dict[str, GraphInput]
    steps: dict[str, Step]
    outputs: dict[str, Ref]
    description: str = field(default="", compare=False)


def bind_constant(kind: PortType, data: Any, where: str) -> Constant | Problem:
    """Return plain data or a value as a constant of type `kind`, or the problem with it."""
    data = _without_paths(data)
    try:
        return Constant(kind.coerce(data), data)
    except ValueTypeError as error:
        expected = str(error).rpartition("; got ")[0] or str(error)  # as all values word it
        expected = str(kind) if len(kind.kinds) > 1 else expected.removeprefix("expected ")
        return Problem(where, "this literal does not fit", expected, show(data))


def _without_paths(data: Any) -> Any:
    """Paths as text, alone or in a list, so that a literal path can be written down."""
    if isinstance(data, (list, tuple)):
        return [_without_paths(each) for each in data]
    return os.fspath(data) if isinstance(data, os.PathLike) else data


def infer(graph: Graph, where: Where) -> tuple[dict[Ref, Flow], dict[str, int], list[Problem]]:
    """Work out what flows out of every input and step, and check what flows into every port.

    A step whose own inputs are wrong still has outputs of known types, so that one mistake is
    reported once and the next mistakes are still found.

    Returns:
        The flow of every reference; along how many axes each step runs; the problems.
    """
    flows: dict[Ref, Flow] = {
        Ref(name): input_flow(given.type, name) for name, given in graph.inputs.items()
    }
    depths: dict[str, int] = {}
    problems: list[Problem] = []
    for step in graph.steps.values():
        spec = step.node.spec
        refs = {port: ref for port, ref in step.bindings.items() if isinstance(ref, Ref)}
        bound = {port: flows[ref] for port, ref in refs.items() if ref in flows}
        names = {port: str(ref) for port, ref in refs.items()}
        place = partial(where, step.name)
        loop, found = check_call(spec, bound, names, place)
        found += missing_ports(spec, step.bindings, place(""), partial(_advise, flows))
        problems += found
        depths[step.name] = len(loop)
        sure = not found and len(bound) == len(refs) and all(f.sure for f in bound.values())
        label = f"step '{step.name}'"
        for output, flow in output_flows(spec, label, loop, sure).items():
            flows[Ref(step.name, output)] = flow
    return flows, depths, problems


def _advise(flows: Mapping[Ref, Flow], port: Port) -> str:
    """What to connect to a port: the last thing made that fits it."""
    fitting = [
        ref
        for ref, flow in flows.items()
        if port.type.accepts(flow.kinds) and (flow.axes or not port.type.many)
    ]
    return f"add `{port.name}: {fitting[-1] if fitting else '$name-of-an-input-or-step'}`"


def in_order(steps: Mapping[str, Step]) -> tuple[list[str], list[list[str]]]:
    """Return the steps' names so that each comes after those it reads, and the cycles found.

    The written order is kept wherever that is possible. A cycle is a path in the direction of the
    data that ends where it began, ["caption", "rank", "caption"]; its steps are not in the order.
    """
    remaining, cycles = dict(steps), []
    while True:
        sorter = TopologicalSorter(
            {
                name: [ref.name for ref in step.refs() if ref.name in remaining]
                for name, step in remaining.items()
            }
        )
        try:
            sorter.prepare()
            break
        except CycleError as error:
            cycles.append(list(error.args[1]))
            for name in cycles[-1][1:]:
                del remaining[name]
    place = {name: index for index, name in enumerate(remaining)}
    names, order, ready = list(remaining), list[str](), list[int]()
    while sorter.is_active():
        for name in sorter.get_ready():
            heapq.heappush(ready, place[name])
        order.append(names[heapq.heappop(ready)])
        sorter.done(order[-1])
    return order, cycles


def needed_steps(steps: Mapping[str, Step], outputs: Mapping[str, Ref]) -> set[str]:
    """Return the names of the steps that some output needs."""
    needed: set[str] = set()
    pending = [ref.name for ref in outputs.values()]
    while pending:
        name = pending.pop()
        if name in steps and name not in needed:
            needed.add(name)
            pending += [ref.name for ref in steps[name].refs()]
    return needed
