"""How many photos of an index are left to embed, found out before it begins; nothing is changed."""

from __future__ import annotations

from visionweave.index.build import IndexJob
from visionweave.index.files import has_index
from visionweave.index.library import PhotoIndex
from visionweave.index.look import absolute, look

__all__ = ["photos_left"]


def photos_left(job: IndexJob) -> int:
    """Count the photos to be embedded, by size and time of their files; none is read.

    A photo under a new name is taken for a renamed one, and not counted, when its size and time are
    those of one that is not given any more. One that was only touched is counted: that its bytes
    are as they were shows when it is read.

    Raises:
        JobError: the folder holds other things, or an index that is damaged.
    """
    if job.overwrite or not job.out.is_dir():
        return len(job.photos)
    try:
        return _left(job) if has_index(job.out) else len(job.photos)
    except OSError:  # which the job will run into, too, and explain
        return len(job.photos)


def _left(job: IndexJob) -> int:
    entries = dict(PhotoIndex.open(job.out).entries())
    given = {absolute(photo.path) for photo in job.photos}
    gone = {(entry.bytes, entry.mtime_ns) for path, entry in entries.items() if path not in given}
    left = 0
    for seen in look(job.photos, entries, read=False):
        renamed = seen.path not in entries and (seen.bytes, seen.mtime_ns) in gone
        left += seen.error is None and not (seen.sha256 or renamed)
    return left
