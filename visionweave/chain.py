"""The Python way to write a graph: call nodes on inputs and on each other's outputs.

    photo = Input("photo", Image)
    masks = sam.Segment()(photo, grounding_dino.Detect()(photo, ["a cat"]))

Each call is checked where it stands, so that a wrong connection is an error of that line.
"""

from __future__ import annotations

import inspect
import itertools
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from visionweave.contract import Node, NodeSpec
from visionweave.errors import PipelineError, Problem
from visionweave.files.references import RUN_ARGUMENTS, check_name
from visionweave.flow import Flow, check_call, input_flow, missing_ports, output_flows, unknown_port
from visionweave.graph import Constant, Graph, GraphInput, Ref, Step, bind_constant
from visionweave.plain import show
from visionweave.signature import argument_problems
from visionweave.types import PortType, read_annotation

__all__ = ["Handle", "Input", "call", "connect", "trace"]


class Handle:
    """A value that does not exist yet: an input, or the output of a step."""

    def __init__(self, source: GraphInput | _Call, field: str, flow: Flow) -> None:
        self._source, self._field, self._flow = source, field, flow

    def __str__(self) -> str:
        if isinstance(self._source, GraphInput):
            return f"input '{self._source.name}'"
        which = f"'{self._field}' " if self._field else ""
        return f"the output {which}of {self._source.node.spec.id}"

    def __repr__(self) -> str:
        return f"<{self}: {self._flow}>"

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
        PipelineError: `name` cannot be a name, `type` is no port type, or `default` does not fit.
    """

    def __init__(self, name: str, type: Any, default: Any = None) -> None:
        given = _make_input(name, type, default)
        super().__init__(given, "", input_flow(given.type, name))


def _make_input(name: str, type: Any, default: Any) -> GraphInput:
    where = f"input '{name}'"
    problem = check_name(name, where, RUN_ARGUMENTS)
    if problem is not None:
        raise PipelineError([problem])
    kind = read_annotation(type)
    if kind is None:
        what, expected = "this is no type of an input", "a value type, such as Image or list[Image]"
        raise PipelineError([Problem(where, what, expected, _type_name(type))])
    if default is None:
        return GraphInput(name, kind)
    constant = bind_constant(kind, default, where)
    if isinstance(constant, Problem):
        raise PipelineError([constant])
    return GraphInput(name, kind, constant)


@dataclass(frozen=True, eq=False, slots=True)
class _Call:
    """One symbolic call: becomes a step.

    A call can only read what was made before it, so its serial number orders it.
    """

    node: Node
    bindings: dict[str, Handle | Constant]
    serial: int = field(default_factory=itertools.count().__next__)

    def reads(self) -> list[Handle]:
        """The handles among the bindings."""
        return [binding for binding in self.bindings.values() if isinstance(binding, Handle)]


def call(node: Node, args: tuple[Any, ...], ports: Mapping[str, Any]) -> Any:
    """What calling a node does: see `Node.__call__`."""
    bound = _bind(node.spec, args, ports)
    if any(map(_is_symbolic, bound.values())):
        return _connect(node, bound)
    from visionweave.pipeline import run_node  # running is a floor above writing

    return run_node(node, bound)


def connect(node: Node, args: tuple[Any, ...], ports: Mapping[str, Any]) -> Any:
    """What connecting a node does: see `Node.connect`."""
    return _connect(node, _bind(node.spec, args, ports))


def _bind(spec: NodeSpec, args: tuple[Any, ...], ports: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call by port, without those that are None."""
    names = list(spec.ports)
    problems = argument_problems(spec.id, "port", names, args, ports)
    for name in ports:
        if name in spec.settings.model_fields:
            what = f"'{name}' is a setting, not a port"
            fix = f"give it when the node is built: {spec.cls.__name__}({name}=...)"
            problems.append(Problem(spec.id, what, fix=fix))
        elif name not in spec.ports:
            problems.append(unknown_port(spec, name, spec.id))
    bound = dict(zip(names, args, strict=False)) | dict(ports)
    bound = {name: value for name, value in bound.items() if value is not None}
    if not problems:  # or else the port that is missing may be the one that is misspelt
        problems = missing_ports(
            spec, bound, spec.id, lambda port: f"give it by place or by name: {port.name}=..."
        )
    if problems:
        raise PipelineError(problems)
    return bound


