"""Shipping a trained network: its files, its row in weights.lock, its card; or nothing at all."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from training.ship import MOST_BYTES, ship, write_card
from visionweave.weights.lock import Lock, parse_lock

LOCK = """\
# The list, with remarks.

[profiles.base]
clip = "clip-b"
sam = "sam-b"

# CLIP: a remark that stays.

[checkpoint."clip-b"]
family = "clip"
files = [
  { name = "a.bin", url = "https://a.example/a.bin" },
]
license = "MIT"
commercial = "yes"
paper = "Radford et al. 2021"
"""


@dataclass(frozen=True)
class Schedule:
    images: int = 500_000
    rate: float = 6e-4


class Task:
    """Learns nothing.

    By doing nothing.
    """

    def __init__(self, name: str = "clip", said: dict[str, Any] | None = None, size: int = 9):
        self.name, self.said, self.size = name, said, size
        self.schedule = Schedule()

    def export(self, network: Any, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(bytes(network) * self.size)
        (folder / "config.json").write_text("{}")
        if self.said is not None:
            (folder / "entry.json").write_text(json.dumps(self.said))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    base = '\n[checkpoint."sam-b"]\nfamily = "sam"\nfiles = [{ name = "s.pth" }]\n'
    terms = 'license = "X"\ncommercial = "yes"\npaper = "Kirillov et al. 2023"\n'
    (tmp_path / "weights.lock").write_text(LOCK + base + terms)
    return tmp_path


def lock_of(root: Path) -> Lock:
    return parse_lock((root / "weights.lock").read_text(), "here")


def test_a_network_arrives_with_its_row_and_its_place_in_the_profile(root: Path) -> None:
    before = (root / "weights.lock").read_text()
    folder = ship("clip", Task(said={"config": {"library": "open_clip"}}), [7], root)
    assert folder == root / "visionweave/weights/mini/mini-clip"
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    lock = lock_of(root)
    entry = lock.checkpoints["mini-clip"]
    assert [file.name for file in entry.files] == ["model.safetensors", "config.json"]
    assert entry.files[0].sha256 == hashlib.sha256(b"\7" * 9).hexdigest()
    assert entry.files[0].bytes == 9
    assert (entry.family, entry.shipped, entry.commercial) == ("clip", True, "yes")
    assert (entry.license, entry.config) == ("Apache-2.0", {"library": "open_clip"})
    assert entry.paper == "Radford et al. 2021"
    assert "Twemoji (CC-BY-4.0)" in entry.terms
    assert lock.profiles == {"mini": {"clip": "mini-clip"}, **parse_lock(before, "x").profiles}
    after = (root / "weights.lock").read_text()
    assert [line for line in before.splitlines() if line not in after.splitlines()] == []
    assert after.index("[profiles.mini]") < after.index("[profiles.base]")


def test_shipping_again_replaces_what_was_there_and_nothing_else(root: Path) -> None:
    ship("clip", Task(), [7], root)
    ship("sam", Task("sam"), [7], root)
    once = (root / "weights.lock").read_text()
    ship("clip", Task(), [7], root)
    assert (root / "weights.lock").read_text() == once
    ship("clip", Task(size=5), [8], root)
    lock = lock_of(root)
    assert lock.checkpoints["mini-clip"].files[0].bytes == 5
    assert list(lock.profiles["mini"].items()) == [("clip", "mini-clip"), ("sam", "mini-sam")]
    assert list(lock.checkpoints) == ["clip-b", "sam-b", "mini-clip", "mini-sam"]
    assert (root / "weights.lock").read_text().count('[checkpoint."mini-clip"]') == 1


@pytest.mark.parametrize(
    ("name", "family", "tasks"),
    [
        ("grounding_dino", "grounding_dino", ["grounding_dino"]),
        ("ram", "tag2text", ["tag2text.tag", "tag2text.from_caption"]),
        ("blip", "blip", ["blip.caption"]),
    ],
)
def test_a_profile_names_a_model_for_the_tasks_that_it_can_do(
    root: Path, name: str, family: str, tasks: list[str]
) -> None:
    folder = ship(name, Task(name), [1], root)
    lock = lock_of(root)
    assert lock.checkpoints[folder.name].family == family
    assert lock.profiles["mini"] == dict.fromkeys(tasks, folder.name)


def test_what_export_says_overrules_what_the_task_says(root: Path) -> None:
    task = Task(said={"paper": "from the file"})
    task.entry = {"paper": "from the task", "config": {"a": 1}}  # type: ignore[attr-defined]
    ship("clip", task, [1], root)
    entry = lock_of(root).checkpoints["mini-clip"]
    assert (entry.paper, entry.config) == ("from the file", {"a": 1})


def test_too_large_a_network_changes_nothing(root: Path) -> None:
    folder = ship("clip", Task(), [7], root)
    before = (root / "weights.lock").read_text()
    with pytest.raises(ValueError, match=r"mini-clip has 12,000,003 bytes; at most 12,000,000 are"):
        ship("clip", Task(size=MOST_BYTES + 1), [7], root)
    assert (root / "weights.lock").read_text() == before
    assert (folder / "model.safetensors").stat().st_size == 9
    assert sorted(path.name for path in root.iterdir()) == ["visionweave", "weights.lock"]


def test_all_together_may_be_too_large(root: Path) -> None:
    for name in ("clip", "sam", "blip"):
        ship(name, Task(name, size=MOST_BYTES - 50_000), [7], root)
    with pytest.raises(ValueError, match=r"together at most 45,000,000 are shipped"):
        ship("ram", Task("ram", size=9_200_000), [7], root)
    ship("ram", Task("ram", size=9_000_000), [7], root)


def test_a_row_that_does_not_fit_the_list_changes_nothing(root: Path) -> None:
    before = (root / "weights.lock").read_text()
    with pytest.raises(Exception, match=r"checkpoint.mini-clip.family: String should match"):
        ship("clip", Task(said={"family": "no family"}), [7], root)
    assert (root / "weights.lock").read_text() == before
    assert not (root / "visionweave/weights/mini/mini-clip").exists()


def test_the_card_says_what_is_known_and_what_is_not(root: Path) -> None:
    card = ship("clip", Task(), [7], root) / "README.md"
    text = card.read_text()
    assert text.startswith("---\nlicense: apache-2.0\n")
    assert "# mini-clip\n\nLearns nothing.\n" in text
    assert "By doing nothing.\n\n- images: 500,000\n- rate: 0.0006\n" in text
    assert "stickers, not photographs" in text
    assert "Not measured yet." in text
    assert "Twemoji (CC-BY-4.0)" in text
    figures = root / "training" / "figures"
    figures.mkdir(parents=True)
    facts = {"images": 1000, "minutes": 3.4, "machine": "one thread"}
    facts |= {"trained": {"top1": 0.7512, "odd": 1}, "held_out": {"top5": 0.5}}
    (figures / "clip.json").write_text(json.dumps(facts))
    assert write_card("clip", Task(), root) == card
    text = card.read_text()
    assert "one object | 0.751 | - | 0.75 / 0.35 |" in text
    assert "| odd | 1 | - |  |\n| right name among the first five | - | 0.5 | 0.92" in text
    assert "1,000 images, 3 minutes, one thread." in text
    assert "$" not in text


def test_the_real_list_takes_a_model_and_keeps_the_rest(tmp_path: Path) -> None:
    real = Path(__file__).parents[2] / "weights.lock"
    shutil.copy(real, tmp_path)
    before = parse_lock(real.read_text(), "here")
    ship("clip", Task(), [7], tmp_path)
    after = lock_of(tmp_path)
    assert after.checkpoints.pop("mini-clip").shipped
    assert after.checkpoints == {n: e for n, e in before.checkpoints.items() if n != "mini-clip"}
    assert after.profiles["base"] == before.profiles["base"]
    assert after.profiles["mini"]["clip"] == "mini-clip"
    lines = (tmp_path / "weights.lock").read_text().splitlines()
    remarks = [line for line in real.read_text().splitlines() if line.startswith("#")]
    assert [line for line in lines if line.startswith("#")] == remarks
