"""What teaches a ViT names: the class of every patch, which a composed scene knows.

A caption or a phrase says one thing about a picture; its patches say 64. A linear head on them
learns names several times faster per picture. It is dropped when the network is exported.

Letters: B pictures, S their side, T = (S / patch)² patches, W the width of a token, K things at
most in a picture, C names.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.world import NAMES

__all__ = ["PATCH", "PatchNames", "choose", "normalised", "shares"]

PATCH = 10
"""The side of a patch in pixels."""

_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)
_SKY = 0.3  # the weight of the background beside that of the things


def normalised(images: Tensor) -> Tensor:
    """(B, S, S, 3) uint8 -> (B, 3, S, S) float32, with CLIP's mean and deviation, as the nodes."""
    mean, std = (torch.tensor(each, device=images.device) for each in (_MEAN, _STD))
    return ((images / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()


def shares(ids: Tensor, things: int) -> Tensor:
    """(B, S, S) uint8 ids -> (B, T, things + 1): how much of a patch is background, thing 1, …"""
    rows = ids.shape[1] // PATCH
    flat = ids.view(-1, rows, PATCH, rows, PATCH).transpose(2, 3).reshape(-1, rows**2, PATCH**2)
    parts = [(flat == thing).float().mean(dim=-1) for thing in range(things + 1)]
    return torch.stack(parts, dim=-1)


def choose(covered: Tensor, keep: int) -> Tensor:
    """Choose patches that a step looks at, things rather than background.

    Half of the patches cost half the time and teach nearly as much (Li et al. 2022,
    arXiv:2212.00794).

    Args:
        covered: (B, T, K + 1), from `shares`.
        keep: how many stay.

    Returns:
        (B, keep) int64, ascending.
    """
    wanted = (1 - covered[..., 0]).clamp(max=0.3) / 0.3
    chance = wanted + torch.rand_like(wanted)
    return chance.topk(keep, dim=1).indices.sort(dim=1).values


class PatchNames(nn.Linear):
    """Names each patch: a linear head on tokens (B, T, W) to (B, T, C + 1), background last."""

    def __init__(self, width: int) -> None:
        super().__init__(width, len(NAMES) + 1)

    def loss(self, tokens: Tensor, covered: Tensor, classes: Tensor) -> Tensor:
        """Cross-entropy of the patches; each thing counts the same, however small it is.

        Args:
            tokens: (B, T, W).
            covered: (B, T, K + 1), from `shares`.
            classes: (B, K) int64; -1 where there is no thing.
        """
        chances = F.log_softmax(self(tokens).float(), dim=-1)
        places = classes.clamp(min=0)[:, None].expand(-1, tokens.shape[1], -1)
        right = torch.cat([chances[..., -1:], chances.gather(2, places)], dim=-1)
        weights = covered / covered.sum(dim=1, keepdim=True).clamp(min=1e-3)
        there = (covered.sum(dim=1) > 0).float()
        there[:, 1:] *= classes >= 0
        there[:, 0] *= _SKY
        each = -(right * weights).sum(dim=1) * there
        return each.sum() / there.sum()

    def named(self, tokens: Tensor) -> Tensor:
        """Name the one thing in each picture, (B,): the mean over its patches, background aside."""
        chances = self(tokens).float().softmax(dim=-1)
        name: Tensor = chances[..., :-1].mean(dim=1).argmax(dim=-1)
        return name
