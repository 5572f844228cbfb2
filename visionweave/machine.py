"""What is remembered of this machine: on which device, and in which precision, models run here.

Asking torch takes a second or more, most of it for importing it. The answer is remembered in the
cache folder, for as long as nothing is changed that it depends on: torch itself, the devices that
are there and those that are to be seen, the processor.
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

__all__ = ["forget", "remember", "remembered"]

_VISIBLE = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES")
_DRIVER = Path("/proc/driver/nvidia/version")
_CPUINFO = Path("/proc/cpuinfo")


def remembered(device: str, precision: str) -> tuple[str, str] | None:
    """Return the device and precision that these two stand for, or None when nobody asked yet."""
    match _read().get(f"{device} {precision}"):
        case [str() as found, str() as how]:
            return found, how
    return None


def remember(device: str, precision: str, *stands_for: str) -> None:
    """Remember the device and precision that `device` and `precision` stand for."""
    known = _read() | {f"{device} {precision}": list(stands_for)}
    with contextlib.suppress(OSError):
        write_atomic(_memo(), json.dumps({"machine": _machine(), "known": known}).encode())


def forget() -> None:
    """Forget all that is remembered."""
    with contextlib.suppress(OSError):
        _memo().unlink(missing_ok=True)


def _read() -> dict[str, Any]:
    try:
        memo = json.loads(_memo().read_bytes())
        return dict(memo["known"]) if memo["machine"] == _machine() else {}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def _memo() -> Path:
    return cache_folder() / "machine.json"


def _machine() -> str:
    """A digest of all that the answer depends on."""
    devices = sorted(path.name for path in Path("/dev").glob("nvidia*"))
    flags = next((li for li in _text(_CPUINFO).splitlines() if li.lower().startswith("flags")), "")
    seen: list[Any] = [_torch(), platform.platform(), devices, _text(_DRIVER), flags]
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
