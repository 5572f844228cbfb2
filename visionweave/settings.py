"""Settings of nodes: the parameters of `__init__`, checked by pydantic.

Settings are data: numbers, text, booleans, lists and tables, as JSON has them, so that a pipeline
file can hold them and a hash can name them. They are checked strictly: "0.5" is no number, 1 is no
boolean; a whole number may stand for a float.
"""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from visionweave.errors import NodeError, Problem, did_you_mean

__all__ = ["SettingsModel", "check_settings", "describe_setting", "make_settings_model"]

SettingsModel = type[BaseModel]


def make_settings_model(cls: type) -> SettingsModel:
    """Return the pydantic model of the parameters of `cls.__init__`.

    Raises:
        NodeError: a parameter has no annotation, or is *args or **kwargs.
    """
    fields: dict[str, Any] = {}
    hints = typing.get_type_hints(cls.__init__, include_extras=True)  # type: ignore[misc]
    for name, parameter in list(inspect.signature(cls.__init__).parameters.items())[1:]:  # type: ignore[misc]
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise NodeError(
                f"{cls.__qualname__}.__init__: settings have names; {parameter} has not"
            )
        if name not in hints:
            raise NodeError(f"{cls.__qualname__}.__init__: setting '{name}' needs an annotation")
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[name] = (hints[name], default)
    config = ConfigDict(extra="forbid", strict=True, protected_namespaces=(), validate_default=True)
    try:
        return create_model(cls.__name__, __config__=config, **fields)
    except Exception as error:  # pydantic has no common base for what it finds wrong in a schema
        raise NodeError(f"{cls.__qualname__}.__init__: {error}") from error


def check_settings(
    model: SettingsModel, given: Mapping[str, Any], where: str
) -> tuple[dict[str, Any], list[Problem]]:
    """Check settings against their model.

    Returns:
        The settings to pass to `__init__`, defaults filled in, and the problems found. The
        settings are complete only when there are no problems.
    """
    try:
        text = json.dumps(dict(given), default=_plain)
    except TypeError as error:
        fix = "settings are data: numbers, text, booleans, lists and tables"
        return {}, [Problem(where, f"a setting cannot be written down: {error}", fix=fix)]
    try:
        checked = model.model_validate_json(text)
    except ValidationError as error:
        return {}, [_problem(model, details, where) for details in error.errors()]
    return {name: getattr(checked, name) for name in model.model_fields}, []


def describe_setting(model: SettingsModel, name: str) -> tuple[str, str]:
    """Return a setting's type with its range, and its default, as text for people.

    For example ("number, 0 to 1", "0.35"); the default is "" for a setting that must be given.
    """
    schema = model.model_json_schema()
    text = _describe_schema(schema["properties"][name], schema.get("$defs", {}))
    field = model.model_fields[name]
    return text, "" if field.is_required() else json.dumps(field.default, default=_plain)


def _problem(model: SettingsModel, details: Any, where: str) -> Problem:
    name, *inner = details["loc"] or ("settings",)
    place = f"{where}, setting '{name}'" + "".join(f"[{part!r}]" for part in inner)
    known = list(model.model_fields)
    if details["type"] == "extra_forbidden":
        listed = ", ".join(known) if known else "no settings"
        return Problem(
            where,
            f"unknown port or setting '{name}'",
            expected=f"one of the settings: {listed}" if known else listed,
            got=str(name),
            fix=did_you_mean(str(name), known),
        )
    expected = describe_setting(model, str(name))[0] if name in known else ""
    if details["type"] == "missing":
        return Problem(place, "this setting must be given", expected=expected, got="nothing")
    return Problem(place, details["msg"], expected=expected, got=repr(details["input"]))


_RANGE = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
    "minLength": "at least {} characters",
    "minItems": "at least {} entries",
    "maxItems": "at most {} entries",
    "pattern": "like {}",
}
_NAMES = {"array": "list", "object": "table", "string": "text", "integer": "whole number"}


def _describe_schema(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "$ref" in schema:
        return _describe_schema(definitions[schema["$ref"].rsplit("/")[-1]], definitions)
    if "anyOf" in schema:
        return " or ".join(_describe_schema(part, definitions) for part in schema["anyOf"])
    if "enum" in schema:
        return "one of " + ", ".join(json.dumps(choice) for choice in schema["enum"])
    if "const" in schema:
        return json.dumps(schema["const"])
    kind = schema.get("type", "anything")
    text = "nothing (null)" if kind == "null" else _NAMES.get(kind, kind)
    if isinstance(schema.get("items"), dict):
        text += f" of {_describe_schema(schema['items'], definitions)}"
    limits = [form.format(schema[key]) for key, form in _RANGE.items() if key in schema]
    return ", ".join([text, *limits])


def _plain(value: Any) -> Any:
    """What numpy's numbers, tuples' relatives and models are in JSON."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} is not data")
