"""What stands in the place of a value that there is none of.

An error keeps alive every frame it went through, and with the frames the values of a whole chunk
and the tensors of a forward pass. So the engine keeps errors without their frames; where they were
raised is a note on them, which Python prints below their message.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Any, TypeVar

from visionweave.errors import NodeFailed

__all__ = ["RAISED", "Failed", "Raised", "without_frames", "words"]

E = TypeVar("E", bound=BaseException)

RAISED = (Exception, SystemExit)
"""What a node may raise, and fails one item alone: some libraries call sys.exit for an error."""


@dataclass(frozen=True, slots=True)
class Failed:
    """In the place of a value: the failure because of which there is none."""

    error: NodeFailed


@dataclass(frozen=True, slots=True)
class Raised:
    """In the place of a result: the error that came instead."""

    error: BaseException

    def __post_init__(self) -> None:
        without_frames(self.error)


def without_frames(error: E) -> E:
    """Turn the traceback of an error, and the errors behind it, into a note; return the error."""
    if error.__traceback__ is None:
        return error
    lines = ["Raised at:\n", *traceback.format_tb(error.__traceback__)]
    behind = error.__context__ if error.__cause__ is None else error.__cause__
    if behind is not None and (behind is error.__cause__ or not error.__suppress_context__):
        lines += ["because of:\n", *traceback.format_exception(behind)]
    note, notes = "".join(lines).rstrip(), getattr(error, "__notes__", [])
    if note not in notes:  # a node may raise one and the same error for many items
        _set(error, "__notes__", [*notes, note])
    for name in ("__traceback__", "__cause__", "__context__"):
        _set(error, name, None)
    return error


def words(error: BaseException) -> str:
    """The message of an error, whatever its class makes of it."""
    try:
        return str(error)
    except Exception as failed:
        return f"(its message cannot be shown: {type(failed).__name__} in its __str__)"


def _set(error: BaseException, name: str, value: Any) -> None:
    """Set an attribute, also of an error that lets nobody: a frozen dataclass."""
    BaseException.__setattr__(error, name, value)
