"""The models that come inside the package: there, right, small, and each with its card.

`scripts/test-wheel` runs this on what is in the wheel.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from visionweave.weights.lock import Checkpoint, shipped_lock
from visionweave.weights.store import check_files, folder_of

ROOT = Path(__file__).parents[2]
SHIPPED = [entry for entry in shipped_lock().checkpoints.values() if entry.shipped]


@pytest.mark.parametrize("entry", SHIPPED, ids=lambda entry: entry.name)
def test_a_model_that_ships_is_there_and_right_and_has_its_card(entry: Checkpoint) -> None:
    folder = folder_of(entry)
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert there == {"README.md", *(file.name for file in entry.files)}
    assert check_files(entry, again=True) == []
    for file in entry.files:
        assert (folder / file.name).stat().st_size == file.bytes
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"# {entry.name}\n" in card
    assert "stickers, not photographs" in card
    assert "CC-BY-4.0" in card


def test_the_models_that_ship_are_small() -> None:
    sizes = [sum(file.bytes or 0 for file in entry.files) for entry in SHIPPED]
    assert all(size <= 12_000_000 for size in sizes)
    assert sum(sizes) <= 45_000_000


@pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="the source tree is not here")
def test_models_and_their_cards_are_built_into_the_package(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "NOTICE", "weights.lock"):
        shutil.copy(ROOT / name, source)
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    setuptools = told["tool"]["setuptools"]
    for package in setuptools["packages"]:  # empty: what is tested is the data
        for name, folder in setuptools["package-dir"].items():  # and what is below these
            package = re.sub(rf"^{re.escape(name)}(?=\.|$)", folder, package)
        (source / package.replace(".", "/")).mkdir(parents=True, exist_ok=True)
    model = source / "visionweave/weights/mini/mini-x"
    (model / "words").mkdir(parents=True)
    (model / "README.md").write_text("# mini-x\n")
    (model / "words/vocab.txt").write_text("apple\n")
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", "built"]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    built = source / "built/visionweave/weights"
    assert (built / "mini/mini-x/README.md").read_text() == "# mini-x\n"
    assert (built / "mini/mini-x/words/vocab.txt").read_text() == "apple\n"
    assert (built / "weights.lock").read_text() == (ROOT / "weights.lock").read_text()
