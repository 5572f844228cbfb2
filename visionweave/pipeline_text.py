"""Writing a graph down: as a pipeline file, or as the Python that makes it.

Both read back to a graph with the same hash.
"""

from __future__ import annotations

import io
import keyword
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from visionweave.canonical import constant_data
from visionweave.errors import PipelineError, Problem
from visionweave.graph import Constant, Graph, Ref, Step
from visionweave.pipeline_file import VERSION, undollar
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
        entry.update({name: _escape(value) for name, value in _own_settings(step).items()})
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
    yaml.width = 100
    buffer = io.StringIO()
    for line in graph.description.splitlines():
        buffer.write(f"# {line}".rstrip() + "\n")
    head = {"visionweave": VERSION, "inputs": inputs, "steps": steps, "outputs": outputs}
    yaml.dump(head, buffer)
    return buffer.getvalue()


def to_python(graph: Graph) -> str:
    """Return a Python script that builds the graph as `pipeline`, with the chaining API.

    Raises:
        PipelineError: a port is bound to a value that a script cannot hold, such as pixels.
    """
    taken = {"vw", "pipeline"}
    imports: dict[tuple[str, str], None] = {}
    variables: dict[str, str] = {}
    lines = []
    for name in [*graph.inputs, *graph.steps]:
        clash = name in taken or keyword.iskeyword(name)
        variables[name] = f"{name}_" if clash else name
    for given in graph.inputs.values():
        default = "" if given.default is None else f", default={_literal(given.default, None, '')}"
        kind = _python_type(given.type)
        lines.append(f"{variables[given.name]} = vw.Input({given.name!r}, {kind}{default})")
    for step in graph.steps.values():
        cls = step.node.spec.cls
        alias = step.node.spec.id.replace(".", "_").title().replace("_", "")
        imports[cls.__module__, f"{cls.__qualname__} as {alias}"] = None
        settings = ", ".join(f"{name}={value!r}" for name, value in _own_settings(step).items())
        ports = ", ".join(
            f"{port}={_reference(binding, variables)}"
            if isinstance(binding, Ref)
            else f"{port}={_literal(binding, step, port)}"
            for port, binding in step.bindings.items()
        )
        lines.append(f"{variables[step.name]} = {alias}({settings})({ports})")
    outputs = ", ".join(
        f"{name}={_reference(ref, variables)}" for name, ref in graph.outputs.items()
    )
    heading = [f"# {line}".rstrip() for line in graph.description.splitlines()]
    froms = [f"from {module} import {names}" for module, names in sorted(imports)]
    heading += ["import visionweave as vw", *froms, ""]
    return "\n".join([*heading, *lines, f"pipeline = vw.Pipeline({outputs})", ""])


def _own_settings(step: Step) -> dict[str, Any]:
    """The settings that differ from their defaults."""
    defaults = step.node.spec.settings.model_fields
    return {
        name: value
        for name, value in step.node.settings.items()
        if defaults[name].is_required() or _plain(defaults[name].default) != value
    }


def _plain(default: Any) -> Any:
    """A default as JSON has it: tuples are lists there."""
    return [_plain(each) for each in default] if isinstance(default, (tuple, list)) else default


def _data(constant: Constant, step: Step | None, port: str) -> Any:
    """The plain data of a constant, as short as it was written."""
    if _is_plain(constant.data):
        return _escape(constant.data)
    values = constant.value if isinstance(constant.value, list) else [constant.value]
    if not all(isinstance(value, JsonValue) for value in values):
        where = f"step '{step.name}', port '{port}'" if step else "an input's default"
        what = "a value that is no plain data cannot be written down"
        fix = "make it an Input of the pipeline"
        raise PipelineError([Problem(where, what, "text, numbers, lists", repr(values[0]), fix)])
    plain = constant_data(constant)
    fields = [_without_form(each) for each in (plain if isinstance(plain, list) else [plain])]
    return _escape(fields if isinstance(plain, list) else fields[0])


def _without_form(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key not in ("type", "form")}


def _is_plain(data: Any) -> bool:
    if isinstance(data, (list, tuple)):
        return all(map(_is_plain, data))
    if isinstance(data, dict):
        return all(isinstance(key, str) and _is_plain(value) for key, value in data.items())
    return data is None or isinstance(data, (str, int, float, bool))


def _escape(data: Any) -> Any:
    """Double the dollar sign that begins a text, which would make it a reference."""
    if isinstance(data, str):
        return f"${data}" if data.startswith("$") else data
    if isinstance(data, (list, tuple)):
        return [_escape(each) for each in data]
    if isinstance(data, dict):
        return {key: _escape(value) for key, value in data.items()}
    return data


def _literal(constant: Constant, step: Step | None, port: str) -> str:
    return repr(undollar(_data(constant, step, port)))


def _reference(ref: Ref, variables: dict[str, str]) -> str:
    return f"{variables[ref.name]}.{ref.field}" if ref.field else variables[ref.name]


def _python_type(kind: PortType) -> str:
    union = " | ".join(f"vw.{each.__name__}" for each in kind.kinds)
    return f"list[{union}]" if kind.many else union
