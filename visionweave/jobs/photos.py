"""Finding the photos of a job, and giving each a name and a folder of its own.

A photo's name is its path below the folder that all the given paths share, with forward slashes:
"street/004.jpg". Names are what results, failures and journals speak of.

A folder may hold a million photos. So paths are strings here: a `Path` takes three times the room
and twenty times the time.
"""

# ruff: noqa: PTH100, PTH112, PTH118, PTH120, PTH122, PTH207

from __future__ import annotations

import glob
import os
import posixpath
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path

from visionweave.errors import JobError
from visionweave.photo.files import SUFFIXES

__all__ = ["Photo", "check_apart", "find_photos", "result_folders"]

OF_DISKS = frozenset({"lost+found", "$RECYCLE.BIN", "System Volume Information"})
"""Folders that file systems keep for themselves, and few may look into."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo of a job: the file, and the name it goes by."""

    file: str
    name: str

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.file)


def find_photos(given: Sequence[str], leave_out: Path | None = None) -> list[Photo]:
    """Return the photos that files, folders and glob patterns stand for, sorted by name.

    Folders are searched with all below them, for files with the suffix of a picture; hidden
    files and folders and those `OF_DISKS` are passed over, links to folders are not followed. A
    file that is named itself is taken whatever its suffix. Each photo is taken once.

    Args:
        given: paths and patterns.
        leave_out: a folder whose files are not taken, unless they, or a folder in it, are named
            themselves: the one that the results go to.

    Raises:
        JobError: a path does not exist or is empty, a pattern matches nothing, no photo is found, a
            folder cannot be read, or two photos have one name.
    """
    roots: list[str] = []
    files: dict[str, None] = {}
    left_out = "" if leave_out is None else os.path.realpath(leave_out)
    for text in given:
        for root, path in _expand(text, left_out):
            roots.append(os.path.abspath(root))
            if os.path.isdir(path):
                files.update(dict.fromkeys(_below(path, left_out)))
            else:
                files[path] = None
    if not files:
        listed = ", ".join(repr(text) for text in given)
        known = " ".join(sorted(SUFFIXES))
        raise JobError(f"no photos found in {listed}; expected files that end in {known}")
    common = os.path.join(os.path.commonpath(roots), "")  # with a slash at its end
    found: dict[str, Photo] = {}
    for path in files:
        absolute = os.path.abspath(path)  # links are not followed
        found.setdefault(absolute, Photo(path, _name(absolute[len(common) :])))
    photos = sorted(found.values(), key=lambda photo: photo.name)
    for one, other in pairwise(photos):
        if one.name == other.name:  # one of them is no Unicode
            raise JobError(f"{one.file!r} and {other.file!r} have one name; rename one of them")
    return photos


def check_apart(given: Sequence[str], out: Path) -> None:
    """Refuse results in a folder where photos are searched for: they would be taken for photos.

    Args:
        given: as for `find_photos`.
        out: the folder that the results go to.

    Raises:
        JobError: it is one of those.
    """
    for text in given:
        searched = text if os.path.isdir(text) else str(Path(*_before_magic(Path(text))))
        is_file = os.path.lexists(text) and not os.path.isdir(text)
        if not is_file and os.path.realpath(searched) == os.path.realpath(out):
            raise JobError(
                f"the results would go into {out}, where photos are searched for, and be taken for "
                "photos; choose another --out, be it a folder in that one"
            )


def result_folders(
    names: Sequence[str], taken: Collection[str] = (), known: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the folder for the results of each photo: its name without the suffix.

    The suffix stays where two photos would share a folder, where a folder of photos has that name,
    or one of photos lies in a folder of results, or where it is one of the `taken` names. In a
    folder of results, where a file may have the photo's name, "_" is added, which none ends in.

    Args:
        names: the photos.
        taken: the names of the job's own files.
        known: the folders that photos got in earlier runs of the job, and keep.
    """
    known = {} if known is None else known
    short = {name: posixpath.splitext(name)[0] for name in names if name not in known}
    uses = Counter(chain(short.values(), known.values()))
    results = set(known.values())
    blocked = set(taken)
    for name in chain(names, known):
        for parent in _parents(name):
            if parent in blocked:
                break  # and so are those above it
            blocked.add(parent)

    def folder(name: str) -> str:
        within = results and any(parent in results for parent in _parents(name))
        if uses[short[name]] == 1 and short[name] not in blocked and not within:
            return short[name]
        return _unused(f"{name}_", results) if within or name in taken else name

    return {name: known[name] if name in known else folder(name) for name in names}


def _unused(folder: str, used: Collection[str]) -> str:
    while folder in used:
        folder += "_"
    return folder


def _parents(name: str) -> Iterator[str]:
    """The folders that a name lies in, the innermost first."""
    while name := name.rpartition("/")[0]:
        yield name


def _name(path: str) -> str:
    """A path as a name, with escapes where it is no Unicode."""
    return path.replace(os.sep, "/").encode("utf-8", "backslashreplace").decode()


def _expand(text: str, left_out: str) -> Iterator[tuple[str, str]]:
    """Yield (the folder that names are relative to, the file or folder) for one argument."""
    if not text:
        raise JobError("an empty text is no file, folder or pattern; is a variable not set?")
    path = str(Path(text))
    if os.path.lexists(path):
        yield (path if os.path.isdir(path) else os.path.dirname(path)), path
        return
    if not glob.has_magic(text):
        raise JobError(f"there is no file or folder {text!r}")
    matches = sorted(glob.glob(text, recursive=True))
    if not matches:
        raise JobError(f"the pattern {text!r} matches no file")
    fixed = str(Path(*_before_magic(Path(text))))
    leaves_out = left_out and not _is_in(fixed, left_out)
    is_out: dict[str, bool] = {}  # asking the disk takes a while
    for match in matches:
        folder = match if os.path.isdir(match) else os.path.dirname(match)
        if leaves_out and folder not in is_out:
            is_out[folder] = _is_in(folder, left_out)
        if (folder == match or _is_picture(match)) and not is_out.get(folder):
            yield fixed, str(Path(match))


def _is_in(folder: str, left_out: str) -> bool:
    """Whether a folder is the one to leave out, or lies in it."""
    return os.path.join(os.path.realpath(folder), "").startswith(os.path.join(left_out, ""))


def _before_magic(path: Path) -> list[str]:
    parts = []
    for part in path.parts[:-1]:
        if glob.has_magic(part):
            break
        parts.append(part)
    return parts


def _below(folder: str, left_out: str) -> Iterator[str]:
    for place, folders, names in os.walk(folder, onerror=_refuse_unread):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and name not in OF_DISKS
            and os.path.realpath(os.path.join(place, name)) != left_out
        )
        for name in sorted(names):
            if not name.startswith(".") and _is_picture(name):
                yield os.path.join(place, name)


def _refuse_unread(error: OSError) -> None:
    """Whose folder cannot be read must not believe that there are no photos in it."""
    if not isinstance(error, FileNotFoundError):  # it was there a moment ago
        raise JobError(
            f"cannot read the folder {error.filename}: {error.strerror}; make it readable, or give "
            "the other files and folders alone"
        ) from error


def _is_picture(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES
