"""The bytes of a kept result: its values in their own lossless file forms, behind a checksum.

    magic    8 bytes   "vwcache" and the version of this form
    sha256  32 bytes   of all that follows
    length   4 bytes   of the header, little-endian
    header             JSON: {"outline": ..., "sizes": [bytes of each value]}
    values             one after another

The outline is what the result looks like from outside, without a value being read: for each output
by field a leaf, or (nested) lists of leaves; a leaf is [type, fingerprint, owner], with the owner
as `visionweave.cache.owner` places it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

from visionweave.cache.fingerprint import fingerprint
from visionweave.cache.owner import Owners, given_to, owner_of
from visionweave.errors import ValueTypeError
from visionweave.values import TYPES, Value

__all__ = ["Leaf", "Outline", "leaves", "map_leaves", "outlined", "pack", "unpack"]

Leaf = list[Any]
Outline = dict[str, Any]
"""By output field ("" for a node's only output), a leaf or a table {"list": [...]} of such."""

MAGIC = b"vwcache\x01"


def pack(result: dict[str, Any], owners: Owners) -> tuple[Outline, bytes] | None:
    """Return the outline of a result, by output field, and its bytes.

    None for one that holds a value of a type that files do not know.
    """
    values: list[Value] = []

    def leaf(value: Value) -> Leaf:
        values.append(value)
        return [type(value).__name__, fingerprint(value), owners.place(owner_of(value))]

    outline = outlined(result, leaf)
    if any(TYPES.get(type(value).__name__) is not type(value) for value in values):
        return None
    bodies = [value.to_bytes() for value in values]
    header = json.dumps({"outline": outline, "sizes": [len(body) for body in bodies]}).encode()
    rest = b"".join([len(header).to_bytes(4, "little"), header, *bodies])
    return outline, MAGIC + hashlib.sha256(rest).digest() + rest


def unpack(data: bytes, owners: Owners) -> list[Value]:
    """Return the values in the bytes of `pack`, in the outline's order, as those of `owners`.

    Raises:
        ValueTypeError: the bytes are damaged, or of another version.
    """
    start = len(MAGIC) + 32
    rest = memoryview(data)[start:]
    if data[: len(MAGIC)] != MAGIC or hashlib.sha256(rest).digest() != data[len(MAGIC) : start]:
        raise ValueTypeError("these are not the bytes of a kept result, or they are damaged")
    length = int.from_bytes(rest[:4], "little")
    header = json.loads(bytes(rest[4 : 4 + length]))
    values, place = [], 4 + length
    for (kind, _, owner), size in zip(leaves(header["outline"]), header["sizes"], strict=True):
        value = TYPES[kind].from_bytes(bytes(rest[place : place + size]))
        values.append(given_to(value, owners.at(owner)))
        place += size
    return values


def outlined(result: dict[str, Any], leaf: Callable[[Value], Any]) -> Outline:
    """Return the outline of a result, with what `leaf` makes of each value, called in order."""

    def outline(value: Any) -> Any:
        return {"list": [outline(v) for v in value]} if isinstance(value, list) else leaf(value)

    return {field: outline(value) for field, value in result.items()}


def leaves(outline: Any) -> Iterator[Leaf]:
    """The leaves of an outline, in order."""
    if isinstance(outline, list):
        yield outline
        return
    for each in outline["list"] if "list" in outline else outline.values():
        yield from leaves(each)


def map_leaves(outline: Any, make: Callable[[Leaf], Any]) -> Any:
    """Return the outline of one output with what `make` makes of each leaf, called in order."""
    if isinstance(outline, list):
        return make(outline)
    return [map_leaves(each, make) for each in outline["list"]]
