"""Finding the best batch size of one method by trying: a climb along doublings and halvings.

It begins at the size that the method states. As many payloads as two such batches hold are run in
two batches, the next as many in one of twice the size, and so on in turn, three times each; the
medians decide. When the large batch is faster by a tenth or more, and by what a clock can tell, it
is the new size, and the climb goes on; else it ends. When the first doubling does not pay, halving
is tried in the same way: on a processor a batch may be too large for its caches.

So every step is one that was measured to be clearly better than the one before, and the end is
never slower than the size that is stated. Taken in turn, both sizes see the same moments of a
machine that has other work; the median passes over one measure in three that went wrong, such as
the first, in which a GPU chooses its kernels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from statistics import median
from typing import Literal

__all__ = ["Climb"]

MARGIN = 0.1
"""How much faster a size must be, as a share: timings on a busy machine differ by a few percent."""

LEAST_SECONDS = 0.0005
"""How much faster it must be at least: less is noise, and worth nothing."""

ROUNDS = 3
"""How often each of two sizes is measured: the least with a median that one measure cannot move."""

Way = Literal["up", "down"]
WAYS: tuple[Way, ...] = ("up", "down")


class Climb:
    """The climb of one method.

    Args:
        size: where it begins.
        open: the ways that are not known to lead nowhere.

    Attributes:
        size: the best size so far.
        open: see above; with none left the climb has ended.
        short: whether the way up was closed because memory would not do, without being tried.
    """

    def __init__(self, size: int, open: tuple[Way, ...] = WAYS) -> None:
        self.size, self.open, self.short = size, open, False
        if size == 1:
            self._close("down")
        self._planned: deque[int] = deque()  # the batches of the measure that is under way
        self._seconds = 0.0  # of those that have run
        self._halves: list[float] = []
        self._whole: list[float] = []

    @property
    def wanted(self) -> int:
        """How many payloads together would let it go on."""
        return 2 * self.size if "up" in self.open else self.size

    def next(self, payloads: int, fits: Callable[[int], bool]) -> int:
        """Return the size of the next batch.

        Args:
            payloads: how many are there.
            fits: whether memory is enough for a batch.
        """
        if not self._planned:
            self._plan(payloads, fits)
        return min(self._planned[0] if self._planned else self.size, payloads)

    def measures(self, size: int) -> bool:
        """Whether a batch of this size is one to be timed."""
        return bool(self._planned) and self._planned[0] == size

    def ran(self, seconds: float) -> bool:
        """A batch to be timed has run; return whether something was decided."""
        self._planned.popleft()
        self._seconds += seconds
        if self._planned:
            return False
        measured = self._halves if len(self._halves) == len(self._whole) else self._whole
        measured.append(self._seconds)
        self._seconds = 0.0
        if len(self._whole) < ROUNDS:
            return False
        self._decide()
        self._halves, self._whole = [], []
        return True

    def failed(self) -> None:
        """A batch to be timed has failed: the measure is none."""
        self._planned.clear()
        self._seconds = 0.0

    def _plan(self, payloads: int, fits: Callable[[int], bool]) -> None:
        """Plan the batches of the next measure: halves first, so that their memory is known."""
        if not self.open:
            return
        up = self.open[0] == "up"
        large = 2 * self.size if up else self.size - self.size % 2
        if payloads < large:
            return
        if len(self._halves) == len(self._whole):
            self._planned.extend([large // 2, large // 2])
        elif not up or fits(large):
            self._planned.append(large)
        else:
            self._close("up")
            self.short = True
            self._halves, self._whole = [], []

    def _decide(self) -> None:
        way, halves, whole = self.open[0], median(self._halves), median(self._whole)
        least = max(MARGIN * max(halves, whole), LEAST_SECONDS)
        if way == "up" and halves - whole >= least:
            self.size, self.open = 2 * self.size, ("up",)
        elif way == "down" and whole - halves >= least:
            self.size, self.open = self.size // 2, ("down",) if self.size > 3 else ()
        else:
            self._close(way)

    def _close(self, way: Way) -> None:
        self.open = tuple(each for each in self.open if each != way)
