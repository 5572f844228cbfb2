"""The values of one item on the disk, while they wait for the next stage of a run.

    magic    8 bytes   "vwspill" and the version of this form
    sha256  32 bytes   of all that follows
    length   4 bytes   of the header, little-endian
    header             JSON: {"slots": {slot: tree}, "failures": [...], "sizes": [bytes of each]}
    values             one after another, each in its own lossless file form

A tree is [type, place among the values], {"list": [trees]}, {"failed": place among the item's
failures}, or {"photo": ...} for a photo that is in a file, and stays there.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from visionweave.errors import JobError, NodeFailed, ValueTypeError
from visionweave.execution.failures import Failed, words
from visionweave.photo import Fit
from visionweave.photo.state import FileState
from visionweave.values import TYPES, Image, Value

__all__ = ["check_kind", "is_whole", "pack", "unpack"]

MAGIC = b"vwspill\x01"
START = len(MAGIC) + 32


def pack(slots: Mapping[int, Any], failures: Sequence[NodeFailed], known: int) -> bytes:
    """Return the bytes of some values of an item.

    Args:
        slots: the values, lists of them and failures, by slot.
        failures: all of the item's.
        known: how many of those an earlier stage has written.

    Raises:
        JobError: a value has no file form.
    """
    bodies: list[bytes] = []
    places = {id(failure): place for place, failure in enumerate(failures)}

    def tree(value: Any) -> Any:
        if isinstance(value, list):
            return {"list": [tree(each) for each in value]}
        if type(value) is Failed:
            return {"failed": places[id(value.error)]}
        if isinstance(value, Image) and value.path is not None:
            return {"photo": _photo(value)}
        check_kind(type(value), "a step")
        bodies.append(value.to_bytes())
        return [type(value).__name__, len(bodies) - 1]

    trees = {str(slot): tree(value) for slot, value in slots.items()}
    told = [_plain(failure) for failure in failures[known:]]
    table = {"slots": trees, "failures": told, "sizes": [len(body) for body in bodies]}
    header = json.dumps(table).encode()
    rest = b"".join([len(header).to_bytes(4, "little"), header, *bodies])
    return MAGIC + hashlib.sha256(rest).digest() + rest


def check_kind(kind: type[Value], giver: str) -> None:
    """Refuse values that have no file form, so that they cannot wait.

    Raises:
        JobError: `kind` is none of visionweave's own types.
    """
    if TYPES.get(kind.__name__) is not kind:
        raise JobError(
            f"within this memory budget, the {kind.__name__} that {giver} gives would have to wait "
            "on the disk, and only values of visionweave's own types can; run with a larger "
            "budget, or without one"
        )


def is_whole(data: bytes) -> bool:
    """Whether these are the bytes of `pack`, undamaged."""
    head = data[: len(MAGIC)], data[len(MAGIC) : START]
    return head == (MAGIC, hashlib.sha256(memoryview(data)[START:]).digest())


def unpack(data: bytes, wanted: Sequence[int], failures: list[NodeFailed]) -> dict[int, Any]:
    """Return those of the values that are wanted, by slot.

    Args:
        data: the bytes of `pack`.
        wanted: slots; those that are not here are passed over.
        failures: what earlier stages have written of the item's; these are added.

    Raises:
        ValueTypeError: the bytes are damaged, or of another version.
    """
    if not is_whole(data):
        raise ValueTypeError("these are not the bytes of an item on its way, or they are damaged")
    body = START + 4 + int.from_bytes(data[START : START + 4], "little")
    table = json.loads(data[START + 4 : body])
    failures += map(_failure, table["failures"])
    ends = [body]
    for size in table["sizes"]:
        ends.append(ends[-1] + size)

    def value(tree: Any) -> Any:
        if isinstance(tree, list):
            kind, place = tree
            return TYPES[kind].from_bytes(data[ends[place] : ends[place + 1]])
        if "list" in tree:
            return [value(each) for each in tree["list"]]
        if "failed" in tree:
            return Failed(failures[tree["failed"]])
        return _image(tree["photo"])

    trees = table["slots"]
    return {slot: value(trees[str(slot)]) for slot in wanted if str(slot) in trees}


def _photo(image: Image) -> dict[str, Any]:
    fits = None if image.fits is None else [(fit.short, fit.long) for fit in image.fits]
    held = None if image.held is None else [astuple(image.held[0]), image.held[1]]
    return {"path": str(image.path), "name": image.origin.photo, "fits": fits, "held": held}


def _image(photo: dict[str, Any]) -> Value:
    fits = None if photo["fits"] is None else [Fit(*each) for each in photo["fits"]]
    image = Image.open(Path(photo["path"]), photo["name"], fits)
    if photo["held"] is None:
        return image
    state, sha256 = photo["held"]
    return image.held_to(FileState(*state), sha256)


def _plain(failure: NodeFailed) -> dict[str, Any]:
    cause = failure.__cause__
    told = None
    if cause is not None:
        kind = type(cause)
        told = {
            "class": [kind.__module__, kind.__qualname__],
            "text": words(cause),
            "notes": getattr(cause, "__notes__", []),
        }
    return {"failure": failure.args, "cause": told}


def _failure(plain: dict[str, Any]) -> NodeFailed:
    failure, cause = NodeFailed(*plain["failure"]), plain["cause"]
    if cause is not None:
        failure.__cause__ = _stand_in(*cause["class"])(cause["text"])
        for note in cause["notes"]:
            failure.__cause__.add_note(note)
    return failure


@functools.cache
def _stand_in(module: str, name: str) -> type[Exception]:
    """An error of this name, which prints as the one that it stands for."""
    short = name.rpartition(".")[2]
    return type(short, (Exception,), {"__module__": module, "__qualname__": name})
