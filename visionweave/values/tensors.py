"""Reading and writing values as safetensors: arrays as they are, the rest as JSON metadata."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from visionweave.errors import ValueTypeError
from visionweave.values.base import FORM

__all__ = ["pack", "unpack"]


def pack(kind: str, arrays: dict[str, npt.NDArray[Any]], meta: dict[str, Any]) -> bytes:
    """Return a safetensors file that holds a value of type `kind`."""
    note = json.dumps({"type": kind, "form": FORM} | meta, ensure_ascii=False, allow_nan=False)
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return save_arrays(whole, metadata={"visionweave": note})


def unpack(
    kind: str, data: bytes, arrays: tuple[str, ...], meta: tuple[str, ...]
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Return the arrays and the metadata of a file that `pack` wrote.

    Raises:
        ValueTypeError: not such a file, of another type or form, or something named is missing.
    """
    try:
        # safetensors' own reader of bytes gives no metadata: eight bytes of length, then JSON.
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        note = json.loads(header["__metadata__"]["visionweave"])
        found = load_arrays(data)
    except (ValueError, KeyError, TypeError, SafetensorError, OverflowError):
        raise ValueTypeError(f"expected a visionweave {kind} in a safetensors file") from None
    if (note.get("type"), note.get("form")) != (kind, FORM):
        raise ValueTypeError(
            f"expected type {kind}, form {FORM}; got {note.get('type')}, form {note.get('form')}"
        )
    missing = [name for name in arrays if name not in found] + [m for m in meta if m not in note]
    if missing:
        raise ValueTypeError(f"the file of this {kind} lacks {', '.join(missing)}")
    return found, note
