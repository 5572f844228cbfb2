"""What a small SAM is told of its mistakes.

Shapes: B scenes, S their side; N prompts; L = S / 2 the side of low-resolution masks; h = S / 8
cells a side. Masks are told as coverage: the share of a low-resolution pixel that is on the object,
so that the outline lies between pixels where it should.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import (
    avg_pool2d,
    binary_cross_entropy_with_logits,
    mse_loss,
    pixel_unshuffle,
    smooth_l1_loss,
)

__all__ = ["coverage", "dense_losses", "mask_losses", "rough_logits"]

FAINTEST = 1e-3
"""As the node tells a rough mask."""


def coverage(mask: Tensor, low: int) -> Tensor:
    """Return the share of each low-resolution pixel that a mask (N, S, S) covers, (N, low, low)."""
    return avg_pool2d(mask.float(), mask.shape[-1] // low)


def rough_logits(mask: Tensor, low: int) -> Tensor:
    """Return a rough mask (N, S, S) as SAM is told it, (N, 1, low, low): `Frame.low_logits`."""
    return torch.logit(coverage(mask, low), FAINTEST)[:, None]


def mask_losses(
    logits: Tensor, iou: Tensor, target: Tensor, real: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Kirillov et al. 2023, appendix A: 20 focal + dice; the IoU's squared error.

    The single mask learns from every prompt, of the three the one that is best already.

    Args:
        logits: (N, 4, L, L): the single mask, then three.
        iou: (N, 4), what the model thinks of them.
        target: (N, L, L), coverage.
        real: (N,) bool: not where a click met nothing; there all masks are worth nothing.

    Returns:
        The losses of the single mask, of the best of three, and of the IoU.
    """
    logits, target = logits.float(), target[:, None].expand_as(logits)
    share = torch.sigmoid(logits)
    entropy = binary_cross_entropy_with_logits(logits, target, reduction="none")
    # |t - p| is the focal weight for targets between 0 and 1: Li et al. 2020, arXiv:2006.04388.
    focal = ((target - share).square() * entropy).mean(dim=(2, 3))
    shared = (share * target).sum(dim=(2, 3))
    dice = 1 - (2 * shared + 1) / (share.sum(dim=(2, 3)) + target.sum(dim=(2, 3)) + 1)
    each = (20 * focal + dice) * real[:, None]
    found, there = logits.detach() > 0, target > 0.5
    overlap = (found & there).sum(dim=(2, 3)) / (found | there).sum(dim=(2, 3)).clamp(min=1)
    wrong = mse_loss(iou.float(), overlap * real[:, None])
    return each[:, 0].mean(), each[:, 1:].amin(dim=1).mean(), wrong


def dense_losses(told: Tensor, ids: Tensor, boxes: Tensor, low: int) -> tuple[Tensor, Tensor]:
    """What every cell of an embedding should know: what of it is object, and how far that reaches.

    Args:
        told: (B, 16 + 4, h, h), read off the embedding by a linear layer: for each of a cell's
            low-resolution pixels whether it is on any object; and from the cell's middle the
            distances to the left, upper, right and lower edge of its object, in quarters of S.
        ids: (B, S, S), the number of the object that is seen, 0 for none.
        boxes: (B, M, 4), of each number.
        low: L.

    Returns:
        The losses of both.
    """
    told = told.float()
    side, cells = ids.shape[-1], told.shape[-1]
    covered = pixel_unshuffle(coverage(ids > 0, low)[:, None], low // cells)
    figure = binary_cross_entropy_with_logits(told[:, :-4], covered)
    step = side // cells
    numbers = ids[:, step // 2 :: step, step // 2 :: step].long()
    middles = (torch.arange(cells, device=ids.device) + 0.5) * step
    y, x = torch.meshgrid(middles, middles, indexing="ij")
    corners = boxes.gather(1, numbers.flatten(1)[..., None].expand(-1, -1, 4))
    x1, y1, x2, y2 = corners.unflatten(1, (cells, cells)).unbind(dim=3)
    reach = torch.stack([x - x1, y - y1, x2 - x, y2 - y], dim=1) * (4 / side)
    on = (numbers > 0)[:, None]
    off = smooth_l1_loss(told[:, -4:], reach, reduction="none", beta=0.1) * on
    return figure, off.sum() / (4 * on.sum().clamp(min=1))
