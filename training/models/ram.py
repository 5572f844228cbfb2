"""mini-ram: RAM's Swin and tagging head for scenes at 160 pixels.

Paper: RAM (Recognize Anything), Zhang et al. 2023, arXiv:2306.03514; the head is Query2Label, Liu
et al. 2021, arXiv:2107.10834. The network is that of the node, nodes/tag2text/net.py. RAM's label
embeddings come from CLIP; these are learnt with the rest, for there is no text to generalise to.
Letters: B scenes, S = 160 their side, C classes, G = 10 cells of a side.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from training.loop import Task
from training.models._ram_measure import (
    average_precision,
    precision_and_recall,
    present,
    scored,
    thresholds_for,
)
from training.models._ram_net import FINE, Student, student
from training.models._swin import for_tagger
from training.schedule import Schedule
from training.world import NAMES, NAMES_ZH, TRAINED, Scene, World

__all__ = ["Training", "asymmetric", "cells", "naming"]

_BACKGROUND = 0.3
"""What a cell of background counts, a cell of a thing being 1: three quarters are background."""

PRECISION = 0.9
"""What share of the tags given is to be right where thresholds are chosen; elsewhere it is less, by
about a tenth in the trained styles, because each threshold rests on some 150 scenes."""


class Training(Task):
    """Says which things of the vocabulary a scene shows, in English or Chinese.

    Learnt with the asymmetric loss on the tags of composed scenes of two to six objects, and with
    two heads, not shipped, that name what every cell of 16 and of 32 pixels shows. The thresholds
    are the lowest scores above which nine of ten tags are right, on scenes made for that alone.
    """

    name = "ram"
    schedule = Schedule(images=380_000, batch=16, rate=8e-4, warmup=300, cooldown=0.3, ema=0.998)
    scenes_for_thresholds = 3000  # of which each tag is in some 150

    def __init__(self) -> None:
        # Choosing thresholds takes a thousand scenes: once for every network.
        self._thresholds: WeakKeyDictionary[nn.Module, npt.NDArray[np.float32]] = (
            WeakKeyDictionary()
        )

    @cached_property
    def world(self) -> World:
        """Scenes of the vocabulary."""
        return World(styles=TRAINED, split="train")

    @cached_property
    def plain(self) -> World:
        """Scenes as photos are taken, of drawings as they are: to choose thresholds by."""
        return World(styles=TRAINED, split="train", redraws=False)

    def network(self) -> Student:
        """Return a fresh network."""
        return student(len(NAMES))

    def start(self, network: nn.Module, weights: dict[str, Tensor]) -> None:
        """Take over the weights of an earlier run, or the Swin of mini-grounding-dino's."""
        given = for_tagger(weights)
        unknown = network.load_state_dict(given or weights, strict=not given).unexpected_keys
        if unknown:
            raise ValueError(f"these weights of a detector have no place here: {unknown[:3]}")

    def batch(self, rng: np.random.Generator, progress: float) -> dict[str, Any]:
        """Return scenes, what is in them, and where.

        "images" (B, S, S, 3) uint8; "tags" (B, C) float32; "cells" (B, G * G, C + 1) float32.
        """
        scenes = [self.world.scene(rng, 160, count=(2, 6)) for _ in range(self.schedule.batch)]
        return {
            "images": np.stack([scene.image for scene in scenes]),
            "tags": present(scenes).astype(np.float32),
            "cells": np.stack([cells(scene) for scene in scenes]),
        }

    def loss(self, network: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        """Return the loss of the tags, and of both heads that name cells."""
        seen = network(batch["images"])
        fine = batch["cells"]
        size = round(fine.shape[1] ** 0.5)
        grid = fine.transpose(1, 2).unflatten(2, (size, size))
        coarse = F.avg_pool2d(grid, 2).flatten(2).transpose(1, 2)
        return {
            "tags": asymmetric(seen.tags, batch["tags"]),
            "fine": 0.5 * naming(seen.fine, fine),
            "coarse": naming(seen.coarse, coarse),
        }

    def measure(self, network: nn.Module, styles: tuple[str, ...], count: int) -> dict[str, float]:
        """Return mean average precision; precision and recall at thresholds for trained styles."""
        assert isinstance(network, Student)
        if network not in self._thresholds:
            self._thresholds[network] = self._choose(network, max(1000, 2 * count))
        world = World(styles=styles, split="test")
        scores, truth = scored(network, world, np.random.default_rng(1), count)
        precision, recall = precision_and_recall(scores, truth, self._thresholds[network])
        found = {"map": average_precision(scores, truth)}
        return found | {"precision": precision, "recall": recall}

    def export(self, network: nn.Module, folder: Path) -> None:
        """Write weights in fp16, the names in both languages, thresholds, and the config.

        The network's weights become those that are written: to these the thresholds belong.
        """
        assert isinstance(network, Student)
        tensors = {name: each.half().cpu() for name, each in network.shipped().items()}
        save_file(tensors, folder / "model.safetensors")
        network.load_state_dict(tensors, strict=False)
        limits = [f"{limit:.4f}" for limit in self._choose(network, self.scenes_for_thresholds)]
        config = network.config
        files = {config.tags: NAMES, config.tags_zh: NAMES_ZH, config.thresholds: limits}
        for file, lines in files.items():
            (folder / file).write_text("\n".join(lines) + "\n", encoding="utf-8")
        entry = {"config": config.model_dump(mode="json", exclude_unset=True)}
        (folder / "entry.json").write_text(json.dumps(entry), encoding="utf-8")

    def _choose(self, network: Student, count: int) -> npt.NDArray[np.float32]:
        """Thresholds from `count` scenes with the backgrounds of training, seen never before."""
        rng = np.random.default_rng((2, count))
        return thresholds_for(*scored(network, self.plain, rng, count), PRECISION)


def cells(scene: Scene) -> npt.NDArray[np.float32]:
    """What share of each cell each thing covers, background last: (G * G, C + 1)."""
    size = len(scene.ids) // FINE
    blocks = scene.ids.reshape(size, FINE, size, FINE)
    shares = np.zeros((size, size, len(NAMES) + 1), np.float32)
    shares[..., -1] = (blocks == 0).mean((1, 3))
    for number, thing in enumerate(scene.objects, 1):
        shares[..., thing.name_index] += (blocks == number).mean((1, 3))
    return shares.reshape(size * size, -1)


def asymmetric(scores: Tensor, truth: Tensor, focus: float = 2.0, margin: float = 0.05) -> Tensor:
    """The asymmetric loss, per tag that is there: Ridnik et al. 2021, arXiv:2009.14119, eq. 4-8.

    Args:
        scores: (B, C) in [0, 1].
        truth: (B, C), 1 where the thing is there.
        focus: how much less an absent tag counts the surer the network is; 4 in the paper, which
            begins with a trained network.
        margin: an absent tag's score of at most this is as good as zero.
    """
    missed = -truth * scores.clamp(min=1e-6).log()
    wrong = (scores - margin).clamp(min=0)
    invented = -(1 - truth) * wrong**focus * (1 - wrong).log()
    return (missed + invented).sum() / truth.sum().clamp(min=1)


def naming(logits: Tensor, shares: Tensor) -> Tensor:
    """Cross-entropy of cells (B, cells, C + 1) with what share of them each name covers."""
    weight = torch.ones(logits.shape[-1], device=logits.device)
    weight[-1] = _BACKGROUND
    losses = -(shares * weight * logits.float().log_softmax(-1)).sum(-1)
    return losses.sum() / (shares * weight).sum()
