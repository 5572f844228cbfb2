"""Settings of nodes: the parameters of `__init__`, checked by pydantic.

Settings are data: numbers, text, booleans, lists and tables, as JSON has them, so that a pipeline
file can hold them and a hash can name them. They are checked strictly: "0.5" is no number, 1 is no
boolean, nothing is infinite; a whole number may stand for a float.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import json
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic.json_schema import PydanticJsonSchemaWarning
from pydantic_core import to_jsonable_python

from visionweave.errors import NodeError, Problem, did_you_mean
from visionweave.plain import show
from visionweave.signature import read_settings

__all__ = ["SettingsModel", "check_settings", "describe_setting", "make_settings_model"]

SettingsModel = type[BaseModel]

PLAIN_DATA = "settings are numbers, text, booleans, lists and tables"


def make_settings_model(cls: type) -> SettingsModel:
    """Return the pydantic model of the parameters of `cls.__init__`.

    Raises:
        NodeError: a parameter has no annotation, or none that pydantic can check; or its default is
            not what the annotation says.
    """
    fields: dict[str, Any] = read_settings(cls)
    where = f"{cls.__module__}.{cls.__qualname__}.__init__"
    for name in fields:
        if name.startswith("model_") and hasattr(BaseModel, name):
            raise NodeError(f"{where}: '{name}' means something else to pydantic; rename it")
    try:
        model = _make_model(cls.__name__, fields)
    except Exception as error:  # pydantic has no common base for what it finds wrong in a schema
        raise NodeError(f"{where}: {_unfit(fields) or error}") from error
    _check_defaults(model, where)
    return model


def _make_model(name: str, fields: Mapping[str, Any]) -> SettingsModel:
    config = ConfigDict(
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        validate_default=True,
    )
    with warnings.catch_warnings():  # a setting may be called "schema" or "copy"
        warnings.filterwarnings("ignore", "Field name .* shadows an attribute")
        model: SettingsModel = create_model(name, __config__=config, **dict(fields))
    with warnings.catch_warnings():  # defaults are checked by themselves
        warnings.simplefilter("ignore", PydanticJsonSchemaWarning)
        model.model_json_schema()  # there is none of what is no data, such as a function
    return model


def _unfit(fields: Mapping[str, Any]) -> str:
    """Say which setting pydantic cannot check, and why; "" when each alone can be."""
    for name, field in fields.items():
        try:
            _make_model("Setting", {name: field})
        except Exception as error:
            reason = str(error).partition("\n")[0].partition(". ")[0]
            kind = inspect.formatannotation(field[0])
            return f"setting '{name}: {kind}' cannot be checked: {reason}; {PLAIN_DATA}"
    return ""


def _check_defaults(model: SettingsModel, where: str) -> None:
    """Refuse a default that is no data, or that its own annotation refuses."""
    refused = set()
    try:
        model.model_validate_json("{}")
    except ValidationError as error:
        refused = {details["loc"][0] for details in error.errors()}
    for name, field in model.model_fields.items():
        if field.is_required():
            continue
        default = field.get_default(call_default_factory=True)
        if name in refused or _json(default) is None:
            raise NodeError(
                f"{where}: the default of setting '{name}' does not fit: expected "
                f"{_expected(model, name)}; got {show(default)}"
            )


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
        text = _json(value)
        if text is not None:
            texts.append(f"{json.dumps(name)}: {text}")
            continue
        what, expected = f"setting '{name}' is no plain data", _expected(model, name)
        got = f"a value of type {type(value).__name__}"
        problems[name] = Problem(where(name), what, expected, got, PLAIN_DATA)
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
    return _expected(model, name), _json(default) or ""


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


def _json(value: Any) -> str | None:
    """A setting's value as JSON; None when it is no plain data."""
    try:
        return json.dumps(value, default=_plain, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return None


def _plain(value: Any) -> Any:
    """What numpy's numbers, sets, enums, models and dataclasses are in JSON."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, (enum.Enum, BaseModel)) or dataclasses.is_dataclass(value):
        return to_jsonable_python(value)
    raise TypeError(f"{type(value).__name__} is no data")
