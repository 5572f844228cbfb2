"""The JSON Schema of pipeline files, made from the installed nodes, for editors.

    # yaml-language-server: $schema=pipeline.schema.json

It says of a file what can be said without knowing which step gives what: keys, names, types, the
ports and settings of each node with their ranges. That the steps fit together, the loader checks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from visionweave.contract import NodeSpec, Port
from visionweave.errors import NodeError
from visionweave.files.reader import VERSION
from visionweave.files.references import NAME, RUN_ARGUMENTS
from visionweave.registry import find_node, node_ids
from visionweave.settings import describe_setting
from visionweave.types import PortType
from visionweave.values import TYPES, JsonValue, Value

__all__ = ["pipeline_schema"]

Schema = dict[str, Any]


PLAIN: dict[str, list[Schema]] = {
    "Image": [{"type": "string", "description": "The path of an image file."}],
    "Text": [{"type": "string"}],
    "Tags": [
        {"type": "array", "items": {"type": "string", "minLength": 1}},
        {"type": "string", "description": "Phrases with commas between them."},
    ],
    "Points": [{"type": "array", "items": {"$ref": "#/$defs/xy"}}],
    "Scribble": [
        {"type": "array", "items": {"type": "array", "items": {"$ref": "#/$defs/xy"}}},
    ],
}
"""The short forms of literals, by value type; see the `coerce` of each."""


def pipeline_schema() -> Schema:
    """Return the JSON Schema (draft 2020-12) of pipeline files.

    Nodes that cannot be imported are left out. A schema is plain data: `json.dumps` writes it.
    """
    specs = list(_specs())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "visionweave pipeline",
        "description": "A typed pipeline of vision models: inputs, steps, outputs.",
        "type": "object",
        "required": ["visionweave", "steps", "outputs"],
        "additionalProperties": False,
        "properties": {
            "visionweave": {
                "description": f"The version of the format: {VERSION}.",
                "const": VERSION,
            },
            "inputs": _inputs(),
            "steps": {
                "description": "The steps by name; each names its node, and says what goes into "
                "the node's ports and which settings it has.",
                "type": ["object", "null"],
                "propertyNames": {"pattern": f"^{NAME}$"},
                "additionalProperties": _step(specs),
            },
            "outputs": _outputs(),
        },
        "$defs": _definitions(specs),
    }


def _specs() -> Iterator[NodeSpec]:
    for id in node_ids():
        try:
            spec = find_node(id).spec
            spec.settings  # noqa: B018  made when first asked for, which may fail as well
        except NodeError:
            continue
        yield spec


def _inputs() -> Schema:
    table = {
        "type": "object",
        "required": ["type"],
        "additionalProperties": False,
        "properties": {
            "type": {"$ref": "#/$defs/type"},
            "default": {
                "description": "What the input is when it is not given.",
                "not": {"type": "null"},
            },
        },
    }
    return {
        "description": "The inputs by name, each with its type: `photo: Image`, or "
        "`phrases: {type: Tags, default: [cat, dog]}`.",
        "type": ["object", "null"],
        "propertyNames": {"pattern": f"^{NAME}$", "not": {"enum": list(RUN_ARGUMENTS)}},
        "additionalProperties": {"anyOf": [{"$ref": "#/$defs/type"}, table]},
    }


def _step(specs: Iterable[NodeSpec]) -> Schema:
    about = {spec.id: _about(spec) for spec in specs}
    return {
        "type": "object",
        "required": ["node"],
        "properties": {
            "node": {
                "description": "The node that does the step; `visionweave nodes` lists them.",
                "enum": list(about),
                "enumDescriptions": list(about.values()),  # shown by editors beside each choice
            }
        },
        "allOf": [
            {
                "if": {"required": ["node"], "properties": {"node": {"const": id}}},
                "then": {"$ref": f"#/$defs/{id}"},
            }
            for id in about
        ],
    }


def _outputs() -> Schema:
    reference = {"type": "string", "pattern": rf"^\$?{NAME}(\.{NAME})?$"}
    return {
        "description": "What the pipeline gives: a list of steps, `[masks, boxes]`, or names of "
        "your own, `cutouts: $cut`. One of several outputs of a step is `step.field`.",
        "anyOf": [
            {"type": "array", "minItems": 1, "uniqueItems": True, "items": reference},
            {
                "type": "object",
                "minProperties": 1,
                "propertyNames": {"pattern": f"^{NAME}$"},
                "additionalProperties": reference,
            },
        ],
    }


def _definitions(specs: Iterable[NodeSpec]) -> dict[str, Schema]:
    definitions: dict[str, Schema] = {
        "reference": {
            "description": "An input or step, or one of several outputs of a step.",
            "type": "string",
            "pattern": rf"^\${NAME}(\.{NAME})?$",
        },
        "literal": {
            "description": "No reference at any depth: $$ stands for a dollar sign.",
            "not": {"type": "string", "pattern": r"^\$([^$]|$)"},
            "items": {"$ref": "#/$defs/literal"},
            "additionalProperties": {"$ref": "#/$defs/literal"},
        },
        "xy": {
            "description": "x and y in pixels of the photo.",
            "type": "array",
            "items": {"type": "number"},
            "minItems": 2,
            "maxItems": 2,
        },
        "type": _type(),
    }
    definitions |= {f"value.{kind.__name__}": {"anyOf": _forms(kind)} for kind in TYPES.values()}
    for spec in specs:
        node, models = _node(spec)
        definitions |= {spec.id: node} | models
    return definitions


def _type() -> Schema:
    one = f"({'|'.join(TYPES)})"
    union = rf"{one}(\s*\|\s*{one})*"
    return {
        "description": "The type of an input: a value type, a union `Boxes | Points`, or a list "
        "of one, `list[Image]`.",
        "anyOf": [
            {"enum": [*TYPES, *(f"list[{name}]" for name in TYPES)]},
            {"type": "string", "pattern": rf"^\s*({union}|list\[\s*{union}\s*\])\s*$"},
        ],
    }


def _forms(kind: type[Value]) -> list[Schema]:
    """How a value of a type can be written in a file: pixels and meshes cannot at all."""
    forms = list(PLAIN.get(kind.__name__, []))
    if issubclass(kind, JsonValue):
        forms.append({"type": "object", "description": f"The fields of {kind.__name__} in JSON."})
    return forms or [{"not": {}}]


def _node(spec: NodeSpec) -> tuple[Schema, dict[str, Schema]]:
    """The schema of a step with this node, and those of the models in its settings."""
    models = spec.settings.model_json_schema(ref_template=f"#/$defs/{spec.id}.{{model}}")
    settings = {
        name: _setting(spec, name, schema) for name, schema in models.get("properties", {}).items()
    }
    ports = {name: _port(port) for name, port in spec.ports.items()}
    required = [name for name, port in spec.ports.items() if not port.optional]
    node = {
        "title": spec.id,
        "description": _about(spec),
        "required": ["node", *required, *models.get("required", [])],
        "additionalProperties": False,
        "properties": {
            "node": {"const": spec.id, "description": _about(spec)},
            **ports,
            **settings,
        },
    }
    return node, {f"{spec.id}.{name}": each for name, each in models.get("$defs", {}).items()}


def _port(port: Port) -> Schema:
    fallback = " Need not be connected." if port.optional else ""
    return {
        "description": f"Port: {port.type}.{fallback}",
        "anyOf": [
            {"$ref": "#/$defs/reference"},
            {"allOf": [{"$ref": "#/$defs/literal"}, _literal(port.type)]},
        ],
    }


def _literal(kind: PortType) -> Schema:
    one = {"anyOf": [{"$ref": f"#/$defs/value.{each.__name__}"} for each in kind.kinds]}
    return {"type": "array", "items": one} if kind.many else one


def _setting(spec: NodeSpec, name: str, schema: Schema) -> Schema:
    text, default = describe_setting(spec.settings, name)
    about = schema.get("description", "").rstrip(".")
    kind = f"Setting: {text}; default {default}." if default else f"Setting: {text}."
    own = {key: value for key, value in schema.items() if key != "title"}
    return own | {
        "description": f"{about}. {kind}" if about else kind,
        "allOf": [*schema.get("allOf", []), {"$ref": "#/$defs/literal"}],
    }


def _about(spec: NodeSpec) -> str:
    """What an editor shows when the pointer rests on a node."""
    parts = [spec.summary, spec.signature, spec.paper]
    return "\n\n".join(part for part in parts if part)
