"""Reading and writing pipeline files.

    # caption-objects: a caption for every object
    visionweave: 1
    inputs:
      photo: Image
    steps:
      boxes: {node: grounding_dino.detect, image: $photo, phrases: [cat, dog]}
      ...
    outputs: [boxes]

`$name` refers to an input or step, `$name.field` to one of several outputs of a step; `$$` stands
for a dollar sign. Everything else is a literal. All problems of a file are reported at once.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from visionweave.chain import bind_constant
from visionweave.contract import Node
from visionweave.errors import NodeError, PipelineError, Problem, ValueTypeError, did_you_mean
from visionweave.flow import unknown_port
from visionweave.graph import Constant, Graph, GraphInput, Ref, Step, in_order, infer, needed_steps
from visionweave.registry import find_node
from visionweave.settings import check_settings
from visionweave.types import parse_type
from visionweave.yaml_tree import Entry, read_yaml

__all__ = ["VERSION", "parse_pipeline", "undollar"]

VERSION = 1
"""The version of the format, the value of the key `visionweave`."""

KEYS = ("visionweave", "inputs", "steps", "outputs")
INPUT_KEYS = ("type", "default")
_REF = re.compile(r"\$([A-Za-z_]\w*)(?:\.([A-Za-z_]\w*))?")


def parse_pipeline(text: str, name: str) -> tuple[Graph, list[Problem]]:
    """Read a pipeline.

    Args:
        text: the YAML.
        name: what to call it in messages: the file's path.

    Returns:
        The graph, and remarks on what is allowed but surely not meant, such as unused steps.

    Raises:
        PipelineError: with every problem found, in the order of their lines.
    """
    root, problems = read_yaml(text, name)
    if root is None:
        raise PipelineError(problems)
    parser = _Parser(name, problems)
    graph = parser.graph(root, _leading_comment(text))
    if problems:
        raise PipelineError(sorted(problems, key=lambda problem: _line(problem.where)))
    return graph, parser.remarks(graph)


class _Parser:
    """Turns entries into a graph, collecting problems on the way."""

    def __init__(self, name: str, problems: list[Problem]) -> None:
        self._name, self._problems = name, problems
        self._lines: dict[tuple[str, str], int] = {}  # (step or input, port or "") -> line
        self._broken: set[str] = set()  # inputs and steps of which the type is unknown

    def graph(self, root: Entry, description: str) -> Graph:
        top = self._table(root, "the file", "")
        self._known_keys(top, KEYS, "the file")
        self._version(top.get("visionweave"), root.line)
        for key in ("steps", "outputs"):
            if key not in top:
                self._report(root.line, f"the file has no `{key}`", f"a key `{key}`", "none")
        inputs = self._inputs(top.get("inputs"))
        steps = self._steps(top.get("steps"), inputs)
        self._check_refs(inputs, steps)
        order, cycles = in_order(steps)
        for cycle in cycles:
            path = " -> ".join(cycle)
            what = f"the steps read each other in a circle: {path}"
            self._report(self._lines[cycle[0], ""], what, "steps without a circle", path)
        graph = Graph(inputs, {step: steps[step] for step in order}, {}, description)
        _, _, problems = infer(graph, self._where)
        self._problems += problems
        outputs = self._outputs(top.get("outputs"), inputs, steps)
        return Graph(inputs, graph.steps, outputs, description)

    def remarks(self, graph: Graph) -> list[Problem]:
        """What is allowed, but surely not meant."""
        needed = needed_steps(graph.steps, graph.outputs)
        read = {ref.name for name in needed for ref in graph.steps[name].refs()}
        read |= {ref.name for ref in graph.outputs.values()}
        unused = [(name, "step") for name in graph.steps if name not in needed]
        unused += [(name, "input") for name in graph.inputs if name not in read]
        return [
            Problem(
                self._where(name, ""),
                f"no output needs the {kind} '{name}'",
                fix="add it to `outputs`, or remove it",
            )
            for name, kind in unused
        ]

    def _version(self, entry: Entry | None, line: int) -> None:
        if entry is None:
            fix = f"begin the file with `visionweave: {VERSION}`"
            self._report(line, "the file does not say its version", str(VERSION), "nothing", fix)
        elif entry.value != VERSION or isinstance(entry.value, bool):
            fix = "this visionweave reads no other version; is a newer one to be had?"
            what = "the version of this file is unknown"
            self._report(entry.line, what, f"visionweave: {VERSION}", repr(entry.plain()), fix)

    def _inputs(self, entry: Entry | None) -> dict[str, GraphInput]:
        inputs: dict[str, GraphInput] = {}
        for name, given in self._table(entry, "`inputs`", "").items():
            self._lines[name, ""] = given.line
            self._check_name(name, given.line)
            fields = given.value if isinstance(given.value, dict) else {"type": given}
            self._known_keys(fields, INPUT_KEYS, f"input '{name}'")
            written = fields["type"].value if "type" in fields else None
            try:
                if not isinstance(written, str):
                    raise ValueTypeError("expected a type, such as Image or list[Image]")
                kind = parse_type(written)
            except ValueTypeError as error:
                self._report(given.line, f"input '{name}': {error}", got=repr(written))
                self._broken.add(name)
                continue
            default = None
            if "default" in fields:
                where = f"{self._at(fields['default'].line)}, input '{name}'"
                default = self._constant(kind, undollar(fields["default"].plain()), where)
            inputs[name] = GraphInput(name, kind, default)
        return inputs

    def _steps(self, entry: Entry | None, inputs: Mapping[str, GraphInput]) -> dict[str, Step]:
        steps: dict[str, Step] = {}
        for name, given in self._table(entry, "`steps`", "").items():
            if (name, "") in self._lines:
                what = f"'{name}' is an input and a step"
                fix = "give the step another name"
                self._report(given.line, what, "different names", name, fix)
                continue
            self._lines[name, ""] = given.line
            self._check_name(name, given.line)
            step = self._step(name, given)
            if step is None:
                self._broken.add(name)
            else:
                steps[name] = step
        return steps

    def _step(self, name: str, entry: Entry) -> Step | None:
        fields = dict(self._table(entry, f"step '{name}'", "such as {node: image.resize, ...}"))
        id = fields.pop("node", None)
        if id is None or not isinstance(id.value, str):
            what = f"step '{name}' does not say its node"
            self._report(
                entry.line, what, "node: family.verb", fix="`visionweave nodes` lists them"
            )
            return None
        try:
            cls = find_node(id.value)
        except NodeError as error:
            self._report(id.line, f"step '{name}': {error}", got=id.value)
            return None
        settings: dict[str, Any] = {}
        bindings: dict[str, Ref | Constant] = {}
        for key, given in fields.items():
            self._lines[name, key] = given.line
            where = self._where(name, key)
            ref = self._ref(given, where)
            if key in cls.spec.ports:
                literal = None
                if ref is None:
                    kind = cls.spec.ports[key].type
                    literal = self._constant(kind, undollar(given.plain()), where)
                binding = ref or literal
                bindings[key] = Ref("") if binding is None else binding
            elif ref is None and key in cls.spec.settings.model_fields:
                settings[key] = undollar(given.plain())
            else:
                self._problems.append(unknown_port(cls.spec, key, where))
                meant = difflib.get_close_matches(key, cls.spec.ports, n=1)
                bindings |= dict.fromkeys(meant, Ref(""))  # one mistake, one problem
        return Step(name, self._node(cls, settings, name), bindings)

    def _node(self, cls: type[Node], settings: dict[str, Any], name: str) -> Node:
        """Build the node; where its settings are wrong, an empty one that still has its ports."""
        _, problems = check_settings(cls.spec.settings, settings, self._where(name, ""))
        if not problems:
            return cls(**settings)
        self._problems += problems
        return cls.__new__(cls)

    def _constant(self, kind: Any, data: Any, where: str) -> Constant | None:
        constant = bind_constant(kind, data, where)
        if isinstance(constant, Constant):
            return constant
        self._problems.append(constant)
        return None

    def _ref(self, entry: Entry, where: str) -> Ref | None:
        text = entry.value
        if isinstance(text, list) and any(_is_ref(part.value) for part in text):
            what = "a reference cannot stand inside a list"
            fix = "refer to one step that gives a list; write $$ for a dollar sign"
            self._problems.append(Problem(where, what, "$name alone", str(entry.plain()), fix))
            return Ref("")
        if not _is_ref(text):
            return None
        match = _REF.fullmatch(text)
        if match is None:
            fix = "write $$ for a dollar sign"
            what = "this is no reference"
            self._problems.append(Problem(where, what, "$name or $name.field", text, fix))
            return Ref("")
        return Ref(match[1], match[2] or "")

    def _check_refs(self, inputs: Mapping[str, GraphInput], steps: Mapping[str, Step]) -> None:
        for step in steps.values():
            for port, ref in step.bindings.items():
                if isinstance(ref, Ref) and ref.name:
                    self._check_ref(ref, self._where(step.name, port), inputs, steps)

    def _check_ref(
        self, ref: Ref, where: str, inputs: Mapping[str, GraphInput], steps: Mapping[str, Step]
    ) -> bool:
        """Report a reference to nothing; say whether it is good."""
        if ref.name in self._broken:
            return False
        names = [*inputs, *steps, *self._broken]
        if ref.name not in names:
            fix = did_you_mean(ref.name, names)
            what = f"{ref} refers to nothing"
            known = f"an input or step: {', '.join(names) or 'there is none'}"
            self._problems.append(Problem(where, what, known, str(ref), fix))
            return False
        outputs = list(steps[ref.name].node.spec.outputs) if ref.name in steps else [""]
        if ref.field in outputs:
            return True
        choices = [str(Ref(ref.name, field)) for field in outputs]
        fix = did_you_mean(str(ref), choices)
        what = f"'{ref.name}' has no output '{ref.field}'"
        if not ref.field:
            what = f"'{ref.name}' has several outputs; say which"
        self._problems.append(Problem(where, what, " or ".join(choices), str(ref), fix))
        return False

    def _outputs(
        self, entry: Entry | None, inputs: Mapping[str, GraphInput], steps: Mapping[str, Step]
    ) -> dict[str, Ref]:
        if entry is None:
            return {}
        outputs: dict[str, Ref] = {}
        for name, given in self._named_outputs(entry):
            where = f"{self._at(given.line)}, output '{name}'"
            match = _REF.fullmatch(str(given.value)) or _REF.fullmatch(f"${given.value}")
            if match is None:
                what = "an output must name a step or an input"
                self._problems.append(Problem(where, what, "name, or name.field", repr(name)))
                continue
            ref = Ref(match[1], match[2] or "")
            if name in outputs:
                self._problems.append(Problem(where, "this output is given twice"))
            self._check_name(name, given.line)
            if self._check_ref(ref, where, inputs, steps):
                outputs[name] = ref
        if not outputs and not self._problems:
            what = "the pipeline gives nothing"
            self._report(entry.line, what, "at least one output", "none", "list some steps")
        return outputs

    def _named_outputs(self, entry: Entry) -> list[tuple[str, Entry]]:
        if isinstance(entry.value, dict):
            return list(entry.value.items())
        if isinstance(entry.value, list):
            return [
                (str(part.value).removeprefix("$").replace(".", "_"), part) for part in entry.value
            ]
        self._report(entry.line, "`outputs` must be a list", "[masks, boxes]", repr(entry.plain()))
        return []

    def _table(self, entry: Entry | None, what: str, example: str) -> dict[str, Entry]:
        if entry is None or entry.value is None:
            return {}
        if isinstance(entry.value, dict):
            return entry.value
        expected = "a table of `key: value`" + (f", {example}" if example else "")
        self._report(entry.line, f"{what} must be a table", expected, repr(entry.plain()))
        return {}

    def _known_keys(self, table: Mapping[str, Entry], known: tuple[str, ...], what: str) -> None:
        for key, entry in table.items():
            if key not in known:
                fix = did_you_mean(key, known)
                self._report(entry.line, f"{what} has no key '{key}'", ", ".join(known), key, fix)

    def _check_name(self, name: str, line: int) -> None:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            self._report(line, f"'{name}' is no name", "letters, digits and _", name)

    def _report(
        self, line: int, what: str, expected: str = "", got: str = "", fix: str = ""
    ) -> None:
        self._problems.append(Problem(self._at(line), what, expected, got, fix))

    def _at(self, line: int) -> str:
        return f"{self._name}:{line}"

    def _where(self, name: str, port: str) -> str:
        line = self._lines.get((name, port), self._lines[name, ""])
        return f"{self._at(line)}, step '{name}'"


def _is_ref(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("$") and not value.startswith("$$")


def undollar(data: Any) -> Any:
    """Turn the $$ that begins a text into the $ that it stands for, at any depth."""
    if isinstance(data, str):
        return data[1:] if data.startswith("$$") else data
    if isinstance(data, list):
        return [undollar(each) for each in data]
    if isinstance(data, dict):
        return {key: undollar(each) for key, each in data.items()}
    return data


def _leading_comment(text: str) -> str:
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("#").strip())
    return "\n".join(lines).strip()


def _line(where: str) -> int:
    match = re.search(r":(\d+)", where)
    return int(match[1]) if match else 0
