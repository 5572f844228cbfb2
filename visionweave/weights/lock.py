"""`weights.lock`: the list of every checkpoint that may be loaded, with its receipt.

    [checkpoint."sam-vit-b"]
    family = "sam"
    source = "https://github.com/facebookresearch/segment-anything"
    files = [{ name = "sam_vit_b.pth", url = "https://...", bytes = 375042383, sha256 = "ec2d..." }]
    format = "pickle"
    license = "Apache-2.0"
    commercial = "yes"
    config = { variant = "vit_b" }

    [profiles.base]
    sam = "sam-vit-b"

`family`, `files`, `license` and `commercial` must be given. A file without a `url` comes from the
hub repository that `source` names, at `revision`. One without a `sha256` is listed, but neither
fetched nor loaded. The list that comes with visionweave is at the top of its repository; a list of
the user's own, in the store, is laid over it, entry by entry.
"""

from __future__ import annotations

import functools
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from visionweave.errors import WeightsError
from visionweave.folders import kept_folder
from visionweave.plain import is_plain

__all__ = [
    "HUB",
    "Checkpoint",
    "Lock",
    "WeightFile",
    "parse_lock",
    "read_lock",
    "shipped_lock",
    "store_folder",
    "user_lock",
    "user_lock_path",
]

HUB = "https://huggingface.co"
"""Where the repositories lie that `source` names as "owner/repository"."""


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One file of a checkpoint, and what is known of it.

    Attributes:
        name: its path inside the checkpoint's folder, such as "model.safetensors".
        url: where it comes from; "" when it was added from this machine.
        bytes: its size, or None when that is not known.
        sha256: its hash in 64 hexadecimal digits, or None: it can be neither fetched nor loaded.
    """

    name: str
    url: str
    bytes: int | None
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The weights of a model.

    Attributes:
        name: such as "clip-vit-b-32-openai".
        family: the family of nodes that can use it, such as "clip".
        source: its hub repository or address, for people.
        revision: the commit of that repository; "" where there is none.
        files: its files.
        format: "safetensors", "pickle", "torchscript", ...
        license: the SPDX identifier of its licence, or a name.
        commercial: "yes", "no" or "conditional". What is not "yes" must be accepted once.
        terms: the licence in a word or a sentence, and what is uncertain about it.
        paper: who made it.
        config: what the loader of its family must know.
        shipped: whether its files come inside visionweave's package.
    """

    name: str
    family: str
    source: str
    revision: str
    files: tuple[WeightFile, ...]
    format: str
    license: str
    commercial: str
    terms: str
    paper: str
    config: dict[str, Any]
    shipped: bool = False

    @property
    def hashed(self) -> bool:
        """Whether the hash of every file is known."""
        return all(file.sha256 for file in self.files)

    @property
    def restricted(self) -> bool:
        """Whether its licence restricts use, so that it must be accepted."""
        return self.commercial != "yes"


@dataclass(frozen=True, slots=True)
class Lock:
    """The list: checkpoints by name, and for each profile the checkpoint of each family."""

    checkpoints: dict[str, Checkpoint]
    profiles: dict[str, dict[str, str]]


def read_lock() -> Lock:
    """Return the list that comes with visionweave, with the user's own laid over it.

    Raises:
        WeightsError: the user's list is broken.
    """
    shipped, mine = shipped_lock(), user_lock()
    profiles = {
        name: shipped.profiles.get(name, {}) | mine.profiles.get(name, {})
        for name in shipped.profiles | mine.profiles
    }
    return Lock(shipped.checkpoints | mine.checkpoints, profiles)


@functools.cache
def shipped_lock() -> Lock:
    """Return the list that comes with visionweave."""
    here = Path(__file__).resolve()
    installed = here.with_name("weights.lock")  # in a wheel; a checkout has it at the top
    path = installed if installed.exists() else here.parents[2] / "weights.lock"
    return parse_lock(path.read_text(encoding="utf-8"), str(path))


def user_lock() -> Lock:
    """Return the user's own list; an empty one where there is none."""
    path = user_lock_path()
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Lock({}, {})
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"{path}: cannot read this list of weights: {error}") from None
    return parse_lock(text, str(path))


def user_lock_path() -> Path:
    """Where the user's own list lies: `weights.lock` in the store."""
    return store_folder() / "weights.lock"


def store_folder() -> Path:
    """The folder of the weights: $VISIONWEAVE_WEIGHTS, else one in the user's cache folder."""
    return kept_folder("VISIONWEAVE_WEIGHTS", "weights")


def parse_lock(text: str, where: str) -> Lock:
    """Return the list that `text` holds.

    Raises:
        WeightsError: it is no TOML, or an entry does not fit. All that is wrong is said at once.
    """
    try:
        table = _Table.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise WeightsError(f"{where}: this is not TOML: {error}") from None
    except ValidationError as error:
        lines = [
            f"  {'.'.join(map(str, e['loc']))}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        ]
        what = f"{where}: this does not fit into a list of weights"
        raise WeightsError("\n".join([what, *lines])) from None
    checkpoints = {name: _checkpoint(name, entry) for name, entry in table.checkpoint.items()}
    return Lock(checkpoints, table.profiles)


def _checkpoint(name: str, entry: _Entry) -> Checkpoint:
    facts = {key: getattr(entry, key) for key in type(entry).model_fields}
    files = tuple(
        WeightFile(file.name, file.url or _hub_url(entry, file.name), file.bytes, file.sha256)
        for file in entry.files
    )
    return Checkpoint(**{**facts, "name": name, "files": files})


def _hub_url(entry: _Entry, name: str) -> str:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", entry.source):
        return ""
    return f"{HUB}/{entry.source}/resolve/{entry.revision or 'main'}/{name}"


def _safe_path(name: str) -> str:
    """Refuse a name that could leave the checkpoint's folder, or hide a file in it."""
    if not all(re.fullmatch(r"\w[\w.+@-]*", part) for part in name.split("/")):
        raise ValueError(f"{name!r} is no plain relative path")
    return name


def _like(pattern: str, expected: str) -> AfterValidator:
    """A check of a text, with a message in plain words."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"expected {expected}; got {text!r}")
        return text

    return AfterValidator(check)


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    if not is_plain(config):
        raise ValueError("only text, numbers, booleans, lists and tables")
    return config


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _File(_Strict):
    name: Annotated[str, AfterValidator(_safe_path)]
    url: Annotated[str, _like(r"(https?://.+)?", "an address with http:// or https://")] = ""
    bytes: Annotated[int, Field(ge=0)] | None = None
    sha256: Annotated[str, _like(r"[0-9a-f]{64}", "64 of the digits 0-9 and a-f")] | None = None


def _unlike(files: list[_File]) -> list[_File]:
    names = [file.name for file in files]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise ValueError(f"several files are called {', '.join(map(repr, twice))}")
    return files


class _Entry(_Strict):
    family: Annotated[str, _like(r"\w+", "a family of nodes, such as clip")]
    source: str = ""
    revision: str = ""
    files: Annotated[list[_File], Field(min_length=1), AfterValidator(_unlike)]
    format: str = "safetensors"
    license: Annotated[str, Field(min_length=1)]
    commercial: Literal["yes", "no", "conditional"]
    terms: str = ""
    paper: str = ""
    config: Annotated[dict[str, Any], AfterValidator(_plain)] = {}
    shipped: bool = False


_Name = Annotated[str, _like(r"\w[\w.+-]*", "a name of letters, digits and . + - _")]


class _Table(_Strict):
    checkpoint: dict[_Name, _Entry] = {}
    profiles: dict[str, dict[str, str]] = {}
