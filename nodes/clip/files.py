"""The files of a CLIP checkpoint: its weights, its tables, and what is missing or too much."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from visionweave.errors import WeightsError
from visionweave.weights import read_tensors

__all__ = ["check_keys", "read_state", "read_table"]

Files = Mapping[str, Path]

WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")


def read_table(checkpoint: str, files: Files, name: str) -> dict[str, Any]:
    """Return what is in one of its JSON files.

    Raises:
        WeightsError: the file is not listed, or is no JSON table.
    """
    if name not in files:
        raise WeightsError(f"{checkpoint}: its list of files lacks {name}; add it")
    try:
        table = json.loads(files[name].read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{files[name]}: cannot read this table: {error}") from None
    if not isinstance(table, dict):
        raise WeightsError(f"{files[name]}: expected a JSON table; got a {type(table).__name__}")
    return table


def read_state(checkpoint: str, files: Files) -> dict[str, Any]:
    """Return the tensors of its only file of weights, by name.

    A training checkpoint is unwrapped: the weights lie under "state_dict", their names begin with
    "module.". Counters that are no weights are left out.

    Raises:
        WeightsError: there is no such file, there are several, or it cannot be read.
    """
    found = [name for name in files if name.endswith(WEIGHTS)]
    if len(found) != 1:
        listed = ", ".join(found) or "none"
        raise WeightsError(f"{checkpoint}: expected one file of weights in its list; got {listed}")
    state = read_tensors(files[found[0]])
    if isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    named = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    counters = ("input_resolution", "context_length", "vocab_size")
    return {
        name: tensor
        for name, tensor in named.items()
        if name not in counters and not name.endswith("position_ids")
    }


def check_keys(checkpoint: str, **wrong: Iterable[str]) -> None:
    """Refuse weights that are not exactly those of the network.

    Args:
        checkpoint: its name.
        wrong: names of tensors by what is wrong with them: missing, unexpected, misshapen.

    Raises:
        WeightsError: there is one.
    """
    parts = []
    for what, names in wrong.items():
        listed = sorted(names)
        if listed:
            more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
            parts.append(f"{len(listed)} {what} ({', '.join(listed[:3])}{more})")
    if parts:
        raise WeightsError(
            f"{checkpoint}: these are not the weights of its architecture: {'; '.join(parts)}. "
            "Correct the entry's architecture, or its file of weights"
        )
