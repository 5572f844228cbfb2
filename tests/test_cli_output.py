"""Standard output that takes no more: a pipe that nobody reads, a full disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

WRITES_MUCH = ["schema"]
WRITES_LITTLE = ["pipelines"]  # by rich
COMMANDS = [WRITES_MUCH, WRITES_LITTLE, ["--version"]]


def call(arguments: list[str], stdout: int | IO[bytes], **more: str) -> tuple[int, str]:
    """The exit code, and what was written to standard error."""
    command = [sys.executable, "-m", "visionweave", *arguments]
    environment = os.environ | more
    done = subprocess.run(
        command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False, env=environment
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_pipe_that_nobody_reads_is_no_error(arguments: list[str]) -> None:
    there, here = os.pipe()
    os.close(there)
    try:
        assert call(arguments, here) == (0, "")
    finally:
        os.close(here)


def test_a_pipe_that_nobody_reads_is_no_error_where_nothing_is_buffered() -> None:
    there, here = os.pipe()
    os.close(there)
    try:
        assert call(WRITES_MUCH, here, PYTHONUNBUFFERED="1") == (0, "")
    finally:
        os.close(here)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_full_disk_is_said_without_a_traceback(arguments: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        code, err = call(arguments, full)
    assert (code, err) == (1, "error: cannot write the output: No space left on device\n")
