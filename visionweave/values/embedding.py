"""Embedding: a point in a model's space, comparable with the points of that space alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from visionweave.arrays import freeze
from visionweave.errors import ValueTypeError
from visionweave.values.base import Value, with_origin
from visionweave.values.checks import check_text
from visionweave.values.origin import UNKNOWN, Origin, check_origin
from visionweave.values.tensors import pack, unpack

__all__ = ["Embedding"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Embedding(Value):
    """An L2-normalised vector.

    Attributes:
        vector: (D,) float32 of length 1 (within 1e-3; use `normalised` for raw vectors).
        space: the name of the space, such as "clip/ViT-B-32/openai". Vectors of two spaces cannot
            be compared, whatever their length.
        origin: what was embedded.
    """

    vector: npt.NDArray[np.float32]
    space: str
    origin: Origin = UNKNOWN
    SUFFIX = ".safetensors"

    def __post_init__(self) -> None:
        vector = freeze("Embedding.vector", self.vector, np.float32, "D")
        length = float(np.linalg.norm(vector))
        if abs(length - 1) > 1e-3:
            raise ValueTypeError(
                f"Embedding.vector must have length 1; got {length:.4g}. "
                "Embedding.normalised makes one from any vector"
            )
        space = check_text("Embedding.space", self.space)
        if not space:
            raise ValueTypeError("Embedding.space must be a name; got ''")
        check_origin("Embedding.origin", self.origin)
        object.__setattr__(self, "vector", vector)
        object.__setattr__(self, "space", space)

    @classmethod
    def normalised(cls, vector: npt.ArrayLike, space: str, origin: Origin = UNKNOWN) -> Self:
        """Divide `vector` by its length, which must not be 0."""
        array = freeze("vector", vector, np.float64, "D")
        largest = float(np.abs(array).max(initial=0))
        if largest == 0:
            raise ValueTypeError("cannot normalise a vector of length 0")
        array = array / largest  # so that no square is beyond the range of floats
        return cls((array / np.linalg.norm(array)).astype(np.float32), space, origin)

    def similarity(self, other: Embedding) -> float:
        """The cosine of the angle to `other`, in [-1, 1].

        Raises:
            ValueTypeError: `other` is of another space or length.
        """
        if other.space != self.space:
            raise ValueTypeError(
                f"cannot compare embeddings of two spaces: {self.space!r} and {other.space!r}. "
                "Embed both with the same model"
            )
        if other.vector.shape != self.vector.shape:
            raise ValueTypeError(
                f"two embeddings in {self.space!r} have {len(self.vector)} and "
                f"{len(other.vector)} numbers; embed both with the same model"
            )
        return float(np.clip(self.vector @ other.vector, -1, 1))

    def to_bytes(self) -> bytes:
        """Return a safetensors file with the vector, and the rest as metadata."""
        meta = {"space": self.space, "origin": self.origin.to_json()}
        return pack("Embedding", {"vector": self.vector}, meta)

    @classmethod
    def _read(cls, data: bytes) -> Self:
        return cls(**with_origin(unpack("Embedding", data)))
