"""What is given on the command line: a pipeline and changes to it, inputs, photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from visionweave.cache import Cache
    from visionweave.cache.photos import PhotoHashes
    from visionweave.graph import GraphInput
    from visionweave.jobs.photos import Photo
    from visionweave.pipeline import Pipeline

__all__ = [
    "open_cache",
    "pair",
    "photo_input",
    "read_budget",
    "read_changes",
    "read_inputs",
    "read_photos",
    "read_pipeline",
]


def read_pipeline(name: str, profile: str | None, changes: Mapping[str, Any]) -> Pipeline:
    """Load a pipeline, with the checkpoints of a profile and some settings changed."""
    from visionweave.overrides import with_settings
    from visionweave.pipeline import Pipeline

    pipeline = Pipeline.load(name)
    if profile is not None:
        pipeline = pipeline.with_profile(profile)
    return Pipeline.from_graph(with_settings(pipeline.graph, changes)) if changes else pipeline


def read_changes(settings: Sequence[str] | None) -> dict[str, Any]:
    """Read settings to be changed, STEP.SETTING=VALUE each."""
    return {key: scalar(value) for key, value in map(pair, settings or [])}


def read_inputs(inputs: Mapping[str, GraphInput], given: Sequence[str] | None) -> dict[str, Any]:
    """Read inputs, NAME=VALUE each."""
    return {key: read_input(inputs, key, value) for key, value in map(pair, given or [])}


def open_cache(no_cache: bool, size: str | None = None) -> tuple[Cache | None, PhotoHashes]:
    """Open the result cache, unless it is not wanted, and the hashes of photos beside it."""
    from visionweave.cache import Cache
    from visionweave.cache.folder import parse_size

    cache = Cache(limit=None if size is None else parse_size(size, "--cache-size"))
    return None if no_cache else cache, cache.photos


def read_budget(size: str | None) -> int | None:
    """Read a memory budget, such as 4GB."""
    from visionweave.cache.folder import parse_size

    return None if size is None else parse_size(size, "--memory-budget")


def read_photos(
    name: str,
    inputs: Mapping[str, GraphInput],
    given: Mapping[str, Any],
    photos: list[str],
    out: Path,
) -> list[Photo]:
    """Find the photos, once it is sure that the pipeline can run on them.

    Raises:
        JobError: there are none, too many or too few inputs.
    """
    from visionweave.errors import JobError
    from visionweave.jobs.photos import find_photos

    takes = photo_input(inputs, given)
    if takes is None and photos:
        raise JobError(f"{name} takes no photos; its inputs are {', '.join(inputs)}")
    if takes is not None and not photos:
        raise JobError(f"{name} needs photos: visionweave run {name} PHOTOS... --out {out}")
    missing = [
        each.name
        for each in inputs.values()
        if each.default is None and each.name not in given and each.name != takes
    ]
    if missing:
        wanted = " ".join(f"-i {each}=..." for each in missing)
        raise JobError(f"{name} needs more inputs: add {wanted}")
    return find_photos(photos, leave_out=out) if photos else []


def photo_input(inputs: Mapping[str, GraphInput], given: Mapping[str, Any]) -> str | None:
    """The input that takes the photos: the first of images that is not set otherwise."""
    from visionweave.values import Image

    for each in inputs.values():
        if Image in each.type.kinds and not each.type.many and each.name not in given:
            return each.name
    return None


def pair(text: str) -> tuple[str, str]:
    """Read NAME=VALUE."""
    from visionweave.errors import JobError

    name, equals, value = text.partition("=")
    if not equals:
        raise JobError(f"expected NAME=VALUE; got {text!r}")
    return name.strip(), value


def scalar(text: str) -> Any:
    """Read a setting as a pipeline file would: 0.5 is a number, [1, 2] a list."""
    from visionweave.errors import PipelineError
    from visionweave.files.yaml_tree import read_yaml

    entry, problems = read_yaml(text, repr(text))
    if entry is None or problems:
        raise PipelineError(problems)
    return entry.plain()


def read_input(inputs: Mapping[str, GraphInput], name: str, text: str) -> Any:
    """Read an input: @FILE is a value's file, [a, b] a list, all else the text itself."""
    from visionweave.errors import JobError, ValueTypeError, did_you_mean

    if name not in inputs:
        hint = did_you_mean(name, inputs)
        raise JobError(f"there is no input {name!r}; {hint or 'it takes ' + ', '.join(inputs)}")
    kind = inputs[name].type
    try:
        if text.startswith("@"):
            return kind.kinds[0].load(text[1:])
        return kind.coerce(scalar(text) if text.startswith(("[", "{")) else text)
    except (ValueTypeError, OSError) as error:
        raise JobError(f"input {name!r} does not fit {kind}: {error}") from None
