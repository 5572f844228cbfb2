"""Reading pipeline files.

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

from collections.abc import Collection, Iterator, Mapping

from visionweave.errors import PipelineError, Problem, ValueTypeError, did_you_mean
from visionweave.files.references import (
    RUN_ARGUMENTS,
    check_name,
    check_reference,
    nearest,
    parse_reference,
    undollar,
)
from visionweave.files.steps import StepReader
from visionweave.files.yaml_tree import UNREADABLE, Entry, Report, read_yaml
from visionweave.graph import (
    Constant,
    Graph,
    GraphInput,
    Ref,
    bind_constant,
    in_order,
    infer,
    needed_steps,
)
from visionweave.plain import show
from visionweave.types import parse_type

__all__ = ["VERSION", "parse_pipeline"]

VERSION = 1
"""The version of the format, the value of the key `visionweave`."""

KEYS = ("visionweave", "inputs", "steps", "outputs")
INPUT_KEYS = ("type", "default")


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
    if not isinstance(root.value, dict):
        what, got = "the file is no pipeline", show(root.plain())
        if root.value is None:
            what, got = "the file is empty", ""
        fix = f"begin with `visionweave: {VERSION}`, then `inputs:`, `steps:`, `outputs:`"
        problem = Problem(f"{name}:{root.line}", what, "a table of `key: value`", got, fix)
        raise PipelineError([*problems, problem])
    report = Report(name)
    report.note(*problems)
    reader = _Reader(report)
    graph = reader.graph(root, _leading_comment(text))
    if report.problems:
        raise PipelineError(report.in_order())
    return graph, reader.remarks(graph)


class _Reader:
    """Turns entries into a graph, reporting problems on the way."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._steps = StepReader(report)
        self._inputs: dict[str, GraphInput] = {}
        self._lines: dict[str, int] = {}  # of the inputs
        self._broken: set[str] = set()  # the inputs of which the type is unknown

    def graph(self, root: Entry, description: str) -> Graph:
        top = self._known_keys(root.value, KEYS, "the file")
        self._check_version(top.get("visionweave"), root.line)
        for key in ("steps", "outputs"):
            if key not in top:
                what, expected = f"the file has no `{key}`", f"a key `{key}` beside `visionweave`"
                self._report.add(root.line, what, expected)
        self._read_inputs(top.get("inputs"))
        self._read_steps(top.get("steps"))
        steps = self._steps.steps
        self._steps.check_references(self._known())
        order, cycles = in_order(steps)
        for cycle in cycles:
            what, path = "the steps read each other in a circle", " -> ".join(cycle)
            if len(set(cycle)) == 1:
                what = "the step reads its own output"
            expected = "steps that read what is made before them"
            self._report.note(Problem(self._steps.where(cycle[0]), what, expected, path))
        in_circles = [name for name in steps if name not in order]
        steps = {name: steps[name] for name in [*order, *in_circles]}
        _, _, problems = infer(Graph(self._inputs, steps, {}), self._steps.where)
        self._report.note(*problems)
        outputs = self._outputs(top.get("outputs"))
        return Graph(self._inputs, steps, outputs, description)

    def remarks(self, graph: Graph) -> list[Problem]:
        """What is allowed, but surely not meant."""
        needed = needed_steps(graph.steps, graph.outputs)
        read = {ref.name for name in needed for ref in graph.steps[name].refs()}
        read |= {ref.name for ref in graph.outputs.values()}
        places = {
            f"input '{name}'": self._report.place(self._lines[name])
            for name in graph.inputs
            if name not in read
        }
        places |= {
            f"step '{name}'": self._steps.where(name) for name in graph.steps if name not in needed
        }
        fix = "add it to `outputs`, connect it, or remove it"
        return [
            Problem(where, f"no output needs {thing}", fix=fix) for thing, where in places.items()
        ]

    def _known(self) -> dict[str, Collection[str] | None]:
        """The outputs of every input and step; None where a mistake hides them."""
        known: dict[str, Collection[str] | None] = dict.fromkeys(self._inputs, ("",))
        known |= {name: list(step.node.spec.outputs) for name, step in self._steps.steps.items()}
        return known | dict.fromkeys([*self._broken, *self._steps.broken])

    def _check_version(self, entry: Entry | None, line: int) -> None:
        expected = f"visionweave: {VERSION}"
        if entry is None:
            fix = f"begin the file with `{expected}`"
            self._report.add(line, "the file does not say its version", expected, "", fix)
        elif entry.value is not UNREADABLE and (type(entry.value), entry.value) != (int, VERSION):
            what, got = "this version of the format is unknown", show(entry.plain())
            fix = "a newer visionweave may know it: pip install -U visionweave"
            if got.strip('"') == str(VERSION):
                fix = "write the number without quotes"
            self._report.add(entry.line, what, expected, f"visionweave: {got}", fix)

    def _read_inputs(self, entry: Entry | None) -> None:
        for name, given in self._table(entry, "`inputs` must be a table").items():
            self._lines[name] = given.line
            where = self._report.place(given.line, f"input '{name}'")
            self._report.note(check_name(name, where, RUN_ARGUMENTS))
            fields = given.value if isinstance(given.value, dict) else {"type": given}
            read = self._input(name, self._known_keys(fields, INPUT_KEYS, f"input '{name}'"), where)
            if read is None:
                self._broken.add(name)
            else:
                self._inputs[name] = read

    def _input(self, name: str, fields: Mapping[str, Entry], where: str) -> GraphInput | None:
        """One input; None where its type is unknown."""
        written = fields["type"].value if "type" in fields else None
        if written is UNREADABLE:
            return None
        if not isinstance(written, str):
            expected = f"`{name}: Image`, or `{name}: {{type: Image, default: ...}}`"
            self._report.note(Problem(where, "the input does not say its type", expected))
            return None
        try:
            kind = parse_type(written)
        except ValueTypeError as error:
            self._report.note(Problem(where, str(error)))
            return None
        default = fields.get("default")
        if default is None or default.value is UNREADABLE:
            return GraphInput(name, kind)
        place = self._report.place(default.line, f"default of input '{name}'")
        constant = bind_constant(kind, undollar(default.plain()), place)
        if isinstance(constant, Constant):
            return GraphInput(name, kind, constant)
        self._report.note(constant)
        return GraphInput(name, kind)

    def _read_steps(self, entry: Entry | None) -> None:
        for name, given in self._table(entry, "`steps` must be a table").items():
            where = self._report.place(given.line)
            if name in self._lines:
                what = f"'{name}' is an input (line {self._lines[name]}) and a step"
                fix = "give one of them another name"
                self._report.note(Problem(where, what, "different names", "", fix))
                continue
            self._report.note(check_name(name, where))
            self._steps.read(name, given)

    def _outputs(self, entry: Entry | None) -> dict[str, Ref]:
        outputs: dict[str, Ref] = {}
        if entry is None or entry.value is UNREADABLE:
            return outputs
        known = self._known()
        for name, ref, line in self._named_outputs(entry):
            where = self._report.place(line, f"output '{name}'")
            problem = check_name(name, where) or check_reference(ref, where, known)
            if problem is None and name in outputs:
                what, fix = "this output is given twice", "remove one, or write `name: $step`"
                problem = Problem(where, what, "each output once", "", fix)
            self._report.note(problem)
            outputs[name] = ref
        if not outputs and not self._report.problems:
            what, fix = "the pipeline gives nothing", "list the steps whose results you want"
            self._report.add(entry.line, what, "at least one output", "none", fix)
        return outputs

    def _named_outputs(self, entry: Entry) -> Iterator[tuple[str, Ref, int]]:
        """The outputs that are references: name, reference, line."""
        if not isinstance(entry.value, (dict, list)):
            got = show(entry.plain())
            self._report.add(entry.line, "`outputs` must be a list", "such as [masks, boxes]", got)
            return
        named = entry.value.items() if isinstance(entry.value, dict) else enumerate(entry.value)
        for key, given in named:
            text = given.value if isinstance(given.value, str) else ""
            ref = parse_reference(f"${text.removeprefix('$')}")
            if ref is not None:
                own = f"{ref.name}_{ref.field}" if ref.field else ref.name
                yield key if isinstance(key, str) else own, ref, given.line
            elif given.value is not UNREADABLE:
                what = "an output must be the name of an input or step"
                got = show(given.plain())
                self._report.add(given.line, what, "`name`, or `name.field`", got)

    def _table(self, entry: Entry | None, what: str) -> dict[str, Entry]:
        if entry is None or entry.value in (None, UNREADABLE):
            return {}
        if isinstance(entry.value, dict):
            return entry.value
        self._report.add(entry.line, what, "lines of `key: value`", show(entry.plain()))
        return {}

    def _known_keys(
        self, table: Mapping[str, Entry], known: tuple[str, ...], where: str
    ) -> dict[str, Entry]:
        """Report unknown keys; return the known ones, the misspelt as what they were meant to be.

        So a mistake in the name of `steps` does not hide the mistakes in the steps.
        """
        found = {key: entry for key, entry in table.items() if key in known}
        for key, entry in table.items():
            if key not in known:
                what, fix = f"unknown key '{key}' in {where}", did_you_mean(key, known)
                self._report.add(entry.line, what, f"one of {', '.join(known)}", "", fix)
                for meant in nearest(key, known):
                    found.setdefault(meant, entry)
        return found


def _leading_comment(text: str) -> str:
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").removeprefix(" ").rstrip())
    return "\n".join(lines).strip("\n")
