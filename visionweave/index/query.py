"""What is searched for: a direction in a space, from a text, a picture, or both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from visionweave.errors import ValueTypeError
from visionweave.values import Cutout, Embedding, Image, Text

__all__ = ["Query", "query_words"]


@dataclass(frozen=True, slots=True)
class Query:
    """A direction to search in.

    Attributes:
        direction: (D,) float32. Its product with a photo's embedding is the photo's score.
        space: the name of the space, as embeddings have it.
    """

    direction: npt.NDArray[np.float32]
    space: str

    @classmethod
    def of(cls, text: Embedding | None, image: Embedding | None, text_weight: float = 0.5) -> Self:
        """Ask for what is near to a text, to a picture, or to both.

        With both, a score is the mean of the two cosines, of which the text's counts `text_weight`.
        Cosines among pictures vary more than those of pictures with a text, so that the picture
        has the greater say at 0.5.

        Raises:
            ValueTypeError: neither is given, or the two are of different spaces.
        """
        given = [(text, text_weight), (image, 1 - text_weight)]
        parts = [(each, weight) for each, weight in given if each is not None]
        if not parts:
            raise ValueTypeError("there is nothing to search for; give a text, an image, or both")
        first = parts[0][0]
        if len(parts) == 1:
            return cls(first.vector, first.space)
        first.similarity(parts[1][0])  # raises where they cannot be compared
        mean = sum(weight * each.vector.astype(np.float64) for each, weight in parts)
        return cls(np.asarray(mean, np.float32), first.space)


def query_words(text: Text | None, image: Image | Cutout | None) -> str:
    """Say in words what is searched for: the text, and the picture by its origin."""
    words = [] if text is None else [text.text]
    if image is not None:
        words.append(f"like {image.origin}" if str(image.origin) else "like a picture")
    return ", ".join(words)
