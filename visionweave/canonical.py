"""The canonical form of a graph, and its hash.

Two graphs that compute the same outputs in the same way have one canonical form, whether they were
written in YAML or in Python. In it a step is called by the digest of what it is: its node, settings
(complete, defaults included) and what its ports read. So names and order do not count, equal steps
are one, and steps and inputs that no output needs are gone.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from visionweave.graph import Constant, Graph, Ref, needed_steps
from visionweave.values import JsonValue, Value

__all__ = ["canonical_form", "constant_data", "digest", "graph_hash", "step_digests"]


def canonical_form(graph: Graph) -> dict[str, Any]:
    """Return the graph as plain JSON data: its inputs and outputs by name, its steps by digest."""
    forms, digests = _walk(graph)
    refs = [*graph.outputs.values(), *(ref for n in digests for ref in graph.steps[n].refs())]
    read = {ref.name for ref in refs}
    inputs = {
        name: {"type": str(given.type)}
        | ({} if given.default is None else {"default": constant_data(given.default)})
        for name, given in sorted(graph.inputs.items())
        if name in read
    }
    outputs = {name: _refer(ref, digests) for name, ref in sorted(graph.outputs.items())}
    return {"visionweave": 1, "inputs": inputs, "steps": forms, "outputs": outputs}


def step_digests(graph: Graph) -> dict[str, str]:
    """Return the digest of every step that an output needs, by the step's name."""
    return _walk(graph)[1]


def _walk(graph: Graph) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the forms of the needed steps by digest, and the digests by name."""
    forms: dict[str, Any] = {}
    digests: dict[str, str] = {}
    needed = needed_steps(graph.steps, graph.outputs)
    for step in graph.steps.values():
        if step.name not in needed:
            continue
        form = {
            "node": step.node.spec.id,
            "version": step.node.spec.version,
            "settings": dict(step.node.settings),
            "ports": {
                port: {"constant": constant_data(binding)}
                if isinstance(binding, Constant)
                else _refer(binding, digests)
                for port, binding in sorted(step.bindings.items())
            },
        }
        digests[step.name] = digest(form)
        forms[digests[step.name]] = form
    return dict(sorted(forms.items())), digests


def _refer(ref: Ref, digests: dict[str, str]) -> dict[str, str]:
    if ref.name not in digests:
        return {"input": ref.name}
    return {"step": digests[ref.name]} | ({"field": ref.field} if ref.field else {})


def graph_hash(graph: Graph) -> str:
    """Return the sha256 of the canonical form, 64 hexadecimal digits."""
    return digest(canonical_form(graph))


def digest(data: Any) -> str:
    """Return the sha256 of plain JSON data, written with sorted keys and no spaces."""
    return hashlib.sha256(_dumps(data).encode()).hexdigest()


def constant_data(constant: Constant) -> Any:
    """Return the plain data of a constant: the same for a list of phrases and the Tags of it."""
    if not isinstance(constant.value, list):
        return _value_data(constant.value, constant.data)
    return [_value_data(*pair) for pair in zip(constant.value, constant.data, strict=True)]


def _value_data(value: Value, data: Any) -> Any:
    if isinstance(value, JsonValue):
        return json.loads(value.to_bytes())
    if isinstance(data, str):  # the path of an image: its bytes are the run's business
        return data
    return {"type": type(value).__name__, "sha256": hashlib.sha256(value.to_bytes()).hexdigest()}


def _dumps(data: Any) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
