"""Reading and writing values as safetensors: arrays as they are, the rest as JSON metadata."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from visionweave.values.base import check_stamp, stamp

__all__ = ["pack", "unpack"]


def pack(kind: str, arrays: dict[str, npt.NDArray[Any]], meta: dict[str, Any]) -> bytes:
    """Return a safetensors file that holds a value of type `kind`."""
    note = json.dumps(stamp(kind) | meta, ensure_ascii=False, allow_nan=False)
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return save_arrays(whole, metadata={"visionweave": note})


def unpack(kind: str, data: bytes) -> dict[str, Any]:
    """Return the arrays and the metadata of a file that `pack` wrote, by name.

    Raises:
        ValueTypeError: the file is of another type or form.
        Exception: whatever a damaged file provokes.
    """
    # safetensors' own reader of bytes gives no metadata: eight bytes of length, then JSON.
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    meta = check_stamp(kind, json.loads(header["__metadata__"]["visionweave"]))
    return meta | load_arrays(data)
