"""The result cache: what models have computed is found again by what they were given.

with Cache() as cache:
for result in pipeline.map(photos, cache=cache):
...
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

from visionweave.cache.photos import PhotoHashes
from visionweave.cache.store import ResultCache

if TYPE_CHECKING:
    from visionweave.execution.keeper import Keeper
    from visionweave.graph import Graph
    from visionweave.runtime import Runtime

__all__ = ["Cache"]


class Cache:
    """Results of models and hashes of photos, shared by all jobs and processes of this machine.

    Args:
        folder: where it lies; $VISIONWEAVE_CACHE, else in the user's cache folder, when None.
        limit: how many bytes of results it may hold; $VISIONWEAVE_CACHE_SIZE, else 20 GB, when
            None. Of more, those go that nobody used for longest.
    """

    def __init__(self, folder: Path | None = None, limit: int | None = None) -> None:
        self.results = ResultCache(folder, limit)
        self.photos = PhotoHashes(self.results.folder)

    def keeper(self, graph: Graph, runtime: Runtime) -> Keeper:
        """Return what finds and keeps the results of a run."""
        from visionweave.cache.keeper import CacheKeeper
        from visionweave.cache.steps import StepKeys

        return CacheKeeper(self.results, StepKeys(graph, runtime), self.photos)

    def close(self) -> None:
        """Write what is left to be written, and let go of the files; more use opens them again."""
        self.results.close()
        self.photos.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
