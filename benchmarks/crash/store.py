"""The made-up model, and whether the store of weights tells the truth about it."""

from __future__ import annotations

import hashlib
import random

from visionweave.errors import WeightsError
from visionweave.weights import Checkpoint, verified_files
from visionweave.weights.lock import store_folder, user_lock_path
from visionweave.weights.store import folder_of, missing_text, receipts_of, state_of

from .hub import Hub
from .job import FAMILY, MODEL

SIZES = {"config.json": 700, "first.bin": 2_000_000, "words.txt": 300_000, "second.bin": 1_700_000}
NO_SIZE = "words.txt"
"""The file whose size the list does not say; its hash must do."""


def made_up() -> dict[str, bytes]:
    """The model's files, by name."""
    return {name: random.Random(name).randbytes(size) for name, size in SIZES.items()}


def write_list(model: dict[str, bytes], hub: Hub) -> None:
    """List the model in the user's own list."""
    lines = [f'[checkpoint."{MODEL}"]', f'family = "{FAMILY}"', 'license = "MIT"']
    lines += ['commercial = "yes"', "files = ["]
    for name, data in model.items():
        size = "" if name == NO_SIZE else f"bytes = {len(data)}, "
        sha256 = hashlib.sha256(data).hexdigest()
        lines.append(
            f'{{ name = "{name}", url = "{hub.url(f"/{name}")}", {size}sha256 = "{sha256}" }},'
        )
    user_lock_path().parent.mkdir(parents=True)
    user_lock_path().write_text("\n".join([*lines, "]\n"]))


def check_store(entry: Checkpoint, model: dict[str, bytes]) -> dict[str, int]:
    """See that nothing counts as fetched but what is whole and right.

    Returns:
        how many bytes are there of each file; those of a file that is still arriving are right.
    """
    folder, receipts = folder_of(entry), receipts_of(entry)
    found = {}
    for file in entry.files:
        path, data = folder / file.name, model[file.name]
        half = path.with_name(f"{file.name}.part")
        if path.exists():
            assert path.read_bytes() == data, f"{path} has its name, and is not as it should be"
            found[file.name] = len(data)
        else:
            assert not receipts.holds(file.name, file.sha256 or ""), f"{path} counts as verified"
            came = half.read_bytes() if half.exists() else b""
            assert data.startswith(came), f"{half} is not the beginning of {file.name}"
            found[file.name] = len(came)
    if not is_whole(entry):
        assert state_of(entry) in ("no", "in part")
        assert missing_text(entry)
        try:
            verified_files(entry)
        except WeightsError:
            return found
        raise AssertionError(f"{MODEL} is given out, though not all of it is there")
    return found


def is_whole(entry: Checkpoint) -> bool:
    """Whether each file has its name."""
    return all(has_name(entry, file.name) for file in entry.files)


def has_name(entry: Checkpoint, name: str) -> bool:
    """Whether a file has its name, so that it is no longer arriving."""
    return (folder_of(entry) / name).exists()


def weights() -> dict[str, bytes]:
    """All that is in the store, but for locks; what is remembered of hashes, by name alone."""
    found = {}
    for path in store_folder().rglob("*"):
        name = path.relative_to(store_folder()).as_posix()
        if path.is_file() and not name.startswith(".locks/"):
            found[name] = b"" if path.name == ".verified.json" else path.read_bytes()
    return found
