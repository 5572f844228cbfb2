"""How long a training takes and how fast it learns: warm-up, a constant rate, a linear fall.

The rate is constant until the cooldown begins (Hu et al. 2024, arXiv:2404.06395, section 4), so
that a run can be prolonged: a state is kept from just before its cooldown, and with more images
the run goes on from there.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Schedule"]


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast.

    Attributes:
        images: how many the network sees in all.
        batch: how many at a time.
        rate: the learning rate of the constant part.
        warmup: steps in which the rate rises to it.
        cooldown: the share of the run, at its end, in which the rate falls linearly to nothing.
        weight_decay, betas, clip: AdamW's, and the greatest norm of a step's gradient.
        ema: how much of the averaged weights stays at a step.
        measure_every: seconds between two measures.
    """

    images: int
    batch: int
    rate: float
    warmup: int = 200
    cooldown: float = 0.25
    weight_decay: float = 0.02
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    ema: float = 0.998
    measure_every: float = 300.0

    @property
    def steps(self) -> int:
        """How many batches."""
        return max(1, self.images // self.batch)

    @property
    def cooldown_begins(self) -> int:
        """The first step of the cooldown."""
        return round(self.steps * (1 - self.cooldown))

    def factor(self, step: int) -> float:
        """What the rate is multiplied with at a step."""
        rising = min(1.0, (step + 1) / max(1, self.warmup))
        falling = (self.steps - step) / max(1, self.steps - self.cooldown_begins)
        return min(rising, falling, 1.0)
