"""The files of an index: reading, writing, and which of them count."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from visionweave.atomic import HALF, write_atomic
from visionweave.errors import JobError
from visionweave.index.space import Space

__all__ = [
    "FAILURES",
    "LOCK",
    "Entry",
    "Manifest",
    "Part",
    "damaged",
    "entry_line",
    "has_index",
    "latest_generation",
    "map_array",
    "map_lines",
    "read_manifest",
    "remove_others",
    "write_arrays",
    "write_manifest",
]

Array = npt.NDArray[Any]

MANIFEST, FAILURES, LOCK = "index.json", "failures.jsonl", ".lock"

_VECTORS = r"vectors-(\d+)-\d+\.safetensors"
_DATA = rf"{_VECTORS}|photos-(\d+)\.jsonl|places-(\d+)\.safetensors"
"""The names of an index's data, each with its generation: these are replaced, and no others."""

_HALF = re.compile(HALF)

STAMP = {"type": "visionweave index", "form": 1}
DTYPES = {"F32": "<f4", "I64": "<i8"}


@dataclass(slots=True)
class Entry:
    """What is known of a photo in an index.

    Attributes:
        bytes, mtime_ns: the size and time of its file when it was read.
        sha256: of its bytes, in hexadecimal digits.
        row: where its embedding is.
        ctime_ns: the time of the latest change of its file or of what is said of it; 0 where that
            is not known, in an index of before.
    """

    bytes: int
    mtime_ns: int
    sha256: str
    row: int
    ctime_ns: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """A file of vectors: its name, and its (rows, D) float32, mapped into memory."""

    file: str
    vectors: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What `index.json` says.

    Attributes:
        space: what made the embeddings.
        embedding: the name of their space, as `Embedding.space` has it; "" while there is none.
        dimensions: the length of an embedding; 0 while there is none.
        root: the folder that the photos' names are relative to, absolute.
        photos: how many there are.
        generation: how often the index has been written.
        parts: the files of vectors.
    """

    space: Space
    embedding: str
    dimensions: int
    root: str
    photos: int
    generation: int
    parts: tuple[str, ...]

    @property
    def lines_file(self) -> str:
        """The file with a line per photo."""
        return f"photos-{self.generation}.jsonl"

    @property
    def places_file(self) -> str:
        """The file that says where those lines begin ("starts"), and their "rows"."""
        return f"places-{self.generation}.safetensors"

    @property
    def prefix(self) -> str:
        """What stands before a photo's name in its path."""
        return os.path.join(self.root, "")  # noqa: PTH118 - a Path ends in no separator


def read_manifest(folder: Path) -> Manifest:
    """Read what an index says of itself.

    Raises:
        JobError: there is no index, or it cannot be read.
    """
    path = folder / MANIFEST
    try:
        data = json.loads(path.read_bytes())
        found = {key: data.pop(key) for key in STAMP}
    except (FileNotFoundError, NotADirectoryError):
        what = "is no index of photos" if folder.exists() else "does not exist"
        raise JobError(f"{folder} {what}; make one: visionweave index PHOTOS --out OUT") from None
    except OSError as error:
        raise JobError(f"{path}: cannot read this index: {error.strerror or error}") from error
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise damaged(folder, error) from None
    if found != STAMP:
        raise JobError(
            f"{path}: expected a {STAMP['type']} of form {STAMP['form']}; got "
            f"{found['type']}, form {found['form']}. Make it again with this visionweave"
        )
    try:
        space, parts = Space(**data.pop("space")), tuple(data.pop("parts"))
        return Manifest(space=space, parts=parts, **data)
    except (TypeError, KeyError) as error:
        raise damaged(folder, error) from None


def damaged(folder: Path, reason: object) -> JobError:
    """The error of an index whose files are not what it says."""
    return JobError(
        f"{folder}: this index is damaged ({reason}); "
        f"make it again: visionweave index PHOTOS --out {folder} --overwrite"
    )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `index.json`: from now on, the files that it names count."""
    fields = {name: getattr(manifest, name) for name in Manifest.__slots__}
    data = STAMP | fields | {"space": manifest.space.to_json()}
    write_atomic(folder / MANIFEST, _dumps(data, indent=1))


def write_arrays(path: Path, **arrays: Array) -> None:
    """Write a safetensors file."""
    write_atomic(path, save({name: np.ascontiguousarray(each) for name, each in arrays.items()}))


def map_array(path: Path, name: str) -> Array:
    """Map an array of a safetensors file into memory, read-only.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError, KeyError: it does not hold that array in full.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))[name]
    shape, offset = tuple(header["shape"]), 8 + length + header["data_offsets"][0]
    if 0 in shape:
        return np.zeros(shape, DTYPES[header["dtype"]])
    return np.asarray(np.memmap(path, DTYPES[header["dtype"]], "r", offset, shape))


def map_lines(path: Path) -> mmap.mmap | bytes:
    """Map a file of lines into memory, or raise FileNotFoundError."""
    with path.open("rb") as file:
        empty = os.fstat(file.fileno()).st_size == 0  # which cannot be mapped
        return b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def entry_line(name: str, entry: Entry) -> bytes:
    """The line of a photo."""
    fields = {slot: getattr(entry, slot) for slot in Entry.__slots__}
    return _dumps({"photo": name} | fields)


def remove_others(folder: Path, manifest: Manifest) -> None:
    """Remove the files of earlier generations, and what a crash left."""
    keep = {*manifest.parts, manifest.lines_file, manifest.places_file}
    for path in folder.iterdir():
        if (_is_data(path.name) or _is_half(path.name)) and path.name not in keep:
            with contextlib.suppress(OSError):  # Windows keeps what a reader has mapped
                path.unlink()


def latest_generation(folder: Path) -> int:
    """The highest generation that a file of the folder is of, whether it counts or not; else 0."""
    found = (re.fullmatch(_DATA, path.name) for path in folder.iterdir())
    return max((int(match[match.lastindex or 0]) for match in found if match), default=0)


def has_index(folder: Path) -> bool:
    """Whether there is an index in a folder; False where one can be made.

    A folder without index.json is a killed first run's when all in it has the names of an index's
    files, and some are vectors: others may have a photos-2023.jsonl, too.

    Raises:
        JobError: there is something else in the folder.
    """
    names = {path.name for path in folder.iterdir() if not _is_half(path.name)} - {LOCK}
    begun = any(re.fullmatch(_VECTORS, name) for name in names)
    if MANIFEST in names and (begun or _says_index(folder)):
        return True
    if names and not (begun and all(name == FAILURES or _is_data(name) for name in names)):
        raise JobError(f"{folder} is not empty and holds no index of photos; choose another --out")
    return False


def _says_index(folder: Path) -> bool:
    """Whether index.json is that of an index, of whatever form."""
    try:
        return bool(json.loads((folder / MANIFEST).read_bytes())["type"] == STAMP["type"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _is_data(name: str) -> bool:
    return re.fullmatch(_DATA, name) is not None


def _is_half(name: str) -> bool:
    """Whether a file is what a crash left of writing one of an index."""
    half = _HALF.fullmatch(name)
    return half is not None and (half["name"] in (MANIFEST, FAILURES) or _is_data(half["name"]))


def _dumps(data: dict[str, Any], indent: int | None = None) -> bytes:
    # A name that is no Unicode has surrogates, which json.loads reads back.
    text = json.dumps(data, ensure_ascii=False, indent=indent)
    return f"{text}\n".encode("utf-8", "surrogatepass")
