"""The receipt of a job: which pipeline, settings, versions and device made its files."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from visionweave.contract import ModelNode
from visionweave.jobs.journal import Summary
from visionweave.runtime import Runtime

if TYPE_CHECKING:
    from visionweave.jobs.job import Job

__all__ = ["closing", "opening"]

_PACKAGES = ("visionweave", "numpy", "pillow", "torch")


def opening(job: Job) -> dict[str, Any]:
    """What is known of a run before it begins."""
    graph = job.pipeline.graph
    return {
        "status": "running",
        "pipeline": {
            "name": job.name,
            "hash": job.pipeline.hash,
            "form": job.pipeline.canonical(),
        },
        "inputs": {name: repr(value) for name, value in job.inputs.items()},
        "models": [
            {"step": step.name, "node": step.node.spec.id, "settings": dict(step.node.settings)}
            for step in graph.steps.values()
            if isinstance(step.node, ModelNode)
        ],
        "versions": {"python": platform.python_version()} | _versions(),
        "machine": {"system": platform.platform(), "processor": platform.machine()},
        "photos": len(job.photos),
        "started": _now(),
    }


def closing(job: Job, summary: Summary) -> dict[str, Any]:
    """What is known of a run after it."""
    device: dict[str, str] = {}
    if job.has_models:
        runtime = Runtime.get(job.device, job.precision)
        device = {"device": runtime.device, "precision": runtime.precision}
    return {
        "status": "interrupted" if summary.interrupted else "finished",
        "counts": dict(summary.counts),
        "failures": summary.failures,
        "finished": _now(),
        "seconds": round(summary.seconds, 3),
    } | device


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
