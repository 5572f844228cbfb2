"""Grounding DINO: boxes for prompts of eight names, half of them absent."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from training.evaluation.scenes import photo_of, unseen
from training.world import NAMES, Scene
from visionweave import Boxes, Tags
from visionweave.nodes.boxes import Nms
from visionweave.nodes.grounding_dino import Detect

__all__ = ["measure_detection"]

_NAMES_PER_PROMPT = 8


def measure_detection(styles: tuple[str, ...], count: int) -> dict[str, float]:
    """Return AP50, recall and the share of empty answers to prompts of absent names.

    AP50 is one ranking of all boxes over all scenes (micro), after NMS within each name at an IoU
    of 0.5; recall at IoU 0.5 counts a box of any name, of at most 20 per scene.
    """
    scenes, prompts, absent = [], [], []
    for rng, scene in unseen(styles, count):
        present = sorted({thing.name for thing in scene.objects})
        others = [name for name in NAMES if name not in present]
        chosen = rng.permutation(others)[: 2 * _NAMES_PER_PROMPT].tolist()
        scenes.append(scene)
        prompts.append(Tags((*present, *chosen)[:_NAMES_PER_PROMPT]))
        absent.append(Tags(tuple(chosen[_NAMES_PER_PROMPT:])))
    photos = [photo_of(scene) for scene in scenes]
    everything = Detect(box_threshold=0.01, most=20)(photos, prompts)
    kept = Nms(iou=0.5)(everything)
    covered = [_covered(*pair) for pair in zip(scenes, everything, strict=True)]
    thresholded = Detect()(photos, absent)
    return {
        "ap50": average_precision(scenes, kept),
        "recall": float(np.mean(np.concatenate(covered))),
        "absent_gives_none": float(np.mean([len(boxes) == 0 for boxes in thresholded])),
    }


def average_precision(scenes: list[Scene], found: list[Boxes]) -> float:
    """Return the area under precision over recall of one ranking of all boxes (VOC 2010)."""
    hits: list[tuple[float, bool]] = []
    truths = 0
    for scene, boxes in zip(scenes, found, strict=True):
        truths += len(scene.objects)
        hits += zip(boxes.scores.tolist(), _hits(scene, boxes), strict=True)
    ranked = [hit for _, hit in sorted(hits, key=lambda pair: -pair[0])]
    right = np.cumsum(ranked)
    precision = right / np.arange(1, len(ranked) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(envelope[np.asarray(ranked, bool)]) / truths)


def _truth(scene: Scene) -> Boxes:
    boxes = np.stack([thing.xyxy for thing in scene.objects])
    labels = tuple(thing.name for thing in scene.objects)
    return Boxes(boxes, scene.image.shape[:2], labels)


def _hits(scene: Scene, boxes: Boxes) -> list[bool]:
    """Whether each box, best first, is the first to find an object of its name."""
    truth = _truth(scene)
    overlap = boxes.iou(truth)
    named = np.array([[a == b for b in truth.labels] for a in boxes.labels], bool)
    overlap = np.where(named.reshape(overlap.shape), overlap, 0)
    taken: set[int] = set()
    hits = []
    for row in overlap:
        free = [(value, index) for index, value in enumerate(row.tolist()) if index not in taken]
        value, index = max(free, default=(0.0, -1))
        hits.append(value >= 0.5)
        if value >= 0.5:
            taken.add(index)
    return hits


def _covered(scene: Scene, boxes: Boxes) -> npt.NDArray[np.bool_]:
    """Whether each object has a box of any name on it."""
    if len(boxes) == 0:
        return np.zeros(len(scene.objects), bool)
    return boxes.iou(_truth(scene)).max(axis=0) >= 0.5
