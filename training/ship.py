"""`python -m training ship NAME`: a trained network becomes a checkpoint inside the package.

    visionweave/weights/mini/mini-<name>/   what the task exports, and the model card README.md
    weights.lock                            its row, with hashes, and its places in [profiles.mini]

What the row says of the family, the paper and the config comes from `FACTS` here, from the task's
attribute `entry` if it has one, and from a file `entry.json` that `export` may write; the later
overrules the earlier. That file is read and not shipped.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from training.card import card_text
from visionweave.atomic import write_atomic
from visionweave.weights.lock import Checkpoint, Lock, WeightFile, parse_lock
from visionweave.weights.lock_text import checkpoint_text, profile_text

__all__ = ["CARD", "MOST_BYTES", "MOST_TOGETHER", "ROOT", "Exporter", "ship", "write_card"]

ROOT = Path(__file__).parents[1]
MINI = Path("visionweave", "weights", "mini")
LOCK, CARD, ENTRY = "weights.lock", "README.md", "entry.json"

MOST_BYTES, MOST_TOGETHER = 12_000_000, 45_000_000
"""A checkpoint's bytes at most, and those of all that ship: a package is not a download site."""

TERMS = (
    "Trained by this project on pictures composed of Fluent Emoji (MIT), Twemoji (CC-BY-4.0) and "
    "FxEmojis (Apache-2.0); NOTICE names their makers."
)

FACTS: dict[str, dict[str, Any]] = {
    "blip": {"tasks": ["blip.caption"]},
    "ram": {"family": "tag2text", "tasks": ["tag2text.tag", "tag2text.from_caption"]},
}
"""What is not as the name says it: the family, and the tasks that a checkpoint is for."""


class Exporter(Protocol):
    """What is asked of a task: `training.loop.Task` gives it."""

    name: str

    def export(self, network: Any, folder: Path) -> None:
        """Write the files that the node's loader wants."""


def ship(name: str, task: Exporter, network: Any, root: Path = ROOT) -> Path:
    """Export a trained network into the package, and write its row and its model card.

    Nothing is changed unless all of it fits.

    Args:
        name: the model's, such as "grounding_dino".
        task: how to export it.
        network: what was trained.
        root: the repository.

    Returns:
        The folder of the checkpoint.

    Raises:
        ValueError: it is too large, alone or with the others; or its row does not fit the list.
    """
    entry_name = f"mini-{name.replace('_', '-')}"
    target = root / MINI / entry_name
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".ship-", dir=root) as work:
        staged = Path(work, entry_name)
        staged.mkdir()
        task.export(network, staged)
        facts = _facts(name, task, staged, _read_lock(root))
        _check_sizes(staged, target)
        checkpoint = _checkpoint(entry_name, facts, staged)
        text = _with_checkpoint(root, checkpoint, facts["tasks"])
        (staged / CARD).write_text(card_text(checkpoint, task, root), encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        staged.rename(target)
    write_atomic(root / LOCK, text.encode())
    return target


def write_card(name: str, task: Exporter, root: Path = ROOT) -> Path:
    """Write the model card of a shipped checkpoint anew, for instance once it is measured."""
    entry_name = f"mini-{name.replace('_', '-')}"
    checkpoint = _read_lock(root).checkpoints[entry_name]
    path = root / MINI / entry_name / CARD
    write_atomic(path, card_text(checkpoint, task, root).encode())
    return path


def _facts(name: str, task: Exporter, staged: Path, lock: Lock) -> dict[str, Any]:
    """What the row says, and the `tasks` of the family that the profile names it for."""
    facts = {"family": name, "terms": TERMS, **FACTS.get(name, {}), **getattr(task, "entry", {})}
    said = staged / ENTRY
    if said.exists():
        facts |= json.loads(said.read_text(encoding="utf-8"))
        said.unlink()
    published = lock.checkpoints.get(lock.profiles.get("base", {}).get(facts["family"], ""))
    paper = "" if published is None else published.paper
    return {"tasks": [facts["family"]], "paper": paper, **facts}


def _check_sizes(staged: Path, target: Path) -> None:
    own = _size(staged)
    others = sum(_size(each) for each in target.parent.iterdir() if each != target)
    if own > MOST_BYTES:
        raise ValueError(f"{target.name} has {own:,} bytes; at most {MOST_BYTES:,} are shipped")
    if own + others > MOST_TOGETHER:
        raise ValueError(
            f"{target.name} has {own:,} bytes and the others {others:,}; together at most "
            f"{MOST_TOGETHER:,} are shipped"
        )


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _checkpoint(name: str, facts: Mapping[str, Any], staged: Path) -> Checkpoint:
    return Checkpoint(
        name=name,
        family=facts["family"],
        source="",
        revision="",
        files=_files(staged),
        format="safetensors",
        license="Apache-2.0",
        commercial="yes",
        terms=facts["terms"],
        paper=facts["paper"],
        config=facts.get("config", {}),
        shipped=True,
    )


def _files(staged: Path) -> tuple[WeightFile, ...]:
    """The exported files, the weights first."""
    paths = [path for path in staged.rglob("*") if path.is_file() and path.name != CARD]
    paths.sort(key=lambda path: (path.suffix != ".safetensors", path.as_posix()))
    return tuple(
        WeightFile(
            path.relative_to(staged).as_posix(),
            "",
            path.stat().st_size,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in paths
    )


def _with_checkpoint(root: Path, checkpoint: Checkpoint, tasks: Sequence[str]) -> str:
    """Return the text of the list with a checkpoint's row and its places in the profile mini.

    All else in the file stays as it is, comments and all.
    """
    before = _read_lock(root)
    chosen = {
        task: name
        for task, name in before.profiles.get("mini", {}).items()
        if name != checkpoint.name or task in tasks
    }
    chosen |= dict.fromkeys(tasks, checkpoint.name)
    text = (root / LOCK).read_text(encoding="utf-8")
    text = _put(text, profile_text("mini", chosen), before_table="[profiles.base]")
    text = _put(text, checkpoint_text(checkpoint))
    after = parse_lock(text, LOCK)
    expected = Lock(
        before.checkpoints | {checkpoint.name: checkpoint}, before.profiles | {"mini": chosen}
    )
    if after != expected:
        raise ValueError(f"{LOCK}: writing {checkpoint.name} would change more than its row")
    return text


def _put(text: str, table: str, before_table: str = "") -> str:
    """Put a table into TOML: in the place of the one of its header, else before another or last."""
    header = table.partition("\n")[0]
    old = re.compile(rf"^{re.escape(header)}\n(?:.+\n)*", re.MULTILINE)
    if old.search(text):
        return old.sub(lambda _: table, text, count=1)
    if before_table and f"\n{before_table}\n" in text:
        return text.replace(f"\n{before_table}\n", f"\n{table}\n{before_table}\n", 1)
    return f"{text.rstrip()}\n\n{table}"


def _read_lock(root: Path) -> Lock:
    return parse_lock((root / LOCK).read_text(encoding="utf-8"), LOCK)
