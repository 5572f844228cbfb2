"""The files of a report: each is written once, under a name made from what is in it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from visionweave.atomic import write_atomic

__all__ = ["KINDS", "Shelf", "key_of"]

KINDS = ("data", "photos", "thumbnails", "previews", "views", "meshes")
"""The folders of a report whose files are named by keys."""


def key_of(*parts: object) -> str:
    """Return a key of 20 letters that is different when a part is."""
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else repr(part).encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:20]


class Shelf:
    """A report's folder.

    Args:
        folder: the folder.

    Attributes:
        used: the files that the report is made of, below the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.used: set[str] = set()

    def put(self, kind: str, key: str, suffix: str, make: Callable[[], bytes]) -> str:
        """Return the path of a file below the report's folder; make it if it is not there.

        Args:
            kind: the folder, one of `KINDS`.
            key: what its contents follow from; see `key_of`.
            suffix: such as ".jpg".
            make: makes the contents; what it raises is raised here.
        """
        name = f"{kind}/{key[:2]}/{key}{suffix}"
        if not (self.folder / name).exists():
            write_atomic(self.folder / name, make(), durable=False)
        self.used.add(name)
        return name

    def has(self, names: Iterable[str]) -> bool:
        """Whether all of these files are there."""
        return all((self.folder / name).exists() for name in names)

    def sweep(self) -> None:
        """Remove files that the report is not made of any more, and no others."""
        for path in (path for kind in KINDS for path in (self.folder / kind).glob("*/*")):
            name = path.relative_to(self.folder).as_posix()
            if _OURS.fullmatch(path.name) and name not in self.used:
                path.unlink()
                if not any(path.parent.iterdir()):
                    path.parent.rmdir()


_OURS = re.compile(r"[0-9a-f]{20}\.(js|jpg)")
