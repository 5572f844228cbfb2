"""Finding the photos of a job, and giving each a name and a folder of its own.

A photo's name is its path below the folder that all the given paths share, with forward slashes:
"street/004.jpg". Names are what results, failures and journals speak of.
"""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from visionweave.errors import JobError
from visionweave.photo.files import SUFFIXES

__all__ = ["Photo", "find_photos", "result_folders"]


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo of a job: the file, and the name it goes by."""

    path: Path
    name: str


def find_photos(given: Sequence[str], leave_out: Path | None = None) -> list[Photo]:
    """Return the photos that files, folders and glob patterns stand for, sorted by name.

    Folders are searched with all below them, for files with the suffix of a picture; hidden files
    and folders are passed over, links to folders are not followed. A file that is named itself is
    taken whatever its suffix. Each photo is taken once.

    Args:
        given: paths and patterns.
        leave_out: a folder whose files are not taken: the one that the results go to.

    Raises:
        JobError: a path does not exist, a pattern matches nothing, or no photo is found.
    """
    roots: list[Path] = []
    files: dict[Path, None] = {}
    for text in given:
        for root, path in _expand(text):
            roots.append(root)
            if path.is_dir():
                files.update(dict.fromkeys(_below(path, leave_out)))
            else:
                files[path] = None
    if not files:
        listed = ", ".join(repr(text) for text in given)
        known = " ".join(sorted(SUFFIXES))
        raise JobError(f"no photos found in {listed}; expected files that end in {known}")
    common = Path(os.path.commonpath([_absolute(root) for root in roots]))
    found: dict[Path, Photo] = {}
    for path in files:
        absolute = _absolute(path)
        found.setdefault(absolute, Photo(path, _name(absolute.relative_to(common))))
    return sorted(found.values(), key=lambda photo: photo.name)


def result_folders(
    names: Sequence[str], taken: Collection[str] = (), known: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the folder for the results of each photo: its name without the suffix.

    The suffix stays where two photos would share a folder, where a folder of photos has that name,
    or one of photos lies in a folder of results, or where it is one of the `taken` names.

    Args:
        names: the photos.
        taken: the names of the job's own files.
        known: the folders that photos got in earlier runs of the job, and keep.
    """
    known = {} if known is None else known
    short = {name: str(PurePosixPath(name).with_suffix("")) for name in names if name not in known}
    uses = Counter([*short.values(), *known.values()])
    parents = {str(parent) for name in [*names, *known] for parent in PurePosixPath(name).parents}
    results = set(known.values())
    blocked = parents | set(taken)

    def folder(name: str) -> str:
        within = results & {str(parent) for parent in PurePosixPath(name).parents}
        short_fits = uses[short[name]] == 1 and short[name] not in blocked and not within
        return short[name] if short_fits else name

    return {name: known[name] if name in known else folder(name) for name in names}


def _name(path: Path) -> str:
    """A path as a name, with escapes where it is no Unicode."""
    return path.as_posix().encode("utf-8", "backslashreplace").decode()


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links


def _expand(text: str) -> Iterator[tuple[Path, Path]]:
    """Yield (the folder that names are relative to, the file or folder) for one argument."""
    path = Path(text)
    if path.exists() or path.is_symlink():
        yield (path if path.is_dir() else path.parent), path
        return
    if not glob.has_magic(text):
        raise JobError(f"there is no file or folder {text!r}")
    matches = sorted(glob.glob(text, recursive=True))  # noqa: PTH207 - text may be absolute
    if not matches:
        raise JobError(f"the pattern {text!r} matches no file")
    fixed = Path(*_before_magic(path))
    for match in map(Path, matches):
        if match.is_dir() or match.suffix.lower() in SUFFIXES:
            yield fixed, match


def _before_magic(path: Path) -> list[str]:
    parts = []
    for part in path.parts[:-1]:
        if glob.has_magic(part):
            break
        parts.append(part)
    return parts


def _below(folder: Path, leave_out: Path | None) -> Iterator[Path]:
    left_out = None if leave_out is None else leave_out.resolve()
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and (here / name).resolve() != left_out
        )
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                yield here / name
