"""Licences that restrict use: accepted once, and written down in `licenses.json` in the store."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from visionweave.errors import WeightsError
from visionweave.weights.lock import Checkpoint, store_folder

__all__ = [
    "accepted_licenses",
    "is_accepted",
    "licenses_path",
    "require_license",
    "short_license",
]


def require_license(checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint whose licence restricts use and was not accepted.

    Raises:
        WeightsError: it is so; the message holds the terms and the command that accepts them.
    """
    if is_accepted(checkpoint):
        return
    name, license = checkpoint.name, checkpoint.license
    raise WeightsError(
        f"{name} is under a licence that restricts its use: {license} (commercial use: "
        f"{checkpoint.commercial}). {checkpoint.terms or 'Its terms are not stated.'} "
        "If your use is allowed, say so once with: visionweave weights pull "
        f"{name} --accept-license {shlex.quote(license)}"
    )


def is_accepted(checkpoint: Checkpoint) -> bool:
    """Whether a checkpoint's licence does not restrict its use, or was accepted."""
    return not checkpoint.restricted or any(
        each.get("license") == checkpoint.license and each.get("terms") == checkpoint.terms
        for each in accepted_licenses()
    )


def short_license(checkpoint: Checkpoint) -> str:
    """Return a licence in a word or two: "MIT", or "CC-BY-NC-4.0, not for commercial use"."""
    limits = {"yes": "", "no": ", not for commercial use", "conditional": ", with conditions"}
    return f"{checkpoint.license}{limits[checkpoint.commercial]}"


def licenses_path() -> Path:
    """Where it is written down which licences were accepted."""
    return store_folder() / "licenses.json"


def accepted_licenses() -> list[dict[str, Any]]:
    """Return what was written down of each licence that was accepted.

    Raises:
        WeightsError: it cannot be read, or is no list of tables.
    """
    path = licenses_path()
    try:
        entries = json.loads(path.read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot read which licences were accepted: {error}") from None
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        raise WeightsError(
            f"{path}: cannot read which licences were accepted: expected a list of tables; repair "
            "it, or remove it and accept them again"
        )
    return entries
