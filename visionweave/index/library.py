"""Reading an index, and searching it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from visionweave.errors import ValueTypeError
from visionweave.index.files import (
    Entry,
    Manifest,
    Part,
    damaged,
    map_array,
    map_lines,
    read_manifest,
)
from visionweave.index.query import Query
from visionweave.index.space import Space
from visionweave.values import Hits

__all__ = ["Match", "PhotoIndex", "as_hits"]

TRIES = 5
"""How often an index is opened that another process writes meanwhile."""


@dataclass(frozen=True, slots=True)
class Match:
    """A photo that was found: its name, its file as it was indexed, its score."""

    photo: str
    path: Path
    score: float


class PhotoIndex:
    """An index as it was when it was opened; who changes it later does not disturb.

    Attributes:
        folder: where it lies.
        manifest: what it says of itself.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest
        self.parts = [Part(name, map_array(folder / name, "vectors")) for name in manifest.parts]
        self._lines = map_lines(folder / manifest.lines_file)
        self._starts = map_array(folder / manifest.places_file, "starts")
        self._rows = map_array(folder / manifest.places_file, "rows")

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open an index.

        Raises:
            JobError: there is none, or it is damaged.
        """
        missing: FileNotFoundError | None = None
        for _ in range(TRIES):
            manifest = read_manifest(folder)
            try:
                return cls(folder, manifest)
            except FileNotFoundError as error:  # a writer replaced the files since
                missing = error
            except (OSError, ValueError, KeyError) as error:
                raise damaged(folder, error) from None
        raise damaged(folder, missing)

    @property
    def space(self) -> Space:
        """What made the embeddings."""
        return self.manifest.space

    def __len__(self) -> int:
        return self.manifest.photos

    def check_space(self, wanted: Space) -> None:
        """Raise JobError where the embeddings of `wanted` cannot be compared with these."""
        self.space.check(wanted, str(self.folder))

    def entries(self) -> Iterator[tuple[str, Entry]]:
        """Yield each photo's path and what is known of it, in the order of names."""
        for place in range(len(self)):
            fields = self._line(place)
            yield self.manifest.prefix + fields.pop("photo"), Entry(**fields)

    def search(self, queries: Sequence[Query], k: int) -> list[list[Match]]:
        """Return the `k` photos of the highest scores for each query, best first.

        Of photos with equal scores, the first by name comes first.

        Raises:
            ValueTypeError: a query is of another space.
        """
        if len(self) == 0 or not queries:
            return [[] for _ in queries]
        for query in queries:
            self._check(query)
        directions = np.stack([query.direction for query in queries], axis=1)
        by_row = np.concatenate([part.vectors @ directions for part in self.parts])
        scores = by_row[self._rows].T
        return [[self._match(place, row[place]) for place in _best(row, k)] for row in scores]

    def hits(self, query: Query, k: int, words: str = "") -> Hits:
        """Search for one query, and return a value; see `search`."""
        (found,) = self.search([query], k)
        return as_hits(found, words)

    def _check(self, query: Query) -> None:
        mine, shape = self.manifest.embedding, (self.manifest.dimensions,)
        if (query.space, query.direction.shape) != (mine, shape):
            raise ValueTypeError(
                f"{self.folder} holds embeddings in {mine!r}, {shape[0]} numbers each; got one in "
                f"{query.space!r} with {len(query.direction)}. Embed with {self.space.checkpoint}"
            )

    def _match(self, place: int, score: float) -> Match:
        name = self._line(place)["photo"]
        shown = name.encode("utf-8", "backslashreplace").decode()  # as `Image.open` calls it
        return Match(shown, Path(self.manifest.prefix + name), float(np.clip(score, -1, 1)))

    def _line(self, place: int) -> dict[str, Any]:
        start, end = self._starts[place : place + 2]
        try:
            fields: dict[str, Any] = json.loads(self._lines[start:end])
        except ValueError as error:
            raise damaged(self.folder, error) from None
        return fields


def as_hits(found: Sequence[Match], words: str = "") -> Hits:
    """Return what was found as a value."""
    scores = np.array([each.score for each in found], np.float32)
    return Hits(tuple(each.photo for each in found), scores, words)


def _best(scores: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.intp]:
    """The places of the `k` highest scores, best first; of equal ones the first is first."""
    places = np.arange(len(scores))
    if k < len(scores):
        least = np.partition(scores, -k)[-k]
        places = np.flatnonzero(scores >= least)
    order = np.argsort(-scores[places], kind="stable")
    return places[order[:k]]
