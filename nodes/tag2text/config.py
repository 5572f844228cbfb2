"""What a checkpoint of the family says of itself: its variant, its sizes, its files of words.

Whatever an entry of weights.lock does not say of itself is as in the published checkpoint of its
variant, so that `config = { variant = "ram", backbone = "swin_l" }` is all that one needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from visionweave import Origin, Tags, WeightsError
from visionweave.weights import Checkpoint

__all__ = ["Config", "Vocabulary", "best_first", "merged", "read_config", "read_vocabulary"]

Variant = Literal["ram_plus", "ram", "tag2text"]

_BACKBONES: dict[str, dict[str, Any]] = {
    "swin_b": {"embed_dim": 128, "num_heads": (4, 8, 16, 32)},
    "swin_l": {"embed_dim": 192, "num_heads": (6, 12, 24, 48)},
}
_RAM = {
    "classes": 4585,
    "label_width": 512,
    "tags": "ram_tag_list.txt",
    "tags_zh": "ram_tag_list_chinese.txt",
    "thresholds": "ram_tag_list_threshold.txt",
}
_PUBLISHED: dict[str, dict[str, Any]] = {
    "ram_plus": _RAM | {"weights": "ram_plus_swin_large_14m.pth"},
    "ram": _RAM | {"weights": "ram_swin_large_14m.pth"},
    "tag2text": {
        "weights": "tag2text_swin_14m.pth",
        "classes": 3429,
        "label_width": 768,
        "tags": "tag2text_ori_tag_list.txt",
        "threshold": 0.68,
        "raised": {"person": 0.7, "man": 0.7, "woman": 0.7},
        "deleted": ("quarter", "back", "two", "three", "four", "five", "one"),
    },
}


class Config(BaseModel):
    """A checkpoint's own description of itself.

    Attributes:
        variant: which of the three networks.
        backbone: the name of a Swin, "swin_b" or "swin_l", for its two next-named sizes.
        embed_dim, num_heads, depths, window_size, image_size, patch_size: of the Swin.
        classes: how many tags it knows.
        descriptions: RAM++: how many text embeddings each tag has.
        label_width: of a label embedding; also of the image tokens that RAM's head sees.
        hidden, head_layers, head_heads, intermediate: of the tagging head.
        text_layers, text_heads, text_tokens, text_positions: Tag2Text: of its two text networks,
            as wide as the tagging head; `text_tokens` counts the two that it adds to BERT's.
        spaces: RAM: the names of the space of its label embeddings; embeddings of other phrases
            must be of it.
        weights, tags, tags_zh, thresholds, vocab: the names of its files; "" for none.
        threshold: the score of a tag that counts, where there is no file of thresholds.
        raised: other thresholds, by tag.
        deleted: tags that are never reported.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), defer_build=True
    )

    variant: Variant
    backbone: str = ""
    image_size: PositiveInt = 384
    patch_size: PositiveInt = 4
    embed_dim: PositiveInt
    depths: tuple[PositiveInt, ...] = (2, 2, 18, 2)
    num_heads: tuple[PositiveInt, ...]
    window_size: PositiveInt = 12
    classes: PositiveInt
    descriptions: PositiveInt = 51
    label_width: PositiveInt
    hidden: PositiveInt = 768
    head_layers: PositiveInt = 2
    head_heads: PositiveInt = 4
    intermediate: PositiveInt = 3072
    text_layers: PositiveInt = 12
    text_heads: PositiveInt = 12
    text_tokens: PositiveInt = 30524
    text_positions: PositiveInt = 512
    spaces: tuple[str, ...] = ("clip/clip-vit-b-16-openai", "clip/clip-vit-b-16-openai-original")
    weights: str
    tags: str
    tags_zh: str = ""
    thresholds: str = ""
    vocab: str = "vocab.txt"
    threshold: float = 0.5
    raised: dict[str, float] = {}
    deleted: tuple[str, ...] = ()

    @property
    def image_width(self) -> int:
        """The width of the backbone's tokens: it doubles with every stage after the first."""
        width: int = self.embed_dim * 2 ** (len(self.depths) - 1)
        return width

    @property
    def token_width(self) -> int:
        """The width of the image tokens that the tagging head sees."""
        return self.image_width if self.variant == "tag2text" else self.label_width


