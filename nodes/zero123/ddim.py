"""The sampler: from noise to a picture's latents, step by step.

Paper: Song et al. 2020, "Denoising Diffusion Implicit Models", arXiv:2010.02502, equation 12. Its
alpha, and ours, is the picture's share in the variance of noisy latents; elsewhere that is called
alpha-bar.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MOST_STEPS", "Step", "ddim_steps"]

TIMESTEPS = 1000
"""The levels of noise that Stable Diffusion was trained on; 0 has the least."""

FIRST_BETA, LAST_BETA = 0.00085, 0.012
"""The variance that the first and the last timestep add; its root grows evenly in between."""

MOST_STEPS = TIMESTEPS - 1
"""The sampler cannot take more, because it ends at timestep 1, not 0."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the sampler.

    Attributes:
        timestep: the level of noise before it.
        alpha: the picture's share in them before it.
        next_alpha: the picture's share after it.
        sigma: the deviation of the fresh noise that it adds.
    """

    timestep: int
    alpha: float
    next_alpha: float
    sigma: float

    def apply(self, latents: Tensor, noise: Tensor, fresh: Tensor | float) -> Tensor:
        """Take the step.

        Args:
            latents: z, of any shape.
            noise: what the model takes for the noise in them, of that shape.
            fresh: standard normal noise of that shape; 0 will do where `sigma` is 0.

        Returns:
            The latents after it.
        """
        picture = (latents - math.sqrt(1 - self.alpha) * noise) / math.sqrt(self.alpha)
        old_noise = math.sqrt(1 - self.next_alpha - self.sigma**2) * noise
        return math.sqrt(self.next_alpha) * picture + old_noise + self.sigma * fresh


def ddim_steps(count: int, eta: float) -> list[Step]:
    """The steps of a sampler that takes `count`, from 1 to `MOST_STEPS`.

    They are evenly spread, and the last starts at timestep 1, as in Stable Diffusion.

    Args:
        count: how many.
        eta: the fresh noise in each, from 0 for none (DDIM) to 1 for as much as in DDPM.
    """
    betas = np.linspace(math.sqrt(FIRST_BETA), math.sqrt(LAST_BETA), TIMESTEPS) ** 2
    alphas = np.cumprod(1 - betas).tolist()
    stride = TIMESTEPS // count
    steps = []
    for timestep in range((count - 1) * stride + 1, 0, -stride):
        alpha, next_alpha = alphas[timestep], alphas[max(timestep - stride, 0)]
        share = (1 - next_alpha) / (1 - alpha) * (1 - alpha / next_alpha)
        steps.append(Step(timestep, alpha, next_alpha, eta * math.sqrt(share)))
    return steps
