"""References in pipeline files: `$name`, `$name.field`, and `$$` for a dollar sign."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from typing import Any

from visionweave.errors import Problem, did_you_mean
from visionweave.graph import Ref

__all__ = [
    "RUN_ARGUMENTS",
    "check_name",
    "check_reference",
    "dollar",
    "holds_reference",
    "is_reference",
    "nearest",
    "parse_reference",
    "undollar",
]

NAME = "[A-Za-z_][A-Za-z0-9_]*"
_REFERENCE = re.compile(rf"\$({NAME})(?:\.({NAME}))?")

RUN_ARGUMENTS = ("device", "precision")
"""What `Pipeline.run` takes besides the inputs, which must have other names."""


def is_reference(data: Any) -> bool:
    """Whether `data` is meant as a reference: a text that begins with a single dollar sign."""
    return isinstance(data, str) and data.startswith("$") and not data.startswith("$$")


def holds_reference(data: Any) -> bool:
    """Whether there is a reference in `data`, at any depth."""
    if isinstance(data, dict):
        data = list(data.values())
    if isinstance(data, list):
        return any(map(holds_reference, data))
    return is_reference(data)


def parse_reference(text: str) -> Ref | None:
    """Return the reference that `text` is, or None when it is malformed."""
    match = _REFERENCE.fullmatch(text)
    return None if match is None else Ref(match[1], match[2] or "")


def check_reference(
    ref: Ref, where: str, outputs: Mapping[str, Collection[str] | None]
) -> Problem | None:
    """Return the problem of a reference, if there is one.

    Args:
        ref: the reference.
        where: the place to report.
        outputs: the outputs of every input and step; None where a mistake hides them.
    """
    if ref.name not in outputs:
        known = ", ".join(outputs) or "there is none"
        fix = did_you_mean(f"${ref.name}", [f"${name}" for name in outputs])
        return Problem(where, f"{ref} refers to nothing", f"an input or step: {known}", "", fix)
    fields = outputs[ref.name]
    if fields is None or ref.field in fields:
        return None
    choices = [str(Ref(ref.name, field)) for field in fields]
    if ref.field:
        what = f"'{ref.name}' has no output '{ref.field}'"
        fix = did_you_mean(str(ref), choices) or f"write {choices[0]}"
    else:
        what, fix = f"'{ref.name}' has several outputs", "say which"
    return Problem(where, what, " or ".join(choices), str(ref), fix)


def check_name(name: str, where: str, taken: Collection[str] = ()) -> Problem | None:
    """Return the problem of the name of an input, step or output, if there is one."""
    if not re.fullmatch(NAME, name):
        what = f"'{name}' cannot be a name"
        fix = re.sub("[^A-Za-z0-9_]", "_", name)
        fix = f"write {fix}" if re.fullmatch(NAME, fix) else ""
        return Problem(where, what, "letters, digits and _, not beginning with a digit", "", fix)
    if name in taken:
        what = f"'{name}' cannot be the name of an input"
        return Problem(where, what, "another name", "", f"`run({name}=...)` means something else")
    return None


def nearest(word: str, known: Collection[str]) -> list[str]:
    """Return what `did_you_mean` suggests, alone in a list, or an empty list."""
    return difflib.get_close_matches(word, known, n=1)


def dollar(data: Any) -> Any:
    """Double the $ that begins a text, which would make it a reference, at any depth."""
    if isinstance(data, str):
        return f"${data}" if data.startswith("$") else data
    if isinstance(data, (list, tuple)):
        return [dollar(each) for each in data]
    if isinstance(data, dict):
        return {key: dollar(value) for key, value in data.items()}
    return data


def undollar(data: Any) -> Any:
    """Turn the $$ that begins a text into the $ that it stands for, at any depth."""
    if isinstance(data, str):
        return data[1:] if data.startswith("$$") else data
    if isinstance(data, list):
        return [undollar(each) for each in data]
    if isinstance(data, dict):
        return {key: undollar(each) for key, each in data.items()}
    return data
