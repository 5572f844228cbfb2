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
    path, text = Path(name), os.fspath(name)
    is_file = path.suffix in (".yaml", ".yml") or (text != "" and path.exists())
    if not is_file and text in ready_pipelines():
        return ready_pipelines()[text], f"{text}.yaml"
    if not is_file:
        raise _refused(text, "there is no such pipeline", text or "nothing")
    try:
        return path.read_bytes().decode("utf-8-sig"), text
    except FileNotFoundError:
        raise _refused(text, "there is no such file", "") from None
    except IsADirectoryError:
        raise _refused(text, "this is a folder", "") from None
    except OSError as error:
        raise _refused(text, "cannot read", error.strerror or str(error)) from None
    except UnicodeDecodeError as error:
        what, fix = "this is not a text file", "if it is a pipeline, save it as UTF-8"
        problem = Problem(text, what, "UTF-8 text in YAML", str(error), fix)
        raise PipelineError([problem]) from None


def _refused(name: str, what: str, got: str) -> PipelineError:
    ready = ready_pipelines()
    fix = did_you_mean(Path(name).stem, ready) if name else "see all: visionweave pipelines"
    expected = f"a .yaml file, or one of {', '.join(ready)}"
    return PipelineError([Problem(name, what, expected, got, fix)])
