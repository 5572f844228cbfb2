"""Where models run, and in which precision: the engine's business, not the nodes'.

`auto` means CUDA in bf16; else the CPU in bf16 where it computes that in hardware (AMX or
AVX512-BF16, or Arm's bf16); else the CPU in fp32; unless $VISIONWEAVE_DEVICE or
$VISIONWEAVE_PRECISION says what it means. Nothing here imports torch before it is needed.

On Linux, torch is told to ask for huge pages for tensors of 2 MB and more: a system hands memory
out page by page, cleared, which takes longer than most of what is computed between two matrix
products. numpy does the same on its own. It has to be said before the process makes its first
tensor; THP_MEM_ALLOC_ENABLE=0 in the environment turns it off.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import threading
import weakref
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from visionweave import machine
from visionweave.errors import DeviceError

__all__ = ["PRECISIONS", "Runtime", "is_out_of_memory"]

M = TypeVar("M")

PRECISIONS = ("auto", "bf16", "fp16", "fp32")

_BF16_FLAGS = {"amx_bf16", "avx512_bf16", "bf16"}
"""What /proc/cpuinfo calls bf16 arithmetic in hardware, on x86 and on Arm."""

_HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"
"""What torch calls it."""

_MEMORY_SIGNS = (
    "out of memory",  # CUDA, and most others
    "can't allocate memory",  # torch on the CPU
    "cannot allocate memory",  # the system
    "status_alloc_failed",  # cuBLAS and cuDNN
)


class Runtime:
    """A device and a precision, and the models that are loaded there.

    Models are shared by all runtimes of one device and precision, however these were asked for.

    Args:
        device: "auto", "cpu", "cuda" or "cuda:1".
        precision: "auto", "bf16", "fp16" or "fp32".
    """

    def __init__(self, device: str = "auto", precision: str = "auto") -> None:
        if precision not in PRECISIONS:
            known = ", ".join(PRECISIONS)
            raise DeviceError(f"precision must be one of {known}; got {precision!r}")
        self._asked = (device, precision)
        self._expected: tuple[str, str] | None = None
        os.environ.setdefault(_HUGE_PAGES, "1")

    @staticmethod
    def get(device: str = "auto", precision: str = "auto") -> Runtime:
        """Return the runtime for a device and precision; the same one every time.

        Raises:
            DeviceError: there is no such precision.
        """
        meant = _meant(precision, "VISIONWEAVE_PRECISION")
        try:
            return _runtime(_meant(device, "VISIONWEAVE_DEVICE"), meant)
        except DeviceError as error:
            if meant == precision:
                raise
            raise DeviceError(f"$VISIONWEAVE_PRECISION: {error}") from None

    @property
    def expected(self) -> tuple[str, str]:
        """The device and the precision, without torch where this machine was asked before.

        That is a second or more for who has nothing to compute. Should they turn out to be others
        when torch is loaded, `device` or `precision` raises DeviceError.

        Raises:
            DeviceError: the machine has no such device.
        """
        if self._expected is None:
            if "device" not in vars(self):
                self._expected = machine.remembered(*self._asked)
            if self._expected is None:
                self._expected = (self.device, self.precision)
                machine.remember(*self._asked, *self._expected)
        return self._expected

    @functools.cached_property
    def device(self) -> str:
        """The device in torch's words: "cpu", "cuda:0".

        Raises:
            DeviceError: the machine has no such device.
        """
        return self._as_expected(0, self._find_device())

    def _find_device(self) -> str:
        asked = self._asked[0]
        if asked == "cpu":  # every machine has one
            return asked
        torch = importlib.import_module("torch")
        if asked == "auto":
            return "cuda:0" if torch.cuda.is_available() else "cpu"
        try:
            device = torch.device(asked)
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise DeviceError(f"device {asked!r} is not on this machine: {reason}") from None
        index = f":{device.index or 0}" if device.type == "cuda" else ""
        return f"{device.type}{index}"

    @functools.cached_property
    def precision(self) -> str:
        """The precision of the models' arithmetic: "bf16", "fp16" or "fp32".

        Raises:
            DeviceError: the machine has no such device, or computes otherwise than before.
        """
        return self._as_expected(1, self._find_precision())

    def _find_precision(self) -> str:
        asked = self._asked[1]
        if asked != "auto":
            return asked
        if self.device.startswith("cuda"):
            torch = importlib.import_module("torch")
            return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
        return "bf16" if self.device == "cpu" and cpu_has_bf16() else "fp32"

    def _as_expected(self, place: int, found: str) -> str:
        """Return the device or the precision, unless the other one was expected: see `expected`."""
        if self._expected is not None and (before := self._expected[place]) != found:
            self._expected = None
            machine.forget()
            how = ("on", "in")[place]
            raise DeviceError(
                f"this machine computed {how} {before} before, and does {how} {found} now; "
                "run the same command again"
            )
        return found

    @contextlib.contextmanager
    def forward(self) -> Iterator[None]:
        """A context for forward passes: no gradients, and autocast where the precision is low."""
        torch = importlib.import_module("torch")
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": None}[self.precision]
        kind = self.device.split(":")[0]
        with torch.inference_mode(), torch.autocast(kind, dtype=dtype, enabled=dtype is not None):
            yield

    def share(self, key: Hashable, build: Callable[[], M]) -> M:
        """Return the model called `key`, building it if no node holds it yet.

        A model lives as long as a node refers to it, and is loaded once for all that do. It must
        be an object that can be referred to weakly: not a tuple, list or dict of several.
        """
        models = _MODELS.setdefault((self.device, self.precision), _Models())
        with models.lock:
            model = models.loaded.get(key)
            if model is None:
                model = models.loaded[key] = build()
            return model

    def __repr__(self) -> str:
        return "Runtime(device={!r}, precision={!r})".format(*self._asked)


def _meant(asked: str, variable: str) -> str:
    """What is asked for; where that is "auto", what the environment says that it means."""
    return os.environ.get(variable) or asked if asked == "auto" else asked


class _Models:
    """The models of a device and a precision, as long as nodes have them."""

    def __init__(self) -> None:
        self.loaded: weakref.WeakValueDictionary[Hashable, Any] = weakref.WeakValueDictionary()
        self.lock = threading.RLock()  # a model may be built of shared ones


_MODELS: dict[tuple[str, str], _Models] = {}


@functools.cache  # not on `get`: a default that is given and one that is not are one runtime
def _runtime(device: str, precision: str) -> Runtime:
    return Runtime(device, precision)


def cpu_has_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the CPU computes bf16 in hardware; False where the system does not tell."""
    try:
        text = cpuinfo.read_text()
    except OSError:
        return False
    return any(not _BF16_FLAGS.isdisjoint(line.split()) for line in text.splitlines())


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out, on the device or on the machine."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return isinstance(error, (RuntimeError, OSError)) and any(s in text for s in _MEMORY_SIGNS)
