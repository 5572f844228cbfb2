"""mini-grounding-dino: Grounding DINO at 160 pixels, for prompts of names.

Paper: Liu et al. 2023, "Grounding DINO: Marrying DINO with Grounded Pre-Training for Open-Set
Object Detection", arXiv:2303.05499.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from training.loop import Task
from training.schedule import Schedule
from training.world import TRAINED, World
from training.world.words import write_tokenizer

from ._grounding_dino_loss import terms
from ._grounding_dino_measure import measured
from ._grounding_dino_net import PREPARATION, Learner, shipped
from ._grounding_dino_scenes import make_batch
from ._swin import DETECTOR_SWIN, TAGGER_SWIN, for_detector

__all__ = ["Training"]


class Training(Task):
    """Finds what a prompt names, and boxes it: present things among absent ones.

    The Swin begins as mini-ram's, which has learnt to name what it sees. Every scene has a prompt
    of its own, of 6 to 28 names in any order, present and absent; a tenth of the present things
    are not asked for, and three of ten prompts name absent things only. The loss is our own:
    focal loss for tokens, L1 and generalised IoU for boxes; each cell in the middle of an object
    learns to propose it; queries are matched one to one with objects, in two groups of which one
    is shipped. Linear heads, not shipped either, say what each cell and each query shows. What
    ships saw its first 70,000 images with an eighth of the prompts of absent things only.
    """

    name = "grounding_dino"
    entry = {"config": {"box_threshold": 0.32}}  # noqa: RUF012 - between best F1, 0.28, and few false boxes
    limits = "It was trained with one to five objects a scene, of a fifth of its side or more."
    schedule = Schedule(
        images=188_000, batch=32, rate=8e-4, warmup=150, cooldown=0.3, measure_every=600
    )
    swin_factor = 0.5
    """What the rate of the Swin is multiplied with: it does not begin from nothing."""

    @cached_property
    def world(self) -> World:
        """Scenes of the things with names."""
        return World(styles=TRAINED, split="train")

    def network(self) -> nn.Module:
        """Return a fresh network."""
        return Learner()

    def batch(self, rng: np.random.Generator, progress: float) -> dict[str, Any]:
        """Return scenes, their prompts and what is to be found: see `make_batch`."""
        return make_batch(rng, self.world, self.schedule.batch)

    def loss(self, network: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        """Return the terms of the loss: see `terms`."""
        return terms(network(batch["pixels"], batch["tokens"], batch["is_token"]), batch)

    def parameters(self, network: nn.Module) -> list[dict[str, Any]]:
        """Return four groups: with and without decay, of the Swin and of the rest."""
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, parameter in network.named_parameters():
            groups.setdefault((name.startswith(DETECTOR_SWIN), parameter.ndim > 1), []).append(
                parameter
            )
        return [
            {"params": parameters, "factor": self.swin_factor if is_swin else 1.0}
            | ({} if is_matrix else {"weight_decay": 0.0})
            for (is_swin, is_matrix), parameters in groups.items()
        ]

    def start(self, network: nn.Module, weights: dict[str, Tensor]) -> None:
        """Take over the weights of an earlier run, or what mini-ram's have to give."""
        if any(name.startswith(TAGGER_SWIN) for name in weights):
            given = for_detector(weights)
            unknown = network.load_state_dict(given, strict=False).unexpected_keys
            if unknown:
                raise ValueError(f"these weights of mini-ram have no place here: {unknown[:3]}")
        else:
            network.load_state_dict(weights)

    def measure(self, network: nn.Module, styles: tuple[str, ...], count: int) -> dict[str, float]:
        """Return average precision and more: see `measured`."""
        assert isinstance(network, Learner)
        return measured(shipped(network), World(styles=styles, split="test"), count)

    def export(self, network: nn.Module, folder: Path) -> None:
        """Write the weights in halves and, as transformers reads them, config and tokenizer."""
        assert isinstance(network, Learner)
        plain = shipped(network)
        save_file(_halves(plain), folder / "model.safetensors")
        plain.config.save_pretrained(folder)
        write_tokenizer(folder)
        preparation = {
            "image_processor_type": "GroundingDinoImageProcessor",
            "size": {"shortest_edge": PREPARATION.short, "longest_edge": PREPARATION.long},
            "size_divisor": PREPARATION.step,
            "image_mean": PREPARATION.mean,
            "image_std": PREPARATION.std,
        }
        text = json.dumps(preparation, indent=2) + "\n"
        (folder / "preprocessor_config.json").write_text(text, encoding="utf-8")


def _halves(network: nn.Module) -> dict[str, Tensor]:
    """The tensors in fp16, each once: some have several names."""
    kept: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in network.state_dict().items():
        kept.setdefault(tensor.data_ptr(), (name, tensor))
    return {
        name: tensor.detach()
        .cpu()
        .to(torch.float16 if tensor.is_floating_point() else tensor.dtype)
        .contiguous()
        for name, tensor in kept.values()
    }
