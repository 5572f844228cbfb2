"""How good tags are, and above which score each of them counts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from training.models._ram_net import Student
from training.world import NAMES, Scene, World

__all__ = ["average_precision", "precision_and_recall", "present", "scored", "thresholds_for"]

Scores = npt.NDArray[np.float32]
Truth = npt.NDArray[np.bool_]

_AT_A_TIME = 50


def present(scenes: list[Scene]) -> Truth:
    """Which things each scene shows: (scenes, names)."""
    truth = np.zeros((len(scenes), len(NAMES)), bool)
    for row, scene in zip(truth, scenes, strict=True):
        row[[each.name_index for each in scene.objects]] = True
    return truth


def scored(
    network: Student, world: World, rng: np.random.Generator, count: int
) -> tuple[Scores, Truth]:
    """Tag `count` scenes of one to five objects: (count, names) scores, and what is there."""
    scores, truth = [], []
    on = next(network.parameters()).device
    for start in range(0, count, _AT_A_TIME):
        some = min(_AT_A_TIME, count - start)
        scenes = [world.scene(rng, network.side) for _ in range(some)]
        pixels = torch.from_numpy(np.stack([scene.image for scene in scenes])).to(on)
        with torch.inference_mode():
            scores.append(network.score(network.encode(pixels)).cpu().numpy())
        truth.append(present(scenes))
    return np.concatenate(scores), np.concatenate(truth)


def average_precision(scores: Scores, truth: Truth) -> float:
    """The mean, over the tags that occur, of the average precision of the scenes by score.

    Everingham et al. 2010, "The PASCAL VOC Challenge", without interpolation.
    """
    found = []
    for column, there in zip(scores.T, truth.T, strict=True):
        if there.any():
            hits = there[np.argsort(-column, kind="stable")]
            precision = hits.cumsum() / np.arange(1, len(hits) + 1)
            found.append(precision[hits].mean())
    return float(np.mean(found))


def precision_and_recall(scores: Scores, truth: Truth, thresholds: Scores) -> tuple[float, float]:
    """Of the tags above their thresholds, and of those that are there, the share that is both."""
    given = scores > thresholds
    right = np.count_nonzero(given & truth)
    return right / max(1, np.count_nonzero(given)), right / max(1, np.count_nonzero(truth))


def thresholds_for(scores: Scores, truth: Truth, precision: float = 0.9) -> Scores:
    """For each tag the lowest score above which at least `precision` of what is given is right.

    Of a tag that never becomes so sure, the score where it is surest: given and sometimes wrong, it
    serves better than never given.
    """
    columns = zip(scores.T, truth.T, strict=True)
    return np.array([_threshold(*column, precision) for column in columns], np.float32)


def _threshold(column: Scores, there: Truth, precision: float) -> float:
    order = np.argsort(-column, kind="stable")
    scores, hits = column[order].astype(np.float64), there[order].cumsum()
    # One more that is wrong, so that a single lucky scene proves nothing.
    certain = hits / (np.arange(len(hits)) + 2)
    good = np.flatnonzero(certain >= precision)
    last = good[-1] if len(good) else int(certain.argmax())
    lower = scores[last + 1] if last + 1 < len(scores) else 0.0
    return float((scores[last] + lower) / 2)
