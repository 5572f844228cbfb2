"""The ready pipelines, and finding a pipeline's text by its name."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from visionweave.errors import PipelineError, Problem, did_you_mean

__all__ = ["read_pipeline_text", "ready_pipelines"]


def ready_pipelines() -> dict[str, str]:
    """The ready pipelines that come with visionweave: their texts by name."""
    folder = files("visionweave.pipelines")
    return {
        entry.name.removesuffix(".yaml"): entry.read_text(encoding="utf-8")
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".yaml")
    }


def read_pipeline_text(name: str | os.PathLike[str]) -> tuple[str, str]:
    """Return the text of a pipeline file or ready pipeline, and what to call it in messages."""
    path = Path(name)
    if path.suffix not in (".yaml", ".yml") and not path.exists():
        ready = ready_pipelines()
        if os.fspath(name) in ready:
            return ready[os.fspath(name)], f"{os.fspath(name)}.yaml"
        fix = did_you_mean(os.fspath(name), ready)
        known = f"a .yaml file, or one of {', '.join(ready)}"
        what = "there is no such pipeline"
        raise PipelineError([Problem(os.fspath(name), what, known, os.fspath(name), fix)])
    try:
        return path.read_bytes().decode("utf-8-sig"), os.fspath(name)
    except OSError as error:
        reason = error.strerror or str(error)
        raise PipelineError([Problem(os.fspath(name), "cannot read", got=reason)]) from None
    except UnicodeDecodeError as error:
        what = "this is not a text file"
        problem = Problem(os.fspath(name), what, "UTF-8 text in YAML", str(error))
        raise PipelineError([problem]) from None
