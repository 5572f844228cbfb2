"""How much memory there is, how much of it is free, and how much a piece of work takes.

Of the machine's memory that counts which the system calls available, or what is left of the limit
of a control group (a container's, a batch system's), whichever is less; torch is not asked. Of a
GPU's, torch is asked, and what its allocator holds and does not use counts as free.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["Gauge", "free_memory", "give_back", "total_memory"]

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")

_NO_LIMIT = 2**60
"""What the first version of control groups calls no limit is larger than this."""


def total_memory(device: str = "cpu", root: Path = Path("/")) -> int | None:
    """Return how many bytes of memory a device has; None where the system does not tell.

    Args:
        device: in torch's words: "cpu", "cuda:0".
        root: where the files of the system are.
    """
    if device != "cpu":
        asked = _cuda(device)
        return None if asked is None else int(asked.mem_get_info(device)[1])
    limits = [limit for limit, _ in _groups(root)]
    known = _meminfo(root).get("MemTotal") or _pages()
    return min([*limits, *([known] if known else [])], default=None)


def free_memory(device: str = "cpu", root: Path = Path("/")) -> int | None:
    """Return how many bytes of a device's memory are free; see `total_memory`."""
    if device != "cpu":
        asked = _cuda(device)
        if asked is None:
            return None
        held = asked.memory_reserved(device) - asked.memory_allocated(device)
        return int(asked.mem_get_info(device)[0] + held)
    left = [max(0, limit - used) for limit, used in _groups(root)]
    known = _meminfo(root).get("MemAvailable")
    return min([*left, *([known] if known is not None else [])], default=None)


def give_back() -> None:
    """Give back memory that nothing refers to, GPUs' too."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


class Gauge:
    """Measures a piece of work in this thread: how long it takes, and how much memory at its peak.

    On the CPU the peak is that of the whole process, above what it held when the work began; what
    other threads take meanwhile counts, and what the process had kept from earlier work does not.

    Args:
        device: where the work is done.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._cuda = _cuda(device) if device != "cpu" else None
        self._before: int | None = None
        self._started = 0.0

    def free(self) -> int | None:
        """How many bytes are free now."""
        return free_memory(self._device)

    def start(self, *, afresh: bool = False) -> None:
        """The work begins.

        Args:
            afresh: give back first what the process has kept from earlier work, where the system
                can do that, so that none of it is missing from the measure. That makes it slower.
        """
        if self._cuda is not None:
            self._cuda.synchronize(self._device)
            self._cuda.reset_peak_memory_stats(self._device)
            self._before = self._cuda.memory_allocated(self._device)
        elif self._device == "cpu":
            self._before = _reset_peak(afresh)
        self._started = time.perf_counter()

    def stop(self) -> tuple[float, int | None]:
        """The work has ended: return its seconds, and its bytes where they are known."""
        if self._cuda is not None:
            self._cuda.synchronize(self._device)  # a GPU computes on when Python goes on
        seconds = time.perf_counter() - self._started
        if self._before is None:
            return seconds, None
        if self._cuda is not None:
            return seconds, int(self._cuda.max_memory_allocated(self._device) - self._before)
        return seconds, max(0, _status().get("VmHWM", 0) - self._before)


def _cuda(device: str) -> Any:
    """torch.cuda for a device that is one, else None."""
    return importlib.import_module("torch").cuda if device.startswith("cuda") else None


def _reset_peak(afresh: bool) -> int | None:
    """Begin to measure the process's peak, and return what it holds; None where it cannot be."""
    if afresh:
        with contextlib.suppress(AttributeError, OSError, TypeError):  # not every C library can
            ctypes.CDLL(None).malloc_trim(0)
    try:
        _CLEAR.write_text("5")
    except OSError:
        return None
    return _status().get("VmRSS")


def _status() -> dict[str, int]:
    return _sizes(_STATUS)


def _meminfo(root: Path) -> dict[str, int]:
    return _sizes(root / "proc/meminfo")


def _sizes(path: Path) -> dict[str, int]:
    """The lines `Name:   123 kB` of a file of the system, in bytes."""
    found = {}
    for line in _text(path).splitlines():
        name, _, rest = line.partition(":")
        match rest.split():
            case [number, "kB"]:
                found[name] = int(number) * 1024
    return found


def _pages() -> int | None:
    """The machine's memory, where there is no /proc."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _groups(root: Path) -> Iterator[tuple[int, int]]:
    """The limit and the use of each control group with a limit that this process is in, in bytes.

    Pages of files that the system would drop count as not used.
    """
    names = ("memory.max", "memory.current", "inactive_file")
    old = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            yield from _limits(root / "sys/fs/cgroup", path, *names)
        elif "memory" in controllers.split(","):
            yield from _limits(root / "sys/fs/cgroup/memory", path, *old)


def _limits(
    top: Path, path: str, limit: str, used: str, inactive: str
) -> Iterator[tuple[int, int]]:
    # Inside a container the path may be that of the outside: then the limit is at the top.
    inner = top / path.lstrip("/")
    for folder in (inner, *inner.parents):
        most, now = _text(folder / limit).strip(), _text(folder / used).strip()
        if most.isdigit() and now.isdigit() and int(most) < _NO_LIMIT:
            lines = dict(li.split() for li in _text(folder / "memory.stat").splitlines())
            yield int(most), max(0, int(now) - int(lines.get(inactive, 0)))
        if folder == top:
            return


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
