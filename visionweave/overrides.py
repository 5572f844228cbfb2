"""Changing settings of a pipeline from outside: `--set boxes.min_score=0.4`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from visionweave.errors import PipelineError, Problem, did_you_mean
from visionweave.graph import Graph

__all__ = ["with_settings"]


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
        if step in graph.steps and setting:
            by_step.setdefault(step, {})[setting] = value
            continue
        problems.append(
            Problem(
                name,
                "there is no such setting",
                expected=f"step.setting, with a step of {', '.join(graph.steps)}",
                got=name,
                fix=did_you_mean(step, graph.steps),
            )
        )
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
