"""The place of an export: written whole, and never over what somebody else wrote.

An export is made in a hidden folder, and put in its place file by file at the end. A folder holds
export.json then: what it was made from, and the sha256 of each file. So the next export knows which
files are still as it wrote them, and replaces these alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Self

from visionweave.errors import JobError

__all__ = ["MANIFEST", "Place"]

MANIFEST = "export.json"


class Place:
    """A place that files are written to, all of them or none; a context manager.

    Args:
        path: a folder or a file.
        is_file: which of these.
        overwrite: whether files may be replaced that an export did not write, or that were
            changed since.

    Raises:
        JobError: at the end, if such files are there, or they cannot be written.
    """

    def __init__(self, path: Path, *, is_file: bool = False, overwrite: bool = False) -> None:
        self.path, self.is_file, self._overwrite = path, is_file, overwrite
        self._made: Path | None = None
        self._names: set[str] = set()
        self._there: set[str] = set()
        self.about: dict[str, Any] = {}

    def __enter__(self) -> Self:
        place = Path(os.path.abspath(self.path))  # noqa: PTH100 - "." has no name of its own
        hidden = f".export.{secrets.token_hex(8)}.part"
        with _said(self.path):
            if place.exists() and place.is_file() != self.is_file:
                kind = "file" if self.is_file else "folder"
                raise JobError(f"{self.path} is there, and is no {kind}; choose another --to")
            # Inside a folder that is there: beside it may be another disk, or none to write to.
            self._made = place / hidden if place.is_dir() else place.with_name(hidden)
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        assert self._made is not None
        try:
            if kind is None:
                with _said(self.path):
                    self._put()
        finally:
            shutil.rmtree(self._made, ignore_errors=True)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Open a file for writing; where the place is one itself, it is that."""
        with _said(self.path), self._new(name).open("wb") as file:
            yield file
            if self.is_file:  # of many small ones, a damaged one is found by its sha256
                file.flush()
                os.fsync(file.fileno())

    def write(self, name: str, data: bytes | str) -> None:
        """Write a file."""
        with self.open(name) as file:
            file.write(data.encode() if isinstance(data, str) else data)

    def bring(self, name: str, source: Path, *, link: bool) -> None:
        """Bring a file from elsewhere: a link to it, or a copy; one that lies there stays."""
        with _said(self.path):
            if _is_same(self.path / name, source):
                self._there.add(name)
                return
            path = self._new(name)
            if link:
                path.symlink_to(source)
            else:
                shutil.copyfile(source, path)

    def _new(self, name: str) -> Path:
        assert self._made is not None
        if name in self._names or name == MANIFEST:
            raise JobError(
                f"two files of the export would be {self.path / name}; rename the photo of one, or "
                "use another --format"
            )
        self._names.add(name)
        path = self._made / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _put(self) -> None:
        assert self._made is not None
        if self.is_file:
            (name,) = self._names
            made = self._made / name
            if self.path.exists() and _sha256(self.path) != _sha256(made):
                self._refuse([str(self.path)])
            made.replace(self.path)
            return
        before = self._before()
        now = {name: _sha256(self._made / name) for name in sorted(self._names)}
        self._refuse([name for name in now if self._is_foreign(name, before, now)])
        for name in now:
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            (self._made / name).replace(path)
        self._remove(before, now)
        self._write_manifest(now)

    def _before(self) -> dict[str, str]:
        """The files that the last export into the folder wrote, and their sha256."""
        try:
            data = (self.path / MANIFEST).read_bytes()
        except FileNotFoundError:
            return {}
        try:
            found = json.loads(data)
            if found["visionweave"] == 1:
                return {name: str(each) for name, each in found["files"].items() if _is_in(name)}
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        self._refuse([MANIFEST])  # somebody else's
        return {}

    def _is_foreign(self, name: str, before: dict[str, str], now: dict[str, str]) -> bool:
        """Whether a file is there that no export wrote, or that was changed since."""
        path = self.path / name
        return os.path.lexists(path) and _sha256(path) not in (before.get(name), now[name])

    def _refuse(self, names: list[str]) -> None:
        if names and not self._overwrite:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise JobError(
                f"{', '.join(names[:3])}{more} would be replaced in {self.path}, and no export "
                "wrote that, or it was changed since; choose another --to, or add --overwrite"
            )

    def _remove(self, before: dict[str, str], now: dict[str, str]) -> None:
        """Remove what an earlier export wrote and this one does not, unless it was changed."""
        for name in before.keys() - now.keys() - self._there:
            path = self.path / name
            if os.path.lexists(path) and _sha256(path) == before[name]:
                path.unlink()
                for folder in path.parents:
                    if folder == self.path or any(folder.iterdir()):
                        break
                    folder.rmdir()

    def _write_manifest(self, now: dict[str, str]) -> None:
        assert self._made is not None
        for folder in (self._made, self.path):
            folder.mkdir(parents=True, exist_ok=True)
        data = {"visionweave": 1} | self.about | {"files": now}
        made = self._made / MANIFEST
        made.write_text(json.dumps(data, ensure_ascii=False, indent=1) + "\n", "utf-8")
        made.replace(self.path / MANIFEST)


def _is_in(name: str) -> bool:
    """Whether a name leads to no place outside the folder, whatever a manifest says."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _is_same(path: Path, source: Path) -> bool:
    """Whether a path leads to the file itself, and not to a link to it, which may be replaced."""
    if path.name == source.name and path.parent.exists():
        return path.parent.samefile(source.parent)
    return path.exists() and not path.is_symlink() and path.samefile(source)


def _sha256(path: Path) -> str:
    """Of a file's bytes; of a link, of where it leads to."""
    if path.is_symlink():
        return hashlib.sha256(os.fsencode(path.readlink())).hexdigest()
    if path.is_dir():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _said(path: Path) -> Iterator[None]:
    """Turn the system's errors into one that says what could not be done."""
    try:
        yield
    except OSError as error:
        where = error.filename or path
        raise JobError(f"cannot write the export {path}: {where}: {error.strerror}") from error
