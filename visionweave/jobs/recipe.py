"""The recipe of a job: all that its results depend on, but for the photos.

A recipe names its steps, so that it can be said what differs between two; its key does not, so that
renaming a step changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from visionweave.cache.fingerprint import FORM, fingerprint
from visionweave.cache.photos import PhotoHashes
from visionweave.cache.steps import weights_of
from visionweave.canonical import canonical_form, constant_data, digest, step_digests
from visionweave.contract import ModelNode
from visionweave.errors import ValueTypeError
from visionweave.graph import Constant, Graph, Step
from visionweave.overrides import checkpoints
from visionweave.plain import show
from visionweave.runtime import Runtime
from visionweave.values import Image
from visionweave.weights.lock import Checkpoint

__all__ = ["Recipe", "differences", "make_recipe"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What results depend on.

    Attributes:
        key: the sha256 of all that counts.
        steps: what each step is, by its name.
        inputs: the fingerprints of the inputs that are the same for all photos.
        device: the kind of device the models run on; "" without models.
        precision: in which they compute; "" without models.
    """

    key: str
    steps: dict[str, dict[str, Any]]
    inputs: dict[str, Any]
    device: str
    precision: str

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data, for run.json."""
        return {
            "steps": self.steps,
            "inputs": self.inputs,
            "device": self.device,
            "precision": self.precision,
        }

    @classmethod
    def from_json(cls, key: str, data: Mapping[str, Any]) -> Recipe:
        """Restore a recipe from what `to_json` returned."""
        return cls(key, data["steps"], data["inputs"], data["device"], data["precision"])


def make_recipe(
    graph: Graph, inputs: Mapping[str, Any], runtime: Runtime, hashes: PhotoHashes
) -> Recipe:
    """Return the recipe of a graph with values for some inputs.

    Raises:
        WeightsError: a model has no checkpoint.
        DeviceError: the device is not on this machine.
    """
    digests, found = step_digests(graph), checkpoints(graph)
    steps = [step for step in graph.steps.values() if step.name in digests]
    device, precision = "", ""
    if any(isinstance(step.node, ModelNode) for step in steps):
        device, precision = runtime.expected
        device = device.partition(":")[0]
    prints = {name: _print(graph, name, value, hashes) for name, value in inputs.items()}
    counts = {
        "form": canonical_form(graph),
        "fingerprints": FORM,
        "weights": {digests[step.name]: weights_of(found[step.name]) for step in steps
                    if step.name in found},
        "outside": {digests[step.name]: dict(step.node.depends_on()) for step in steps},
        "photos": sorted(_photos_within(graph, steps, hashes)),
        "inputs": prints,
        "device": device,
        "precision": precision,
    }  # fmt: skip
    described = {step.name: _describe(step, found.get(step.name)) for step in steps}
    return Recipe(digest(counts), described, prints, device, precision)


def _print(graph: Graph, name: str, value: Any, hashes: PhotoHashes) -> Any:
    """The fingerprint of an input, or of each of a list; as text when it does not fit."""
    given = graph.inputs.get(name)
    try:
        value = value if given is None else given.type.coerce(value)
        value = hashes.hold(value)
        return [fingerprint(v) for v in value] if isinstance(value, list) else fingerprint(value)
    except (ValueTypeError, AttributeError):  # which the pipeline will refuse
        return repr(value)


def _photos_within(graph: Graph, steps: list[Step], hashes: PhotoHashes) -> Iterator[str]:
    """The fingerprints of photos that the graph itself names by path."""
    constants = [b for step in steps for b in step.bindings.values() if isinstance(b, Constant)]
    constants += [given.default for given in graph.inputs.values() if given.default is not None]
    for constant in constants:
        for value in constant.value if isinstance(constant.value, list) else [constant.value]:
            if isinstance(value, Image) and value.path is not None:
                yield fingerprint(hashes.hold(value))


def _describe(step: Step, checkpoint: Checkpoint | None) -> dict[str, Any]:
    reads = {
        port: constant_data(binding) if isinstance(binding, Constant) else str(binding)
        for port, binding in sorted(step.bindings.items())
    }
    found = {
        "node": step.node.spec.id,
        "version": step.node.spec.version,
        "settings": dict(step.node.settings),
        "reads": reads,
        "outside": dict(step.node.depends_on()),
        "has_model": isinstance(step.node, ModelNode),
    }
    return found if checkpoint is None else found | {"weights": weights_of(checkpoint)}


def differences(old: Recipe, new: Recipe) -> dict[str, list[str]]:
    """Return what differs, in words, by step; what concerns all models is under ""."""
    found: dict[str, list[str]] = {}
    for what in ("device", "precision"):
        was, now = getattr(old, what), getattr(new, what)
        if was != now and was and now:
            found.setdefault("", []).append(f"the {what} was {was}, and is {now}")
    for name in dict.fromkeys([*new.inputs, *old.inputs]):
        if old.inputs.get(name) != new.inputs.get(name):
            found.setdefault("", []).append(f"input '{name}' was another")
    for name in dict.fromkeys([*new.steps, *old.steps]):
        texts = list(_step_differences(old.steps.get(name), new.steps.get(name)))
        if texts:
            found[name] = texts
    return found


def _step_differences(old: dict[str, Any] | None, new: dict[str, Any] | None) -> Iterator[str]:
    if old is None or new is None:
        yield "the step is new" if old is None else "the step is gone"
        return
    for what, title in (("node", "node"), ("version", "version of the node")):
        if old[what] != new[what]:
            yield f"the {title} was {old[what]}, and is {new[what]}"
    yield from _weights_differences(old.get("weights"), new.get("weights"))
    if old["outside"] != new["outside"]:
        changed = {name for name, _ in old["outside"].items() ^ new["outside"].items()}
        yield f"{', '.join(sorted(changed))} changed"
    for table, title in (("settings", "setting"), ("reads", "port")):
        for name in dict.fromkeys([*old[table], *new[table]]):
            was, now = old[table].get(name), new[table].get(name)
            if was != now:
                yield f"{title} '{name}' was {show(was)}, and is {show(now)}"


def _weights_differences(old: dict[str, Any] | None, new: dict[str, Any] | None) -> Iterator[str]:
    if old == new:
        return
    if old is None or new is None or old["name"] != new["name"]:
        was, now = (each and each["name"] for each in (old, new))
        yield f"the checkpoint was {show(was)}, and is {show(now)}"
        return
    for name in dict.fromkeys([*old["files"], *new["files"]]):
        was, now = (str(each["files"].get(name)) for each in (old, new))
        if was != now:
            yield f"the weights {old['name']}/{name} had sha256 {was[:12]}…, and have {now[:12]}…"
    if old["config"] != new["config"]:
        yield f"what the list of weights says of {old['name']} is new"
