"""The types of ports: which value types, and one or a list of them.

Written `Image`, `Boxes | Points` or `list[Cutout]`, the same in Python annotations and in pipeline
files. The subtype check is sound: an output fits a port only if everything it can be fits.
"""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass
from typing import Any

from visionweave.errors import ValueTypeError, did_you_mean
from visionweave.values import TYPES, Value
from visionweave.values.checks import describe

__all__ = ["PortType", "parse_type", "read_annotation"]


@dataclass(frozen=True, slots=True)
class PortType:
    """What a port takes or gives.

    Attributes:
        kinds: the value types it may be, in the order written.
        many: whether it is a list of them.
    """

    kinds: tuple[type[Value], ...]
    many: bool = False

    def accepts(self, kinds: tuple[type[Value], ...]) -> bool:
        """Whether each of `kinds` is one of this type's kinds, or a subclass of one."""
        return all(issubclass(kind, self.kinds) for kind in kinds)

    def __str__(self) -> str:
        name = " | ".join(kind.__name__ for kind in self.kinds)
        return f"list[{name}]" if self.many else name

    def coerce(self, data: Any) -> Any:
        """Return `data` as this type: values as they are, plain data as the first kind that fits.

        Raises:
            ValueTypeError: no kind fits.
        """
        if self.many:
            return self._coerce_each(data)
        if isinstance(data, self.kinds):
            return data
        refusals = []
        for kind in self.kinds:
            try:
                return kind.coerce(data)
            except ValueTypeError as error:
                refusals.append((kind.__name__, str(error)))
        if len(refusals) == 1:
            raise ValueTypeError(refusals[0][1])
        got = f"got {describe(data)}"
        reasons = [f"; as {name}: {why}" for name, why in refusals if not why.endswith(got)]
        raise ValueTypeError(f"expected {self}{''.join(reasons)}; {got}")

    def _coerce_each(self, data: Any) -> list[Any]:
        if not isinstance(data, (list, tuple)):
            raise ValueTypeError(f"expected {self}; got {describe(data)}")
        one, values = PortType(self.kinds), []
        for index, each in enumerate(data):
            try:
                values.append(one.coerce(each))
            except ValueTypeError as error:
                raise ValueTypeError(f"element {index} of {self}: {error}") from None
        return values


def read_annotation(annotation: Any) -> PortType | None:
    """Return the port type that a Python annotation stands for, or None if it stands for none.

    `Boxes | None` is read as `Boxes`: the annotation of a port that need not be connected.
    """
    if typing.get_origin(annotation) is list:
        inner, *more = typing.get_args(annotation)
        one = None if more else read_annotation(inner)
        has_none = type(None) in typing.get_args(inner)  # a list with gaps is no list of values
        return None if one is None or one.many or has_none else PortType(one.kinds, many=True)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        parts = [part for part in typing.get_args(annotation) if part is not type(None)]
    else:
        parts = [annotation]
    if all(isinstance(part, type) and issubclass(part, Value) for part in parts):
        return PortType(tuple(parts))
    return None


def parse_type(text: str) -> PortType:
    """Return the port type that a pipeline file's text stands for, such as "list[Cutout]".

    Raises:
        ValueTypeError: it is not one; the message suggests the nearest.
    """
    text = text.strip()
    many = text.startswith("list[") and text.endswith("]")
    names = [name.strip() for name in (text[5:-1] if many else text).split("|")]
    for name in names:
        if name not in TYPES:
            hint = "" if "[" in name else did_you_mean(name, TYPES)
            known = f"the types are {', '.join(TYPES)}, and list[...] of them"
            raise ValueTypeError(f"unknown type {name!r}; {hint or known}")
    return PortType(tuple(TYPES[name] for name in dict.fromkeys(names)), many)
