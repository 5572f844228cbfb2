"""What mini-grounding-dino gets right on unseen scenes, as it is shipped and as a node runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from training.models._grounding_dino_net import PREPARATION, WRITER
from training.models._grounding_dino_scenes import absent_names
from training.world import NAMES, Scene, World
from visionweave import Boxes
from visionweave.nodes.grounding_dino.boxes import unrivalled
from visionweave.nodes.grounding_dino.net import Detector

__all__ = ["Tally", "average_precision", "hits", "measured"]

Floats = npt.NDArray[np.float32]

NAMES_ASKED = 8
GROUP = 20
OVERLAP = 0.5
"""Intersection over union from which on a box is right, and above which the worse of two goes."""
THRESHOLD = 0.35
"""The node's own."""


@torch.inference_mode()
def measured(network: Any, world: World, count: int, seed: int = 8) -> dict[str, float]:
    """Ask a network about `count` scenes.

    Returns:
        ap50: the area under precision and recall, all boxes of all scenes in one ranking, for
            prompts of all names of a scene and so many absent ones that there are 8 in all; after
            non-maximum suppression by class.
        recall: the share of objects that one of the queries' boxes fits, whatever its label.
        named: of those, the share whose best-fitting box has the right label.
        nothing: the share of prompts of 8 absent names that give no box above `THRESHOLD`.
        precision, found: of the boxes above `THRESHOLD`, how many are right; of the objects, how
            many have one.
        best: the threshold with the best F1.
    """
    rng = np.random.default_rng(seed)
    detector = Detector(network, PREPARATION.mean, PREPARATION.std)
    tally = Tally()
    for start in range(0, count, GROUP):
        scenes = [world.scene(rng) for _ in range(min(GROUP, count - start))]
        present = [sorted({thing.name_index for thing in scene.objects}) for scene in scenes]
        asked = [
            names + absent_names(rng, scene, NAMES_ASKED - len(names))
            for scene, names in zip(scenes, present, strict=True)
        ]
        for scene, found in zip(scenes, _detected(detector, scenes, asked), strict=True):
            tally.add(scene, found)
        absent = [absent_names(rng, scene, NAMES_ASKED) for scene in scenes]
        for found in _detected(detector, scenes, absent):
            tally.silent.append(not (found.scores > THRESHOLD).any())
    return tally.figures()


def _detected(
    detector: Detector, scenes: Sequence[Scene], asked: Sequence[Sequence[int]]
) -> list[Boxes]:
    """The boxes of all queries, labelled with what fits best, the best first."""
    prompts = [WRITER.phrases([NAMES[name] for name in names]).prompts[0] for names in asked]
    pixels = torch.from_numpy(np.stack([scene.image for scene in scenes]))
    words = [detector.read(prompt) for prompt in prompts]
    logits, places = detector.detect(detector.look(pixels), words)
    found = []
    for scene, names, prompt, fit, place in zip(
        scenes, asked, prompts, logits.sigmoid().cpu().numpy(), places.cpu().numpy(), strict=True
    ):
        owners = np.array(prompt.owners)
        fits = np.stack(
            [fit[:, : len(owners)][:, owners == n].max(1) for n in range(len(names))], axis=1
        )
        labels = [NAMES[names[best]] for best in fits.argmax(1)]
        boxes = Boxes(_corners(place, scene), scene.ids.shape, labels, fits.max(1))
        found.append(boxes[np.argsort(-boxes.scores, kind="stable")].clip())
    return found


def _corners(place: Floats, scene: Scene) -> Floats:
    size = np.array([*scene.ids.shape[::-1]] * 2, np.float32)
    half = place[:, 2:] / 2
    return np.concatenate([place[:, :2] - half, place[:, :2] + half], axis=1) * size


@dataclass
class Tally:
    """What is counted, scene by scene."""

    objects: int = 0
    reached: int = 0
    named: int = 0
    scores: list[float] = field(default_factory=list)
    hits: list[bool] = field(default_factory=list)
    silent: list[bool] = field(default_factory=list)

    def add(self, scene: Scene, found: Boxes) -> None:
        """Count the boxes of a scene, the best first, before suppression."""
        truth = Boxes(
            np.stack([thing.xyxy for thing in scene.objects]),
            found.image_hw,
            [thing.name for thing in scene.objects],
        )
        overlap = truth.iou(found)
        best = overlap.argmax(1)
        reached = overlap.max(1) >= OVERLAP
        self.objects += len(truth)
        self.reached += int(reached.sum())
        pairs = zip(truth.labels, best, reached, strict=True)
        self.named += sum(bool(ok) and found.labels[box] == name for name, box, ok in pairs)
        kept = found[unrivalled(found, OVERLAP)]
        self.scores += kept.scores.tolist()
        self.hits += hits(truth, kept)

    def figures(self) -> dict[str, float]:
        """Sum up."""
        order = np.argsort(-np.array(self.scores), kind="stable")
        scores, right = np.array(self.scores)[order], np.array(self.hits, bool)[order]
        rights = right.cumsum()
        f1 = 2 * rights / (np.arange(1, len(rights) + 1) + self.objects)
        above = int((scores > THRESHOLD).sum())
        return {
            "ap50": average_precision(right, self.objects),
            "recall": self.reached / self.objects,
            "named": self.named / max(1, self.reached),
            "nothing": float(np.mean(self.silent)),
            "precision": int(right[:above].sum()) / max(1, above),
            "found": int(right[:above].sum()) / self.objects,
            "best": float(scores[f1.argmax()]),
        }


def hits(truth: Boxes, found: Boxes) -> list[bool]:
    """Say of each box, the best first, whether it is the first on an object of its label."""
    overlap = np.where(
        np.array(found.labels)[:, None] == np.array(truth.labels), found.iou(truth), 0
    )
    right = []
    for row in overlap:
        best = row.argmax()
        right.append(bool(row[best] >= OVERLAP))
        if right[-1]:
            overlap[:, best] = 0
    return right


def average_precision(right: npt.NDArray[np.bool_], objects: int) -> float:
    """The area under the curve of precision over recall, which may only fall (as in COCO).

    Args:
        right: of each box, the best first, whether it is right.
        objects: how many there were to find.
    """
    rights = right.cumsum()
    precision = rights / np.arange(1, len(right) + 1)
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    return float(falling[right].sum() / objects)
