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
    from visionweave.types import PortType

__all__ = [
    "open_cache",
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
    pairs = _pairs("--set", "STEP.SETTING=VALUE", settings)
    return {key: scalar(value) for key, value in pairs.items()}


def read_inputs(inputs: Mapping[str, GraphInput], given: Sequence[str] | None) -> dict[str, Any]:
    """Read inputs, NAME=VALUE each."""
    pairs = _pairs("-i", "NAME=VALUE", given)
    return {key: read_input(inputs, key, value) for key, value in pairs.items()}


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
        raise JobError(_takes_no_photos(name, inputs, given))
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


def _takes_no_photos(name: str, inputs: Mapping[str, GraphInput], given: Mapping[str, Any]) -> str:
    """Why a pipeline takes no photos, or no more of them."""
    would = photo_input(inputs, {})
    if would is not None and would in given:
        return f"{name} takes photos as its input {would!r}, which is set by -i already; drop one"
    return f"{name} takes no photos; {_known(inputs)}"


def _known(inputs: Mapping[str, GraphInput]) -> str:
    return f"its inputs are {', '.join(inputs)}" if inputs else "it has no inputs"


def _pairs(option: str, form: str, given: Sequence[str] | None) -> dict[str, str]:
    """Read what an option was given, NAME=VALUE each, by name."""
    from visionweave.errors import JobError

    pairs: dict[str, str] = {}
    for text in given or []:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals:
            raise JobError(f"{option} {text}: expected {form}")
        if name in pairs:
            raise JobError(f"{option} {name} is given twice, as {pairs[name]!r} and as {value!r}")
        pairs[name] = value
    return pairs


def scalar(text: str) -> Any:
    """Read a setting as a pipeline file would: 0.5 is a number, [1, 2] a list."""
    from visionweave.errors import PipelineError
    from visionweave.files.yaml_tree import read_yaml

    entry, problems = read_yaml(text, repr(text))
    if entry is None or problems:
        raise PipelineError(problems)
    return entry.plain()


def read_input(inputs: Mapping[str, GraphInput], name: str, text: str) -> Any:
    """Read an input: @FILE is a value's file, [a, b] a list, all else the text itself.

    @@ stands for an @ that begins a text. What takes text alone takes brackets as they are.
    """
    from visionweave.errors import JobError, ValueTypeError, did_you_mean
    from visionweave.values import Text

    if name not in inputs:
        raise JobError(
            f"there is no input {name!r}; {did_you_mean(name, inputs) or _known(inputs)}"
        )
    kind = inputs[name].type
    is_data = text.startswith(("[", "{")) and (kind.kinds != (Text,) or kind.many)
    try:
        if text.startswith("@") and not text.startswith("@@"):
            return _load(kind, text[1:])
        return kind.coerce(scalar(text) if is_data else _unescaped(text))
    except OSError as error:
        raise JobError(
            f"-i {name}={text}: cannot read {text[1:]}: {error.strerror or error}; a text that "
            "begins with @ is written with @@"
        ) from None
    except ValueTypeError as error:
        hint = f"; a list is written -i {name}='[a, b]'" if kind.many and not is_data else ""
        raise JobError(f"input {name!r} does not fit {kind}: {error}{hint}") from None


def _unescaped(text: str) -> str:
    return text[1:] if text.startswith("@@") else text


def _load(kind: PortType, path: str) -> Any:
    """Read a value's file as the first kind that it holds; where a list is wanted, as one of it."""
    from visionweave.errors import ImageError, ValueTypeError

    refusals = []
    for each in kind.kinds:
        try:
            value = each.load(path)
        except (ImageError, ValueTypeError) as error:
            refusals.append(str(error))
        else:
            return [value] if kind.many else value
    raise ValueTypeError("; ".join(refusals))
