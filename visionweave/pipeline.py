"""Pipeline: a checked graph that runs."""

from __future__ import annotations

import os
import typing
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visionweave.canonical import canonical_form, graph_hash
from visionweave.chain import trace
from visionweave.contract import Node
from visionweave.errors import (
    PipelineError,
    PipelineWarning,
    Problem,
    ValueTypeError,
)
from visionweave.execution.executor import CHUNK, Options, Result, execute
from visionweave.execution.keeper import Keeper
from visionweave.execution.observe import Observer
from visionweave.execution.plan import Plan, make_plan
from visionweave.execution.sizing import Sizes, TriedSizes
from visionweave.files.reader import parse_pipeline
from visionweave.files.ready import read_pipeline_text, ready_pipelines
from visionweave.flow import Flow
from visionweave.graph import Graph, GraphInput, Ref, Step, infer
from visionweave.runtime import Runtime
from visionweave.types import PortType
from visionweave.values import Value

if TYPE_CHECKING:
    from visionweave.budget.waiting import WaitingRoom
    from visionweave.cache import Cache

__all__ = ["Pipeline", "ready_pipelines", "run_node"]


class Pipeline:
    """A pipeline: what goes in, the steps, what comes out.

    Build one from outputs of chained calls, or read one with `load` or `from_yaml`:

        photo = vw.Input("photo", vw.Image)
        small = image.Resize(longest=512)(photo)
        pipeline = vw.Pipeline(small=small)

    Everything that can be checked without running is checked here. Running loads the models; they
    stay loaded as long as the pipeline lives.

    Args:
        outputs: what the pipeline gives, by name: results of calling nodes on inputs.

    Raises:
        PipelineError: an output is not one, or there is none.
    """

    def __init__(self, /, **outputs: Any) -> None:
        if not outputs:
            fix = "Pipeline(masks=masks)"
            raise PipelineError([Problem("outputs", "the pipeline gives nothing", fix=fix)])
        self._take(trace(outputs))

    def _take(self, graph: Graph) -> None:
        flows, depths, problems = infer(graph, lambda step, port: f"step '{step}'")
        if problems:
            raise PipelineError(problems)
        self.graph: Graph = graph
        self.flows: Mapping[Ref, Flow] = flows
        self.plan: Plan = make_plan(graph, flows, depths)

    @classmethod
    def from_graph(cls, graph: Graph) -> Pipeline:
        """Make a pipeline of a graph."""
        pipeline = cls.__new__(cls)
        pipeline._take(graph)
        return pipeline

    @classmethod
    def from_yaml(cls, text: str, name: str = "pipeline") -> Pipeline:
        """Read a pipeline from the text of a pipeline file; `name` is for messages.

        Raises:
            PipelineError: with every problem found, each with its line.
        """
        return cls._read(text, name)

    @classmethod
    def load(cls, name: str | os.PathLike[str]) -> Pipeline:
        """Read a pipeline file, or the ready pipeline of that name.

        Raises:
            PipelineError: there is none, it cannot be read, or it is wrong.
        """
        return cls._read(*read_pipeline_text(name))

    @classmethod
    def _read(cls, text: str, name: str) -> Pipeline:
        graph, remarks = parse_pipeline(text, name)
        for remark in remarks:
            warnings.warn(str(remark), PipelineWarning, stacklevel=3)  # our caller's caller
        return cls.from_graph(graph)

    @property
    def inputs(self) -> dict[str, GraphInput]:
        """The inputs by name."""
        return self.graph.inputs

    @property
    def outputs(self) -> dict[str, Flow]:
        """The static types of the outputs by name."""
        return {name: self.flows[ref] for name, ref in self.graph.outputs.items()}

    @property
    def hash(self) -> str:
        """The sha256 of the canonical form: the same for all ways to write the same pipeline."""
        return graph_hash(self.graph)

    def canonical(self) -> dict[str, Any]:
        """The canonical form as plain JSON data; see `visionweave.canonical`."""
        return canonical_form(self.graph)

    def to_yaml(self) -> str:
        """Return the pipeline as a pipeline file."""
        from visionweave.files.writer import to_yaml

        return to_yaml(self.graph)

    def to_python(self) -> str:
        """Return the pipeline as a Python script with the chaining API."""
        from visionweave.files.writer import to_python

        return to_python(self.graph)

    def with_profile(self, profile: str) -> Pipeline:
        """Return the pipeline with the checkpoints of a profile: "mini", "base", "large".

        A step that names a checkpoint of its own keeps it.

        Raises:
            WeightsError: there is no such profile.
        """
        from visionweave.overrides import with_profile

        return self.from_graph(with_profile(self.graph, profile))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the pipeline file, and return its path."""
        path = Path(path)
        path.write_text(self.to_yaml(), encoding="utf-8")
        return path

    def run(self, /, *, device: str = "auto", precision: str = "auto", **inputs: Any) -> Result:
        """Run on one item: `pipeline.run(photo="street.jpg")`.

        Args:
            device: where models run: "auto", "cpu", "cuda", "cuda:1".
            precision: how they compute: "auto", "bf16", "fp16", "fp32".
            inputs: a value for each input without a default, or plain data: a path, an array, a
                text, a list of phrases.

        Returns:
            The result. Objects that failed are in its `failures`, and missing from its lists.

        Raises:
            PipelineError: an input is missing, unknown or of the wrong type.
            NodeFailed: an output is missing because a step failed as a whole.
        """
        options = Options(Runtime.get(device, precision), chunk=1)
        (result,) = execute(self.plan, [inputs], options)
        for failure in result.missing.values():
            raise failure
        return result

    def map(
        self,
        items: Iterable[Any],
        *,
        chunk: int = CHUNK,
        batch: int | None = None,
        device: str = "auto",
        precision: str = "auto",
        observers: Sequence[Observer] = (),
        cache: Cache | None = None,
        memory_budget: int | str | None = None,
        waiting: WaitingRoom | None = None,
    ) -> Iterator[Result]:
        """Run on a stream of items, in order, in bounded memory.

        Args:
            items: for each, the value of the only input (or of the only one without a default), or
                a dict of inputs by name. While a chunk computes, the next one is read and decoded.
            chunk: how many items go through the steps together; with 1 nothing is read ahead.
            batch: the largest batch of any model; None for what is found to be fastest on this
                machine, from what each node states (`visionweave.execution.sizing`).
            device: see `run`.
            precision: see `run`.
            observers: told what happens.
            cache: where results of models are found and kept; None computes everything.
            memory_budget: how much memory the models may take, in bytes or as "4GB". Where they do
                not fit together, all items go through those that do, then through the next, and
                nothing is yielded before the last (`visionweave.budget`). None: no budget.
            waiting: where items wait meanwhile; None for a folder of this run's own.

        Yields:
            A result for each item, also for one that failed: see `Result.ok`.

        Raises:
            PipelineError: an item is not what the inputs want.
            JobError: a model does not fit into the budget.
        """
        if chunk < 1 or (batch is not None and batch < 1):
            raise ValueError(f"chunk and batch are at least 1; got {chunk} and {batch}")
        if isinstance(items, (str, bytes, os.PathLike, Mapping, Value)):
            what, fix = "map was given one item", "put it into a list, or call run for one"
            raise PipelineError([Problem("items", what, "several", type(items).__name__, fix)])
        runtime = Runtime.get(device, precision)
        keeper = Keeper() if cache is None else cache.keeper(self.graph, runtime)
        tries = batch is None and chunk > 1
        sizes = TriedSizes(runtime) if tries else Sizes(batch)
        options = Options(runtime, chunk, sizes, observers, keeper)
        if memory_budget is None:
            return execute(self.plan, items, options)
        from visionweave.budget.within import execute_within, read_budget

        budget = read_budget(memory_budget)
        return execute_within(budget, self.graph, self.plan, items, options, waiting)

    def __repr__(self) -> str:
        inputs = ", ".join(f"{name}: {given.type}" for name, given in self.inputs.items())
        outputs = ", ".join(f"{name}: {flow}" for name, flow in self.outputs.items())
        return f"Pipeline({inputs} -> {outputs})"


def run_node(node: Node, bound: Mapping[str, Any]) -> Any:
    """Run one node on values: see `Node.__call__`.

    A list given to a port of one value runs the node once per element, in batches, and all such
    lists must be of one length; but plain data that is one value (a list of phrases for Tags) is
    that value.
    """
    ports = node.spec.ports
    lists = {name: v for name, v in bound.items() if _is_several(ports[name].type, v)}
    lengths = {name: len(value) for name, value in lists.items()}
    if len(set(lengths.values())) > 1:
        what = "the lists given differ in length"
        raise PipelineError([Problem(node.spec.id, what, "one length", str(lengths))])
    rows = [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
    found = _run_rows(node, [{**bound, **row} for row in rows] if lists else [bound], list(bound))
    return found if lists else found[0]


def _is_several(kind: PortType, given: Any) -> bool:
    """Whether a list is one of values, not the plain data of one (phrases, points)."""
    if kind.many or not isinstance(given, list):
        return False
    if any(isinstance(part, Value) for part in given):
        return True
    try:
        kind.coerce(given)
    except ValueTypeError:
        return True
    return False


def _run_rows(node: Node, rows: list[Mapping[str, Any]], names: list[str]) -> list[Any]:
    """Run a node once per row of values for its ports `names`; raise the first failure."""
    spec = node.spec
    inputs = {name: GraphInput(name, spec.ports[name].type) for name in names}
    step = Step(spec.id, node, {name: Ref(name) for name in names})
    outputs = {field: Ref(step.name, field) for field in spec.outputs}
    pipeline = Pipeline.from_graph(Graph(inputs, {step.name: step}, outputs))
    named = None if "" in outputs else typing.get_type_hints(spec.cls.run)["return"]
    found = []
    for result in pipeline.map(rows, chunk=min(CHUNK, len(rows) or 1)):
        for failure in result.failures:
            raise failure
        found.append(result[""] if named is None else named(**result.outputs))
    return found
