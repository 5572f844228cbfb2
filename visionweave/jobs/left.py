"""What of a job is left for models to do, found out before it begins; its folder stays as it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from visionweave.jobs.job import Job
from visionweave.jobs.journal import Entry, read_last
from visionweave.jobs.overlay import make_overlay
from visionweave.jobs.recipe import make_recipe
from visionweave.jobs.resume import Seen, hashed, item_key, why_run
from visionweave.jobs.writer import NAMELESS
from visionweave.runtime import Runtime

__all__ = ["photos_left"]


def photos_left(job: Job) -> int:
    """Count the photos that models are to look at; of a job without photos, its only item.

    Not counted are those that are done; nor, with a cache, those whose bytes went well through the
    same recipe before, and that are to be run for the sake of their name, their overlay or a file
    that is gone: their results are in the cache, unless it had to make room. A photo's bytes are
    read only where an earlier line may be of them: it has its name, or as many names are gone as
    are new.

    Raises:
        DeviceError: the device is not on this machine.
        WeightsError: a model has no checkpoint.
    """
    if not job.has_models:
        return 0
    count = len(job.photos) or 1
    if job.overwrite:
        return count
    try:
        survey = _Survey(job)
        return count - (survey.known_photos() if job.photos else survey.is_nameless_done())
    except OSError:  # which the job will run into, too, and explain
        return count


class _Survey:
    """What the journal of a job says of its photos."""

    def __init__(self, job: Job) -> None:
        self.job = job
        runtime = Runtime.get(job.device, job.precision)
        self.recipe = make_recipe(job.pipeline.graph, job.inputs, runtime, job.hashes).key
        self.draws = make_overlay(job.pipeline, job.overlay) is not None
        self.new = {photo.name: photo for photo in job.photos}  # until a line speaks of it
        self.gone: list[str] = []  # the keys of photos that went well, and are not given any more

    def known_photos(self) -> int:
        """Count the photos that no model need look at."""
        count = 0
        for entry, seen in hashed(self._earlier(), self.job.hashes):
            count += self._is_known(entry, self._key(seen))
        if self.job.cache is not None and 0 < len(self.new) <= len(self.gone):
            gone = set(self.gone) - {""}
            for _, seen in hashed(((p, p.path) for p in self.new.values()), self.job.hashes):
                count += self._key(seen) in gone
        return count

    def is_nameless_done(self) -> bool:
        """Whether the only item of a job without photos is done."""
        entries = read_last(self.job.out / "items.jsonl")
        key = item_key(self.recipe)
        return any(entry.photo == NAMELESS and self._is_known(entry, key) for entry in entries)

    def _earlier(self) -> Iterator[tuple[Entry, Path]]:
        """The photos that were run by this recipe, with their files."""
        for entry in read_last(self.job.out / "items.jsonl"):
            photo, ours = self.new.pop(entry.photo, None), entry.recipe == self.recipe
            if photo is not None and ours:
                yield entry, photo.path
            elif ours and entry.status == "ok":
                self.gone.append(entry.key)

    def _is_known(self, entry: Entry, key: str) -> bool:
        job = self.job
        cached = job.cache is not None and entry.status == "ok" and entry.key == key
        overlay = self.draws and bool(job.photos)
        return cached or not why_run(entry, key, job.out, retry=job.retry, overlay=overlay)

    def _key(self, seen: Seen | None) -> str:
        return "" if seen is None else item_key(self.recipe, seen[1])
