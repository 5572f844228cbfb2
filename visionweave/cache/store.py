"""The store of the result cache: an index in SQLite, large results in files beside it.

    results.sqlite      a row per result: key, outline, size, when it was last used, small results
    large/3f/9c...      results above SMALL bytes, each under its key

Two processes may use it at once, and any may be killed at any moment: what is half-written is not
found, and what is damaged is found out by its checksum, and dropped. The cache is a convenience:
when it cannot be read or written, there is a warning, and results are computed as without it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from visionweave.atomic import write_atomic
from visionweave.cache.base import Base, transaction
from visionweave.cache.blob import Outline
from visionweave.cache.folder import cache_folder, cache_size

__all__ = ["CacheInfo", "Found", "ResultCache"]

SMALL = 32_768
"""Up to this many bytes SQLite is faster than a file, and takes no whole block of the disk."""

FREED = 0.1
"""The share of the room that is made when the cache is full, so that this is seldom."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS results (
    key TEXT PRIMARY KEY, outline TEXT NOT NULL, checksum BLOB NOT NULL,
    bytes INTEGER NOT NULL, used REAL NOT NULL, data BLOB
);
CREATE INDEX IF NOT EXISTS by_use ON results (used, bytes);
CREATE TABLE IF NOT EXISTS total (bytes INTEGER NOT NULL, results INTEGER NOT NULL);
INSERT INTO total SELECT 0, 0 WHERE NOT EXISTS (SELECT * FROM total);
CREATE TRIGGER IF NOT EXISTS added AFTER INSERT ON results
    BEGIN UPDATE total SET bytes = bytes + new.bytes, results = results + 1; END;
CREATE TRIGGER IF NOT EXISTS dropped AFTER DELETE ON results
    BEGIN UPDATE total SET bytes = bytes - old.bytes, results = results - 1; END;
"""


@dataclass(frozen=True, slots=True)
class Found:
    """A result that the cache has: its key, and what it looks like from outside."""

    key: str
    outline: Outline


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """What is in the cache: how many results, how many bytes, how many it may hold."""

    folder: Path
    results: int
    bytes: int
    limit: int


class ResultCache:
    """Results by key, up to a number of bytes; of more, those go that nobody used for longest.

    Args:
        folder: where it lies; the user's cache folder when None.
        limit: how many bytes it may hold; as set, or 20 GB, when None.
    """

    def __init__(self, folder: Path | None = None, limit: int | None = None) -> None:
        self.folder = cache_folder() if folder is None else folder
        self.limit = cache_size() if limit is None else limit
        loss = "results are computed and not kept"
        self._base = Base(self.folder / "results.sqlite", _SCHEMA, loss, self._drop_files)
        self._used: set[str] = set()

    def find(self, key: str) -> Found | None:
        """Return the result of this key, or None; its values are not read."""
        row = self._base.row("SELECT outline, checksum FROM results WHERE key = ?", key)
        if row is None:
            return None
        outline, checksum = row
        if checksum != _checksum(key, outline):
            self.drop(key)
            return None
        self._used.add(key)
        return Found(key, json.loads(outline))

    def read(self, key: str) -> bytes | None:
        """Return the bytes of a result, or None where they are gone by now."""
        row = self._base.row("SELECT data FROM results WHERE key = ?", key)
        if row is None or row[0] is not None:
            return None if row is None else bytes(row[0])
        try:
            return self._file(key).read_bytes()
        except OSError:
            return None

    def put(self, key: str, outline: Outline, data: bytes) -> None:
        """Keep a result; nothing happens when it is kept already, or is larger than the cache."""
        if len(data) > self.limit or not self._base.works:
            return
        text = json.dumps(outline)
        small = len(data) <= SMALL
        row = (key, text, _checksum(key, text), len(data), time.time(), data if small else None)

        def insert(base: sqlite3.Connection) -> int:
            if not small:
                write_atomic(self._file(key), data, durable=False)
            base.execute("INSERT OR IGNORE INTO results VALUES (?, ?, ?, ?, ?, ?)", row)
            return int(base.execute("SELECT bytes FROM total").fetchone()[0])

        if (self._base.do(insert) or 0) > self.limit:
            self._make_room()

    def drop(self, key: str) -> None:
        """Forget a result, because it is damaged."""
        self._base.change("DELETE FROM results WHERE key = ?", [(key,)])
        self._unlink([key])

    def flush(self) -> None:
        """Write down which results were used since the last time."""
        used, self._used = self._used, set()
        now = time.time()
        self._base.change("UPDATE results SET used = ? WHERE key = ?", [(now, key) for key in used])

    def info(self) -> CacheInfo:
        """Say what is in the cache."""
        count, size = self._base.row("SELECT results, bytes FROM total") or (0, 0)
        return CacheInfo(self.folder, count, size, self.limit)

    def clear(self) -> CacheInfo:
        """Remove all results; return what there was."""
        before = self.info()
        self._base.do(lambda base: base.executescript("DELETE FROM results; VACUUM;"))
        self._drop_files()
        return before

    def close(self) -> None:
        """Write what is left to be written, and let go of the files."""
        self.flush()
        self._base.close()

    def _make_room(self) -> None:
        """Drop the results that nobody used for longest."""
        self.flush()
        self._unlink(self._base.do(self._drop_oldest) or ())

    def _drop_oldest(self, base: sqlite3.Connection) -> list[str]:
        gone = []
        with transaction(base):  # or two processes would both make the same room
            over = base.execute("SELECT bytes FROM total").fetchone()[0] - self.limit
            need = over + FREED * self.limit if over > 0 else 0
            for key, size in base.execute("SELECT key, bytes FROM results ORDER BY used, rowid"):
                if need <= 0:
                    break
                gone.append(key)
                need -= size
            base.executemany("DELETE FROM results WHERE key = ?", [(key,) for key in gone])
        return gone

    def _unlink(self, keys: Iterable[str]) -> None:
        for key in keys:
            with contextlib.suppress(OSError):
                self._file(key).unlink(missing_ok=True)

    def _drop_files(self) -> None:
        shutil.rmtree(self.folder / "large", ignore_errors=True)

    def _file(self, key: str) -> Path:
        return self.folder / "large" / key[:2] / key[2:]


def _checksum(key: str, outline: str) -> bytes:
    return hashlib.sha256(f"{key} {outline}".encode()).digest()[:8]
