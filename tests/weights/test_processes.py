"""Two processes that want one file, and one that is killed half way."""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from visionweave.weights import checkpoint, verified_files
from visionweave.weights.pull import pull

if TYPE_CHECKING:
    from tests.weights.conftest import Notes, Server

BODY = random.Random(2).randbytes(300_000)
HASH = hashlib.sha256(BODY).hexdigest()
PULL = """
from visionweave.weights import checkpoint
from visionweave.weights.download import Watcher
from visionweave.weights.pull import pull

class Printed(Watcher):
    def said(self, text):
        print(text, flush=True)

print(pull(checkpoint("tiny", "clip"), Printed()))
"""


@pytest.fixture
def url(server: Server, store: Path) -> str:
    server.files["/w.bin"] = BODY
    (store / "weights.lock").write_text(f"""
        [checkpoint.tiny]
        family = "clip"
        license = "MIT"
        commercial = "yes"
        files = [{{ name = "w.bin", url = "{server.url("/w.bin")}", sha256 = "{HASH}" }}]
    """)
    return server.url("/w.bin")


def start() -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", PULL], stdout=subprocess.PIPE, text=True)


def wait_for_size(path: Path, size: int) -> None:
    deadline = time.monotonic() + 20
    while not path.exists() or path.stat().st_size < size:
        assert time.monotonic() < deadline, f"{path} never had {size} bytes"
        time.sleep(0.005)


def test_two_processes_fetch_one_file_once(server: Server, url: str, store: Path) -> None:
    server.answers("/w.bin", server.stop_at(1000))
    with start() as first:
        assert server.arrived.wait(20)
        with start() as second:
            assert second.stdout is not None
            assert second.stdout.readline() == "w.bin: another process is at it; waiting for that\n"
            server.go_on.set()
            printed = [first.communicate(timeout=20)[0], second.communicate(timeout=20)[0]]
    assert printed == [f"{store / 'tiny'}\n"] * 2
    assert (first.returncode, second.returncode) == (0, 0)
    assert (store / "tiny/w.bin").read_bytes() == BODY
    assert len(server.requests) == 1


def test_a_process_killed_half_way_is_continued(
    server: Server, url: str, store: Path, notes: Notes
) -> None:
    server.answers("/w.bin", server.stop_at(150_000))
    with start() as process:
        wait_for_size(store / "tiny/w.bin.part", 150_000)
        process.kill()
        process.communicate(timeout=20)
    assert not (store / "tiny/w.bin").exists()
    server.go_on.set()
    tiny = checkpoint("tiny", "clip")
    pull(tiny, notes)
    assert server.ranges() == [None, "bytes=150000-"]
    assert verified_files(tiny)["w.bin"].read_bytes() == BODY
    assert "w.bin: going on behind the 150 kB that are here" in notes.lines


KILLED_AT_A_RENAMING = """
import os, signal, sys
from pathlib import Path

left = [int(sys.argv[1])]
rename = Path.replace

def replace(self, target):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    renamed = rename(self, target)
    if left == [0] and sys.argv[2] == "after":
        os.kill(os.getpid(), signal.SIGKILL)
    return renamed

Path.replace = replace
"""


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(("0", "before"), id="before the file has its name"),
        pytest.param(("1", "after"), id="after the file has its name"),
        pytest.param(("1", "before"), id="before its hash is remembered"),
    ],
)
def test_a_process_killed_at_the_end_of_a_file_leaves_nothing_behind(
    moment: tuple[str, str], server: Server, url: str, store: Path
) -> None:
    command = [sys.executable, "-c", KILLED_AT_A_RENAMING + PULL, *moment]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert len(server.requests) == 1
    pull(checkpoint("tiny", "clip"))
    assert len(server.requests) == 1, "all of it was there"
    assert sorted(path.name for path in (store / "tiny").iterdir()) == [".verified.json", "w.bin"]
    assert (store / "tiny/w.bin").read_bytes() == BODY
