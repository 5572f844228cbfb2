"""Values made of words: a text, a list of tags, the hits of a search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from visionweave.arrays import freeze, pick
from visionweave.errors import ValueTypeError
from visionweave.values.base import UNSET, JsonValue, with_origin
from visionweave.values.checks import check_phrases, check_scores, check_text
from visionweave.values.origin import UNKNOWN, Origin, check_origin

__all__ = ["Hits", "Tags", "Text"]


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
        object.__setattr__(self, "text", check_text("Text.text", self.text))
        check_origin("Text.origin", self.origin)

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
        return cls(**with_origin(data))


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
        check_origin("Tags.origin", self.origin)

    def __len__(self) -> int:
        return len(self.phrases)

    __iter__ = None
    """Not by loop: that would go over one-tag Tags. `phrases` and `scores` are there for it."""

    def __getitem__(self, which: npt.ArrayLike | slice) -> Self:
        """Return the tags at `which`: a bool mask (N,), integer indices in that order, a slice."""
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
        return cls(**with_origin(data))


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
        if (scores[1:] > scores[:-1]).any():
            raise ValueTypeError("Hits.scores must not rise: the best hit comes first")
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "query", check_text("Hits.query", self.query))

    def __len__(self) -> int:
        return len(self.keys)

    def _to_json(self) -> dict[str, Any]:
        return {"keys": self.keys, "scores": self.scores.tolist(), "query": self.query}
