"""Adding checkpoints to the store: the user's own, and listed ones from files or on trust."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from visionweave.errors import WeightsError, did_you_mean
from visionweave.weights.accepting import accept
from visionweave.weights.download import Patience, Watcher, alone, disk_errors
from visionweave.weights.licenses import require_license
from visionweave.weights.lock import Checkpoint, Lock, WeightFile, parse_lock, read_lock
from visionweave.weights.lock_text import lock_text, write_entry
from visionweave.weights.lookup import PROFILES
from visionweave.weights.part import READ_BYTES, Part
from visionweave.weights.pull import fetch_file
from visionweave.weights.receipts import sha256_of
from visionweave.weights.store import folder_of, receipts_of

__all__ = ["add_files", "add_urls", "trust_listed"]

_UNSTATED = {
    "source": "",
    "revision": "",
    "format": "safetensors",
    "license": "not stated",
    "commercial": "conditional",
    "terms": "",
    "paper": "",
    "config": {},
}
"""What is assumed of a checkpoint that a user adds without saying it."""


def add_files(
    name: str,
    paths: Sequence[Path],
    facts: Mapping[str, Any] | None = None,
    *,
    names: Sequence[str] = (),
    link: bool = False,
    watcher: Watcher | None = None,
) -> Checkpoint:
    """Take files of this machine into the store.

    Files of a listed checkpoint are checked against their hashes, and where one is not known, the
    file's is written down. For one that is not listed, an entry is written into the user's own
    list; who adds it answers for its licence, so that it need not be accepted again.

    Args:
        name: the checkpoint.
        paths: its files, or some of them. Files of a listed checkpoint must have its names, unless
            there is one on both sides.
        facts: for one that is not listed: `family`, and what else `Checkpoint` holds.
        names: what each file is called in the checkpoint; if not given, as it is called here.
        link: link the files into the store instead of copying them. A link shares its bytes with
            the original, so that a change of one is a change of both.
        watcher: told how it goes.

    Raises:
        WeightsError: a file is not there, or not the one that is listed; the facts do not fit.
    """
    watcher = watcher or Watcher()
    if not paths:
        raise WeightsError(
            f"{name}: say what to add: files of this machine, or addresses with --url; or, for a "
            "listed checkpoint whose hash is not known yet, --trust"
        )
    for path in paths:
        if path.is_dir():
            raise WeightsError(f"{path}: this is a folder; give the files that are in it")
        if not path.is_file():
            raise WeightsError(f"{path}: there is no such file")
    called = names or [path.name for path in paths]
    files = [
        WeightFile(own, "", path.stat().st_size, None)
        for own, path in zip(called, paths, strict=True)
    ]
    entry, is_new = _entry(name, files, facts or {})
    if is_new:
        pairs = list(zip(entry.files, paths, strict=True))
    else:
        pairs = _match(entry, paths, [Path(each) for each in names])
    hashes = {file.name: _take(entry, file, path, link, watcher) for file, path in pairs}
    return _write_down(entry, hashes, is_new)


def add_urls(
    name: str,
    files: Sequence[WeightFile],
    facts: Mapping[str, Any] | None = None,
    *,
    trust: bool = False,
    watcher: Watcher | None = None,
    patience: Patience | None = None,
) -> Checkpoint:
    """Fetch a checkpoint that is not listed, and put it into the user's own list.

    Args:
        name: the checkpoint.
        files: its files; one without a name is called as its address ends.
        facts: `family`, and what else `Checkpoint` holds.
        trust: take a file whose hash is not given as it comes, and write down the hash it has.
        watcher: told how it goes.
        patience: how long to try.

    Raises:
        WeightsError: it is listed already; a hash is not given and `trust` is not either; the
            facts do not fit; or a file cannot be fetched.
    """
    named = [dataclasses.replace(file, name=file.name or _name(file.url)) for file in files]
    entry, is_new = _entry(name, named, facts or {})
    if not is_new:
        raise WeightsError(
            f"{name} is listed already, with addresses of its own; choose another name"
        )
    if not entry.hashed and not trust:
        raise WeightsError(
            f"{name}: without a hash there is no telling whether the right file comes. Give it "
            "with --sha256, or take what comes now, and check against that from then on: --trust"
        )
    return _fetch_all(entry, is_new, watcher, patience)


def trust_listed(
    name: str, watcher: Watcher | None = None, patience: Patience | None = None
) -> Checkpoint:
    """Fetch a listed checkpoint whose hash is not known, and write down the hash that it has.

    This is trust on first use: nothing says that the first file that comes is the right one; but
    another one later will be noticed.

    Raises:
        WeightsError: it is not listed; its hash is known; its licence restricts use and was not
            accepted; or it cannot be fetched.
    """
    entry, _ = _entry(name, [], {})
    if entry.hashed:
        raise WeightsError(
            f"{name}: its hash is known; fetch it with: visionweave weights pull {name}"
        )
    require_license(entry)
    return _fetch_all(entry, False, watcher, patience)


def _entry(
    name: str, files: Sequence[WeightFile], facts: Mapping[str, Any]
) -> tuple[Checkpoint, bool]:
    """The listed entry of a name; else a new one, and True."""
    lock = read_lock()
    if name in lock.checkpoints:
        if facts:
            raise WeightsError(
                f"{name} is listed already; its {', '.join(facts)} cannot be changed here. Choose "
                "another name, or edit weights.lock in the store"
            )
        return lock.checkpoints[name], False
    hint = did_you_mean(name, lock.checkpoints)
    if "family" not in facts or not files:
        raise WeightsError(
            f"{name} is not listed{f'; {hint}' if hint else ''}. If it is yours, give its files "
            "and the family of nodes that it is for, such as: --family clip"
        )
    if name in PROFILES or name in lock.profiles:
        raise WeightsError(f"{name} is the name of a profile; choose another")
    _check_unlike(name, files)
    entry = Checkpoint(**{**_UNSTATED, **facts, "name": name, "files": tuple(files)})
    parse_lock(lock_text(Lock({name: entry}, {})), f"adding {name}")  # refuses what does not fit
    return entry, True


def _check_unlike(name: str, files: Sequence[WeightFile]) -> None:
    """Refuse files of one name: the last would replace the others."""
    names = [file.name for file in files]
    for each in names:
        if names.count(each) > 1:
            raise WeightsError(
                f"{name}: {names.count(each)} of the files given are called {each} in the store; "
                "give each a name of its own with --file"
            )


def _match(
    entry: Checkpoint, paths: Sequence[Path], names: Sequence[Path]
) -> list[tuple[WeightFile, Path]]:
    """Find out which listed file each path is, by its name among `names` where there are some."""
    if len(paths) == len(entry.files) == 1 and not names:
        return [(entry.files[0], paths[0])]
    files = [_listed_file(entry, path) for path in names or paths]
    _check_unlike(entry.name, files)
    return list(zip(files, paths, strict=True))


def _listed_file(entry: Checkpoint, path: Path) -> WeightFile:
    whole = path.absolute().as_posix()
    same_path = [file for file in entry.files if whole.endswith(f"/{file.name}")]
    if same_path:
        return max(same_path, key=lambda file: len(file.name))
    same_name = [file for file in entry.files if file.name.rpartition("/")[2] == path.name]
    if len(same_name) == 1:
        return same_name[0]
    names = ", ".join(file.name for file in entry.files)
    raise WeightsError(
        f"{path}: which file of {entry.name} is this? Its files are {names}; say it with --file"
    )


def _take(entry: Checkpoint, file: WeightFile, source: Path, link: bool, watcher: Watcher) -> str:
    """Take one file into the store, if it is the right one, and return its hash."""
    target = folder_of(entry) / file.name
    with alone(target, watcher), disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if link or (target.exists() and target.samefile(source)):
            got = sha256_of(source)
            _require_same(file, source, got)
            _link(source, target)
        else:
            got = _copy(file, source, target)
        receipts_of(entry).remember(file.name, got)
    return got


def _copy(file: WeightFile, source: Path, target: Path) -> str:
    with Part(target) as part, source.open("rb") as original:
        part.restart()
        while chunk := original.read(READ_BYTES):
            part.append(chunk)
        if file.sha256 not in (None, part.sha256):
            got = part.sha256
            part.remove()
            _require_same(file, source, got)
        part.finish()
        return part.sha256


def _link(source: Path, target: Path) -> None:
    if target.exists() and target.samefile(source):
        return
    # Not ".part": a download that found it would go on writing, and in the user's own file.
    temporary = target.with_name(f"{target.name}.link")
    temporary.unlink(missing_ok=True)
    os.link(source.resolve(), temporary)
    temporary.replace(target)


def _require_same(file: WeightFile, source: Path, got: str) -> None:
    if file.sha256 not in (None, got):
        raise WeightsError(
            f"{source}: this is not the file that the list of weights names\n"
            f"  expected: sha256 {file.sha256}\n  got:      sha256 {got}"
        )


def _fetch_all(
    entry: Checkpoint, is_new: bool, watcher: Watcher | None, patience: Patience | None
) -> Checkpoint:
    given = watcher or Watcher(), patience or Patience()
    hashes = {file.name: fetch_file(entry, file, *given) for file in entry.files}
    return _write_down(entry, hashes, is_new)


def _write_down(entry: Checkpoint, hashes: Mapping[str, str], is_new: bool) -> Checkpoint:
    """Put what was learnt of an entry into the user's own list."""
    if not is_new and not any(file.sha256 is None and file.name in hashes for file in entry.files):
        return entry
    folder = folder_of(entry)
    files = (
        WeightFile(file.name, file.url, (folder / file.name).stat().st_size, hashes[file.name])
        if file.name in hashes
        else file
        for file in entry.files
    )
    learnt = dataclasses.replace(entry, files=tuple(files))
    write_entry(learnt)
    if is_new:
        accept(learnt)
    return learnt


def _name(url: str) -> str:
    return unquote(urlsplit(url).path.rpartition("/")[2])
