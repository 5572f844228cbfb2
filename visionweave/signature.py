"""Reading a node's class: its ports and outputs from `run`, its settings from `__init__`."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from visionweave.errors import NodeError, Problem
from visionweave.types import PortType, read_annotation

__all__ = ["RESERVED", "Port", "argument_problems", "read_run", "read_settings"]

RESERVED = frozenset({"node"})
"""Names that mean something else in a step of a pipeline file."""


@dataclass(frozen=True, slots=True)
class Port:
    """One parameter of a node's `run`."""

    name: str
    type: PortType
    optional: bool
    default: Any = None


def read_run(cls: type) -> tuple[dict[str, Port], dict[str, PortType]]:
    """Return the ports and the outputs of a node class, by name; see `NodeSpec`.

    Raises:
        NodeError: there is no `run`, or it cannot be read as ports and outputs.
    """
    where = f"{cls.__qualname__}.run"
    if not inspect.isfunction(inspect.getattr_static(cls, "run", None)):
        raise NodeError(f"{where}: a node has a method `run`")
    run = cls.run  # type: ignore[attr-defined]
    hints = _hints(run, where, extras=False)
    ports = {}
    for parameter in _parameters(run, where):
        name = parameter.name
        kind = read_annotation(hints.get(name))
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
            raise NodeError(
                f"{where}: a port is a plain parameter, without * or /; got {parameter}"
            )
        if kind is None or name in RESERVED:
            raise NodeError(
                f"{where}: port '{name}' must be annotated with a value type, a list of one or a "
                f"union, and not be called 'node'; got {_annotation(hints, name)}"
            )
        optional = parameter.default is not parameter.empty
        ports[name] = Port(name, kind, optional, parameter.default if optional else None)
    return ports, _read_outputs(where, hints)


def _read_outputs(where: str, hints: Mapping[str, Any]) -> dict[str, PortType]:
    annotation = hints.get("return")
    single = read_annotation(annotation)
    if single is not None and type(None) not in typing.get_args(annotation):
        return {"": single}
    if isinstance(annotation, type) and issubclass(annotation, tuple):
        fields = typing.get_type_hints(annotation)
        kinds = {name: read_annotation(hint) for name, hint in fields.items()}
        found = {name: kind for name, kind in kinds.items() if kind is not None}
        if found and len(found) == len(kinds):
            return found
    raise NodeError(
        f"{where}: a node returns a value type, a list of one, or a NamedTuple of those, and never "
        f"None; got {_annotation(hints, 'return')}"
    )


def read_settings(cls: type) -> dict[str, tuple[Any, Any]]:
    """Return the annotation and the default of every setting, `...` for one that must be given.

    Raises:
        NodeError: a parameter of `__init__` cannot be a setting.
    """
    where = f"{cls.__qualname__}.__init__"
    hints = _hints(cls.__init__, where, extras=True)  # type: ignore[misc]
    found = {}
    for parameter in _parameters(cls.__init__, where):  # type: ignore[misc]
        name = parameter.name
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise NodeError(f"{where}: a setting is given by its name; got {parameter}")
        if name.startswith("_"):
            raise NodeError(f"{where}: a setting is public; rename '{name}'")
        if name not in hints:
            raise NodeError(f"{where}: setting '{name}' needs an annotation")
        default = ... if parameter.default is parameter.empty else parameter.default
        found[name] = (hints[name], default)
    return found


def _hints(function: Callable[..., Any], where: str, extras: bool) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=extras)
    except Exception as error:  # evaluating an annotation may raise anything
        raise NodeError(
            f"{where}: an annotation cannot be read: {error}; import its types where the module "
            "can see them when it runs"
        ) from None


def _annotation(hints: Mapping[str, Any], name: str) -> str:
    return inspect.formatannotation(hints[name]) if name in hints else "no annotation"


def _parameters(method: Callable[..., Any], where: str) -> list[inspect.Parameter]:
    """The parameters of a method without `self`."""
    parameters = list(inspect.signature(method).parameters.values())
    if not parameters or parameters[0].name != "self":
        got = f"'{parameters[0].name}'" if parameters else "none"
        raise NodeError(f"{where}: the first parameter of a method is `self`; got {got}")
    return parameters[1:]


def argument_problems(
    where: str, kind: str, by_place: list[str], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> list[Problem]:
    """The problems of too many arguments, and of those given twice; `kind` is what they are."""
    problems = [
        Problem(where, f"{kind} '{name}' is given twice", fix="give it once, by place or by name")
        for name in by_place[: len(args)]
        if name in kwargs
    ]
    if len(args) > len(by_place):
        listed = f": {', '.join(by_place)}" if by_place else ""
        expected = f"at most {len(by_place)} by place{listed}"
        problems.append(Problem(where, f"too many {kind}s", expected, str(len(args))))
    return problems
