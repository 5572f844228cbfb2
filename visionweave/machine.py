"""What is remembered of this machine: on which device, and in which precision, models run here.

Asking torch takes a second or more, most of it for importing it. The answer is remembered in the
cache folder, for as long as nothing is changed that it depends on: torch itself, the devices that
are there and those that are to be seen, the processor. Whatever else is found out by measuring is
remembered in a `Memo` of its own, under the same condition.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from visionweave.atomic import write_atomic
from visionweave.cache.folder import cache_folder
from visionweave.memory import total_memory

__all__ = ["Memo", "forget", "known_memory", "remember", "remembered"]

_VISIBLE = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES")
_DRIVER = Path("/proc/driver/nvidia")
_CPUINFO = Path("/proc/cpuinfo")
_CPU = ("model name", "flags", "Features")
"""The lines of /proc/cpuinfo that tell one processor from another, on x86 and on Arm."""


class Memo:
    """A file of the cache folder that holds what was found out on this machine.

    It is a convenience: what cannot be read is not known, and what cannot be written is lost. Of
    two processes that write at once, one may lose what it found out.

    Args:
        name: the file's name.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def path(self) -> Path:
        """The file."""
        return cache_folder() / self._name

    def read(self) -> dict[str, Any]:
        """What was found out, by name; nothing when it was on another machine."""
        try:
            memo = json.loads(self.path.read_bytes())
            return dict(memo["known"]) if memo["machine"] == _machine() else {}
        except (OSError, ValueError, TypeError, KeyError):
            return {}

    def change(self, found: dict[str, Any]) -> None:
        """Remember what was found out, beside what is known under other names."""
        memo = {"machine": _machine(), "known": self.read() | found}
        with contextlib.suppress(OSError):
            write_atomic(self.path, json.dumps(memo, indent=1).encode(), durable=False)

    def forget(self) -> None:
        """Forget all of it."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


_DEVICES = Memo("machine.json")


def remembered(device: str, precision: str) -> tuple[str, str] | None:
    """Return the device and precision that these two stand for, or None when nobody asked yet."""
    match _DEVICES.read().get(f"{device} {precision}"):
        case [str() as found, str() as how]:
            return found, how
    return None


def remember(device: str, precision: str, *stands_for: str) -> None:
    """Remember the device and precision that `device` and `precision` stand for."""
    _DEVICES.change({f"{device} {precision}": list(stands_for)})


def known_memory(device: str) -> int | None:
    """Return how many bytes of memory a device has; a GPU is asked once, and that is remembered."""
    if device == "cpu":
        return total_memory(device)
    name = f"memory of {device}"
    found = _DEVICES.read().get(name)
    if not isinstance(found, int):
        found = total_memory(device)
        if found is not None:
            _DEVICES.change({name: found})
    return found


def forget() -> None:
    """Forget which devices there are."""
    _DEVICES.forget()


def _machine() -> str:
    """A digest of all that what was found out depends on."""
    devices = sorted(path.name for path in Path("/dev").glob("nvidia*"))
    gpus = [li for path in _DRIVER.glob("gpus/*/information") for li in _text(path).splitlines()]
    lines = dict.fromkeys(_text(_CPUINFO).splitlines())
    processor = [line for line in lines if line.startswith(_CPU)]
    seen: list[Any] = [_torch(), platform.platform(), os.cpu_count(), devices, processor]
    seen += [_text(_DRIVER / "version"), sorted(li for li in gpus if li.startswith("Model"))]
    seen += [os.environ.get(name) for name in _VISIBLE]
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()


def _torch() -> str:
    try:
        return version("torch")
    except PackageNotFoundError:
        return ""


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
