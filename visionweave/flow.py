"""What flows along the edges of a graph: value types, and over what they are repeated.

An output of type `list[Cutout]` opens an *axis*: one cutout per object. Fed into a port of type
`Cutout`, the step runs once per object, and its output lies along the same axis. Values without the
axis are the same for every object. Two different axes never meet: the objects of one step are not
the objects of another, even when there happen to be as many.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from visionweave.contract import NodeSpec, Port
from visionweave.errors import Problem, did_you_mean
from visionweave.types import PortType
from visionweave.values import Value

__all__ = [
    "Axis",
    "Flow",
    "check_call",
    "input_flow",
    "loop_axes",
    "missing_ports",
    "output_flows",
    "unknown_port",
]


@dataclass(frozen=True, eq=False, slots=True)
class Axis:
    """The elements of one list output. Two axes are the same only if they are one object."""

    label: str


@dataclass(frozen=True, slots=True)
class Flow:
    """The static type of an output: values of `kinds`, repeated along `axes`, outermost first.

    `sure` is False for what comes out of a step whose own inputs are wrong: its kinds are known,
    its axes are not.
    """

    kinds: tuple[type[Value], ...]
    axes: tuple[Axis, ...] = ()
    sure: bool = True

    def __str__(self) -> str:
        name = str(PortType(self.kinds))
        for _ in self.axes:
            name = f"list[{name}]"
        return name


def input_flow(kind: PortType, name: str) -> Flow:
    """The flow of a pipeline's input."""
    return Flow(
        kind.kinds, (Axis(f"{PortType(kind.kinds)} of input '{name}'"),) if kind.many else ()
    )


def output_flows(
    spec: NodeSpec, step: str, loop: tuple[Axis, ...], sure: bool = True
) -> dict[str, Flow]:
    """The flows of the outputs of a step when it runs along `loop`; `step` is for messages."""
    flows = {}
    for field, kind in spec.outputs.items():
        label = f"{PortType(kind.kinds)} of {step}" + (f" ({field})" if field else "")
        axes = (*loop, Axis(label)) if kind.many else loop
        flows[field] = Flow(kind.kinds, axes, sure)
    return flows


def loop_axes(port: Port, flow: Flow) -> tuple[Axis, ...]:
    """The axes along which a step repeats because of one port: a list port takes the innermost."""
    return flow.axes[:-1] if port.type.many else flow.axes


def check_call(
    spec: NodeSpec,
    flows: Mapping[str, Flow],
    names: Mapping[str, str],
    where: Callable[[str], str],
) -> tuple[tuple[Axis, ...], list[Problem]]:
    """Check that `flows` fit the ports of a node.

    Args:
        spec: the node.
        flows: what is connected, by port; unknown ports are the caller's to report.
        names: how each is called in messages, by port, such as "$boxes".
        where: gives the place to report for a port's problem.

    Returns:
        The axes along which the step runs, outermost first, and the problems found.
    """
    problems = []
    loop: tuple[Axis, ...] = ()
    leader = ""
    for name, flow in flows.items():
        port = spec.ports[name]
        problem = _misfit(spec, port, flow, names[name], where(name))
        if problem is not None:
            problems.append(problem)
            continue
        axes = loop_axes(port, flow) if flow.sure else ()
        pairs = enumerate(zip(axes, loop, strict=False))
        parting = next((level for level, (mine, other) in pairs if mine is not other), None)
        if parting is not None:
            got = f"{names[leader]}, one per {loop[parting].label}; "
            got += f"{names[name]}, one per {axes[parting].label}"
            what = f"ports '{leader}' and '{name}' get lists of different origin"
            expected = "lists made from one and the same list"
            fix = "make both from the output of one step"
            problems.append(Problem(where(name), what, expected, got, fix))
        elif len(axes) > len(loop):
            loop, leader = axes, name
    return loop, problems


def _misfit(spec: NodeSpec, port: Port, flow: Flow, name: str, where: str) -> Problem | None:
    """The problem of one connection, if there is one."""
    what = f"cannot connect {name} to port '{port.name}'"
    if not port.type.accepts(flow.kinds):
        fitting = [p.name for p in spec.ports.values() if p.type.accepts(flow.kinds)]
        fix = (
            f"did you mean port '{fitting[0]}'?" if fitting else f"{spec.id} takes {spec.signature}"
        )
        return Problem(where, what, str(port.type), str(flow), fix)
    if port.type.many and flow.sure and not flow.axes:
        fix = "connect a list, or the output of a step that runs once per object"
        return Problem(where, what, str(port.type), f"one {flow}", fix)
    return None


def unknown_port(spec: NodeSpec, name: str, where: str) -> Problem:
    """The problem of a name that is neither a port nor a setting of the node."""
    ports = ", ".join(f"{port.name} ({port.type})" for port in spec.ports.values())
    settings = list(spec.settings.model_fields)
    listed = f"ports {ports or 'none'}; settings {', '.join(settings) or 'none'}"
    fix = did_you_mean(name, [*spec.ports, *settings])
    return Problem(where, f"there is no port or setting '{name}'", listed, "", fix)


def missing_ports(
    spec: NodeSpec, bound: Collection[str], where: str, fix: Callable[[Port], str]
) -> list[Problem]:
    """The problems of ports that must be connected and are not; `fix` gives the advice."""
    return [
        Problem(where, f"port '{port.name}' is not connected", str(port.type), "nothing", fix(port))
        for port in spec.ports.values()
        if not port.optional and port.name not in bound
    ]
