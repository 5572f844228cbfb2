"""The store: where checkpoints lie on this machine, and giving out files that were checked."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Literal

from visionweave.errors import WeightsError
from visionweave.weights.licenses import require_license, short_license
from visionweave.weights.lock import Checkpoint, WeightFile, store_folder
from visionweave.weights.receipts import Receipts

__all__ = [
    "State",
    "check_files",
    "checkpoint_size",
    "folder_of",
    "missing_text",
    "receipts_of",
    "size_text",
    "state_of",
    "verified_files",
]

State = Literal["verified", "here", "in part", "no", "hash not known yet"]
"""How far a checkpoint is here. "here": all of it, but not hashed since a file was touched."""


def folder_of(checkpoint: Checkpoint) -> Path:
    """Return the folder of a checkpoint's files, whether it is there or not."""
    if checkpoint.shipped:
        return Path(__file__).parent / "mini" / checkpoint.name
    return store_folder() / checkpoint.name


def receipts_of(checkpoint: Checkpoint) -> Receipts:
    """Return what is remembered of a checkpoint's files: in the store, never in the package."""
    return Receipts(folder_of(checkpoint), store_folder() / checkpoint.name / ".verified.json")


def verified_files(checkpoint: Checkpoint) -> dict[str, Path]:
    """Return a checkpoint's files by name, once each was found to be what the list says.

    A file is hashed when it is first asked for, and when it was touched since. Nothing here
    touches the network.

    Raises:
        WeightsError: a file is missing, or is another than the list says; its hash is not known;
            or the licence restricts use and was not accepted.
    """
    lacks = missing_text(checkpoint)
    if lacks:
        raise WeightsError(lacks)
    require_license(checkpoint)
    wrong = check_files(checkpoint)
    if wrong:
        raise WeightsError("\n".join(wrong))
    folder = folder_of(checkpoint)
    return {file.name: folder / file.name for file in checkpoint.files}


def missing_text(checkpoint: Checkpoint) -> str:
    """Say which files of a checkpoint are missing, and how to get them; "" when none is."""
    folder = folder_of(checkpoint)
    missing = [file.name for file in checkpoint.files if not (folder / file.name).is_file()]
    return _missing(checkpoint, missing) if missing else ""


def check_files(checkpoint: Checkpoint, *, again: bool = False) -> list[str]:
    """Check the files of a checkpoint that are here.

    Args:
        checkpoint: which.
        again: hash also those that were found to be right before.

    Returns:
        What is wrong, one text for each wrong file.
    """
    folder = folder_of(checkpoint)
    here = [file for file in checkpoint.files if (folder / file.name).is_file()]
    wrong = [_check(checkpoint, file, again) for file in here]
    return [text for text in wrong if text]


def state_of(checkpoint: Checkpoint) -> State:
    """Say how far a checkpoint is here, without hashing anything."""
    if not checkpoint.hashed:
        return "hash not known yet"
    folder, receipts = folder_of(checkpoint), receipts_of(checkpoint)
    here = [(folder / file.name).is_file() for file in checkpoint.files]
    if not all(here):
        return "in part" if any(here) else "no"
    known = all(receipts.holds(file.name, file.sha256 or "") for file in checkpoint.files)
    return "verified" if known else "here"


def checkpoint_size(checkpoint: Checkpoint) -> str:
    """Return a checkpoint's size for people; "over 990 MB" when a file's is unknown."""
    sizes = [file.bytes for file in checkpoint.files]
    known = sum(size or 0 for size in sizes)
    if None not in sizes:
        return size_text(known)
    return f"over {size_text(known)}" if known >= 1e6 else "size not known"


def size_text(bytes: int) -> str:
    """Return a size for people: "354 MB"."""
    for unit, scale, digits in (("GB", 1e9, 1), ("MB", 1e6, 0), ("kB", 1e3, 0)):
        if bytes >= scale:
            return f"{bytes / scale:.{digits}f} {unit}"
    return f"{bytes} bytes"


def _check(checkpoint: Checkpoint, file: WeightFile, again: bool) -> str:
    """What is wrong with a file, or "" when it is right."""
    path, receipts = folder_of(checkpoint) / file.name, receipts_of(checkpoint)
    if file.sha256 is None:
        return (
            f"{path}: its hash is not known yet, so it cannot be checked, and is not loaded. To "
            f"take it as it is: visionweave weights add {checkpoint.name} {shlex.quote(str(path))}"
        )
    if not again and receipts.holds(file.name, file.sha256):
        return ""
    try:
        got = receipts.verify(file.name, file.sha256)
    except OSError as error:
        return f"{path}: cannot read this file: {error.strerror or error}"
    if got is None:
        return ""
    return (
        f"{path}: this is not the file that the list of weights names\n"
        f"  expected: sha256 {file.sha256}\n  got:      sha256 {got}\n"
        f"  fix:      {_fix(checkpoint, file)}"
    )


def _fix(checkpoint: Checkpoint, file: WeightFile) -> str:
    if checkpoint.shipped:
        return "it comes with visionweave; install that again"
    if not file.url:
        return f"add the right one: visionweave weights add {checkpoint.name} FILE"
    return f"fetch it again: visionweave weights pull {checkpoint.name}"


def _missing(checkpoint: Checkpoint, missing: list[str]) -> str:
    name, facts = checkpoint.name, f"{checkpoint_size(checkpoint)}, {short_license(checkpoint)}"
    lacks = "" if len(missing) == len(checkpoint.files) else f" in full ({', '.join(missing)})"
    text = f"{name} is not on this machine{lacks}; "
    if checkpoint.shipped:
        return f"{text}it comes with visionweave; install that again"
    if not checkpoint.hashed:
        return (
            f"{text}the hash of its published files is not known yet. On a machine with a network, "
            f"to fetch it as it is: visionweave weights add {name} --trust ({facts})"
        )
    if not all(file.url for file in checkpoint.files):
        return f"{text}add it from a file: visionweave weights add {name} FILE"
    return f"{text}fetch it with: visionweave weights pull {name} ({facts})"