def read_config(entry: Checkpoint) -> Config:
    """Return the description of a checkpoint.

    Raises:
        WeightsError: a field is missing, unknown or of the wrong type.
    """
    given = entry.config
    backbone = _BACKBONES.get(str(given.get("backbone")), {})
    published = _PUBLISHED.get(str(given.get("variant")), {})
    try:
        return Config.model_validate(backbone | published | given)
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        what = f"weights.lock: the config of {entry.name} does not fit family tag2text"
        raise WeightsError("\n".join([what, *lines])) from None


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tags that a checkpoint knows, in the order of its classes.

    Attributes:
        english: N names.
        chinese: N names, or None where the checkpoint has none.
        thresholds: (N,) float32: the score above which a tag counts; of 1 no score ever is.
        reported: (N,) bool: False for tags that are never reported.
    """

    english: tuple[str, ...]
    chinese: tuple[str, ...] | None
    thresholds: npt.NDArray[np.float32]
    reported: npt.NDArray[np.bool_]

    def found(
        self,
        scores: npt.NDArray[np.float32],
        threshold: float | None = None,
        names: tuple[str, ...] | None = None,
        origin: Origin | None = None,
    ) -> Tags:
        """Return the tags whose scores are above their thresholds, in the order of the classes.

        Args:
            scores: (N,) in [0, 1].
            threshold: one for all, in the place of the checkpoint's.
            names: what to call them; English when None.
            origin: of the tags.
        """
        limits = self.thresholds if threshold is None else np.float32(threshold)
        names = self.english if names is None else names
        places = np.flatnonzero((scores > limits) & self.reported)
        return merged([names[place] for place in places], scores[places], origin or Origin())


def read_vocabulary(config: Config, files: Mapping[str, Path]) -> Vocabulary:
    """Read a checkpoint's lists of tags and thresholds.

    Raises:
        WeightsError: a list is not as long as the checkpoint has classes, or is no such list.
    """
    english = _lines(config, files, config.tags)
    chinese = _lines(config, files, config.tags_zh) if config.tags_zh else None
    thresholds = np.full(config.classes, config.threshold, np.float32)
    if config.thresholds:
        lines = _lines(config, files, config.thresholds)
        try:
            thresholds = np.array(lines, np.float64).astype(np.float32)
        except ValueError as error:
            path = files[config.thresholds]
            raise WeightsError(f"{path}: expected a number on every line: {error}") from None
    place = {name: index for index, name in enumerate(english)}
    for name, limit in config.raised.items():
        thresholds[_place(place, name, files[config.tags])] = limit
    reported = np.ones(config.classes, bool)
    reported[[_place(place, name, files[config.tags]) for name in config.deleted]] = False
    return Vocabulary(english, chinese, thresholds, reported)


def _lines(config: Config, files: Mapping[str, Path], name: str) -> tuple[str, ...]:
    if name not in files:
        raise WeightsError(f"weights.lock lists no file {name!r}; it lists {', '.join(files)}")
    lines = tuple(line.strip() for line in files[name].read_text(encoding="utf-8").splitlines())
    if len(lines) != config.classes or not all(lines):
        raise WeightsError(
            f"{files[name]}: expected {config.classes} lines, one for each class and none empty; "
            f"got {len(lines)}, {lines.count('')} of them empty"
        )
    return lines


def _place(places: Mapping[str, int], name: str, path: Path) -> int:
    if name not in places:
        raise WeightsError(f"{path}: the checkpoint's config speaks of tag {name!r}; not in here")
    return places[name]


def merged(
    phrases: list[str] | tuple[str, ...], scores: npt.NDArray[np.float32], origin: Origin
) -> Tags:
    """Tags of which equal ones are one, with the best of their scores, where the first stood.

    Tag2Text's list says 116 things twice, and 206 Chinese names stand for several English ones.
    """
    best: dict[str, float] = {}
    for phrase, score in zip(phrases, scores.tolist(), strict=True):
        best[phrase] = max(score, best.get(phrase, 0.0))
    return Tags(tuple(best), np.array(list(best.values()), np.float32), origin)


def best_first(tags: Tags, most: int | None = None) -> Tags:
    """The tags by falling score, at most `most` of them; of equal scores the first stays first."""
    return tags[np.argsort(-tags.scores, kind="stable")[:most]]
