"""Settings of nodes: the parameters of `__init__`, checked by pydantic.

Settings are data: numbers, text, booleans, lists and tables, as JSON has them, so that a pipeline
file can hold them and a hash can name them. They are checked strictly: "0.5" is no number, 1 is no
boolean, nothing is infinite; a whole number may stand for a float.
"""

from __future__ import annotations

import enum
import json
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from visionweave.errors import NodeError, Problem, did_you_mean
from visionweave.plain import show
from visionweave.signature import read_settings

__all__ = ["SettingsModel", "check_settings", "describe_setting", "make_settings_model"]

SettingsModel = type[BaseModel]


def make_settings_model(cls: type) -> SettingsModel:
    """Return the pydantic model of the parameters of `cls.__init__`.

    Raises:
        NodeError: a parameter has no annotation, or none that pydantic can check.
    """
    fields: dict[str, Any] = read_settings(cls)
    config = ConfigDict(
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        validate_default=True,
    )
    try:
        with warnings.catch_warnings():  # a setting may be called "schema" or "copy"
            warnings.filterwarnings("ignore", "Field name .* shadows an attribute")
            return create_model(cls.__name__, __config__=config, **fields)
    except Exception as error:  # pydantic has no common base for what it finds wrong in a schema
        raise NodeError(f"{cls.__qualname__}.__init__: {error}") from error


def check_settings(
    model: SettingsModel, given: Mapping[str, Any], where: Callable[[str], str]
) -> tuple[dict[str, Any], dict[str, Problem]]:
    """Check settings against their model.

    Args:
        model: the model.
        given: the settings by name.
        where: gives the place to report for a setting.

    Returns:
        The settings to pass to `__init__`, defaults filled in, and a problem for each setting that
        has one. The settings are complete only when there are no problems.
    """
    problems: dict[str, Problem] = {}
    texts: list[str] = []
    for name, value in given.items():
        try:
            texts.append(f"{json.dumps(name)}: {json.dumps(value, default=_plain)}")
        except (TypeError, ValueError, RecursionError):
            what, expected = f"setting '{name}' is no plain data", _expected(model, name)
            fix = "settings are numbers, text, booleans, lists and tables"
            got = f"a value of type {type(value).__name__}"
            problems[name] = Problem(where(name), what, expected, got, fix)
    try:
        checked = model.model_validate_json(f"{{{', '.join(texts)}}}")
    except ValidationError as error:
        for details in error.errors():
            name = str(details["loc"][0])
            problem = _problem(model, details, given, where(name))
            problems.setdefault(name, problem)
    if problems:
        return {}, problems
    return {name: getattr(checked, name) for name in model.model_fields}, {}


def describe_setting(model: SettingsModel, name: str) -> tuple[str, str]:
    """Return a setting's type with its range, and its default, as text for people.

    For example ("number, 0 to 1", "0.35"); the default is "" for a setting that must be given.
    """
    field = model.model_fields[name]
    if field.is_required():
        return _expected(model, name), ""
    default = field.get_default(call_default_factory=True)
    return _expected(model, name), json.dumps(default, default=_plain, ensure_ascii=False)


def _expected(model: SettingsModel, name: str) -> str:
    schema = model.model_json_schema()
    known = schema.get("properties", {})
    return _describe(known[name], schema.get("$defs", {})) if name in known else ""


def _problem(model: SettingsModel, details: Any, given: Mapping[str, Any], where: str) -> Problem:
    """Turn one of pydantic's errors into a problem."""
    name, *inner = details["loc"]
    kind = details["type"]
    if kind == "extra_forbidden" and not inner:
        known = list(model.model_fields)
        listed = f"one of the settings {', '.join(known)}" if known else "no settings"
        return Problem(
            where, f"there is no setting '{name}'", listed, "", did_you_mean(name, known)
        )
    expected = _expected(model, name)
    if kind == "missing" and not inner:
        return Problem(where, f"setting '{name}' must be given", expected, "nothing")
    entry = "".join(f"entry {part + 1} of " for part in reversed(inner) if isinstance(part, int))
    got = show(details["input"] if entry else given.get(name))
    what = "does not fit"
    if kind.startswith(("greater_than", "less_than", "multiple_of", "too_", "string_too")):
        what = "is out of range"
    elif kind in ("value_error", "assertion_error"):
        what = f"is refused: {details['ctx']['error']}"
    return Problem(where, f"{entry}setting '{name}' {what}", expected, got)


_KINDS = {
    "array": "list",
    "boolean": "true or false",
    "integer": "whole number",
    "null": "nothing (null)",
    "object": "table",
    "string": "text",
}
_LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
    "multipleOf": "a multiple of {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} entries",
    "maxItems": "at most {} entries",
    "pattern": "like {}",
}
_RANGES = (
    ("minimum", "maximum", ""),
    ("minLength", "maxLength", " characters"),
    ("minItems", "maxItems", " entries"),
)


def _describe(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """Say a JSON Schema in words."""
    if "$ref" in schema:
        return _describe(definitions[schema["$ref"].rsplit("/")[-1]], definitions)
    if "anyOf" in schema:
        return ", or ".join(_describe(part, definitions) for part in schema["anyOf"])
    if "enum" in schema:
        return "one of " + ", ".join(json.dumps(choice) for choice in schema["enum"])
    if "const" in schema:
        return json.dumps(schema["const"])
    kind = schema.get("type", "anything")
    word, limits = _KINDS.get(kind, kind), ", ".join(_limits(schema))
    if "prefixItems" in schema:
        each = "; ".join(_describe(item, definitions) for item in schema["prefixItems"])
        return f"list of {len(schema['prefixItems'])} entries ({each})"
    text = word + (" of " if kind == "array" else ", ") * bool(limits) + limits
    inner = schema.get("items") or schema.get("additionalProperties")
    return f"{text} (each: {_describe(inner, definitions)})" if isinstance(inner, dict) else text


def _limits(schema: Mapping[str, Any]) -> list[str]:
    """The ranges of a JSON Schema in words."""
    left, words = dict(schema), []
    for low, high, unit in _RANGES:
        if low in left and high in left:
            first, last = left.pop(low), left.pop(high)
            words.append(f"{first if first == last else f'{first} to {last}'}{unit}")
    return words + [form.format(left[key]) for key, form in _LIMITS.items() if key in left]


def _plain(value: Any) -> Any:
    """What numpy's numbers, enums, models and sets are in JSON."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} is no data")
