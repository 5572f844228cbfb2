"""How much memory models need: their weights, and what a forward pass takes to work in.

Weights are held in fp32, so they take four bytes for each number; of a safetensors file that is
here, the numbers are counted, of any other, its bytes count. What a forward pass takes was measured
where the model has run on this machine (`visionweave.execution.figures`): the largest batch's peak;
of other batches it is taken to be in proportion. Where it has not, it is guessed, whatever the
batch: as much again as the weights, at most 4 GB. Photos, results and Python itself come on top;
they do not depend on the models.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from visionweave.contract import ModelNode
from visionweave.execution.figures import Figures
from visionweave.execution.plan import Plan
from visionweave.weights.lock import Checkpoint
from visionweave.weights.store import folder_of

__all__ = ["Need", "needs_of", "size_of", "weights_bytes"]

MOST_GUESSED = 4_000_000_000
"""The most that a model that has not run here is taken to work in, in bytes."""

_FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")


@dataclass(frozen=True, slots=True)
class Need:
    """What the model of a step needs, in bytes.

    Attributes:
        step: the step.
        node: the node's id.
        model: by what the model is known; steps with the same share one.
        checkpoint: the model's weights; None for a node that is not in the list of weights.
        weights: what they take.
        working: what a forward pass takes, in batches of the size that is taken here.
        least: the same in a batch of one; in the one that is given, where one is.
        measured: whether `working` rests on measures on this machine, not on a guess.
    """

    step: str
    node: str
    model: str
    checkpoint: Checkpoint | None
    weights: int
    working: int
    least: int
    measured: bool = False

    @property
    def known(self) -> bool:
        """Whether anything is known of it."""
        return self.weights > 0 or self.measured


def needs_of(
    plan: Plan, found: Mapping[str, Checkpoint], figures: Figures, batch: int | None = None
) -> dict[str, Need]:
    """Return what the steps of a plan need that have models, by the step's name.

    Args:
        plan: the plan.
        found: the checkpoints of the steps that have one, by the step's name.
        figures: what was measured.
        batch: the size of all batches; None for what is found to be best.
    """
    needs = {}
    for step in plan.steps:
        if not isinstance(step.node, ModelNode):
            continue
        need = _guessed(step.name, step.spec.id, found.get(step.name))
        working, least = _measured(figures.of(step.node).get("batches"))
        if working and batch is not None:
            working = least = least * batch
        if working:
            need = replace(need, working=working, least=least, measured=True)
        needs[step.name] = need
    return needs


def _guessed(step: str, node: str, entry: Checkpoint | None) -> Need:
    """What a step needs with a checkpoint that has not run here."""
    weights = 0 if entry is None else weights_bytes(entry)
    guess = min(weights, MOST_GUESSED)
    model = step if entry is None else entry.name
    return Need(step, node, model, entry, weights, guess, guess)


def size_of(needs: Iterable[Need], *, least: bool = False) -> int:
    """What models need together: all their weights, and the most that one works in.

    Args:
        needs: the models.
        least: in the smallest batches that they can run in.
    """
    found = list(needs)
    weights = {need.model: need.weights for need in found}
    working = (need.least if least else need.working for need in found)
    return sum(weights.values()) + max(working, default=0)


def weights_bytes(entry: Checkpoint) -> int:
    """Return how much memory the weights of a checkpoint take; 0 when nothing is known."""
    folder = folder_of(entry)
    return sum(_held(folder / file.name, file.bytes) for file in entry.files)


def _held(path: Path, listed: int | None) -> int:
    try:
        size = path.stat().st_size
        return _numbers(path, size) if path.suffix == ".safetensors" else size
    except (OSError, ValueError, KeyError, TypeError):
        return listed or 0


def _numbers(path: Path, size: int) -> int:
    """The bytes that the numbers of a safetensors file take, in fp32 where they have a fraction."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(min(length, size)))
    total = 0
    for name, tensor in header.items():
        if name != "__metadata__":
            first, last = tensor["data_offsets"]
            floats = tensor["dtype"] in _FLOATS
            total += 4 * math.prod(tensor["shape"]) if floats else last - first
    return total


def _measured(batches: Any) -> tuple[int, int]:
    """The most bytes that batches took, and that one payload took; 0 when it is not known."""
    methods = batches.values() if isinstance(batches, dict) else ()
    known = [
        (each["bytes"], each["size"])
        for each in methods
        if isinstance(each, dict) and each.get("bytes") and each.get("size")
    ]
    working = max((taken for taken, _ in known), default=0)
    return working, max((taken // size for taken, size in known), default=0)
