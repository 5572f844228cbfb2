"""What every value has in common: an origin, equality, a short repr, and one file form."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from visionweave.errors import ValueTypeError

__all__ = ["UNKNOWN", "UNSET", "Box", "JsonValue", "Origin", "Value", "check_hw"]

Box = tuple[float, float, float, float]
"""One box: (x1, y1, x2, y2) in pixels of the upright photo, x right, y down, x2/y2 exclusive."""

FORM = 1
"""The version of the on-disk forms, written into every file."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from: its photo and, for a value of one object, which object of it.

    Attributes:
        photo: the photo's name, such as "street/004.jpg"; "" when unknown.
        object: the object's index in the photo, given by the step that found it and kept by every
            later step, so that filtering never renames an object.
        label: the object's label.
        score: the object's score in [0, 1].
        box: the object's box in the photo's frame.
        flags: remarks on the object, such as "truncated" (see the node `objects.flag`).
    """

    photo: str = ""
    object: int | None = None
    label: str = ""
    score: float | None = None
    box: Box | None = None
    flags: tuple[str, ...] = ()

    def __str__(self) -> str:
        score = "" if self.score is None else f"{self.score:.2f}"
        what = " ".join(part for part in (self.label, score) if part)
        which = "" if self.object is None else f"object {self.object}"
        where = ", ".join(part for part in (what, which) if part)
        return " of ".join(part for part in (where, self.photo) if part)

    def to_json(self) -> dict[str, Any]:
        """Return the fields that are set, as plain JSON data."""
        return {
            field.name: list(value) if isinstance(value, tuple) else value
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) != field.default
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Build an origin from what `to_json` returned."""
        box = data.get("box")
        return cls(
            **data
            | {"flags": tuple(data.get("flags", ()))}
            | {"box": None if box is None else (box[0], box[1], box[2], box[3])}
        )


UNKNOWN = Origin()
"""The origin of a value that nobody has placed."""

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
        raise NotImplementedError

    @classmethod
    def coerce(cls, data: Any) -> Self:
        """Return `data` as this type: a value of it as it is, else plain data such as a str.

        Raises:
            ValueTypeError: `data` is neither.
        """
        if isinstance(data, cls):
            return data
        raise ValueTypeError(f"expected {cls.__name__}; got {_describe(data)}")

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
        parts = (f"{name}={_short(value)}" for name, value in self._fields().items())
        return f"{type(self).__name__}({', '.join(parts)})"


class JsonValue(Value):
    """A value whose file form is JSON: `_to_json` and `_from_json` say what is in it."""

    __slots__ = ()
    SUFFIX = ".json"

    def _to_json(self) -> dict[str, Any]:
        raise NotImplementedError

    @classmethod
    def _from_json(cls, data: dict[str, Any]) -> Self:
        raise NotImplementedError

    def to_bytes(self) -> bytes:
        """Return UTF-8 JSON, one line a field; floats are written so that float32 survives."""
        fields = {"type": type(self).__name__, "form": FORM} | self._to_json()
        lines = (f"  {json.dumps(key)}: {_dumps(value)}" for key, value in fields.items())
        return ("{\n" + ",\n".join(lines) + "\n}\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Restore a value from `to_bytes`; see `Value.from_bytes`."""
        try:
            fields = json.loads(data)
            found = (fields.pop("type"), fields.pop("form"))
        except (ValueError, KeyError, AttributeError, TypeError):
            raise ValueTypeError(f"expected a visionweave {cls.__name__} in JSON") from None
        if found != (cls.__name__, FORM):
            raise ValueTypeError(
                f"expected type {cls.__name__}, form {FORM}; got type {found[0]}, form {found[1]}"
            )
        return cls.coerce(fields)

    @classmethod
    def coerce(cls, data: Any) -> Self:
        """Accept also the fields of the JSON form, as a dict; see `Value.coerce`."""
        if not isinstance(data, dict):
            return super().coerce(data)
        try:
            return cls._from_json(data)
        except ValueTypeError:
            raise
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            raise ValueTypeError(
                f"not the JSON fields of a {cls.__name__}: {type(error).__name__}: {error}"
            ) from None


def check_hw(name: str, image_hw: Any) -> tuple[int, int]:
    """Return `image_hw` as (height, width), both at least 1, or raise ValueTypeError."""
    good = (
        isinstance(image_hw, (tuple, list))
        and len(image_hw) == 2
        and all(isinstance(side, (int, np.integer)) and side >= 1 for side in image_hw)
    )
    if not good:
        raise ValueTypeError(f"{name} must be (height, width) in pixels; got {image_hw!r}")
    return int(image_hw[0]), int(image_hw[1])


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return type(a) is type(b) and bool(a == b)


def _short(value: Any) -> str:
    """A repr that never prints a whole array or a long list."""
    if isinstance(value, np.ndarray):
        return f"<{value.dtype} {value.shape}>"
    if isinstance(value, (tuple, list)) and len(value) > 4:
        return f"<{type(value).__name__} of {len(value)}>"
    text = str(value) if isinstance(value, Origin) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _describe(data: Any) -> str:
    if isinstance(data, np.ndarray):
        return f"an array of {data.dtype} {data.shape}"
    return f"{type(data).__name__} {_short(data) if hasattr(data, '__len__') else repr(data)}"


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
