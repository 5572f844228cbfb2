"""Whose a value is: its photo's name and its object's number, apart from what it is.

A result is kept together with whose it is, in terms of whose its arguments were: "of the photo of
the first argument". When it is found again, for arguments of other photos, it is theirs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from visionweave.values import Image, Masks, Origin, Value

__all__ = ["Owner", "Owners", "given_to", "owner_of"]

Owner = tuple[str, int | None]
"""A photo's name, "" when unknown, and an object's number, None for a value of the whole photo."""

Place = list[Any]
"""An owner in JSON: [photo, object]. Each is known by its place, [2], among those of the arguments;
one that is not among them stands as it is."""


def owner_of(value: Value) -> Owner:
    """Return whose a value is."""
    inner = value.boxes if isinstance(value, Masks) else value
    origin = getattr(inner, "origin", None)
    if isinstance(origin, Origin):
        return origin.photo, origin.object
    return getattr(inner, "photo", ""), None


def given_to(value: Value, owner: Owner) -> Value:
    """Return the same value as somebody else's."""
    if owner_of(value) == owner:
        return value
    photo, number = owner
    if isinstance(value, Masks):
        return dataclasses.replace(value, boxes=value.boxes.replace(photo=photo))
    origin = getattr(value, "origin", None)
    if not isinstance(origin, Origin):  # of boxes, it is a method
        return dataclasses.replace(value, photo=photo) if hasattr(value, "photo") else value  # type: ignore[type-var]
    placed = dataclasses.replace(origin, photo=photo, object=number)
    if isinstance(value, Image):
        return Image.from_array(np.asarray(value.to_pil()), origin=placed)
    return dataclasses.replace(value, origin=placed)  # type: ignore[type-var]


class Owners:
    """The owners of the arguments of one call: their photos, and their objects, each once."""

    def __init__(self, owners: Iterable[Owner]) -> None:
        self._photos: dict[str, int] = {}
        self._objects: dict[Owner, int] = {}
        self.pattern = [self._add(owner) for owner in owners]
        """For each argument, which photo and which object it is of: who shares one with whom."""

    def _add(self, owner: Owner) -> tuple[int, int | None]:
        photo = self._photos.setdefault(owner[0], len(self._photos))
        if owner[1] is None:
            return photo, None
        return photo, self._objects.setdefault(owner, len(self._objects))

    def place(self, owner: Owner) -> Place:
        """Return an owner in terms of these."""
        photo, number = owner
        placed = [self._photos[photo]] if photo in self._photos else photo
        return [placed, [self._objects[owner]] if owner in self._objects else number]

    def at(self, place: Place) -> Owner:
        """Return the owner that `place` gave the place of, with these in their stead.

        Raises:
            LookupError: there is no such place.
        """
        photo, number = place
        if isinstance(number, list):
            number = list(self._objects)[number[0]][1]
        return list(self._photos)[photo[0]] if isinstance(photo, list) else photo, number
