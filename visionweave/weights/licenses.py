"""Licences that restrict use: accepted once, and written down in `licenses.json` in the store."""

from __future__ import annotations

import json
import shlex
from datetime import UTC, datetime
from typing import Any

from visionweave.atomic import write_atomic
from visionweave.errors import WeightsError
from visionweave.weights.lock import Checkpoint, store_folder

__all__ = ["accept", "is_accepted", "require_license", "short_license"]


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
        for each in _accepted()
    )


def accept(checkpoint: Checkpoint) -> None:
    """Write down that the licence of a checkpoint was accepted, in the terms that were shown.

    It then holds for all checkpoints under the same licence and terms.
    """
    if is_accepted(checkpoint):
        return
    entry = {
        "license": checkpoint.license,
        "terms": checkpoint.terms,
        "commercial": checkpoint.commercial,
        "accepted_for": checkpoint.name,
        "accepted_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    text = json.dumps([*_accepted(), entry], indent=1, ensure_ascii=False)
    write_atomic(store_folder() / "licenses.json", text.encode())


def short_license(checkpoint: Checkpoint) -> str:
    """Return a licence in a word or two: "MIT", or "CC-BY-NC-4.0, not for commercial use"."""
    limits = {"yes": "", "no": ", not for commercial use", "conditional": ", with conditions"}
    return f"{checkpoint.license}{limits[checkpoint.commercial]}"


def _accepted() -> list[dict[str, Any]]:
    path = store_folder() / "licenses.json"
    try:
        entries = json.loads(path.read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot read which licences were accepted: {error}") from None
    return [each for each in entries if isinstance(each, dict)]
