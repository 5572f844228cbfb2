"""What the commands on weights share: whom they mean, and what they print."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table
from rich.text import Text

from visionweave.errors import WeightsError
from visionweave.weights.accepting import accept
from visionweave.weights.download import Watcher
from visionweave.weights.licenses import is_accepted, short_license
from visionweave.weights.lock import Checkpoint, Lock
from visionweave.weights.lookup import PROFILES, listed, profiles_of
from visionweave.weights.store import checkpoint_size, folder_of, size_text, state_of

__all__ = [
    "Downloads",
    "accept_licenses",
    "checkpoint_json",
    "checkpoint_table",
    "chosen",
    "license_text",
]

EVERY_SECONDS = 10.0
"""How often a line is printed where there is no terminal."""


class Downloads(Watcher):
    """Shows on standard error how fetching goes: a bar on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=self._console,
            transient=True,
        )
        self._task = self._bar.add_task("")
        self._name, self._total, self._printed = "", 0, 0.0

    def started(self, name: str, total: int | None) -> None:
        """Begin with a file."""
        self._name, self._total, self._printed = name, total or 0, time.monotonic()
        self._bar.reset(self._task, description=name, total=total)
        if self._console.is_terminal:
            self._bar.start()

    def moved(self, done: int) -> None:
        """Show how much is here."""
        now = time.monotonic()
        if self._console.is_terminal:
            self._bar.update(self._task, completed=done)
        elif now - self._printed >= EVERY_SECONDS:
            self._printed = now
            of = f" of {size_text(self._total)}" if self._total else ""
            self._say(f"{self._name}: {size_text(done)}{of}")

    def finished(self) -> None:
        """Take the bar away."""
        if self._console.is_terminal:
            self._bar.stop()

    def said(self, text: str) -> None:
        """Print it."""
        self._say(text)

    def _say(self, text: str) -> None:
        self._console.print(Text(text))


def checkpoint_table(checkpoints: list[Checkpoint], lock: Lock) -> None:
    """Print one line per checkpoint, and below them the terms that restrict use."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("family", "checkpoint", "profile", "size", "licence", "commercial use", "here"):
        table.add_column(column, overflow="fold")
    for each in sorted(checkpoints, key=lambda each: each.family):
        table.add_row(
            each.family,
            Text(each.name, "bold"),
            " ".join(profiles_of(each.name, lock)),
            checkpoint_size(each),
            Text(each.license),
            _commercial(each),
            state_of(each),
        )
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(highlight=False, width=200)
    console.print(table)
    # The same terms are said once, however many checkpoints are under them.
    terms = {(each.license, each.commercial, each.terms) for each in checkpoints if each.restricted}
    for license, commercial, text in sorted(terms):
        said = text or "its terms are not stated"
        console.print(Text.assemble((f"{license} ({commercial})", "bold"), f": {said}"))


def checkpoint_json(checkpoint: Checkpoint, lock: Lock) -> dict[str, Any]:
    """Return all there is to know of a checkpoint as plain JSON data."""
    return dataclasses.asdict(checkpoint) | {
        "profiles": profiles_of(checkpoint.name, lock),
        "license_accepted": is_accepted(checkpoint),
        "state": state_of(checkpoint),
        "folder": str(folder_of(checkpoint)),
    }


def chosen(names: list[str], lock: Lock) -> list[Checkpoint]:
    """Return the checkpoints that are named, each once; a profile names several."""
    wanted: dict[str, Checkpoint] = {}
    for name in names:
        if name in lock.checkpoints or name not in {*PROFILES, *lock.profiles}:
            wanted[name] = listed(name, lock)
            continue
        members = lock.profiles.get(name)
        if not members:
            raise WeightsError(f"profile {name} names no checkpoints")
        wanted |= {member: listed(member, lock) for member in members.values()}
    return list(wanted.values())


def accept_licenses(wanted: list[Checkpoint], licenses: list[str]) -> None:
    """Write down that licences were accepted, for those of the checkpoints that are under them."""
    for license in licenses:
        under = [each for each in wanted if each.license == license]
        if not under:
            theirs = ", ".join(sorted({each.license for each in wanted}))
            raise WeightsError(
                f"--accept-license {license}: none of these is under it; they are under {theirs}"
            )
        for each in under:
            accept(each)


def license_text(checkpoint: Checkpoint) -> str:
    """Return a checkpoint's size and licence in a line, with its terms where there are any."""
    terms = f": {checkpoint.terms}" if checkpoint.terms else ""
    size = checkpoint_size(checkpoint)
    return f"{checkpoint.name} ({size}), licence {short_license(checkpoint)}{terms}"


def _commercial(checkpoint: Checkpoint) -> str:
    accepted = checkpoint.restricted and is_accepted(checkpoint)
    return f"{checkpoint.commercial}{', accepted' if accepted else ''}"
