"""Reading the steps of a pipeline file: their nodes, their settings, what goes into their ports."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from visionweave.contract import Node, NodeSpec
from visionweave.errors import NodeError, PipelineError, Problem
from visionweave.files.references import (
    check_reference,
    holds_reference,
    is_reference,
    nearest,
    parse_reference,
    undollar,
)
from visionweave.files.yaml_tree import UNREADABLE, Entry, Report
from visionweave.flow import unknown_port
from visionweave.graph import Constant, Ref, Step, bind_constant
from visionweave.plain import show
from visionweave.registry import find_node
from visionweave.settings import check_settings, describe_setting

__all__ = ["StepReader"]

WRONG = Ref("")
"""What a port is bound to whose binding cannot be read: nothing more is said of that port."""


class StepReader:
    """Turns entries into steps, reporting problems on the way.

    Attributes:
        report: where problems go.
        steps: the steps read so far, by name.
        broken: the names of steps of which the node is unknown.
    """

    def __init__(self, report: Report) -> None:
        self.report = report
        self.steps: dict[str, Step] = {}
        self.broken: set[str] = set()
        self._lines: dict[tuple[str, str], int] = {}  # (step, key or "") -> line
        self._nodes: dict[str, str] = {}  # step -> node id

    def where(self, step: str, key: str = "") -> str:
        """The place to report for a step, or for one of its ports or settings."""
        line = self._lines.get((step, key), self._lines[step, ""])
        node = f" ({self._nodes[step]})" if step in self._nodes else ""
        return self.report.place(line, f"step '{step}'{node}")

    def read(self, name: str, entry: Entry) -> None:
        """Read one step."""
        self._lines[name, ""] = entry.line
        if entry.value is UNREADABLE:
            pass
        elif not isinstance(entry.value, dict):
            what, example = "a step must be a table", "such as {node: family.verb, port: $name}"
            self.report.note(Problem(self.where(name), what, example, show(entry.plain())))
        else:
            self._lines |= {(name, key): given.line for key, given in entry.value.items()}
            step = self._step(name, entry.value)
            if step is not None:
                self.steps[name] = step
                return
        self.broken.add(name)

    def check_references(self, outputs: Mapping[str, Collection[str] | None]) -> None:
        """Report the references to nothing; `outputs` is as `check_reference` takes it."""
        for step in self.steps.values():
            for port, ref in step.bindings.items():
                if isinstance(ref, Ref) and ref != WRONG:
                    where = self.where(step.name, port)
                    self.report.note(check_reference(ref, where, outputs))

    def _step(self, name: str, fields: dict[str, Entry]) -> Step | None:
        cls = self._find(name, fields.get("node"))
        if cls is None:
            return None
        spec = cls.spec
        self._nodes[name] = spec.id
        bindings: dict[str, Ref | Constant] = {}
        settings: dict[str, Any] = {}
        meant: list[str] = []
        for key, entry in fields.items():
            where = self.where(name, key)
            if key in spec.ports:
                bindings[key] = self._binding(spec, key, entry, where)
            elif key in spec.settings.model_fields:
                settings[key] = self._setting(spec, key, entry, where)
            elif key != "node":
                self.report.note(unknown_port(spec, key, where))
                meant += nearest(key, [*spec.ports, *spec.settings.model_fields])
        for word in meant:
            if word in spec.ports:
                bindings.setdefault(word, WRONG)  # one mistake, one problem
        return Step(name, self._build(cls, name, settings, meant), bindings)

    def _find(self, step: str, entry: Entry | None) -> type[Node] | None:
        """The class of the step's node; None when there is none."""
        if entry is not None and entry.value is UNREADABLE:
            return None
        if entry is None or not isinstance(entry.value, str):
            what, fix = "the step does not say its node", "`visionweave nodes` lists the nodes"
            got = "" if entry is None else show(entry.plain())
            where = self.where(step, "node")
            self.report.note(Problem(where, what, "node: family.verb", got, fix))
            return None
        try:
            cls = find_node(entry.value)
            cls.spec.settings  # noqa: B018  made when first asked for, which may fail as well
        except NodeError as error:
            self.report.note(Problem(self.where(step, "node"), str(error)))
            return None
        return cls

    def _binding(self, spec: NodeSpec, port: str, entry: Entry, where: str) -> Ref | Constant:
        if entry.value is UNREADABLE:
            return WRONG
        data = entry.plain()
        if is_reference(data):
            ref = parse_reference(data)
            if ref is not None:
                return ref
            what, fix = f"{show(data)} is no reference", "write $$ for a dollar sign"
            self.report.note(Problem(where, what, "$name or $name.field", "", fix))
        elif holds_reference(data):
            what = "a reference cannot stand inside a list or table"
            fix = "refer to a step that gives them all; write $$ for a dollar sign"
            self.report.note(Problem(where, what, "$name alone", show(data), fix))
        else:
            place = f"{where}, port '{port}'"
            constant = bind_constant(spec.ports[port].type, undollar(data), place)
            if isinstance(constant, Constant):
                return constant
            self.report.note(constant)
        return WRONG

    def _setting(self, spec: NodeSpec, name: str, entry: Entry, where: str) -> Any:
        if entry.value is UNREADABLE:
            return WRONG
        data = entry.plain()
        if holds_reference(data):
            expected = describe_setting(spec.settings, name)[0]
            what = f"'{name}' is a setting: it cannot be connected"
            fix = "write a value, or $$ for a dollar sign"
            self.report.note(Problem(where, what, expected, show(data), fix))
            return WRONG
        return undollar(data)

    def _build(
        self, cls: type[Node], step: str, settings: dict[str, Any], meant: Collection[str]
    ) -> Node:
        """Build the node; where its settings are wrong, an empty one that still has its ports."""
        silent = {name for name, value in settings.items() if value is WRONG} | set(meant)
        given = {name: value for name, value in settings.items() if value is not WRONG}
        _, wrong = check_settings(cls.spec.settings, given, partial(self.where, step))
        self.report.note(*(problem for name, problem in wrong.items() if name not in silent))
        if not wrong and not silent:
            try:
                return cls(**given)
            except PipelineError as error:  # each setting is right; together they are not
                place = self.where(step)
                self.report.note(*(dataclasses.replace(p, where=place) for p in error.problems))
        return cls.__new__(cls)
