"""Changing a pipeline from outside: `--set boxes.min_score=0.4`, `--profile base`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from visionweave.contract import ModelNode
from visionweave.errors import PipelineError, Problem, WeightsError, did_you_mean
from visionweave.graph import Graph
from visionweave.plain import show
from visionweave.weights.lock import Checkpoint, read_lock
from visionweave.weights.lookup import PROFILES, checkpoint, is_profile

__all__ = ["checkpoints", "with_profile", "with_settings"]


def with_settings(graph: Graph, settings: Mapping[str, Any]) -> Graph:
    """Return the graph with some settings of its steps changed.

    Args:
        graph: the graph.
        settings: the new values, by "step.setting".

    Raises:
        PipelineError: a step or setting does not exist, or a value is not allowed.
    """
    by_step: dict[str, dict[str, Any]] = {}
    problems = []
    for name, value in settings.items():
        step, _, setting = name.partition(".")
        problem = _misplaced(graph, name, value)
        if problem is None:
            by_step.setdefault(step, {})[setting] = value
        else:
            problems.append(problem)
    steps = dict(graph.steps)
    for step, changes in by_step.items():
        node = steps[step].node
        try:
            changed = type(node)(**{**node.settings, **changes})
        except PipelineError as error:
            problems += [
                dataclasses.replace(each, where=f"step '{step}', {each.where}")
                for each in error.problems
            ]
        else:
            steps[step] = dataclasses.replace(steps[step], node=changed)
    if problems:
        raise PipelineError(problems)
    return dataclasses.replace(graph, steps=steps)


def _misplaced(graph: Graph, name: str, value: Any) -> Problem | None:
    """The problem of a change that names no setting of a step, if there is one."""
    step, _, setting = name.partition(".")
    if step not in graph.steps:
        expected = f"step.setting, with a step of {', '.join(graph.steps)}"
        fix = did_you_mean(step, graph.steps)
        return Problem(name, "there is no such setting", expected, name, fix)
    spec = graph.steps[step].node.spec
    known = ", ".join(spec.settings.model_fields)
    expected = f"one of the settings {known}" if known else "no settings"
    if not setting:
        fix = f"write {step}.SETTING={show(value)}" if known else ""
        return Problem(name, f"'{step}' is a step, not a setting", expected, "", fix)
    if setting in spec.ports:
        fix = "connect it in the pipeline; a setting alone can be changed"
        return Problem(name, f"'{setting}' is a port, not a setting", expected, "", fix)
    return None


def with_profile(graph: Graph, profile: str) -> Graph:
    """Return the graph with the checkpoints of a profile.

    A step whose model is named by a profile gets the other profile; one that names a checkpoint of
    its own keeps that.

    Raises:
        WeightsError: there is no such profile.
    """
    if not is_profile(profile):
        known = dict.fromkeys([*PROFILES, *read_lock().profiles])
        hint = did_you_mean(profile, known) or f"there are {', '.join(known)}"
        raise WeightsError(f"there is no profile {profile!r}; {hint}")
    changes = {
        f"{step}.model": profile for step, name in _models(graph).items() if is_profile(name)
    }
    return with_settings(graph, changes)


def checkpoints(graph: Graph) -> dict[str, Checkpoint]:
    """Return the checkpoint of every step that has one, by the step's name.

    Nothing is read but the list of weights.

    Raises:
        WeightsError: some model has none. All that is wrong is said at once.
    """
    found, wrong = {}, []
    for step, name in _models(graph).items():
        try:
            found[step] = checkpoint(name, graph.steps[step].node.spec.id)
        except WeightsError as error:
            wrong.append(f"step '{step}': {error}")
    if wrong:
        raise WeightsError("\n".join(wrong))
    return found


def _models(graph: Graph) -> dict[str, str]:
    """What the setting `model` of each step says, where the list of weights knows the family."""
    families = {entry.family for entry in read_lock().checkpoints.values()}
    return {
        name: str(step.node.settings["model"])
        for name, step in graph.steps.items()
        if isinstance(step.node, ModelNode)
        and "model" in step.node.settings
        and step.node.spec.id.partition(".")[0] in families
    }
