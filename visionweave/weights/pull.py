"""Fetching a checkpoint into the store."""

from __future__ import annotations

from pathlib import Path

from visionweave.errors import WeightsError
from visionweave.weights.download import Patience, Watcher, alone, disk_errors, fetch
from visionweave.weights.licenses import require_license
from visionweave.weights.lock import Checkpoint, WeightFile
from visionweave.weights.store import folder_of, receipts_of, verified_files

__all__ = ["fetch_file", "pull"]


def pull(
    checkpoint: Checkpoint, watcher: Watcher | None = None, patience: Patience | None = None
) -> Path:
    """Fetch what is missing of a checkpoint, or is not what it should be.

    Args:
        checkpoint: which.
        watcher: told how it goes.
        patience: how long to try.

    Returns:
        The folder of its files: all of them are there, and right.

    Raises:
        WeightsError: the hash of a file is not known; its licence restricts use and was not
            accepted; or it cannot be fetched.
    """
    if checkpoint.shipped:
        verified_files(checkpoint)
        return folder_of(checkpoint)
    if not checkpoint.hashed:
        unknown = ", ".join(file.name for file in checkpoint.files if file.sha256 is None)
        raise WeightsError(
            f"{checkpoint.name}: the hash of {unknown} is not known yet, so what a server sends "
            "could not be checked. To take it as it is, and check it against that from then on: "
            f"visionweave weights add {checkpoint.name} --trust"
        )
    require_license(checkpoint)
    for file in checkpoint.files:
        fetch_file(checkpoint, file, watcher or Watcher(), patience or Patience())
    return folder_of(checkpoint)


def fetch_file(
    checkpoint: Checkpoint, file: WeightFile, watcher: Watcher, patience: Patience
) -> str:
    """Fetch one file of a checkpoint, unless it is here and right, and return its hash.

    Raises:
        WeightsError: it cannot be fetched.
    """
    path, receipts = folder_of(checkpoint) / file.name, receipts_of(checkpoint)
    with alone(path, watcher), disk_errors(path):
        if file.sha256 and path.is_file():
            if receipts.holds(file.name, file.sha256):
                return file.sha256
            if receipts.verify(file.name, file.sha256) is None:
                return file.sha256
            watcher.said(f"{path}: this is another file than the list names; replacing it")
        if not file.url:
            raise WeightsError(
                f"{checkpoint.name}: nothing says where {file.name} could be fetched from. Add it "
                f"from a file: visionweave weights add {checkpoint.name} FILE"
            )
        sha256 = fetch(file, path, watcher, patience)
        receipts.remember(file.name, sha256)
    return sha256
