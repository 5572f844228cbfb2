"""The Python way to write a graph: call nodes on inputs and on each other's outputs.

    photo = Input("photo", Image)
    masks = sam.Segment()(photo, grounding_dino.Detect()(photo, ["a cat"]))

Each call is checked where it stands, so that a wrong connection is an error of that line.
"""

from __future__ import annotations

import itertools
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from visionweave.contract import Node, NodeSpec
from visionweave.errors import PipelineError, Problem, ValueTypeError
from visionweave.flow import Flow, check_call, input_flow, missing_ports, output_flows, unknown_port
from visionweave.graph import Constant, Graph, GraphInput, Ref, Step
from visionweave.types import PortType, read_annotation

__all__ = ["Handle", "Input", "bind_constant", "call", "trace"]


class Handle:
    """A value that does not exist yet: an input, or the output of a step."""

    def __init__(self, source: GraphInput | _Call, field: str, flow: Flow) -> None:
        self._source, self._field, self._flow = source, field, flow

    def __repr__(self) -> str:
        source = self._source
        name = source.name if isinstance(source, GraphInput) else source.node.spec.id
        return f"<{name}{'.' if self._field else ''}{self._field}: {self._flow}>"

    def __bool__(self) -> bool:
        raise TypeError(f"{self!r} has no value yet; run the pipeline to get one")

    def __iter__(self) -> Any:
        raise TypeError(f"{self!r} has no elements yet; connect it to a port of one element's type")


class Input(Handle):
    """An input of a pipeline.

    Args:
        name: the name by which `run` and `map` take it.
        type: a value type, a union, or a list of one: `Image`, `list[Image]`.
        default: a value, or plain data such as a list of phrases; without one it must be given.

    Raises:
        ValueTypeError: `type` is no port type, or `default` does not fit it.
    """

    def __init__(self, name: str, type: Any, default: Any = None) -> None:
        kind = read_annotation(type)
        if kind is None:
            raise ValueTypeError(
                f"input '{name}' needs a value type or a list of one; got {type!r}"
            )
        constant = None if default is None else Constant(kind.coerce(default), default)
        super().__init__(GraphInput(name, kind, constant), "", input_flow(kind, name))


@dataclass(frozen=True, eq=False, slots=True)
class _Call:
    """One symbolic call: becomes a step.

    A call can only read what was made before it, so its serial number orders it.
    """

    node: Node
    bindings: dict[str, Handle | Constant]
    serial: int = field(default_factory=itertools.count().__next__)


def call(node: Node, args: tuple[Any, ...], ports: Mapping[str, Any]) -> Any:
    """What calling a node does: see `Node.__call__`."""
    bound = _bind(node.spec, args, ports)
    if any(map(_is_symbolic, bound.values())):
        return _connect(node, bound)
    from visionweave.pipeline import run_node  # running is a floor above writing

    return run_node(node, bound)


