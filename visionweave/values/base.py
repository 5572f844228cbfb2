"""What every value has in common: equality, a short repr, and one file form."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from visionweave.errors import ValueTypeError
from visionweave.values.checks import describe, short
from visionweave.values.origin import Origin

__all__ = ["UNSET", "JsonValue", "Value", "check_stamp", "stamp", "with_origin"]

FORM = 1
"""The version of the on-disk forms, written into every file."""

UNSET: Any = None
"""The default of a field that is worked out from the others when it is not given."""


class Value:
    """A frozen, self-checking piece of data that travels between nodes.

    A subclass is a frozen dataclass (or behaves as one: `Image`). Arrays are held read-only and are
    not copied: who builds a value hands its arrays over. Two values are equal when they are of one
    type and all their fields are, arrays by dtype, shape and every element. Values have no truth
    and no hash: ask `len(boxes) == 0`, not `if boxes`.
    """

    __slots__ = ()
    SUFFIX: ClassVar[str]
    """The suffix of this type's files, such as ".json"."""

    def to_bytes(self) -> bytes:
        """Return the value's one lossless file form; `from_bytes` restores an equal value."""
        raise NotImplementedError  # every type below overrides it; tests go through them all

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Restore a value from `to_bytes`.

        Raises:
            ValueTypeError: the bytes are not this type's form, or hold an invalid value.
        """
        try:
            return cls._read(data)
        except ValueTypeError:
            raise
        except Exception as error:  # damaged files make their readers raise nearly anything
            raise ValueTypeError(
                f"expected a visionweave {cls.__name__} in a {cls.SUFFIX} file; "
                f"got {type(error).__name__}: {error}"
            ) from None

    @classmethod
    def _read(cls, data: bytes) -> Self:
        """What `from_bytes` does for one type; it may raise anything."""
        raise NotImplementedError

    @classmethod
    def coerce(cls, data: Any) -> Self:
        """Return `data` as this type: a value of it as it is, else plain data such as a str.

        Raises:
            ValueTypeError: `data` is neither.
        """
        if isinstance(data, cls):
            return data
        raise ValueTypeError(f"expected {cls.__name__}; got {describe(data)}")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the file form to `path`, and return the path. Its suffix is not checked."""
        path = Path(path)
        path.write_bytes(self.to_bytes())
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a value from a file written by `save`.

        Raises:
            ValueTypeError: the file does not hold a value of this type; the message names it.
            OSError: the file cannot be read.
        """
        try:
            return cls.from_bytes(Path(path).read_bytes())
        except ValueTypeError as error:
            raise ValueTypeError(f"{os.fspath(path)}: {error}") from None

    def _fields(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        mine, yours = self._fields(), other._fields()
        return all(_same(mine[name], yours[name]) for name in mine)

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise TypeError(
            f"a {type(self).__name__} is neither true nor false; ask for its len() or a field"
        )

    def __repr__(self) -> str:
        parts = (f"{name}={_shown(value)}" for name, value in self._fields().items())
        return f"{type(self).__name__}({', '.join(parts)})"


class JsonValue(Value):
    """A value whose file form is JSON: `_to_json` and `_from_json` say what is in it."""

    __slots__ = ()
    SUFFIX = ".json"

    def _to_json(self) -> dict[str, Any]:
        raise NotImplementedError

    @classmethod
    def _from_json(cls, data: dict[str, Any]) -> Self:
        return cls(**data)

    def to_bytes(self) -> bytes:
        """Return UTF-8 JSON, one line a field; floats are written so that float32 survives."""
        fields = stamp(type(self).__name__) | self._to_json()
        lines = (f"  {json.dumps(key)}: {_dumps(value)}" for key, value in fields.items())
        return ("{\n" + ",\n".join(lines) + "\n}\n").encode()

    @classmethod
    def _read(cls, data: bytes) -> Self:
        return cls.coerce(check_stamp(cls.__name__, json.loads(data)))

    @classmethod
    def coerce(cls, data: Any) -> Self:
        """Accept also the fields of the JSON form, as a dict; see `Value.coerce`."""
        if not isinstance(data, dict):
            return super().coerce(data)
        try:
            return cls._from_json(data)
        except ValueTypeError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueTypeError(
                f"not the JSON fields of {cls.__name__}: {type(error).__name__}: {error}"
            ) from None


def stamp(kind: str) -> dict[str, Any]:
    """What every file says of itself: the type of its value, and the version of its form."""
    return {"type": kind, "form": FORM}


def check_stamp(kind: str, fields: Any) -> dict[str, Any]:
    """Return the fields read from a file without their stamp.

    Raises:
        ValueTypeError: it bears no stamp, or that of another type or form.
    """
    if not isinstance(fields, dict) or not stamp(kind).keys() <= fields.keys():
        raise ValueTypeError(f"expected a visionweave {kind}; got a file without type and form")
    rest = dict(fields)
    found = {name: rest.pop(name) for name in stamp(kind)}
    if found != stamp(kind):
        raise ValueTypeError(
            f"expected type {kind}, form {FORM}; "
            f"got type {short(found['type'])}, form {short(found['form'])}"
        )
    return rest


def with_origin(fields: dict[str, Any]) -> dict[str, Any]:
    """Return `fields` with their origin built from its JSON form; without one it is unknown."""
    return fields | {"origin": Origin.from_json(fields.get("origin", {}))}


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return type(a) is type(b) and bool(a == b)


def _shown(value: Any) -> str:
    return f"<{str(value) or 'unknown'}>" if isinstance(value, Origin) else short(value)


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
