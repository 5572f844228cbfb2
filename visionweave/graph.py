"""The graph: inputs, steps, outputs, and the proof that they fit together.

A graph is made from a pipeline file (`pipeline_file.py`) or from chained calls (`chain.py`). Its
steps are in an order in which each comes after those it reads.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

from visionweave.contract import Node
from visionweave.errors import Problem
from visionweave.flow import Flow, check_call, input_flow, missing_ports, output_flows
from visionweave.types import PortType

__all__ = ["Constant", "Graph", "GraphInput", "Ref", "Step", "in_order", "infer", "needed_steps"]

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
        bound = {
            port: flows[ref]
            for port, ref in step.bindings.items()
            if isinstance(ref, Ref) and ref in flows
        }
        names = {port: str(step.bindings[port]) for port in bound}
        place = _at(where, step.name)
        loop, found = check_call(spec, bound, names, place)
        problems += found + missing_ports(spec, step.bindings, place(""))
        depths[step.name] = len(loop)
        for output, flow in output_flows(spec, step.name, loop).items():
            flows[Ref(step.name, output)] = flow
    return flows, depths, problems


def _at(where: Where, step: str) -> Callable[[str], str]:
    return lambda port: where(step, port)


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
