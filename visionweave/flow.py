"""What flows along the edges of a graph: value types, and over what they are repeated.

An output of type `list[Cutout]` opens an *axis*: one cutout per object. Fed into a port of type
`Cutout`, the step runs once per object, and its output lies along the same axis. Values without the
axis are the same for every object. Two different axes never meet: the objects of one step are not
the objects of another, even when there happen to be as many.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    """The static type of an output: values of `kinds`, repeated along `axes`, outermost first."""

    kinds: tuple[type[Value], ...]
    axes: tuple[Axis, ...] = ()

    def __str__(self) -> str:
        name = str(PortType(self.kinds))
        for _ in self.axes:
            name = f"list[{name}]"
        return name


def input_flow(kind: PortType, name: str) -> Flow:
    """The flow of a pipeline's input."""
    return Flow(kind.kinds, (Axis(f"the list in input '{name}'"),) if kind.many else ())


def output_flows(spec: NodeSpec, step: str, loop: tuple[Axis, ...]) -> dict[str, Flow]:
    """The flows of a step's outputs when it runs along `loop`."""
    return {
        field: Flow(
            kind.kinds,
            (*loop, Axis(f"the list from step '{step}'{'.' if field else ''}{field}"))
            if kind.many
            else loop,
        )
        for field, kind in spec.outputs.items()
    }


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
        axes = loop_axes(port, flow)
        shared = min(len(axes), len(loop))
        if axes[:shared] != loop[:shared]:
            problems.append(
                Problem(
                    where(name),
                    f"ports '{leader}' and '{name}' of {spec.id} get lists of different origin",
                    expected="lists that lie along the same objects",
                    got=f"{names[leader]}, along {loop[shared - 1].label}; "
                    f"{names[name]}, along {axes[shared - 1].label}",
                    fix="make both from the output of one step",
                )
            )
        elif len(axes) > len(loop):
            loop, leader = axes, name
    return loop, problems


def _misfit(spec: NodeSpec, port: Port, flow: Flow, name: str, where: str) -> Problem | None:
    """The problem of one connection, if there is one."""
    what = f"cannot connect {name} to port '{port.name}' of {spec.id}"
    if not port.type.accepts(flow.kinds):
        fitting = [p.name for p in spec.ports.values() if p.type.accepts(flow.kinds)]
        fix = f"port '{fitting[0]}' takes it" if fitting else f"{spec.id} takes {spec.signature}"
        return Problem(where, what, expected=str(port.type), got=f"{name}: {flow}", fix=fix)
    if port.type.many and not flow.axes:
        fix = f"connect an output of type {port.type}, before it is taken apart"
        return Problem(where, what, expected=str(port.type), got=f"{name}: {flow}, one", fix=fix)
    return None


def unknown_port(spec: NodeSpec, name: str, where: str) -> Problem:
    """The problem of a connection to a port that the node does not have."""
    settings = list(spec.settings.model_fields)
    if name in settings:
        fix = "give it a plain value; only ports can be connected"
        what = f"'{name}' of {spec.id} is a setting, not a port"
        return Problem(where, what, expected="a literal value", got="a connection", fix=fix)
    ports = ", ".join(f"{port.name} ({port.type})" for port in spec.ports.values())
    fix = did_you_mean(name, [*spec.ports, *settings])
    what = f"{spec.id} has no port or setting '{name}'"
    listed = f"ports {ports or 'none'}; settings {', '.join(settings) or 'none'}"
    return Problem(where, what, expected=listed, got=name, fix=fix)


def missing_ports(spec: NodeSpec, bound: Mapping[str, object], where: str) -> list[Problem]:
    """The problems of ports that must be connected and are not."""
    return [
        Problem(
            where,
            f"port '{port.name}' of {spec.id} is not connected",
            expected=f"a {port.type}",
            got="nothing",
            fix=f"add `{port.name}: $name-of-an-input-or-step`",
        )
        for port in spec.ports.values()
        if not port.optional and port.name not in bound
    ]
