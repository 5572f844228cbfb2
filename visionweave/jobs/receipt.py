"""run.json, the receipt of a job: anyone can tell from it what made its files, and repeat it."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visionweave.atomic import write_atomic
from visionweave.contract import ModelNode
from visionweave.errors import JobError, PipelineError, ValueTypeError
from visionweave.jobs.journal import Journal
from visionweave.jobs.recipe import Recipe
from visionweave.jobs.summary import Summary
from visionweave.overrides import checkpoints
from visionweave.runtime import Runtime
from visionweave.values import TYPES, Image, JsonValue, Value
from visionweave.weights.lock import Checkpoint

if TYPE_CHECKING:
    from visionweave.jobs.job import Job

__all__ = ["Receipt", "is_receipt", "read_input", "read_receipt", "versions"]

FORM = 1
"""The version of the form of run.json."""

RUNS = 100
"""How many earlier runs are listed."""

_PACKAGES = (
    "visionweave", "numpy", "pillow", "pycocotools", "torch", "torchvision", "transformers",
    "open_clip_torch", "segment-anything", "tokenizers", "diffusers", "trimesh", "scikit-image",
)  # fmt: skip


class Receipt:
    """Writes run.json: when a job begins, and when it ends.

    Args:
        job: the job.
        recipe: what its results depend on.
    """

    def __init__(self, job: Job, recipe: Recipe) -> None:
        self._path = job.out / "run.json"
        before = _read(self._path) or {}
        self._runs: list[dict[str, Any]] = list(before.get("runs", []))[-RUNS:]
        self._recipes: dict[str, Any] = dict(before.get("recipes", {}))
        self.run = 1 + int(before.get("run", 0))
        self._recipe, self._started = recipe, _now()
        self._data = _opening(job, recipe)

    def begin(self) -> None:
        """Write that the run has begun."""
        self._write({"status": "running", "started": self._started}, self._recipes, self._runs)

    def end(self, summary: Summary, journal: Journal) -> None:
        """Write what came of the run; recipes that made nothing that is here are forgotten."""
        found = {
            "status": summary.status,
            "started": self._started,
            "finished": _now(),
            "seconds": round(summary.seconds, 3),
            "counts": dict(summary.counts),
            "failures": summary.failures,
            "done_before": summary.before,
            "photos_per_second": _rate(summary),
            "timings": summary.timings,
            "peak_memory": summary.peak,
        }
        this = {"run": self.run, "recipe": self._recipe.key} | found
        used = {entry.recipe for entry in journal.entries()}
        recipes = {key: each for key, each in self._recipes.items() if key in used}
        ran = summary.counts.total() > summary.before or summary.status != "finished"
        self._write(found, recipes, [*self._runs, this][-RUNS:] if ran else self._runs)

    def _write(
        self, state: dict[str, Any], recipes: dict[str, Any], runs: list[dict[str, Any]]
    ) -> None:
        recipes = recipes | {self._recipe.key: self._recipe.to_json()}
        state = state | {"run": self.run, "runs": runs}
        data = self._data | state | {"recipe": self._recipe.key, "recipes": recipes}
        text = json.dumps(data, ensure_ascii=False, indent=1) + "\n"
        write_atomic(self._path, text.encode("utf-8", "backslashreplace"))  # as lines are


def read_receipt(path: Path) -> dict[str, Any]:
    """Return what a run.json holds.

    Raises:
        JobError: there is none, or it is none of this form.
    """
    found = _read(path)
    if found is None or not _is_receipt(found):
        raise JobError(
            f"{path} is no run.json that visionweave wrote; expected OUT/run.json of a job"
        )
    return found


def is_receipt(path: Path) -> bool:
    """Whether a file is a run.json of a job, and not a file of others with that name.

    Raises:
        JobError: it cannot be read.
    """
    found = _read(path)
    return found is not None and _is_receipt(found)


def _is_receipt(found: dict[str, Any]) -> bool:
    return found.get("form") == FORM and isinstance(found.get("pipeline"), dict)


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that results may depend on."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise JobError(f"cannot read {path}: {error}") from None
    return found if isinstance(found, dict) else None


def _opening(job: Job, recipe: Recipe) -> dict[str, Any]:
    """What is known of a run before it begins."""
    pipeline, found = job.pipeline, checkpoints(job.pipeline.graph)
    try:
        text = pipeline.to_yaml()
    except PipelineError:  # made in Python, with values that a file cannot hold
        text = None
    models = [
        {
            "step": step.name,
            "node": step.node.spec.id,
            "version": step.node.spec.version,
            "settings": dict(step.node.settings),
            "checkpoint": _checkpoint(found.get(step.name)),
        }
        for step in pipeline.graph.steps.values()
        if isinstance(step.node, ModelNode) and step.name in recipe.steps
    ]
    return {
        "form": FORM,
        "pipeline": {
            "name": job.name,
            "hash": pipeline.hash,
            "profile": job.profile,
            "changes": dict(job.changes),
            "form": pipeline.canonical(),
            "yaml": text,
        },
        "given": list(job.given),
        "photo_input": job.photo_input,
        "inputs": {
            name: _input(pipeline.inputs, name, value) for name, value in job.inputs.items()
        },
        "models": models,
        "versions": versions(),
        "machine": {"system": platform.platform(), "processor": platform.machine()},
        "photos": len(job.photos),
        "overlay": job.overlay,
    } | _device(job)


def _rate(summary: Summary) -> float:
    """Photos per second, of those that were run."""
    ran = summary.counts.total() - summary.before
    return round(ran / summary.seconds, 3) if summary.seconds else 0.0


def _device(job: Job) -> dict[str, str]:
    if not job.has_models:
        return {}
    device, precision = Runtime.get(job.device, job.precision).expected
    return {"device": device, "precision": precision}


def _checkpoint(entry: Checkpoint | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    return {
        "name": entry.name,
        "source": entry.source,
        "revision": entry.revision,
        "license": entry.license,
        "commercial": entry.commercial,
        "files": {file.name: file.sha256 for file in entry.files},
    }


def _input(inputs: Mapping[str, Any], name: str, value: Any) -> Any:
    """An input as plain data, from which it can be read again where that is possible."""
    try:
        value = inputs[name].type.coerce(value)
    except (KeyError, ValueTypeError):  # which the pipeline will refuse
        return {"type": type(value).__name__}
    return [_plain(each) for each in value] if isinstance(value, list) else _plain(value)


def _plain(value: Value) -> dict[str, Any]:
    if isinstance(value, JsonValue):
        return {"type": type(value).__name__, "value": json.loads(value.to_bytes())}
    if isinstance(value, Image) and value.path is not None:
        return {"type": "Image", "path": str(value.path.absolute())}
    return {"type": type(value).__name__}


def read_input(name: str, data: Any) -> Any:
    """Return an input that a receipt holds.

    Raises:
        JobError: it holds only that there was one.
    """
    if isinstance(data, list):
        return [read_input(name, each) for each in data]
    if "path" in data:
        return Image.open(data["path"])
    if "value" in data:
        return TYPES[data["type"]].from_bytes(json.dumps(data["value"]).encode())
    raise JobError(
        f"the receipt does not hold the {data['type']} of input '{name}'; add -i {name}=@FILE"
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
