"""Standard output: that it takes no more is told from all other errors."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

__all__ = ["OutputLost", "watched_output"]


class OutputLost(Exception):
    """Raised when standard output takes no more: a full disk, or a pipe that nobody reads.

    It is no OSError, for typer and rich make a broken pipe an exit with 1.

    Attributes:
        error: what the system said.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(error)
        self.error = error


@contextmanager
def watched_output() -> Iterator[None]:
    """Within this, standard output raises OutputLost; on leaving, all of it is written.

    Raises:
        OutputLost: it takes no more. What was left to write is thrown away.
    """
    stream = sys.stdout or io.StringIO()  # there is none in a process without a console
    sys.stdout = cast(TextIO, _Output(stream))
    try:
        yield
        sys.stdout.flush()
    except OutputLost:
        # Python writes what is left when it ends, and would complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise
    finally:
        sys.stdout = stream


class _Output:
    """A stream whose errors of the system are OutputLost."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            raise OutputLost(error) from error

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            raise OutputLost(error) from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
