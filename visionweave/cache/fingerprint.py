"""Fingerprints: the sha256 of what a value is, so that equal values are known by equal text.

Everything counts that a node can see: type, shape, dtype and bytes of arrays, labels, scores. One
thing does not: *whose* it is, its photo's name and its object's number, because a node may not
compute with those (`visionweave.contract`). So a renamed photo, or an object that is the third now
and was the second, has the results that it had; they are told anew whose they are
(`visionweave.cache.owner`).
"""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

import numpy as np

from visionweave.values import Image, Origin, Value

__all__ = ["FORM", "fingerprint"]

FORM = 1
"""Raised when fingerprints change, or photos are decoded to other pixels."""


class _Sink(Protocol):
    def update(self, data: Any, /) -> None: ...


def fingerprint(value: Value) -> str:
    """Return the fingerprint of a value, 64 hexadecimal digits.

    A photo that is held to the bytes of its file (`Image.held_to`) is known by those, EXIF and all,
    and by how far it may be shrunk as it is decoded; nothing is decoded to find out. Any other
    image is known by its pixels.

    Raises:
        ImageError: the pixels must be read, and cannot be.
    """
    hasher = hashlib.sha256(b"visionweave %d " % FORM)
    _feed(hasher, value)
    return hasher.hexdigest()


def _feed(sink: _Sink, data: Any) -> None:
    """Write `data` so that nothing else is written in the same bytes."""
    if isinstance(data, np.ndarray):
        _head(sink, "array", data.dtype.str, *data.shape)
        sink.update(np.ascontiguousarray(data).data)
    elif isinstance(data, str):
        text = data.encode()
        _head(sink, "text", len(text))
        sink.update(text)
    elif isinstance(data, bytes):
        _head(sink, "bytes", len(data))
        sink.update(data)
    elif isinstance(data, (tuple, list)):
        _head(sink, "several", len(data))
        for each in data:
            _feed(sink, each)
    elif isinstance(data, Image) and data.held is not None:
        fits = None if data.fits is None else [(fit.short, fit.long) for fit in data.fits]
        _head(sink, "photo", data.held[1], fits)
    elif isinstance(data, Value):
        _named(sink, type(data).__name__, data._fields())
    elif isinstance(data, Origin):
        _named(sink, "origin", data.to_json() | {"object": None})
    else:  # numbers, truth values and None
        _head(sink, type(data).__name__, data)


def _named(sink: _Sink, kind: str, fields: dict[str, Any]) -> None:
    known = {name: value for name, value in fields.items() if name != "photo"}
    _head(sink, kind, len(known))
    for name, value in known.items():
        _feed(sink, name)
        _feed(sink, value)


def _head(sink: _Sink, *parts: Any) -> None:
    sink.update(f"{parts!r};".encode())
