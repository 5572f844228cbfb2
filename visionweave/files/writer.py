"""Writing a graph down: as a pipeline file, or as the Python that makes it.

Both read back to a graph with the same hash.
"""

from __future__ import annotations

import io
import keyword
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter

from visionweave.canonical import constant_data
from visionweave.errors import PipelineError, Problem
from visionweave.files.reader import VERSION
from visionweave.files.references import dollar, undollar
from visionweave.graph import Constant, Graph, Ref, Step
from visionweave.plain import is_plain
from visionweave.types import PortType
from visionweave.values import JsonValue

__all__ = ["to_python", "to_yaml"]


def to_yaml(graph: Graph) -> str:
    """Return the graph as a pipeline file; settings that have their default are left out.

    Raises:
        PipelineError: a port is bound to a value that YAML cannot hold, such as pixels.
    """
    steps = CommentedMap()
    for step in graph.steps.values():
        entry = CommentedMap({"node": step.node.spec.id})
        for port, binding in step.bindings.items():
            entry[port] = str(binding) if isinstance(binding, Ref) else _data(binding, step, port)
        entry.update({name: dollar(value) for name, value in step.own_settings().items()})
        entry.fa.set_flow_style()
        steps[step.name] = entry
    inputs: dict[str, Any] = {}
    for given in graph.inputs.values():
        inputs[given.name] = str(given.type)
        if given.default is not None:
            table = CommentedMap(type=str(given.type), default=_data(given.default, None, ""))
            table.fa.set_flow_style()
            inputs[given.name] = table
    plain = all(name == ref.name and not ref.field for name, ref in graph.outputs.items())
    outputs: Any = {name: str(ref) for name, ref in graph.outputs.items()}
    if plain:
        outputs = CommentedSeq(outputs)
        outputs.fa.set_flow_style()
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.width = 100
    buffer = io.StringIO()
    for line in graph.description.splitlines():
        buffer.write(f"# {line}".rstrip() + "\n")
    head = {"visionweave": VERSION, "inputs": inputs, "steps": steps, "outputs": outputs}
    yaml.dump(head, buffer)
    return buffer.getvalue()


_SAFE = re.compile(r"[\w$/][\w$/. -]*")
_PRINTABLE = re.compile(r"[ -~\u00a1-\u1fff\u2070-\ud7ff]*")


class _Representer(RoundTripRepresenter):
    """ruamel's representer, with quotation marks around all text that is not plainly plain.

    ruamel alone writes some text that it cannot read back: ":0" as a key in braces, for one.
    """

    def represent_text(self, text: str) -> ScalarNode:
        style = None if _SAFE.fullmatch(text) else "'" if _PRINTABLE.fullmatch(text) else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", text, style)


_Representer.add_representer(str, _Representer.represent_text)


def to_python(graph: Graph) -> str:
    """Return a Python script that builds the graph as `pipeline`, with the chaining API.

    Raises:
        PipelineError: a port is bound to a value that a script cannot hold, such as pixels, or a
            node's class cannot be imported by name.
    """
    names = _Names()
    variables = {name: names.new(name) for name in [*graph.inputs, *graph.steps]}
    classes: dict[str, str] = {}
    for step in graph.steps.values():
        spec = step.node.spec
        if spec.id not in classes:
            classes[spec.id] = names.new(spec.id.replace(".", "_").title().replace("_", ""))
    lines = [f"# {line}".rstrip() for line in graph.description.splitlines()]
    lines += ["import visionweave as vw", *sorted(_imports(graph, classes)), ""]
    for given in graph.inputs.values():
        default = "" if given.default is None else f", default={_literal(given.default, None, '')}"
        kind = _python_type(given.type)
        lines.append(f"{variables[given.name]} = vw.Input({given.name!r}, {kind}{default})")
    for step in graph.steps.values():
        settings = ", ".join(f"{name}={value!r}" for name, value in step.own_settings().items())
        ports = ", ".join(
            f"{port}={_reference(binding, variables)}"
            if isinstance(binding, Ref)
            else f"{port}={_literal(binding, step, port)}"
            for port, binding in step.bindings.items()
        )
        connect = "" if step.refs() else ".connect"  # a call with values alone would run
        node = f"{classes[step.node.spec.id]}({settings}){connect}"
        lines.append(f"{variables[step.name]} = {node}({ports})")
    outputs = ", ".join(
        _argument(name, _reference(ref, variables)) for name, ref in graph.outputs.items()
    )
    return "\n".join([*lines, f"pipeline = vw.Pipeline({outputs})", ""])


class _Names:
    """Names for variables, each given out once."""

    def __init__(self) -> None:
        self._taken = {"vw", "pipeline", "list"}

    def new(self, name: str) -> str:
        """Return `name`, with underscores behind it where it is a keyword or taken."""
        while name in self._taken or keyword.iskeyword(name):
            name += "_"
        self._taken.add(name)
        return name


def _imports(graph: Graph, classes: Mapping[str, str]) -> Iterator[str]:
    for id, alias in classes.items():
        cls = next(s.node.spec.cls for s in graph.steps.values() if s.node.spec.id == id)
        if "." in cls.__qualname__:
            what = "this node's class is inside another thing, and cannot be imported by name"
            fix = "move the class to the top of its module"
            raise PipelineError(
                [Problem(id, what, "", f"{cls.__module__}.{cls.__qualname__}", fix)]
            )
        yield f"from {_home(cls)} import {cls.__qualname__} as {alias}"


def _home(cls: type) -> str:
    """The outermost package that a class can be imported from: its public place."""
    home = module = cls.__module__
    while "." in module:
        module = module.rpartition(".")[0]
        if getattr(sys.modules.get(module), cls.__name__, None) is cls:
            home = module
    return home


def _data(constant: Constant, step: Step | None, port: str) -> Any:
    """The plain data of a constant, as short as it was written, with its dollar signs doubled."""
    if is_plain(constant.data):
        return dollar(constant.data)
    values = constant.value if isinstance(constant.value, list) else [constant.value]
    if not all(isinstance(value, JsonValue) for value in values):
        where = f"step '{step.name}', port '{port}'" if step else "the default of an input"
        what = "this value cannot be written into a file"
        fix = "make it an Input of the pipeline"
        got = f"a value of type {type(values[0]).__name__}"
        raise PipelineError([Problem(where, what, "text, numbers, lists and tables", got, fix)])
    plain = constant_data(constant)
    fields = [_without_form(each) for each in (plain if isinstance(plain, list) else [plain])]
    return dollar(fields if isinstance(plain, list) else fields[0])


def _without_form(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key not in ("type", "form")}


def _literal(constant: Constant, step: Step | None, port: str) -> str:
    return repr(undollar(_data(constant, step, port)))


def _argument(name: str, value: str) -> str:
    return f"**{{{name!r}: {value}}}" if keyword.iskeyword(name) else f"{name}={value}"


def _reference(ref: Ref, variables: dict[str, str]) -> str:
    return f"{variables[ref.name]}.{ref.field}" if ref.field else variables[ref.name]


def _python_type(kind: PortType) -> str:
    union = " | ".join(f"vw.{each.__name__}" for each in kind.kinds)
    return f"list[{union}]" if kind.many else union
