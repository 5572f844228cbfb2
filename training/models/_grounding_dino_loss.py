"""What mini-grounding-dino is told: the terms of its loss, written for training from nothing.

transformers' own loss (5.23) serves fine-tuning: it gives the proposals no gradient, and mixes up
the tokens of prompts that differ within a batch. Here every scene has its own targets, and each
cell in the middle of an object learns to propose it.
Letters: B scenes · N cells · Q queries · M the most objects of a scene · T tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_convert, generalized_box_iou, generalized_box_iou_loss

from training.models._grounding_dino_net import GROUPS, QUERIES, Answers
from training.models._grounding_dino_scenes import BACKGROUND, IGNORED

__all__ = ["terms"]

WEIGHTS = {"fit": 2.0, "place": 5.0, "overlap": 2.0, "name": 0.5, "cell": 0.5}
ALPHA, GAMMA = 0.25, 2.0
MIDDLE = 0.2
"""A cell proposes an object if it is nearer to its centre than this, in widths and heights."""
BACKGROUND_WEIGHT = 0.2
"""What a background cell counts beside a cell of an object."""


def terms(found: Answers, batch: dict[str, Any]) -> dict[str, Tensor]:
    """Return the weighted terms of the loss, by name."""
    losses: dict[str, Tensor] = {}
    chosen = central(found.grid, batch["boxes"], batch["classes"])
    _add(losses, "propose", _detection(found.fit, found.proposed, chosen, batch))
    for logits, boxes, named in zip(found.logits, found.boxes, found.named, strict=True):
        chosen = matched(logits.detach(), boxes.detach(), batch)
        _add(losses, "decode", _detection(logits, boxes, chosen, batch))
        _add(losses, "query", {"name": _naming(named, chosen, batch["classes"])})
    for scores, name in zip(found.cells, ("fine", "coarse"), strict=True):
        _add(losses, name, {"cell": _cell_loss(scores, batch[name])})
    return losses


def _add(losses: dict[str, Tensor], part: str, found: dict[str, Tensor]) -> None:
    for name, value in found.items():
        key = f"{part}_{name}"
        losses[key] = losses.get(key, 0.0) + WEIGHTS[name] * value


def central(grid: Tensor, boxes: Tensor, classes: Tensor) -> Tensor:
    """Choose for each cell the object in whose middle it lies, (B, N); -1 for none.

    An object smaller than the cells has in each map the one that its centre lies in.

    Args:
        grid: (N, 4), the cells: centre and size.
        boxes: (B, M, 4), the objects: centre and size.
        classes: (B, M), -1 where there is none.
    """
    away = (grid[:, None, :2] - boxes[:, None, :, :2]).abs()
    reach = torch.maximum(MIDDLE * boxes[:, None, :, 2:], grid[:, None, 2:] / 2)
    near = (away <= reach).all(-1) & (classes >= 0)[:, None]
    distance = (away / boxes[:, None, :, 2:].clamp(min=1e-6)).amax(-1)
    nearest = distance.masked_fill(~near, torch.inf).argmin(-1)
    return torch.where(near.any(-1), nearest, -1)


@torch.no_grad()
def matched(logits: Tensor, boxes: Tensor, batch: dict[str, Any]) -> Tensor:
    """Choose for each query an object, and for each object one query in each group, (B, Q).

    The choice of least cost in all (Carion et al. 2020, arXiv:2005.12872, section 3.1); -1 for
    the queries that are left.
    """
    wanted, targets, counts = batch["wanted"], batch["boxes"], (batch["classes"] >= 0).sum(1)
    score = logits.sigmoid()
    hit = ALPHA * (1 - score) ** GAMMA * -F.logsigmoid(logits)
    miss = (1 - ALPHA) * score**GAMMA * -F.logsigmoid(-logits)
    gain = torch.where(torch.isfinite(logits), hit - miss, 0.0)
    share = wanted.float() / wanted.sum(-1, keepdim=True).clamp(min=1)
    overlap = torch.stack(
        [generalized_box_iou(a, b) for a, b in zip(_corners(boxes), _corners(targets), strict=True)]
    )
    cost = (
        WEIGHTS["fit"] * gain @ share.mT
        + WEIGHTS["place"] * torch.cdist(boxes, targets, p=1)
        - WEIGHTS["overlap"] * overlap
    )
    costs, most = cost.cpu().numpy(), counts.tolist()
    chosen = torch.full(logits.shape[:2], -1)
    for scene, count in enumerate(most):
        for start in range(0, QUERIES * GROUPS, QUERIES):
            queries, things = linear_sum_assignment(costs[scene, start : start + QUERIES, :count])
            chosen[scene, torch.from_numpy(queries + start)] = torch.from_numpy(things)
    return chosen.to(logits.device)


def _detection(
    logits: Tensor, boxes: Tensor, chosen: Tensor, batch: dict[str, Any]
) -> dict[str, Tensor]:
    """Tokens and boxes of proposals or queries that were each given an object, or none.

    Args:
        logits: (B, Q, T), -inf beyond a prompt's end.
        boxes: (B, Q, 4).
        chosen: (B, Q), places of objects; -1 for none.
        batch: what is there.
    """
    scene, query = torch.nonzero(chosen >= 0, as_tuple=True)
    thing = chosen[scene, query]
    count = max(1, len(scene))
    target = torch.zeros_like(logits)
    target[scene, query] = batch["wanted"][scene, thing].to(target)
    is_token = batch["is_token"][:, None]
    fit = _focal(logits.masked_fill(~is_token, 0.0), target) * is_token
    ours, theirs = boxes[scene, query], batch["boxes"][scene, thing]
    overlap = generalized_box_iou_loss(_corners(ours), _corners(theirs), reduction="sum")
    return {
        "fit": fit.sum() / count,
        "place": (ours - theirs).abs().sum() / count,
        "overlap": overlap / count,
    }


def _focal(logits: Tensor, target: Tensor) -> Tensor:
    """The focal loss (Lin et al. 2017, arXiv:1708.02002), element by element."""
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    score = logits.sigmoid()
    wrong = score + target - 2 * score * target
    return (ALPHA * target + (1 - ALPHA) * (1 - target)) * wrong**GAMMA * entropy


def _naming(named: Tensor, chosen: Tensor, classes: Tensor) -> Tensor:
    """The classes of the queries that were given an object, among all names."""
    scene, query = torch.nonzero(chosen >= 0, as_tuple=True)
    target = classes[scene, chosen[scene, query]]
    return F.cross_entropy(named[scene, query], target, reduction="sum") / max(1, len(target))


def _cell_loss(scores: Tensor, target: Tensor) -> Tensor:
    """The classes of cells, background among them, (B, N, classes) against (B, N)."""
    weight = torch.ones(scores.shape[-1], device=scores.device)
    weight[BACKGROUND] = BACKGROUND_WEIGHT
    return F.cross_entropy(scores.flatten(0, 1), target.flatten(), weight, ignore_index=IGNORED)


def _corners(boxes: Tensor) -> Tensor:
    return box_convert(boxes, "cxcywh", "xyxy")
