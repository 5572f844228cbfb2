"""From a graph to a plan: what the executor needs to know of each step, worked out once.

Every input and every output of a step gets a *slot*, a number. A plan says which slots a step
reads, along how many axes it repeats, where its results go, and which slots nobody reads after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import field as attribute
from typing import Any

from visionweave.canonical import step_digests
from visionweave.contract import Node, NodeSpec
from visionweave.flow import Flow, loop_axes
from visionweave.graph import Constant, Graph, GraphInput, Ref
from visionweave.photo import Fit
from visionweave.values import Image

__all__ = ["Argument", "Plan", "PlannedInput", "PlannedStep", "make_plan"]


@dataclass(frozen=True, slots=True)
class Argument:
    """Where one parameter of `run` comes from: a slot, or a constant when `slot` is None.

    Attributes:
        depth: along how many of the step's axes the value lies; the rest see the same value.
        many: whether the parameter takes a list.
    """

    slot: int | None
    constant: Any = None
    depth: int = 0
    many: bool = False


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step, ready to run.

    Attributes:
        name: its name in the pipeline.
        node: the node that runs.
        arguments: one per parameter of `run`, in order.
        depth: along how many axes it repeats; 0 means once per item.
        slots: the slot of each output, by field.
        releases: the slots that no later step and no output reads.
    """

    name: str
    node: Node
    arguments: tuple[Argument, ...]
    depth: int
    slots: dict[str, int]
    releases: tuple[int, ...]

    @property
    def spec(self) -> NodeSpec:
        """What is known of the node's class."""
        return self.node.spec


@dataclass(frozen=True, slots=True)
class PlannedInput:
    """An input, and what becomes of it.

    Attributes:
        given: the input.
        slot: the slot that it goes to.
        fits: the sizes that its consumers shrink it to; None for full size.
        read: whether its photos are decoded ahead.
    """

    given: GraphInput
    slot: int
    fits: tuple[Fit, ...] | None
    read: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """What the executor runs.

    Attributes:
        inputs: the inputs.
        steps: the steps, in an order in which each comes after those that it needs.
        outputs: the slot of each output, by name.
        slots: how many slots there are.
        carried: of a part of a plan, the slots that earlier parts have filled.
        order: of a part of a plan, the places of all steps in the whole.
    """

    inputs: tuple[PlannedInput, ...]
    steps: tuple[PlannedStep, ...]
    outputs: dict[str, int]
    slots: int
    carried: tuple[int, ...] = ()
    order: Mapping[str, int] = attribute(default_factory=dict)

    @property
    def given(self) -> tuple[int, ...]:
        """The slots that an item's values go to, in order."""
        return (*(each.slot for each in self.inputs), *self.carried)

    @property
    def reads_images(self) -> bool:
        """Whether there are photos to decode."""
        return any(each.read and Image in each.given.type.kinds for each in self.inputs)


def make_plan(graph: Graph, flows: Mapping[Ref, Flow], depths: Mapping[str, int]) -> Plan:
    """Plan a checked graph. Steps that no output needs are left out, equal steps run once."""
    digests = step_digests(graph)
    first: dict[str, str] = {}  # by digest, the name of the first step that has it
    twin = {name: first.setdefault(digest, name) for name, digest in digests.items()}
    names = list(first.values())
    slots = {Ref(name): index for index, name in enumerate(graph.inputs)}
    for name in names:
        for field in graph.steps[name].node.spec.outputs:
            slots[Ref(name, field)] = len(slots)

    def slot_of(ref: Ref) -> int:
        return slots[Ref(twin.get(ref.name, ref.name), ref.field)]

    outputs = {name: slot_of(ref) for name, ref in graph.outputs.items()}
    arguments = {name: _arguments(graph, name, flows, slot_of) for name in names}
    last = {argument.slot: name for name in names for argument in arguments[name]}
    kept = set(outputs.values())
    steps = []
    for name in names:
        own = {field: slots[Ref(name, field)] for field in graph.steps[name].node.spec.outputs}
        unread = {slot for slot in own.values() if slot not in last}
        read = {slot for slot, reader in last.items() if reader == name and slot is not None}
        releases = tuple(sorted((unread | read) - kept))
        node = graph.steps[name].node
        steps.append(PlannedStep(name, node, arguments[name], depths[name], own, releases))
    inputs = tuple(
        PlannedInput(given, slots[Ref(name)], _fits(slots[Ref(name)], steps, kept))
        for name, given in graph.inputs.items()
    )
    return Plan(inputs, tuple(steps), outputs, len(slots))


def _arguments(
    graph: Graph, name: str, flows: Mapping[Ref, Flow], slot_of: Callable[[Ref], int]
) -> tuple[Argument, ...]:
    step = graph.steps[name]
    found = []
    for port in step.node.spec.ports.values():
        binding = step.bindings.get(port.name)
        if binding is None:
            found.append(Argument(None, port.default))
        elif isinstance(binding, Constant):
            found.append(Argument(None, binding.value))
        else:
            depth = len(loop_axes(port, flows[binding]))
            found.append(Argument(slot_of(binding), None, depth, port.type.many))
    return tuple(found)


def _fits(slot: int, steps: list[PlannedStep], kept: set[int]) -> tuple[Fit, ...] | None:
    """The sizes to which all readers of a slot shrink it; None when one needs full resolution."""
    readers = [step for step in steps if any(a.slot == slot for a in step.arguments)]
    fits = [step.node.fit() for step in readers]
    small = [fit for fit in fits if fit is not None]
    return tuple(small) if small and len(small) == len(fits) and slot not in kept else None
