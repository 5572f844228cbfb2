"""Origin: where a value comes from, carried along from step to step."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from visionweave.arrays import freeze
from visionweave.errors import ValueTypeError
from visionweave.values.checks import (
    Box,
    check_box,
    check_number,
    check_text,
    check_texts,
    describe,
)

__all__ = ["UNKNOWN", "Origin", "check_origin"]


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

    def __post_init__(self) -> None:
        fields: dict[str, Any] = {
            "photo": check_text("Origin.photo", self.photo),
            "label": check_text("Origin.label", self.label),
            "flags": check_texts("Origin.flags", self.flags),
        }
        if self.object is not None:
            fields["object"] = int(freeze("Origin.object", self.object, np.int64, ""))
            if fields["object"] < 0:
                raise ValueTypeError(f"Origin.object must be 0 or above; got {self.object}")
        if self.score is not None:
            fields["score"] = check_number("Origin.score", self.score)
            if not 0 <= fields["score"] <= 1:
                raise ValueTypeError(f"Origin.score must be in [0, 1]; got {self.score}")
        if self.box is not None:
            fields["box"] = check_box("Origin.box", self.box)
        for name, value in fields.items():
            object.__setattr__(self, name, value)

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
        """Build an origin from what `to_json` returned, or raise ValueTypeError."""
        try:
            return cls(**data)
        except TypeError as error:
            raise ValueTypeError(f"not the fields of an Origin: {error}") from None


UNKNOWN = Origin()
"""The origin of a value that nobody has placed."""


def check_origin(name: str, origin: Origin) -> None:
    """Raise ValueTypeError unless `origin` is an Origin."""
    if not isinstance(origin, Origin):
        raise ValueTypeError(f"{name} must be an Origin; got {describe(origin)}")
