"""From Grounding DINO's scores for queries and tokens to labelled boxes in the photo."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from visionweave import Boxes, Image

from .prompts import Phrases, Prompt, Sentence

Floats = npt.NDArray[np.float32]
Candidate = tuple[str, float, Floats]
"""A label, a score, and a box: centre x, centre y, width, height, as parts of the photo."""


def fitting(
    asked: Phrases | Sentence, prompt: Prompt, scores: Floats, places: Floats, threshold: float
) -> Iterator[Candidate]:
    """Choose the queries that fit a phrase (or word) of a prompt by more than `threshold`.

    A phrase's score is that of its best token; only its own tokens count.

    Args:
        asked: what the prompt is a part of.
        prompt: of T tokens.
        scores: (Q, T) in [0, 1].
        places: (Q, 4).
        threshold: the score to pass.
    """
    owners = np.array(prompt.owners)
    known = np.unique(owners[owners >= 0])
    fits = np.stack([scores[:, owners == owner].max(axis=1) for owner in known], axis=1)
    for query in np.flatnonzero(fits.max(axis=1) > threshold):
        best = fits[query].argmax()
        by_owner = dict(zip(known.tolist(), fits[query].tolist(), strict=True))
        yield asked.label(int(known[best]), by_owner), float(fits[query, best]), places[query]


def as_boxes(candidates: list[Candidate], image: Image) -> Boxes:
    """Return boxes in the photo's pixels, cut off at its border, the best first."""
    if not candidates:
        return Boxes.empty(image.image_hw, image.origin.photo)
    labels, scores, places = zip(*candidates, strict=True)
    place = np.stack(places)
    half = place[:, 2:] / 2
    size = np.array(image.size_wh * 2, np.float32)
    xyxy = np.concatenate([place[:, :2] - half, place[:, :2] + half], axis=1) * size
    boxes = Boxes(
        xyxy, image.image_hw, labels, np.array(scores, np.float32), photo=image.origin.photo
    )
    return boxes[np.argsort(-boxes.scores, kind="stable")].clip()


def unrivalled(boxes: Boxes, iou: float) -> list[int]:
    """Choose of boxes, the best first, those that no better one of their label overlaps."""
    labels = np.array(boxes.labels, object)
    kept: list[int] = []
    for label in dict.fromkeys(boxes.labels):
        places = np.flatnonzero(labels == label)
        overlaps = boxes[places].iou(boxes[places]) > iou
        stays: list[int] = []
        for place in range(len(places)):
            if not overlaps[place, stays].any():
                stays.append(place)
        kept += places[stays].tolist()
    return sorted(kept)
