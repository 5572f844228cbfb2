"""Values made of words: a text, a list of tags, the hits of a search."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from visionweave.arrays import freeze, pick
from visionweave.errors import ValueTypeError
from visionweave.values.base import UNKNOWN, UNSET, JsonValue, Origin

__all__ = ["Hits", "Tags", "Text", "check_scores"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Text(JsonValue):
    """A text: a caption, an answer, a query.

    Attributes:
        text: the text itself, any Unicode, possibly empty.
        origin: the photo or object it speaks of.
    """

    text: str
    origin: Origin = UNKNOWN

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise ValueTypeError(f"Text.text must be a str; got {type(self.text).__name__}")
        _check_unicode("Text.text", self.text)

    def __str__(self) -> str:
        return self.text

    @classmethod
    def coerce(cls, data: Any) -> Self:
        """Accept also a str."""
        return cls(data) if isinstance(data, str) else super(Text, cls).coerce(data)

    def _to_json(self) -> dict[str, Any]:
        return {"text": self.text, "origin": self.origin.to_json()}

    @classmethod
    def _from_json(cls, data: dict[str, Any]) -> Self:
        return cls(**data | {"origin": Origin.from_json(data.get("origin", {}))})


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Tags(JsonValue):
    """Phrases with scores: what is, or may be, in a photo.

    Attributes:
        phrases: N non-empty phrases, each a thing of its own ("red apple"), never joined.
        scores: (N,) float32 in [0, 1]; all 1 when not given.
        origin: the photo or object they belong to.
    """

    phrases: tuple[str, ...]
    scores: npt.NDArray[np.float32] = UNSET
    origin: Origin = UNKNOWN

    def __post_init__(self) -> None:
        object.__setattr__(self, "phrases", check_phrases("Tags.phrases", self.phrases))
        scores = check_scores("Tags.scores", self.scores, len(self.phrases))
        object.__setattr__(self, "scores", scores)

    def __len__(self) -> int:
        return len(self.phrases)

    def __getitem__(self, which: npt.ArrayLike) -> Self:
        """Return the tags at `which`: a bool mask (N,) or integer indices, in that order."""
        index = pick(which, len(self))
        phrases = tuple(self.phrases[i] for i in index)
        return type(self)(phrases, self.scores[index], self.origin)

    @classmethod
    def coerce(cls, data: Any) -> Self:
        """Accept also a list of phrases, or one str with phrases between commas."""
        if isinstance(data, str):
            return cls(tuple(part.strip() for part in data.split(",") if part.strip()))
        if isinstance(data, (list, tuple)):
            return cls(tuple(data))
        return super(Tags, cls).coerce(data)

    def _to_json(self) -> dict[str, Any]:
        scores = self.scores.tolist()
        return {"phrases": self.phrases, "scores": scores, "origin": self.origin.to_json()}

    @classmethod
    def _from_json(cls, data: dict[str, Any]) -> Self:
        return cls(**data | {"origin": Origin.from_json(data.get("origin", {}))})


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Hits(JsonValue):
    """The ranked results of a search.

    Attributes:
        keys: what was found, best first: photo names, or "photo#object" for objects.
        scores: (N,) float32, never rising; higher is nearer. Their scale is the search's own.
        query: what was asked, in words.
    """

    keys: tuple[str, ...]
    scores: npt.NDArray[np.float32]
    query: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", check_phrases("Hits.keys", self.keys))
        scores = freeze("Hits.scores", self.scores, np.float32, "N", N=len(self.keys))
        if (np.diff(scores) > 0).any():
            raise ValueTypeError("Hits.scores must not rise: the best hit comes first")
        object.__setattr__(self, "scores", scores)

    def __len__(self) -> int:
        return len(self.keys)

    def _to_json(self) -> dict[str, Any]:
        return {"keys": self.keys, "scores": self.scores.tolist(), "query": self.query}

    @classmethod
    def _from_json(cls, data: dict[str, Any]) -> Self:
        return cls(**data)


def check_phrases(name: str, phrases: Iterable[str]) -> tuple[str, ...]:
    """Return `phrases` as a tuple of non-empty str, or raise ValueTypeError."""
    if isinstance(phrases, str):
        raise ValueTypeError(f"{name} must be several phrases; got the one str {phrases!r}")
    phrases = tuple(phrases)
    for phrase in phrases:
        if not isinstance(phrase, str) or not phrase.strip():
            raise ValueTypeError(f"{name} must hold non-empty str; got {phrase!r}")
        _check_unicode(name, phrase)
    return phrases


def check_scores(name: str, scores: npt.ArrayLike | None, count: int) -> npt.NDArray[np.float32]:
    """Return `scores` as read-only (count,) float32 in [0, 1]; None stands for all ones."""
    given = np.ones(count, np.float32) if scores is None else scores
    array = freeze(name, given, np.float32, "N", N=count)
    if array.size and not (array.min() >= 0 and array.max() <= 1):
        raise ValueTypeError(
            f"{name} must be in [0, 1]; got {array.min():.4g} to {array.max():.4g}"
        )
    return array


def _check_unicode(name: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueTypeError(
            f"{name} must be valid Unicode; got {text!r}: {error.reason}"
        ) from None
