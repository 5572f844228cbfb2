"""One photo of the report: what the grid knows of it, and what is read when it is opened."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from visionweave.errors import ImageError
from visionweave.report.data import Item
from visionweave.report.objects import Thing, merge, small_masks
from visionweave.report.page import as_script
from visionweave.report.shelf import Shelf, key_of
from visionweave.report.thumbnails import PREVIEW, SHOWABLE, SIDE, shrink, size_of
from visionweave.report.values import Shown, link, read_results, show_overlay

__all__ = ["FORM", "Made", "Maker"]

FORM = 1
"""Rises when what is kept of a photo changes its form: all is made anew then."""

WORDS = 2000
"""Letters of captions and tags that the search of the page looks through."""


@dataclass(frozen=True, slots=True)
class Made:
    """What was made of a photo, and is kept until something of it changes.

    Attributes:
        key: changes when something of it does.
        entry: what the grid knows of it.
        masks: by object (h, w, RLE), as small as thumbnails; None without a mask.
        used: the report's files that belong to it.
    """

    key: str
    entry: dict[str, Any]
    masks: list[Any]
    used: list[str]

    def to_line(self) -> bytes:
        """A line of JSON."""
        fields = [self.key, self.entry, self.masks, self.used]
        return json.dumps(fields, ensure_ascii=False).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """What `to_line` wrote; raises ValueError for anything else."""
        key, entry, masks, used = json.loads(line)
        return cls(key, entry, masks, used)


@dataclass(frozen=True, slots=True)
class _File:
    """A photo's file, now.

    Attributes:
        state: "here"; "changed" since the job; "gone"; "none" in a job without photos.
        key: what its pixels follow from.
    """

    path: Path | None
    state: str
    key: str


class Maker:
    """Makes what the report shows of photos; safe to use in threads.

    Args:
        out: the job's folder.
        shelf: the report's.
        previews: whether to make larger copies of all photos, which travel with the report.
    """

    def __init__(self, out: Path, shelf: Shelf, previews: bool) -> None:
        self._out, self._shelf, self._previews = out, shelf, previews

    def make(self, item: Item, before: Made | None) -> Made:
        """Return what there is to show of a photo; `before` as it is, if nothing has changed."""
        files = [*item.files, *([("overlay", item.overlay)] if item.overlay else [])]
        stats = [_stat(self._out / file) for _, file in files]
        photo_stat = None if item.path is None else _stat(item.path)
        where = None if item.path is None else link(item.path, self._shelf.folder)
        key = key_of(FORM, self._previews, item.key, photo_stat, stats, where)
        if before is not None and before.key == key and self._shelf.has(before.used):
            self._shelf.used.update(before.used)
            return before
        return self._make(item, key, _file(item, photo_stat, [each for each in stats if each]))

    def _make(self, item: Item, key: str, file: _File) -> Made:
        shelf = Shelf(self._shelf.folder)
        shown = read_results(item.files, self._out, shelf)
        if item.overlay:
            show_overlay(item.overlay, self._out, shown, shelf)
        picture, trouble = self._picture(file, shelf)
        if file.state == "gone" and not picture["thumbnail"] and item.overlay:
            picture |= self._drawn(self._out / item.overlay, shelf)
        size = picture.pop("size") or _size_of_results(shown)
        things, elsewhere = merge(shown.drawn, size or (1, 1))
        for name in elsewhere:
            shown.others.append({"output": name, "type": "Boxes", "about": _ELSEWHERE})
        details = _details(item, file, shown, things, shelf.folder) | picture
        script = as_script(f"photos/{key}", details | {"trouble": trouble})
        entry = {
            "name": item.photo,
            "status": item.status,
            "state": "unreadable" if trouble else file.state,
            "size": size,
            "thumbnail": picture["thumbnail"],
            "objects": [_row(thing) for thing in things],
            "words": shown.words[:WORDS],
            "failures": len(item.failures),
            "cutouts": len(shown.cutouts),
            "meshes": len(shown.meshes),
            "seconds": sum(item.seconds.values()) or None,
            "id": f"photos/{key}",
            "details": shelf.put("photos", key, ".js", lambda: script),
        }
        self._shelf.used |= shelf.used
        return Made(key, entry, [small_masks(each, SIDE) for each in things], sorted(shelf.used))

    def _drawn(self, overlay: Path, shelf: Shelf) -> dict[str, Any]:
        """In the place of a photo that is gone: what the job drew of it, if that is there."""
        try:
            small = shelf.put(
                "thumbnails", key_of(_sha256(overlay), SIDE), ".jpg", lambda: shrink(overlay, SIDE)
            )
        except ImageError:
            return {}
        return {"thumbnail": small, "preview": link(overlay, shelf.folder)}

    def _picture(self, file: _File, shelf: Shelf) -> tuple[dict[str, Any], str]:
        """The photo's size, thumbnail and preview, as far as they can be had; why not, if not."""
        found: dict[str, Any] = {"size": None, "thumbnail": None, "preview": None}
        path = file.path
        if path is None:
            return found, ""

        def copy(kind: str, side: int) -> str:
            return shelf.put(kind, key_of(file.key, side), ".jpg", lambda: shrink(path, side))

        steps: dict[str, Callable[[], Any]] = {
            "thumbnail": lambda: copy("thumbnails", SIDE),
            "size": lambda: size_of(path),
        }
        if self._previews or path.suffix.lower() not in SHOWABLE:
            steps["preview"] = lambda: copy("previews", PREVIEW)
        trouble = ""
        for name, step in steps.items():
            try:
                found[name] = step()
            except ImageError as error:
                trouble = error.reason
        return found, "" if file.state == "gone" else trouble


