"""mini-sam: segment_anything's Sam at 128 pixels, for boxes, clicks, strokes and rough masks.

Paper: Kirillov et al. 2023, "Segment Anything", arXiv:2304.02643.
Cells of 8 pixels, so that masks come at half the side: fine enough for cutouts. Each scene is
encoded once and asked about several times, since the encoder is what costs. A linear layer on the
embedding, dropped at the end, says what every cell should know: that teaches the encoder more than
a few prompts do. Shapes: B scenes, S = 128 their side, L = 64 that of low-resolution masks.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from training.loop import Task
from training.schedule import Schedule
from training.world import TRAINED, World

from ._sam_losses import coverage, dense_losses, mask_losses
from ._sam_measure import measured
from ._sam_prompts import prompt, tight_box
from ._sam_pupil import CONFIG, SHAPE, Pupil

__all__ = ["Training"]

MOST = 5
"""Objects of a scene."""

KINDS = ("box", "point", "points", "stroke", "rough", "box and points")
"""Every scene is asked by the first, by the second, and in one of the other ways."""


class Training(Task):
    """Trains mini-sam."""

    name = "sam"
    schedule = Schedule(images=68_000, batch=8, rate=8e-4, cooldown=0.3)
    entry = {"config": CONFIG}  # noqa: RUF012

    @cached_property
    def world(self) -> World:
        """Scenes of all there is to draw: what a thing is called, SAM need not know."""
        return World(styles=TRAINED, split="train", artwork="all")

    def network(self) -> nn.Module:
        """Return a fresh network."""
        return Pupil()

    def batch(self, rng: np.random.Generator, progress: float) -> dict[str, Any]:
        """Return scenes and what is said of them.

        "images" uint8 (B, S, S, 3); "ids" uint8 (B, S, S); "boxes" (B, MOST + 1, 4) by number; and
        for each of three ways to ask, "0" to "2", the "number" (B,) of the object, 0 for a click
        that meets none, with what `prompt` says: "0/number", "0/box", "1/xy" …
        """
        pairs = [self._scene(rng) for _ in range(self.schedule.batch)]
        ids = np.stack([each for _, each in pairs])
        batch: dict[str, Any] = {
            "images": np.stack([image for image, _ in pairs]),
            "ids": ids,
            "boxes": np.stack([_boxes(each) for each in ids]),
        }
        kinds = (*KINDS[:2], KINDS[rng.integers(2, len(KINDS))])
        count = int(rng.integers(2, 6))
        orders = [rng.permutation(np.unique(each)[1:]) for each in ids]
        for place, kind in enumerate(kinds):
            numbers = np.array([int(order[place % len(order)]) for order in orders])
            if kind == "point":
                numbers[rng.random(len(numbers)) < 0.06] = 0
            said = [
                prompt(kind, scene == number, count, rng)
                for scene, number in zip(ids, numbers, strict=True)
            ]
            batch[f"{place}/number"] = numbers
            batch |= {f"{place}/{key}": np.stack([s[key] for s in said]) for key in said[0]}
        return batch

    def loss(self, network: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        """Return the losses of the masks, of the predicted IoU, and of the cells."""
        assert isinstance(network, Pupil)
        low = SHAPE.low_size
        embeddings = network.embed(batch["images"])
        figure, reach = dense_losses(network.dense(embeddings), batch["ids"], batch["boxes"], low)
        terms = []
        for place in ("0", "1", "2"):
            said = {k[2:]: v for k, v in batch.items() if k.startswith(f"{place}/")}
            number = said.pop("number")
            target = coverage(batch["ids"] == number[:, None, None], low)
            terms.append(mask_losses(*network.answer(embeddings, said), target, number > 0))
        single, best, iou = (torch.stack(each).mean() for each in zip(*terms, strict=True))
        return {"single": single, "best": best, "iou": iou, "figure": figure, "reach": reach}

    def measure(self, network: nn.Module, styles: tuple[str, ...], count: int) -> dict[str, float]:
        """Return the mean IoU over objects, by the way in which they are asked for: `measured`."""
        assert isinstance(network, Pupil)
        world, rng = World(styles=styles, split="test"), np.random.default_rng(4)
        found: dict[str, list[float]] = {}
        for _ in range(count):
            for name, value in measured(network.net, world.scene(rng), rng):
                found.setdefault(name, []).append(value)
        return {name: float(np.mean(values)) for name, values in found.items()}

    def export(self, network: nn.Module, folder: Path) -> None:
        """Write the weights in halves; the loader reads the sizes off `entry`."""
        assert isinstance(network, Pupil)
        state = network.net.sam.state_dict()
        tensors = {name: each.detach().cpu().half().contiguous() for name, each in state.items()}
        save_file(tensors, folder / "model.safetensors")

    def _scene(
        self, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """Return a picture and its ids; some are narrow or low, as photos are, with padding."""
        while True:
            scene = self.world.scene(rng, SHAPE.image_size, (1, MOST), (0.18, 0.6))
            image, ids = scene.image, scene.ids
            if rng.random() < 0.2:
                end = int(rng.uniform(0.55, 0.95) * SHAPE.image_size)
                padding = np.s_[end:] if rng.random() < 0.5 else np.s_[:, end:]
                image[padding], ids[padding] = np.rint(SHAPE.pixel_mean), 0
            seen = np.bincount(ids.ravel(), minlength=MOST + 1)
            ids[np.isin(ids, np.flatnonzero(seen < 30))] = 0
            if ids.any():
                return image, ids


def _boxes(ids: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    boxes = np.zeros((MOST + 1, 4), np.float32)
    for number in np.unique(ids)[1:]:
        boxes[number] = tight_box(ids == number)
    return boxes
