"""Writing lists of weights."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from visionweave.atomic import write_atomic
from visionweave.weights.download import Watcher, alone, disk_errors
from visionweave.weights.lock import Checkpoint, Lock, parse_lock, user_lock, user_lock_path

__all__ = ["checkpoint_text", "lock_text", "profile_text", "write_entry"]

_HEADER = """\
# Your own list of weights, laid over the one that comes with visionweave.
# `visionweave weights add` writes it. You may change it; comments do not survive the next `add`.
"""


def write_entry(checkpoint: Checkpoint) -> None:
    """Put a checkpoint into the user's own list, in place of one of the same name.

    Raises:
        WeightsError: the list is broken, or cannot be written.
    """
    path = user_lock_path()
    with alone(path, Watcher()), disk_errors(path):
        mine = user_lock()
        text = lock_text(Lock(mine.checkpoints | {checkpoint.name: checkpoint}, mine.profiles))
        parse_lock(text, str(path))  # what cannot be read again is not written
        write_atomic(path, text.encode())


def lock_text(lock: Lock) -> str:
    """Return a list of weights as TOML."""
    parts = [_HEADER, *map(checkpoint_text, lock.checkpoints.values())]
    parts += [profile_text(name, chosen) for name, chosen in lock.profiles.items()]
    return "\n".join(parts)


def checkpoint_text(checkpoint: Checkpoint) -> str:
    """Return the table of one checkpoint as TOML, without a blank line in it."""
    facts = {key: fact for key, fact in dataclasses.asdict(checkpoint).items() if key != "name"}
    told = {key: fact for key, fact in facts.items() if fact not in ("", False, {})}
    return _table(f"checkpoint.{_text(checkpoint.name)}", told)


def profile_text(name: str, chosen: Mapping[str, str]) -> str:
    """Return the table of one profile as TOML, without a blank line in it."""
    return _table(f"profiles.{_key(name)}", chosen)


def _table(title: str, facts: Mapping[str, Any]) -> str:
    lines = (f"{_key(k)} = {_files(v) if k == 'files' else _value(v)}" for k, v in facts.items())
    return "\n".join([f"[{title}]", *lines, ""])


def _files(files: Sequence[Mapping[str, Any]]) -> str:
    """The files of a checkpoint, each on a line of its own."""
    known = ({key: fact for key, fact in file.items() if fact != ""} for file in files)
    return "\n".join(["[", *(f"  {_value(file)}," for file in known), "]"])


def _value(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        pairs = (f"{_key(k)} = {_value(v)}" for k, v in value.items() if v is not None)
        return f"{{ {', '.join(pairs)} }}"
    return repr(value)  # numbers, and inf and nan, are written alike in Python and TOML


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)


def _text(text: str) -> str:
    # TOML's basic strings are JSON's, but for the last control character.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
