"""Why a photo, and each step of it, would run again or not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from visionweave.cache.photos import PhotoHashes
from visionweave.errors import JobError, did_you_mean
from visionweave.graph import Graph
from visionweave.jobs.failures import retry_command
from visionweave.jobs.journal import Entry
from visionweave.jobs.overlay import make_overlay
from visionweave.jobs.receipt import read_receipt
from visionweave.jobs.recipe import Recipe, differences, make_recipe
from visionweave.jobs.repeat import entries_of, find_entry
from visionweave.jobs.resume import item_key, why_run
from visionweave.pipeline import Pipeline
from visionweave.runtime import Runtime

__all__ = ["explain"]


def explain(
    out: Path,
    photo: str,
    step: str | None,
    pipeline: Pipeline,
    inputs: Mapping[str, Any],
    runtime: Runtime,
    hashes: PhotoHashes,
    overlay: bool | None = None,
) -> list[str]:
    """Say in lines what would become of a photo if the job ran now, and why.

    Args:
        out: the job's folder.
        photo: the photo, by name or path.
        step: a step; with it come those that it needs. All when None.
        pipeline: the pipeline as it is now.
        inputs: the inputs that are the same for all photos.
        runtime: what it would run on.
        hashes: the hashes of photos.
        overlay: whether overlays are wanted; see `visionweave.jobs.overlay`.

    Raises:
        JobError: the folder holds no job, or there is no such photo or step.
    """
    receipt, graph = read_receipt(out / "run.json"), pipeline.graph
    entry = find_entry(entries_of(out), photo, out)
    if step is not None and step not in graph.steps:
        known = ", ".join(graph.steps)
        hint = did_you_mean(step, graph.steps) or f"there are {known}"
        raise JobError(f"the pipeline has no step {step!r}; {hint}")
    now = make_recipe(graph, inputs, runtime, hashes)
    old = Recipe.from_json(entry.recipe, receipt["recipes"].get(entry.recipe, now.to_json()))
    draws = make_overlay(pipeline, overlay) is not None
    head, bytes_changed = _head(out, entry, now, hashes, draws=draws)
    lines = [f"{entry.photo}: {head}"]
    chosen = [name for name in graph.steps if name in now.steps]
    if step is not None:
        needed = _upstream(now.steps, step)
        chosen = [name for name in chosen if name in needed]
    verdicts = _verdicts(graph, chosen, differences(old, now), bytes_changed, now)
    width = max(map(len, chosen), default=0)
    return lines + [f"  {name:{width}}  {verdicts[name]}" for name in chosen]


def _head(
    out: Path, entry: Entry, now: Recipe, hashes: PhotoHashes, *, draws: bool
) -> tuple[str, bool]:
    """What would become of a photo as a whole, and whether its bytes are others."""
    path = None if entry.path is None else Path(entry.path)
    try:
        sha256, wrong = "" if path is None else hashes.of(path)[1], ""
    except OSError as error:
        sha256, wrong = "", f"{path}: {error.strerror or error}"
    key = "" if wrong else item_key(now.key, sha256)
    why = why_run(entry, key, out, overlay=draws and path is not None)
    changed = sha256 != entry.sha256
    if not why:
        return _passed_over(out, entry), changed
    if wrong:
        return f"would fail: {wrong}", changed
    if changed and entry.sha256:  # else it could not be read
        why = f"its bytes changed (sha256 {entry.sha256[:12]}…, now {sha256[:12]}…)"
    return f"would run: {why}", changed


def _passed_over(out: Path, entry: Entry) -> str:
    if entry.status == "ok":
        return f"would be passed over: it was done in run {entry.run}, and nothing changed"
    return (
        f"would be passed over: it {_STATUS[entry.status]} in run {entry.run}, and nothing "
        f"changed; to try it again: {retry_command(out, entry.photo)}"
    )


_STATUS = {"partial": "failed in part", "failed": "failed"}


def _verdicts(
    graph: Graph,
    names: list[str],
    changes: Mapping[str, list[str]],
    bytes_changed: bool,
    now: Recipe,
) -> dict[str, str]:
    """Say of each step whether it would run again, and why."""
    photos = {name for name in graph.inputs if name not in now.inputs}
    runs: dict[str, bool] = {}
    verdicts = {}
    for name in names:
        reads = {ref.name for ref in graph.steps[name].refs()}
        reasons = list(changes.get(name, []))
        reasons += changes.get("", []) if now.steps[name]["has_model"] else []
        if bytes_changed and reads & photos:
            reasons.append("the photo's bytes changed")
        above = [each for each in graph.steps if each in reads and runs.get(each)]
        runs[name] = bool(reasons or above)
        if reasons:
            verdicts[name] = f"runs again: {'; '.join(reasons)}"
        elif above:
            verdicts[name] = f"runs again where {_and(above)} {_come(above)} out differently"
        elif now.steps[name]["has_model"]:
            verdicts[name] = "does not run: nothing changed"
        else:
            verdicts[name] = "nothing changed (no model: it runs whenever the photo does)"
    return verdicts


def _upstream(steps: Mapping[str, dict[str, Any]], step: str) -> set[str]:
    """A step, and all that it needs."""
    found, pending = set(), [step]
    while pending:
        name = pending.pop()
        if name in steps and name not in found:
            found.add(name)
            reads = [text for text in steps[name]["reads"].values() if isinstance(text, str)]
            pending += [text[1:].partition(".")[0] for text in reads if text.startswith("$")]
    return found


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _come(names: list[str]) -> str:
    return "comes" if len(names) == 1 else "come"
