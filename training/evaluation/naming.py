"""CLIP, RAM and BLIP: whether things are called by their names."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from training.evaluation.scenes import photo_of, unseen, unseen_singles
from training.world import NAMES, NAMES_ZH
from visionweave import Tags
from visionweave.nodes.blip import Caption
from visionweave.nodes.clip import Rank
from visionweave.nodes.tag2text import Tag

__all__ = ["measure_captions", "measure_ranking", "measure_tags"]


def measure_ranking(styles: tuple[str, ...], count: int) -> dict[str, float]:
    """Return how often the right one of all names comes first, and among the first five."""
    singles = unseen_singles(styles, count)
    photos, truths = [photo for photo, _ in singles], [index for _, index in singles]
    figures = {}
    for language, names, template in (("", NAMES, "a {}"), ("_zh", NAMES_ZH, "{}")):
        ranked = Rank(template=template, most=5)(photos, Tags(names))
        places = [
            tags.phrases.index(names[i]) if names[i] in tags.phrases else 99
            for tags, i in zip(ranked, truths, strict=True)
        ]
        figures[f"top1{language}"] = float(np.mean([place == 0 for place in places]))
        figures[f"top5{language}"] = float(np.mean([place < 5 for place in places]))
    return figures


def measure_tags(styles: tuple[str, ...], count: int) -> dict[str, float]:
    """Return the mean over the tags of average precision; precision and recall as shipped."""
    scenes = [scene for _, scene in unseen(styles, count)]
    photos = [photo_of(scene) for scene in scenes]
    truth = np.zeros((len(scenes), len(NAMES)), bool)
    for row, scene in zip(truth, scenes, strict=True):
        row[[thing.name_index for thing in scene.objects]] = True
    scores = np.zeros(truth.shape)
    for row, tags in zip(scores, Tag(threshold=0.0)(photos), strict=True):
        row[[NAMES.index(name) for name in tags.phrases]] = tags.scores
    given = np.zeros_like(truth)
    for row, tags in zip(given, Tag()(photos), strict=True):
        row[[NAMES.index(name) for name in tags.phrases]] = True
    shown = truth.any(0)
    return {
        "map": float(
            np.mean(
                [
                    _precision(*columns)
                    for columns in zip(scores.T[shown], truth.T[shown], strict=True)
                ]
            )
        ),
        "precision": float((given & truth).sum() / max(1, given.sum())),
        "recall": float((given & truth).sum() / truth.sum()),
    }


def _precision(scores: npt.NDArray[np.float64], truth: npt.NDArray[np.bool_]) -> float:
    """Average precision of one tag: the mean of the precision at each right scene."""
    ranked = truth[np.argsort(-scores, kind="stable")]
    return float(np.mean((np.cumsum(ranked) / np.arange(1, len(ranked) + 1))[ranked]))


def measure_captions(styles: tuple[str, ...], count: int) -> dict[str, float]:
    """Return how often captions name what is there: of one object, and of two."""
    singles = unseen_singles(styles, count)
    single = Caption()([photo for photo, _ in singles])
    two = [
        scene
        for _, scene in unseen(styles, count, 160, (2, 2), (0.38, 0.55))
        if len(scene.objects) == 2
    ]
    captions = Caption()([photo_of(scene) for scene in two])
    named = [
        [_mentions(text.text, thing.name) for thing in scene.objects]
        for text, scene in zip(captions, two, strict=True)
    ]
    return {
        "one_named": float(
            np.mean(
                [_mentions(t.text, NAMES[i]) for t, (_, i) in zip(single, singles, strict=True)]
            )
        ),
        "two_share_named": float(np.mean(named)),
        "two_both_named": float(np.mean([all(pair) for pair in named])),
    }


def _mentions(caption: str, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", caption) is not None
