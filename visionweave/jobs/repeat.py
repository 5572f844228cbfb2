"""Running a job again from its receipt: all of it, or the photos that failed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visionweave.cache.photos import PhotoHashes
from visionweave.errors import JobError, PipelineWarning, WeaveWarning, did_you_mean
from visionweave.jobs.journal import Entry
from visionweave.jobs.lines import read_lines
from visionweave.jobs.photos import Photo
from visionweave.jobs.receipt import read_input, read_receipt, versions
from visionweave.jobs.recipe import Recipe, differences, make_recipe
from visionweave.pipeline import Pipeline
from visionweave.runtime import Runtime

__all__ = ["Locked", "check_locked", "entries_of", "failed_photos", "find_entry", "read_locked"]


@dataclass(frozen=True, slots=True)
class Locked:
    """What a receipt says of a job, ready to be run.

    Attributes:
        receipt: the receipt.
        pipeline: the pipeline, as far as the nodes installed here can make it.
        inputs: the inputs that were the same for all photos.
        recipe: what the results depended on.
    """

    receipt: dict[str, Any]
    pipeline: Pipeline
    inputs: dict[str, Any]
    recipe: Recipe

    @property
    def device(self) -> str:
        """The device to compute on."""
        return self.recipe.device or "auto"

    @property
    def precision(self) -> str:
        """The precision to compute in."""
        return self.recipe.precision or "auto"


def read_locked(path: Path, inputs: Mapping[str, Any] | None = None) -> Locked:
    """Read a receipt.

    Args:
        path: the run.json.
        inputs: values for inputs that the receipt does not hold.

    Raises:
        JobError: it is none, or lacks what is needed.
        PipelineError: the nodes that are installed cannot make its pipeline.
    """
    receipt = read_receipt(path)
    text = receipt["pipeline"]["yaml"]
    if text is None:
        raise JobError(
            f"{path} is of a pipeline made in Python with values that a file cannot hold; "
            "run that program again"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PipelineWarning)  # it was said when the job first ran
        pipeline = Pipeline.from_yaml(text, f"{path}, pipeline")
    given = dict(inputs or {})
    known = {n: read_input(n, data) for n, data in receipt["inputs"].items() if n not in given}
    recipe = Recipe.from_json(receipt["recipe"], receipt["recipes"][receipt["recipe"]])
    return Locked(receipt, pipeline, known | given, recipe)


def check_locked(locked: Locked, runtime: Runtime, hashes: PhotoHashes, *, strict: bool) -> None:
    """See to it that a job would be repeated exactly.

    Args:
        locked: the job.
        runtime: what it is to run on.
        hashes: the hashes of photos.
        strict: whether other versions of packages are refused; else there is a warning.

    Raises:
        JobError: something differs; the message lists it all.
    """
    now = make_recipe(locked.pipeline.graph, locked.inputs, runtime, hashes)
    found = [
        f"step '{step}': {text}" if step else text
        for step, texts in differences(locked.recipe, now).items()
        for text in texts
    ]
    packages = list(_packages(locked.receipt["versions"]))
    if strict:
        found += packages
    if found or now.key != locked.recipe.key:
        what = found or ["the pipeline is another, or a photo that it names"]
        listed = "\n".join(f"  {text}" for text in what)
        raise JobError(f"this would not repeat the job of the receipt:\n{listed}")
    for text in packages:
        warnings.warn(f"{text}; results may differ a little", WeaveWarning, stacklevel=2)


def _packages(before: Mapping[str, str]) -> Iterator[str]:
    now = versions()
    for name in dict.fromkeys([*before, *now]):
        was, is_now = before.get(name), now.get(name)
        if was != is_now:
            yield f"{name} was {was or 'not installed'}, and is {is_now or 'not installed'}"


def entries_of(out: Path) -> dict[str, Entry]:
    """Return what came of each photo of a job, without touching its folder."""
    return {found["photo"]: Entry.from_json(found) for found, _ in read_lines(out / "items.jsonl")}


def find_entry(entries: Mapping[str, Entry], given: str, out: Path) -> Entry:
    """Return the entry of a photo, which is given by its name, or by the path of its file.

    Raises:
        JobError: there is none.
    """
    if given in entries:
        return entries[given]
    path = str(Path(given).absolute())
    for entry in entries.values():
        if entry.path == path:
            return entry
    hint = did_you_mean(given, entries) or "its photos are in items.jsonl"
    raise JobError(f"{out} has no photo {given!r}; {hint}")


def failed_photos(out: Path, only: Sequence[str] = ()) -> list[Photo]:
    """Return the photos of a job that failed, wholly or in part, or could not be read again.

    Args:
        out: the job's folder.
        only: some photos, by name or path; all when there are none.

    Raises:
        JobError: one of these is no photo of the job.
    """
    entries = entries_of(out)
    chosen = [find_entry(entries, given, out) for given in only] or list(entries.values())
    return [
        Photo(entry.path, entry.photo)
        for entry in chosen
        if (entry.status != "ok" or entry.unread) and entry.path is not None
    ]
