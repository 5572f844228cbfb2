"""Changing an index: in memory first, then on the disk, in one step."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from visionweave.atomic import write_atomic
from visionweave.errors import ValueTypeError
from visionweave.index.files import (
    Entry,
    Manifest,
    Part,
    entry_line,
    latest_generation,
    map_array,
    remove_others,
    write_arrays,
    write_manifest,
)
from visionweave.index.library import PhotoIndex
from visionweave.index.space import Space
from visionweave.values import Embedding

__all__ = ["PART_ROWS", "IndexWriter"]

PART_ROWS = 2**15
"""Rows in a file of vectors: 67 MB at D = 512, which is what writing takes of memory."""

Rows = npt.NDArray[np.float32]


class IndexWriter:
    """An index that is being changed.

    Files of vectors are filled one after the other: all but the last hold PART_ROWS rows, and only
    the last is written again when rows are added.

    Attributes:
        entries: what is known of each photo, by its absolute path.
    """

    def __init__(self, folder: Path, space: Space, before: PhotoIndex | None) -> None:
        """Begin with the index that is there, or with an empty one.

        Args:
            folder: where it lies.
            space: what makes the embeddings; that of `before`, too.
            before: what is kept.
        """
        self._folder, self._space = folder, space
        self.entries: dict[str, Entry] = {} if before is None else dict(before.entries())
        self._embedding = "" if before is None else before.manifest.embedding
        self._dimensions = 0 if before is None else before.manifest.dimensions
        self._generation = latest_generation(folder)
        # What is on the disk. Pipelines that search go by its bytes: no new ones without a change.
        self._written = None if before is None else (before.manifest, dict(self.entries))
        self._rows_of = {each.sha256: each.row for each in self.entries.values()}
        # Parts on the disk, rows in memory; replaced together, so that Ctrl-C parts them nowhere.
        self._held: tuple[list[Part], list[Rows]] = ([] if before is None else before.parts, [])

    def holds(self, sha256: str) -> bool:
        """Whether there is an embedding of a photo with these bytes."""
        return sha256 in self._rows_of

    def add(self, sha256: str, embedding: Embedding) -> None:
        """Take the embedding of photos with these bytes.

        Raises:
            ValueTypeError: it is of another space than those that are there.
        """
        found = (embedding.space, len(embedding.vector))
        self._embedding = self._embedding or embedding.space
        self._dimensions = self._dimensions or len(embedding.vector)
        if found != (self._embedding, self._dimensions):
            raise ValueTypeError(
                f"{self._folder} holds embeddings in {self._embedding!r}, {self._dimensions} "
                f"numbers each; got one in {found[0]!r} with {found[1]}"
            )
        parts, fresh = self._held
        self._rows_of[sha256] = _count(parts) + len(fresh)
        fresh.append(embedding.vector)

    def place(self, path: str, bytes: int, mtime_ns: int, sha256: str, ctime_ns: int = 0) -> None:
        """Say that the file at `path` has these bytes, of which there is an embedding."""
        self.entries[path] = Entry(bytes, mtime_ns, sha256, self._rows_of[sha256], ctime_ns)

    def commit(self, common: Path, *, tidy: bool = False) -> Manifest:
        """Write all changes; from then on, they are what readers see. Without any, write nothing.

        Args:
            common: a folder that has the photos added below it. Names are relative to it, or to the
                one that it shares with older photos.
            tidy: drop the rows of no photo, where they are more than half.
        """
        root = self._root(common)
        live = np.unique([entry.row for entry in self.entries.values()]).astype(np.int64)
        parts, fresh = self._held
        sparse = tidy and 2 * len(live) < _count(parts) + len(fresh)
        manifest = None if sparse else self._as_written(root)
        if manifest is None:
            self._generation += 1
            if sparse:
                self._write_rows(0, live)
                self._renumber(live)
            elif fresh:
                kept = sum(len(part.vectors) == PART_ROWS for part in parts)
                self._write_rows(kept, np.arange(kept * PART_ROWS, _count(parts) + len(fresh)))
            manifest = self._write_photos(root)
            write_manifest(self._folder, manifest)
            self._written = (manifest, dict(self.entries))
        remove_others(self._folder, manifest)
        return manifest

    def _as_written(self, root: str) -> Manifest | None:
        """What is on the disk; None where something has changed since it was written."""
        parts, fresh = self._held
        if fresh or self._written is None:
            return None
        manifest, entries = self._written
        now = (root, tuple(part.file for part in parts), self.entries)
        return manifest if (manifest.root, manifest.parts, entries) == now else None

    def _write_rows(self, kept: int, rows: npt.NDArray[np.int64]) -> None:
        """Keep the first `kept` parts, and write `rows` into new ones."""
        parts, fresh = self._held
        blocks = [part.vectors for part in parts] + ([np.stack(fresh)] if fresh else [])
        written = parts[:kept]
        for number, start in enumerate(range(0, len(rows), PART_ROWS)):
            name = f"vectors-{self._generation}-{number}.safetensors"
            vectors = _take(blocks, rows[start : start + PART_ROWS])
            write_arrays(self._folder / name, vectors=vectors)
            written.append(Part(name, map_array(self._folder / name, "vectors")))
        self._held = (written, [])

    def _renumber(self, live: npt.NDArray[np.int64]) -> None:
        for entry in self.entries.values():
            entry.row = int(np.searchsorted(live, entry.row))
        self._rows_of = {each.sha256: each.row for each in self.entries.values()}

    def _write_photos(self, root: str) -> Manifest:
        """Write the photos by name, and return what is to be said of the index."""
        manifest = Manifest(
            self._space,
            self._embedding,
            self._dimensions,
            root,
            len(self.entries),
            self._generation,
            tuple(part.file for part in self._held[0]),
        )
        skip, ordered = len(manifest.prefix), sorted(self.entries.items())
        lines = [entry_line(path[skip:], entry) for path, entry in ordered]
        write_atomic(self._folder / manifest.lines_file, b"".join(lines))
        starts = np.cumsum([0, *map(len, lines)], dtype=np.int64)
        rows = np.array([entry.row for _, entry in ordered], np.int64)
        write_arrays(self._folder / manifest.places_file, starts=starts, rows=rows)
        return manifest

    def _root(self, common: Path) -> str:
        """The folder that names are relative to: all photos are below it."""
        inside = os.path.join(common, "")  # noqa: PTH118 - a Path ends in no separator
        others = [path for path in self.entries if not path.startswith(inside)]
        folders = {os.path.dirname(path) for path in others}  # noqa: PTH120 - there are many
        return os.path.commonpath([str(common), *folders])


def _count(parts: Iterable[Part]) -> int:
    return sum(len(part.vectors) for part in parts)


def _take(blocks: Sequence[Rows], rows: npt.NDArray[np.int64]) -> Rows:
    """Gather rows, numbered through all blocks, into one array."""
    taken = np.empty((len(rows), blocks[0].shape[1] if blocks else 0), np.float32)
    begin = 0
    for block in blocks:
        here = (rows >= begin) & (rows < begin + len(block))
        taken[here] = block[rows[here] - begin]
        begin += len(block)
    return taken