def _bind(spec: NodeSpec, args: tuple[Any, ...], ports: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call by port, without those that are None."""
    if len(args) > len(spec.ports):
        listed = ", ".join(spec.ports)
        problem = Problem(
            spec.id,
            f"{spec.id} has {len(spec.ports)} ports",
            expected=f"at most {len(spec.ports)} arguments: {listed}",
            got=str(len(args)),
        )
        raise PipelineError([problem])
    bound = dict(zip(spec.ports, args, strict=False))
    problems = [unknown_port(spec, name, spec.id) for name in ports if name not in spec.ports]
    problems += [
        Problem(spec.id, f"port '{name}' is given twice", fix="give it once, by place or by name")
        for name in ports
        if name in bound
    ]
    bound = {name: value for name, value in (bound | dict(ports)).items() if value is not None}
    problems += missing_ports(spec, bound, spec.id)
    if problems:
        raise PipelineError(problems)
    return bound


def _connect(node: Node, bound: Mapping[str, Any]) -> Any:
    spec = node.spec
    bindings: dict[str, Handle | Constant] = {}
    problems = []
    for name, value in bound.items():
        if isinstance(value, Handle):
            bindings[name] = value
            continue
        constant = bind_constant(spec.ports[name].type, value, f"{spec.id}, port '{name}'")
        if isinstance(constant, Problem):
            problems.append(constant)
        else:
            bindings[name] = constant
    handles = {name: value for name, value in bindings.items() if isinstance(value, Handle)}
    flows = {name: handle._flow for name, handle in handles.items()}
    names = {name: repr(handle) for name, handle in handles.items()}
    loop, found = check_call(spec, flows, names, lambda port: spec.id)
    if problems + found:
        raise PipelineError(problems + found)
    made = _Call(node, bindings)
    outputs = {
        field: Handle(made, field, flow)
        for field, flow in output_flows(spec, spec.id, loop).items()
    }
    return outputs[""] if "" in outputs else _named(spec)(**outputs)


def _named(spec: NodeSpec) -> Any:
    """The NamedTuple class that the node returns."""
    return typing.get_type_hints(spec.cls.run)["return"]


def bind_constant(kind: PortType, data: Any, where: str) -> Constant | Problem:
    """Return plain data or a value as a constant of a port, or the problem with it."""
    if _is_symbolic(data):
        fields = ", ".join(data._fields)
        fix = f"connect one of its outputs: {fields}"
        return Problem(where, "several outputs cannot go into one port", str(kind), fields, fix)
    try:
        return Constant(kind.coerce(data), data)
    except ValueTypeError as error:
        return Problem(where, "the literal does not fit the port", str(kind), str(error))


def _is_symbolic(value: Any) -> bool:
    """Whether `value` is a handle, or the several outputs of a step."""
    several = isinstance(value, tuple) and hasattr(value, "_fields")
    return isinstance(value, Handle) or (
        several and any(isinstance(part, Handle) for part in value)
    )


def trace(outputs: Mapping[str, Any], description: str = "") -> Graph:
    """Return the graph of all that the handles in `outputs` need.

    A step takes the name of the output that it is; the others are named after their nodes.

    Raises:
        PipelineError: an output is no handle, or two inputs of one name differ.
    """
    problems = [
        Problem(
            f"output '{name}'",
            "an output must be what a node returned, or an input",
            expected="the result of calling a node on an Input",
            got=repr(handle),
        )
        for name, handle in outputs.items()
        if not isinstance(handle, Handle)
    ]
    if problems:
        raise PipelineError(problems)
    inputs, calls = _collect(outputs.values())
    names = _names(calls, outputs, inputs)

    def refer(handle: Handle) -> Ref:
        source = handle._source
        return Ref(source.name if isinstance(source, GraphInput) else names[source], handle._field)

    steps = {
        names[made]: Step(
            names[made],
            made.node,
            {
                port: refer(binding) if isinstance(binding, Handle) else binding
                for port, binding in made.bindings.items()
            },
        )
        for made in calls
    }
    refs = {name: refer(handle) for name, handle in outputs.items()}
    return Graph(inputs, steps, refs, description)


def _collect(outputs: Iterable[Handle]) -> tuple[dict[str, GraphInput], list[_Call]]:
    """Return the inputs by name, and the calls in the order in which they were made."""
    inputs: dict[str, GraphInput] = {}
    calls: set[_Call] = set()
    pending = [handle._source for handle in outputs]
    while pending:
        source = pending.pop()
        if isinstance(source, _Call):
            if source not in calls:
                calls.add(source)
                read = source.bindings.values()
                pending += [binding._source for binding in read if isinstance(binding, Handle)]
            continue
        known = inputs.setdefault(source.name, source)
        if (known.type, known.default) != (source.type, source.default):
            what = f"two different inputs are called '{source.name}'"
            raise PipelineError([Problem("inputs", what, fix="give each its own name")])
    return inputs, sorted(calls, key=lambda made: made.serial)


def _names(
    calls: list[_Call], outputs: Mapping[str, Handle], inputs: Mapping[str, GraphInput]
) -> dict[_Call, str]:
    names: dict[_Call, str] = {}
    taken = set(inputs)
    for name, handle in outputs.items():
        source = handle._source
        if isinstance(source, _Call) and source not in names and name not in taken:
            names[source] = name
            taken.add(name)
    for made in calls:
        if made in names:
            continue
        base = made.node.spec.id.replace(".", "_")
        candidates = (base if n == 1 else f"{base}_{n}" for n in range(1, len(calls) + 2))
        names[made] = next(name for name in candidates if name not in taken)
        taken.add(names[made])
    return names
