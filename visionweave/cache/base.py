"""An SQLite file that may be lost: shared by processes, made anew when it is damaged."""

from __future__ import annotations

import sqlite3
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from visionweave.errors import WeaveWarning

__all__ = ["MEMORY", "Base", "transaction"]

MEMORY = Path(":memory:")
"""In the place of a file: what is kept in memory, until it is closed."""

PAGES_KB = 512
"""Memory for pages of a file, in KiB; the system keeps them too, so that more gains nothing."""

T = TypeVar("T")


class Base:
    """An SQLite file whose contents are a convenience.

    When it cannot be used there is one warning, and from then on it has nothing and takes nothing.

    Args:
        path: the file; its folder is made when there is none.
        schema: the statements that make its tables; with another schema it is another file.
        loss: what its user does without it, for the warning.
        forget: called when the file was damaged and is made anew.
    """

    def __init__(
        self, path: Path, schema: str, loss: str, forget: Callable[[], None] = lambda: None
    ) -> None:
        self.path, self._schema, self._loss, self._forget = path, schema, loss, forget
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self.works = True

    def do(self, action: Callable[[sqlite3.Connection], T]) -> T | None:
        """Return what `action` makes of the connection, or None when that fails."""
        with self._lock:
            try:
                return self._do(action)
            except sqlite3.OperationalError as error:  # locked, full, not to be written
                self._give_up(str(error))
            except sqlite3.DatabaseError:
                self._begin_anew()
            except OSError as error:
                self._give_up(error.strerror or str(error))
        return None

    def row(self, statement: str, *values: Any) -> Any:
        """Return the first row of a query, or None."""
        return self.do(lambda base: base.execute(statement, values).fetchone())

    def change(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        """Run a statement for each of `rows`, all together or none."""

        def change(base: sqlite3.Connection) -> None:
            with transaction(base):
                base.executemany(statement, rows)

        if rows:
            self.do(change)

    def close(self) -> None:
        """Let go of the file; it is opened again when it is asked."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _do(self, action: Callable[[sqlite3.Connection], T]) -> T | None:
        if not self.works:
            return None
        if self._connection is None:
            self._connection = self._open()
        return action(self._connection)

    def _open(self) -> sqlite3.Connection:
        if self.path != MEMORY:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self.path,
            timeout=30,
            isolation_level=None,  # transactions are begun by hand
            check_same_thread=False,  # the lock sees to it that one thread uses it at a time
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA cache_size = -{PAGES_KB}")
            if connection.execute("PRAGMA user_version").fetchone()[0] != 1:
                script = f"BEGIN IMMEDIATE; {self._schema} PRAGMA user_version = 1; COMMIT;"
                connection.executescript(script)
        except BaseException:
            connection.close()
            raise
        return connection

    def _begin_anew(self) -> None:
        """Remove a file that is damaged; what is asked next finds an empty one."""
        self.close()
        try:
            for suffix in ("", "-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        except OSError as error:
            self._give_up(error.strerror or str(error))
        self._forget()

    def _give_up(self, reason: str) -> None:
        self.works = False
        warnings.warn(
            f"{self.path} cannot be used, so {self._loss}: {reason}", WeaveWarning, stacklevel=2
        )


@contextmanager
def transaction(base: sqlite3.Connection) -> Iterator[None]:
    """A block that reads and writes as if it were alone; an error undoes it."""
    base.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        base.execute("ROLLBACK")
        raise
    base.execute("COMMIT")
