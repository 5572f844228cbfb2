"""The training of `mini-triposr`: a coloured solid from one cutout."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from training.loop import Task
from training.models._triposr_items import SOLIDS, Item, drawing_item, solid_item
from training.models._triposr_measure import drawings, solids
from training.models._triposr_start import begin
from training.schedule import Schedule
from training.world import TRAINED, World
from visionweave.nodes.triposr.config import Config
from visionweave.nodes.triposr.net import TripoSR

__all__ = ["CONFIG", "UNSEEN", "Training"]

CONFIG = Config(
    image_size=96,
    patch_size=8,
    position_side=12,
    image_width=192,
    image_layers=5,
    image_heads=3,
    image_mlp=384,
    plane_side=12,
    width=192,
    layers=2,
    heads=3,
    mlp=256,
    features=16,
    field_width=64,
    field_layers=4,
    radius=0.62,
    density_bias=3.2,
    resolution=64,
)
"""The node frames an object to +-0.588 in the plane that it is cut out in, so a cube of +-0.62 is
enough, and its planes are finer than those of the published cube would be. The bias puts the first
densities just under the threshold."""

LOG_THRESHOLD = math.log(25)

UNSEEN = (
    "fox", "rooster", "turtle", "crab", "butterfly", "banana", "grapes", "mushroom", "cake",
    "helicopter", "bicycle", "umbrella", "hammer", "guitar", "crown", "boot", "teapot", "chair",
)  # fmt: skip
"""The things that the training never sees; by them it is measured."""


class Training(Task):
    """Coloured solids from single cutouts: drawings inflated, and procedural solids.

    A drawing is cut out, framed as the node frames it, and inflated by the balls that fit into its
    outline, so that its silhouette from the camera is the cutout's. Four pictures in ten show
    a procedural solid instead (a mug, a chair, some cones ...) from a random side. The field is
    supervised where its truth is known, at points in space: whether occupied, by the
    cross-entropy of the log density against the node's threshold; and the colour under the surface.
    Nothing is rendered. Positions are known to the network from the start (`_triposr_start.py`).
    """

    name = "triposr"
    schedule = Schedule(
        images=40_000, batch=8, rate=1e-3, warmup=100, cooldown=0.4, measure_every=600
    )
    limits = "The back and the thickness are guesses by a rule; faces, print and thin parts blur."

    config = CONFIG
    points = 2048
    solid_share = 0.4

    def __init__(self) -> None:
        self._world: World | None = None

    def network(self) -> TripoSR:
        """The node's own network; nothing is added for the training."""
        return begin(self.config)

    def batch(self, rng: np.random.Generator, progress: float) -> dict[str, Any]:
        """Pictures (B, S, S, 3) and, at M points each, what `Item` says of them."""
        items = [self._item(rng) for _ in range(self.schedule.batch)]
        return {name: np.stack([getattr(item, name) for item in items]) for name in Item.__slots__}

    def loss(self, network: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        """How wrong the field is about what is solid, and about colours under the surface."""
        assert isinstance(network, TripoSR)
        log_density, rgb = network.field(network(batch["picture"]), batch["points"])
        occupied = batch["occupied"].float()
        off = (rgb - batch["colours"]).abs().mean(dim=-1) * batch["coloured"]
        return {
            "occupied": F.binary_cross_entropy_with_logits(log_density - LOG_THRESHOLD, occupied),
            "colour": 0.7 * off.sum() / batch["coloured"].sum().clamp(min=1),
        }

    def measure(self, network: nn.Module, styles: tuple[str, ...], count: int) -> dict[str, float]:
        """On things never seen: IoU of volumes; of silhouettes, for some, which takes meshes.

        Of the trained styles also what procedural solids of other seeds give.
        """
        assert isinstance(network, TripoSR)
        world = World(styles, split="test", only=UNSEEN)
        found = drawings(network, world, count, meshes=max(1, count // 8))
        if styles == TRAINED:
            found |= solids(network, max(1, count // 4))
        return found

    def export(self, network: nn.Module, folder: Path) -> None:
        """The weights, and for the row in weights.lock the config."""
        state = network.state_dict()
        half = {name: tensor.half().cpu().contiguous() for name, tensor in state.items()}
        save_file(half, folder / "model.safetensors")
        config = self.config.model_dump(exclude_defaults=True)
        (folder / "entry.json").write_text(json.dumps({"config": config}), encoding="utf-8")

    def _item(self, rng: np.random.Generator) -> Item:
        if rng.random() < self.solid_share:
            return solid_item(rng, "train", int(rng.integers(SOLIDS)), self.config, self.points)
        if self._world is None:  # made where it is used: in the worker
            self._world = World(TRAINED, split="train", artwork="all", hold_out=UNSEEN)
        return drawing_item(rng, self._world, self.config, self.points)
