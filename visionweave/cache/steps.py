"""What a step is, for the key of its results."""

from __future__ import annotations

from typing import Any

from visionweave.cache.fingerprint import FORM
from visionweave.canonical import digest
from visionweave.contract import ModelNode
from visionweave.graph import Graph, needed_steps
from visionweave.overrides import checkpoints
from visionweave.runtime import Runtime
from visionweave.weights.lock import Checkpoint

__all__ = ["StepKeys", "weights_of"]


def weights_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """What of a checkpoint counts for results: its name, files and configuration."""
    files = {file.name: file.sha256 for file in checkpoint.files}
    return {"name": checkpoint.name, "files": files, "config": checkpoint.config}


class StepKeys:
    """The digest of each step with a model; made when it is first asked for.

    A profile's name counts as the checkpoint that it stands for. The device counts by its kind: two
    GPUs give the same results, a GPU and a processor nearly the same.

    Raises:
        WeightsError: (when first asked) a model has no checkpoint.
    """

    def __init__(self, graph: Graph, runtime: Runtime) -> None:
        self._graph, self._runtime = graph, runtime
        self._digests: dict[str, str] | None = None

    def __getitem__(self, step: str) -> str:
        if self._digests is None:
            self._digests = self._make()
        return self._digests[step]

    def _make(self) -> dict[str, str]:
        found = checkpoints(self._graph)
        device, precision = self._runtime.expected
        digests = {}
        for name in needed_steps(self._graph.steps, self._graph.outputs):
            node = self._graph.steps[name].node
            if not isinstance(node, ModelNode):
                continue
            settings = dict(node.settings)
            if name in found:
                settings["model"] = weights_of(found[name])
            digests[name] = digest(
                {
                    "form": FORM,
                    "node": node.spec.id,
                    "class": type(node).__qualname__,  # a fake of a node is not the node
                    "version": node.spec.version,
                    "settings": settings,
                    "outside": dict(node.depends_on()),
                    "device": device.partition(":")[0],
                    "precision": precision,
                }
            )
        return digests
