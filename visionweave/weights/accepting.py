"""Accepting licences that restrict use, once for this machine."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from visionweave.atomic import write_atomic
from visionweave.weights.download import Watcher, alone, disk_errors
from visionweave.weights.licenses import accepted_licenses, is_accepted, licenses_path
from visionweave.weights.lock import Checkpoint

__all__ = ["accept"]


def accept(checkpoint: Checkpoint) -> None:
    """Write down that the licence of a checkpoint was accepted, in the terms that were shown.

    It then holds for all checkpoints under the same licence and terms.

    Raises:
        WeightsError: what was accepted before cannot be read, or the store cannot be written.
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
    path = licenses_path()
    with alone(path, Watcher()), disk_errors(path):
        text = json.dumps([*accepted_licenses(), entry], indent=1, ensure_ascii=False)
        write_atomic(path, text.encode())
