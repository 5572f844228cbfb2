"""What came of a job, in numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

__all__ = ["Summary"]


@dataclass(slots=True)
class Summary:
    """What came of a job.

    Attributes:
        counts: the job's photos by status: "ok"; "partial", with some failures; "failed", without
            output.
        failures: the number of failures of these photos.
        before: how many of them were done in an earlier run, and passed over.
        deleted: the photos that have results here, and are gone.
        pruned: whether the results of those were removed.
        found: how many results of models were in the cache.
        interrupted: whether it was stopped from outside.
        stopped: whether it was stopped because too many photos failed.
        broken: whether it ended with an error: the disk is full, a model cannot be loaded.
        seconds: how long it ran.
        timings: what its steps took; see `visionweave.jobs.timings`.
        peak: the most memory that it held, in bytes, of the process and of each GPU.
    """

    counts: Counter[str] = field(default_factory=Counter)
    failures: int = 0
    before: int = 0
    deleted: list[str] = field(default_factory=list)
    pruned: bool = False
    found: int = 0
    interrupted: bool = False
    stopped: bool = False
    broken: bool = False
    seconds: float = 0.0
    timings: dict[str, dict[str, float]] = field(default_factory=dict)
    peak: dict[str, int] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 all well, 2 finished with failures, 130 interrupted."""
        return 130 if self.interrupted else 2 if self.failures else 0

    @property
    def status(self) -> str:
        """In a word: "finished", "interrupted", "stopped" or "broken"."""
        if self.broken:
            return "broken"
        if self.interrupted:
            return "interrupted"
        return "stopped" if self.stopped else "finished"

    def add(self, status: str, failures: int) -> None:
        """Count a photo."""
        self.counts[status] += 1
        self.failures += failures
