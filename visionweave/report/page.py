"""The page: its own files, and what it says of the job as a whole.

A page that is opened from the disk may load pictures and scripts, and nothing else. So all data are
scripts that hand over one thing each: `visionweave.deliver("photos/1f…", {…})`.
"""

from __future__ import annotations

import json
import warnings
from importlib.resources import files
from pathlib import Path
from typing import Any

from visionweave import __version__
from visionweave.atomic import write_atomic
from visionweave.errors import WeaveError, WeaveWarning
from visionweave.report.data import JobData

__all__ = ["about_job", "as_script", "write_assets"]

_OF_RUN = (
    "device",
    "finished",
    "given",
    "machine",
    "models",
    "peak_memory",
    "photo_input",
    "photos_per_second",
    "precision",
    "runs",
    "seconds",
    "started",
    "status",
    "timings",
    "versions",
)


def as_script(name: str, data: Any) -> bytes:
    """Return a script that hands `data` to the page under a name."""
    text = f"visionweave.deliver({json.dumps(name)}, {json.dumps(data, ensure_ascii=False)});\n"
    return text.encode("utf-8", "backslashreplace")


def write_assets(folder: Path) -> None:
    """Write the page, its style and its scripts."""
    for asset in files("visionweave.report").joinpath("assets").iterdir():
        data = asset.read_bytes()
        path = folder / asset.name
        if not path.exists() or path.read_bytes() != data:
            write_atomic(path, data, durable=False)


def about_job(job: JobData) -> dict[str, Any]:
    """What the page says of the job."""
    pipeline = job.run.get("pipeline") or {}
    text = pipeline.get("yaml")
    return {
        "visionweave": __version__,
        "name": str(pipeline.get("name") or job.out.absolute().name),
        "folder": job.out.absolute().name,
        "pipeline": {key: pipeline.get(key) for key in ("hash", "profile", "changes", "yaml")},
        "diagram": _diagram(text) if isinstance(text, str) else None,
        "run": {key: job.run[key] for key in _OF_RUN if key in job.run},
        "photos": len(job.items),
        "unfinished": job.unfinished,
        "failures": [failure for item in job.items for failure in item.failures],
    }


def _diagram(text: str) -> str | None:
    """The pipeline as SVG; None where nodes of it are not installed here."""
    from visionweave.pipeline import Pipeline
    from visionweave.show import to_svg

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", WeaveWarning)
            return to_svg(Pipeline.from_yaml(text))
    except WeaveError:
        return None
