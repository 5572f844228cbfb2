"""Ctrl-C: the first ends a job at the next batch, the second at once."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from visionweave.execution.observe import Observer
from visionweave.execution.plan import PlannedStep

__all__ = ["CtrlC", "ctrl_c"]

FIRST = "stopping after the batch that is computing; Ctrl-C again stops at once"
SHOW_CURSOR = "\x1b[?25h"


class CtrlC(Observer):
    """Raises KeyboardInterrupt where a run can be left without losing what was computed."""

    def __init__(self) -> None:
        self.pressed = False

    def press(self) -> None:
        """Take note of Ctrl-C; the second time, end the process.

        It is a moment like any other to a job, which may be killed at any: nothing is lost that was
        reported done.
        """
        if self.pressed:
            if sys.stderr.isatty():
                sys.stderr.write(SHOW_CURSOR)
                sys.stderr.flush()
            os._exit(130)
        self.pressed = True
        print(f"\n{FIRST}" if sys.stderr.isatty() else FIRST, file=sys.stderr, flush=True)

    def _check(self) -> None:
        if self.pressed:
            raise KeyboardInterrupt

    def chunk_started(self, items: Sequence[str]) -> None:
        """Between two chunks is a good moment."""
        self._check()

    def step_started(self, step: PlannedStep, calls: int) -> None:
        """Between two steps, too."""
        self._check()

    def batch_finished(self, step: PlannedStep, method: str, size: int, failed: bool) -> None:
        """And after a batch: what it gave is kept by the result cache."""
        self._check()


@contextmanager
def ctrl_c() -> Iterator[CtrlC]:
    """Within this, Ctrl-C goes to the observer that is given.

    Python tells of signals only between two of its own instructions, and a forward pass is one; so
    a thread listens to them, and answers at once.
    """
    stop = CtrlC()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    here, there = socket.socketpair()
    there.setblocking(False)
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    wakeup = signal.set_wakeup_fd(there.fileno(), warn_on_full_buffer=False)

    def listen() -> None:
        while number := here.recv(1):
            if number[0] == signal.SIGINT:
                stop.press()

    listener = threading.Thread(target=listen, name="visionweave-ctrl-c", daemon=True)
    listener.start()
    try:
        yield stop
    finally:
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGINT, before)
        there.close()
        listener.join()
        here.close()