def _connect(node: Node, bound: Mapping[str, Any]) -> Any:
    spec = node.spec
    bindings: dict[str, Handle | Constant] = {}
    problems = []
    for name, value in bound.items():
        binding = _binding(spec.ports[name].type, value, f"{spec.id}, port '{name}'")
        if isinstance(binding, Problem):
            problems.append(binding)
        else:
            bindings[name] = binding
    handles = {name: value for name, value in bindings.items() if isinstance(value, Handle)}
    flows = {name: handle._flow for name, handle in handles.items()}
    names = {name: str(handle) for name, handle in handles.items()}
    loop, found = check_call(spec, flows, names, lambda port: spec.id)
    if problems + found:
        raise PipelineError(problems + found)
    made = _Call(node, bindings)
    outputs = {
        field: Handle(made, field, flow)
        for field, flow in output_flows(spec, spec.id, loop).items()
    }
    return outputs[""] if "" in outputs else _named(spec)(**outputs)


def _binding(kind: PortType, value: Any, where: str) -> Handle | Constant | Problem:
    """What to bind to a port of type `kind`: a handle as it is, a constant of anything else."""
    if isinstance(value, Handle):
        return value
    if not _is_symbolic(value):
        return bind_constant(kind, value, where)
    if isinstance(value, list):
        what = "a list of outputs cannot be connected"
        expected, fix = "one output", "connect the output of a step that gives a list"
        return Problem(where, what, expected, f"a list of {len(value)}", fix)
    fields = ", ".join(value._fields)
    what, fix = "several outputs cannot go into one port", f"connect one of them: {fields}"
    return Problem(where, what, str(kind), fields, fix)


def _named(spec: NodeSpec) -> Any:
    """The NamedTuple class that the node returns."""
    return typing.get_type_hints(spec.cls.run)["return"]


def _is_symbolic(value: Any) -> bool:
    """Whether `value` is a handle, the several outputs of a step, or a list of handles."""
    several = isinstance(value, list) or (isinstance(value, tuple) and hasattr(value, "_fields"))
    return isinstance(value, Handle) or (
        several and any(isinstance(part, Handle) for part in value)
    )


def _type_name(type: Any) -> str:
    return show(type) if isinstance(type, str) else inspect.formatannotation(type)


def trace(outputs: Mapping[str, Any], description: str = "") -> Graph:
    """Return the graph of all that the handles in `outputs` need.

    A step takes the name of the output that it is; the others are named after their nodes.

    Raises:
        PipelineError: an output is no handle or has no proper name, or two inputs of one name
            differ.
    """
    problems = [_output_problem(name, handle) for name, handle in outputs.items()]
    found = [problem for problem in problems if problem is not None]
    if found:
        raise PipelineError(found)
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


def _output_problem(name: str, given: Any) -> Problem | None:
    where = f"output '{name}'"
    if isinstance(given, Handle):
        return check_name(name, where)
    what = "an output must be what a node returned, or an input"
    if _is_symbolic(given):
        fix = "give each a name of its own"
        return Problem(where, what, "one output", f"{len(given)} outputs", fix)
    return Problem(where, what, "the result of calling a node on an Input", show(given))


def _collect(outputs: Iterable[Handle]) -> tuple[dict[str, GraphInput], list[_Call]]:
    """Return the inputs by name as they are first read, and the calls in the order of making."""
    made: set[_Call] = set()
    pending = [handle._source for handle in outputs]
    while pending:
        source = pending.pop()
        if isinstance(source, _Call) and source not in made:
            made.add(source)
            pending += [handle._source for handle in source.reads()]
    calls = sorted(made, key=lambda each: each.serial)
    inputs: dict[str, GraphInput] = {}
    for handle in itertools.chain(*(each.reads() for each in calls), outputs):
        source = handle._source
        if isinstance(source, GraphInput):
            known = inputs.setdefault(source.name, source)
            if (known.type, known.default) != (source.type, source.default):
                what = f"two different inputs are called '{source.name}'"
                raise PipelineError([Problem("inputs", what, fix="give each its own name")])
    return inputs, calls


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
