"""A job's folder with made-up results, as a job would have left it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import PIL.Image
import pytest

from visionweave.execution.executor import Result
from visionweave.jobs.journal import Entry
from visionweave.jobs.lines import as_line
from visionweave.jobs.outputs import name_files, write_files
from visionweave.values import Value

SIZE_WH = (64, 48)


def write_photo(path: Path, seed: int) -> str:
    """Write a photo that differs for each seed; return its sha256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = np.random.default_rng(seed).integers(60, 200, 3, dtype=np.uint8)
    PIL.Image.fromarray(np.tile(colour, (SIZE_WH[1], SIZE_WH[0], 1))).save(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[..., Path]:
    """Make the folder of a job in tmp_path/out, with its photos in tmp_path/photos.

    It takes the outputs by photo, and the failures by photo.
    """

    def make(
        photos: Mapping[str, Mapping[str, Value | list[Any]]],
        failures: Mapping[str, list[dict[str, Any]]] | None = None,
        run: Mapping[str, Any] | None = None,
        seconds: Mapping[str, float] | None = None,
        overlay: bool = False,
    ) -> Path:
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        lines, failed = [], []
        for seed, (name, outputs) in enumerate(photos.items()):
            photo = tmp_path / "photos" / name
            sha256 = write_photo(photo, seed)
            folder = str(PurePosixPath(name).with_suffix(""))
            files, values = name_files(Result(name, dict(outputs)), folder)
            bad = (failures or {}).get(name, [])
            status = "ok" if not bad else "partial" if outputs else "failed"
            entry = Entry(
                name, status, files, write_files(out, values), len(bad), "key", "recipe", sha256,
                str(photo), folder,
            )  # fmt: skip
            drawn = overlay and f"{folder}/overlay.jpg"
            if drawn:
                PIL.Image.new("RGB", SIZE_WH, "red").save(out / drawn)
            more = {"timings": seconds or {}, "overlay": drawn}
            lines.append(as_line(asdict(entry) | more))
            failed += [as_line({"photo": name, "run": 1} | each) for each in bad]
        (out / "items.jsonl").write_bytes(b"".join(lines))
        (out / "failures.jsonl").write_bytes(b"".join(failed))
        (out / "run.json").write_text(json.dumps(run or {"pipeline": {"name": "made-up"}}))
        return out

    return make
