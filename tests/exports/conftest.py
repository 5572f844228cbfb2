"""A job's folder made by hand: the values that it holds are the test's own."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

import PIL.Image
import pytest

from visionweave import Value


class JobFolder:
    """Photos in `photos/`, and the results of a job over them in `out/`."""

    def __init__(self, root: Path) -> None:
        self.root, self.out, self.photos = root, root / "out", root / "photos"
        self.out.mkdir()
        pipeline = {"name": "mine.yaml", "hash": "ab" * 32}
        self.out.joinpath("run.json").write_text(json.dumps({"form": 1, "pipeline": pipeline}))
        self.out.joinpath("items.jsonl").touch()

    def photo(self, name: str, size_wh: tuple[int, int] = (64, 48), orientation: int = 1) -> Path:
        """Save a photo of a size as it is stored."""
        path = self.photos / name
        path.parent.mkdir(parents=True, exist_ok=True)
        exif = PIL.Image.Exif()
        exif[0x0112] = orientation
        PIL.Image.new("RGB", size_wh, "teal").save(path, exif=exif)
        return path

    def add(self, name: str, status: str = "ok", **outputs: Value | list[Any]) -> None:
        """Write what came of a photo."""
        folder = str(PurePosixPath(name).with_suffix(""))
        files = {key: self._save(value, f"{folder}/{key}") for key, value in outputs.items()}
        self.line(name, status, files)

    def line(self, name: str, status: str, outputs: dict[str, Any], **more: str) -> None:
        """Write a line of the journal."""
        path = str(self.photos / name)
        line = {"photo": name, "status": status, "path": path, "outputs": outputs}
        line |= more
        with self.out.joinpath("items.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def _save(self, value: Value | list[Any], stem: str) -> Any:
        if isinstance(value, list):
            return [self._save(each, f"{stem}/{index}") for index, each in enumerate(value)]
        path = self.out / (stem + value.SUFFIX)
        path.parent.mkdir(parents=True, exist_ok=True)
        value.save(path)
        return stem + value.SUFFIX


@pytest.fixture(scope="session")
def job_folder() -> type[JobFolder]:
    """For tests that make many."""
    return JobFolder


@pytest.fixture
def job(tmp_path: Path) -> JobFolder:
    return JobFolder(tmp_path)
