"""The most memory that this process has held, of the machine's and of its GPUs'."""

from __future__ import annotations

import sys
from pathlib import Path

from visionweave.execution.observe import Observer
from visionweave.execution.plan import PlannedStep

__all__ = ["Peak"]

_STATUS = Path("/proc/self/status")


class Peak(Observer):
    """Asks for the peak again and again, as whoever measures a batch sets it back to nothing.

    Attributes:
        bytes: the peak: of the "process", and of each GPU that torch has used, such as "cuda:0".
            Of systems that do not tell there is nothing.
    """

    def __init__(self) -> None:
        self.bytes: dict[str, int] = {}

    def batch_finished(self, step: PlannedStep, method: str, size: int, failed: bool) -> None:
        """Ask after a forward pass."""
        self.ask()

    def step_finished(self, step: PlannedStep, calls: int, seconds: float) -> None:
        """Ask after a step."""
        self.ask()

    def ask(self) -> None:
        """Take note of the peak."""
        for name, peak in {"process": _of_process(), **_of_gpus()}.items():
            if peak:
                self.bytes[name] = max(peak, self.bytes.get(name, 0))


def _of_process() -> int:
    try:
        # getrusage of Linux counts what the process was before it became this program.
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _of_gpus() -> dict[str, int]:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return {}
    count = torch.cuda.device_count()
    return {f"cuda:{index}": torch.cuda.max_memory_allocated(index) for index in range(count)}
