"""The folder in which items wait between the stages of a run.

    plan.json           what is run, and its stages
    0/3f/9c...          what an item was given, under the item's key (`spill.py`); anew in each run
    1/3f/9c...          what the first stage made of it
    2/3f/9c...          what the second added

What is there, whole, need not be made again: a run that was killed goes on.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections import Counter
from dataclasses import astuple
from pathlib import Path
from typing import Any, Self

import filelock

from visionweave.atomic import write_atomic
from visionweave.budget.spill import is_whole
from visionweave.cache.fingerprint import fingerprint
from visionweave.cache.folder import cache_folder
from visionweave.canonical import digest
from visionweave.execution.failures import Failed
from visionweave.execution.items import Item
from visionweave.photo.state import look
from visionweave.values import Image

__all__ = ["WaitingRoom"]

LOCK = ".lock"


class WaitingRoom:
    """The folder of a run.

    Args:
        folder: the folder; it may be what an earlier run has left, and nobody else may use it.
        key: what is run: all that the results depend on, but for the values of the items. With
            another key, what is there is removed.
    """

    def __init__(self, folder: Path, key: str = "") -> None:
        self.folder, self._key = folder, key
        self._resumed = False
        self._times: Counter[str] = Counter()

    def earlier(self, budget: int) -> list[list[str]] | None:
        """The stages of an earlier run that this one goes on with: the steps of each, by name."""
        before = self._read()
        if not self._key or (before.get("key"), before.get("budget")) != (self._key, budget):
            return None
        stages: list[list[str]] = before["stages"]
        return stages

    def begin(self, budget: int, groups: list[list[str]]) -> None:
        """Begin a run in stages that were made for a budget; what else waits here is removed."""
        self._resumed = self.earlier(budget) == groups
        if not self._resumed:
            self.remove()
            plan = {"key": self._key, "budget": budget, "stages": groups}
            write_atomic(self._plan, json.dumps(plan).encode())

    def key(self, item: Item, index: int) -> str:
        """By what an item is known, and was in an earlier run: its values; else by its number."""
        if not self._key:
            return digest(index)
        key = digest([item.name, *map(_known_by, item.values)])
        self._times[key] += 1
        return digest([key, self._times[key]])  # the same may be given again

    def has(self, stage: int, key: str) -> bool:
        """Whether an earlier run has left what a stage makes of an item."""
        if not self._resumed:
            return False
        try:
            return is_whole(self._path(stage, key).read_bytes())
        except OSError:
            return False

    def put(self, stage: int, key: str, data: bytes) -> None:
        """Keep what a stage made of an item."""
        write_atomic(self._path(stage, key), data, durable=False)

    def get(self, stage: int, key: str) -> bytes:
        """Return what a stage made of an item."""
        return self._path(stage, key).read_bytes()

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits that was computed."""
        return not (self.folder / "1").exists()

    def remove(self) -> None:
        """Remove all of it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """The run has ended; whoever has the folder removes it when its results are safe."""

    @property
    def _plan(self) -> Path:
        return self.folder / "plan.json"

    def _read(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._plan.read_bytes()))
        except (OSError, ValueError, TypeError):
            return {}

    def _path(self, stage: int, key: str) -> Path:
        return self.folder / str(stage) / key[:2] / key[2:]


def _known_by(value: Any) -> Any:
    """What of a value is the same when it is given again: a photo's name and bytes, or content."""
    if isinstance(value, list):
        return [_known_by(each) for each in value]
    if isinstance(value, Failed):
        return None
    if not isinstance(value, Image) or value.path is None:
        return [fingerprint(value), getattr(value.origin, "photo", "")]
    if value.held is not None:
        return [value.held[1], value.origin.photo]
    with contextlib.suppress(OSError):
        return [astuple(look(value.path)), value.origin.photo]
    return value.origin.photo  # there is none; reading it will say so


class PassingRoom(WaitingRoom):
    """A folder beside the result cache for one run alone; also removes those of killed ones."""

    def __init__(self) -> None:
        super().__init__(cache_folder() / "stages" / "none")

    def __enter__(self) -> Self:
        top = self.folder.parent
        top.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(top / LOCK):  # or another process could take a new one for left
            _remove_left(top)
            self.folder = Path(tempfile.mkdtemp(dir=top)) / "run"
            self._lock = filelock.FileLock(self.folder.parent / LOCK)
            self._lock.acquire()
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.release()
        shutil.rmtree(self.folder.parent, ignore_errors=True)


def _remove_left(top: Path) -> None:
    """Remove the folders whose processes are gone, and with them their locks."""
    for left in top.iterdir():
        if left.is_dir():
            lock = filelock.FileLock(left / LOCK)
            with contextlib.suppress(filelock.Timeout, OSError), lock.acquire(timeout=0):
                shutil.rmtree(left, ignore_errors=True)