_ELSEWHERE = "found on another picture than the photo, and not drawn"


def _details(
    item: Item, file: _File, shown: Shown, things: list[Thing], folder: Path
) -> dict[str, Any]:
    """What is read when a photo is opened."""
    urls = []
    if file.path is not None and file.state != "gone":
        urls = [link(file.path, folder), file.path.absolute().as_uri()]
    return {
        "photo": {"state": file.state, "path": _unicode(item.path), "urls": urls},
        "flags": [list(thing.flags) for thing in things],
        "masks": [_full_mask(thing) for thing in things],
        "texts": shown.texts,
        "tags": shown.tags,
        "cutouts": shown.cutouts,
        "pictures": shown.pictures,
        "meshes": shown.meshes,
        "others": shown.others,
        "problems": shown.problems,
        "failures": list(item.failures),
        "seconds": item.seconds,
    }


def _row(thing: Thing) -> list[Any]:
    """An object as the page reads it: label, score, x1, y1, x2, y2, id, outputs."""
    box = [round(side, 1) for side in thing.box]
    return [thing.label, round(thing.score, 4), *box, thing.id, thing.outputs]


def _full_mask(thing: Thing) -> list[Any] | None:
    if thing.mask is None:
        return None
    masks, index = thing.mask
    return [*masks.image_hw, masks.counts[index].decode("ascii")]


def _size_of_results(shown: Shown) -> tuple[int, int] | None:
    """(width, height) of a photo that is gone, as its results know it."""
    for _, value in shown.drawn:
        height, width = value.image_hw
        return width, height
    return None


def _file(item: Item, now: tuple[int, int, int] | None, results: list[tuple[int, ...]]) -> _File:
    """How a photo's file is, as against when the job read it.

    It is hashed again only when its times say that it may have changed since the results were
    written.
    """
    if item.path is None:
        return _File(None, "none", "")
    if now is None:
        return _File(item.path, "gone", item.sha256)
    if not item.sha256:
        return _File(item.path, "here", key_of(str(item.path), now))
    newer = bool(results) and max(now[1:]) > min(each[1] for each in results)
    sha256 = _sha256(item.path) if newer or not results else item.sha256
    return _File(item.path, "here" if sha256 == item.sha256 else "changed", sha256)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _stat(path: Path) -> tuple[int, int, int] | None:
    """A file's size and times in nanoseconds; None where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - there are many
    except (OSError, ValueError):
        return None
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns) if _is_file(found) else None


def _is_file(found: os.stat_result) -> bool:
    return stat.S_ISREG(found.st_mode)  # reading a pipe would wait for ever


def _unicode(path: Path | None) -> str | None:
    return None if path is None else str(path).encode("utf-8", "backslashreplace").decode()
