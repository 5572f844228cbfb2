"""Checks for arrays that values hold: one sentence for every way an array can be wrong.

Shapes are written as letters and numbers, "N 4" or "H W 3". A letter stands for any length, and
for the same length wherever it is given: `freeze("masks", m, bool, "N H W", N=3)`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from visionweave.errors import ValueTypeError

__all__ = ["freeze", "pick"]

Array = npt.NDArray[Any]


def freeze(
    name: str, value: npt.ArrayLike, dtype: npt.DTypeLike, shape: str, **sizes: int
) -> Array:
    """Return `value` as a read-only array of `dtype` and `shape`, without copying where it can.

    Numbers may become floats, integers that fit wider integers, and 0 and 1 in a list bools;
    nothing else is converted, because a silent cast of pixels or masks hides a mistake. The
    caller hands the array over: writing to the original later would change the value.

    Raises:
        ValueTypeError: the dtype or shape differs, or a float is NaN or infinite.
    """
    wanted = np.dtype(dtype)
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueTypeError(f"{name} must be one array; got rows of several lengths") from None
    if array.shape == (0,) and not isinstance(value, np.ndarray):
        # The empty list of anything; np.asarray makes it float64 of shape (0,).
        lengths = [max(0, _length(part, sizes)) for part in shape.split()]
        array = np.zeros([0, *lengths[1:]], wanted)
    if array.dtype != wanted:
        array = _cast(name, array, wanted, is_literal=not isinstance(value, np.ndarray))
    _check_shape(name, array, shape, sizes)
    if wanted.kind == "f" and not np.isfinite(array).all():
        raise ValueTypeError(f"{name} must hold finite numbers; got NaN or infinity")
    view = array.view()
    view.flags.writeable = False
    return view


def pick(which: npt.ArrayLike | slice, count: int) -> npt.NDArray[np.intp]:
    """Return the positions among `count` that a bool mask (count,), integers or a slice choose.

    Raises:
        ValueTypeError: an index is out of range, or `which` is none of these.
    """
    places: npt.NDArray[np.intp] = np.arange(count)
    if isinstance(which, slice):
        return places[which]
    chosen = np.atleast_1d(np.asarray(which))
    if chosen.shape == (0,) and chosen.dtype != bool:
        return places[:0]  # np.asarray([]) is float64
    is_mask = chosen.dtype == bool and chosen.shape == (count,)
    if not is_mask and (chosen.dtype.kind not in "iu" or chosen.ndim > 1):
        raise ValueTypeError(
            f"choose among {count} with a bool mask of shape ({count},), integers or a slice; "
            f"got {chosen.dtype} of shape {chosen.shape}"
        )
    try:
        picked: npt.NDArray[np.intp] = places[chosen]
    except IndexError:
        raise ValueTypeError(
            f"choose among {count} with integers below {count}; "
            f"got {chosen.min()} to {chosen.max()}"
        ) from None
    return picked


def _cast(name: str, array: Array, wanted: np.dtype[Any], *, is_literal: bool) -> Array:
    safe = wanted.kind == "f" and array.dtype.kind in "fiu"
    whole = wanted.kind in "iu" and array.dtype.kind in "iu"
    if whole and array.size:
        info = np.iinfo(wanted)
        whole = bool(array.min() >= info.min) and bool(array.max() <= info.max)
    literal_bool = is_literal and wanted.kind == "b" and bool(np.isin(array, (0, 1)).all())
    if safe or literal_bool or (whole and (is_literal or wanted.itemsize > 1)):
        with np.errstate(over="ignore"):  # too large for float32: infinite, and refused as that
            return array.astype(wanted)
    raise ValueTypeError(f"{name} must be {wanted}; got {array.dtype} of shape {array.shape}")


def _check_shape(name: str, array: Array, shape: str, sizes: dict[str, int]) -> None:
    parts = shape.split()
    fits = array.ndim == len(parts) and all(
        _length(part, sizes) in (-1, length)
        for part, length in zip(parts, array.shape, strict=True)
    )
    if not fits:
        known = ", ".join(f"{letter}={sizes[letter]}" for letter in parts if letter in sizes)
        law = f"({', '.join(parts)})" + (f" with {known}" if known else "")
        raise ValueTypeError(f"{name} must have shape {law}; got {array.shape}")


def _length(part: str, sizes: dict[str, int]) -> int:
    """The length that a letter or number of a shape stands for; -1 when any length will do."""
    return int(part) if part.isdigit() else sizes.get(part, -1)
