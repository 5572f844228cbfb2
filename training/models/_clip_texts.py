"""The texts that mini-clip learns from: a phrase for every class each time, and captions."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from training.models._vit_words import padded, tokenizer
from training.world import KEYWORDS, NAMES, NAMES_ZH
from training.world.captions import caption, phrase
from training.world.scenes import Placed, Scene

__all__ = ["TEMPLATES", "phrases", "texts_of"]

TEMPLATES = (
    "{}",
    "a {}",
    "a photo of a {}",
    "a picture of a {}",
    "an image of a {}",
    "a drawing of a {}",
    "a sticker of a {}",
    "an emoji of a {}",
    "an icon of a {}",
    "the {}",
    "this is a {}",
    "there is a {} in the picture",
)

_OF_ALL = Counter(word for words in KEYWORDS for word in set(words))
_OWN_WORDS = tuple(tuple(word for word in words if _OF_ALL[word] == 1) for words in KEYWORDS)
"""The keywords that only one thing has: "animal" says nothing about which."""

_CAPTION = 0.4  # of what a picture of several things is: its caption; the rest: each thing's phrase


def phrases(rng: np.random.Generator) -> list[str]:
    """Return one phrase for every class: by its name, its Chinese name or its keywords."""
    return [_phrase(rng, index) for index in range(len(NAMES))]


def _phrase(rng: np.random.Generator, index: int) -> str:
    form, name, own = rng.random(), NAMES[index], _OWN_WORDS[index]
    if form < 0.35:
        name = NAMES_ZH[index]
        template = "{}" if form < 0.25 else "a photo of a {}"
        return template.format(name)
    if form < 0.45 and own:
        word = own[rng.integers(len(own))]
        return word if rng.random() < 0.5 else f"{name}, {word}"
    if form < 0.6:
        return phrase(Placed(index, "", np.zeros(4, np.float32), 1.0))
    return TEMPLATES[rng.integers(len(TEMPLATES))].format(name)


def texts_of(rng: np.random.Generator, scenes: list[Scene]) -> dict[str, npt.NDArray[Any]]:
    """Return the texts of a batch, and which of them are right of which picture.

    Returns:
        tokens: int64 (N, L): a phrase for every class, then each different caption of several
            things; [CLS] … [SEP], then padding.
        right: float32 (B, N): how much of a picture each text is; a row's sum is 1.
    """
    several = [scene if len(scene.objects) > 1 else None for scene in scenes]
    captions = [None if scene is None else _told(rng, scene) for scene in several]
    texts = [*phrases(rng), *dict.fromkeys(text for text in captions if text is not None)]
    right = np.zeros((len(scenes), len(texts)), np.float32)
    for row, scene, text in zip(right, scenes, captions, strict=True):
        share = 1.0 if text is None else 1 - _CAPTION
        for thing in scene.objects:
            row[thing.name_index] += share / len(scene.objects)
        if text is not None:
            row[texts.index(text, len(NAMES))] = _CAPTION
    ids = [each.ids for each in tokenizer().encode_batch(texts)]
    return {"tokens": padded(ids), "right": right}


def _told(rng: np.random.Generator, scene: Scene) -> str:
    """The caption of a scene, or the same without places."""
    if rng.random() < 0.6:
        return caption(scene)
    things = [phrase(scene.objects[place]) for place in rng.permutation(len(scene.objects))]
    return f"{', '.join(things[:-1])} and {things[-1]}"
