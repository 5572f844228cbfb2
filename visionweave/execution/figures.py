"""What was found out of each model on this machine: batch sizes, memory, time.

A model is known by its node, the sha256 of its weights, the device and the precision. The figures
are in `models.json` in the cache folder, until the machine or torch changes
(`visionweave.machine`).
"""

from __future__ import annotations

from typing import Any

from visionweave.cache.steps import weights_of
from visionweave.canonical import digest
from visionweave.contract import Node
from visionweave.errors import WeightsError
from visionweave.machine import Memo
from visionweave.weights.lookup import checkpoint

__all__ = ["Figures", "model_key"]

_MEMO = Memo("models.json")


class Figures:
    """The figures of models; read when they are first asked for.

    Args:
        device: where the models run, in torch's words.
        precision: how they compute.
    """

    def __init__(self, device: str, precision: str) -> None:
        self._where = f"{device} {precision}"
        self._known: dict[str, Any] | None = None
        self._keys: dict[int, str] = {}

    def of(self, node: Node) -> dict[str, Any]:
        """What is known of a node's model; nothing where that is no table."""
        if self._known is None:
            self._known = _MEMO.read()
        found = self._known.get(self._key(node))
        return dict(found) if isinstance(found, dict) else {}

    def change(self, node: Node, found: dict[str, Any]) -> None:
        """Remember something of a node's model, beside what is known under other names."""
        key = self._key(node)
        self._known = _MEMO.read()  # another process may have found out something
        self._known[key] = self.of(node) | found
        _MEMO.change({key: self._known[key]})

    def _key(self, node: Node) -> str:
        if id(node) not in self._keys:
            self._keys[id(node)] = f"{model_key(node)} {self._where}"
        return self._keys[id(node)]


def model_key(node: Node) -> str:
    """Return by what a node's model is known: the node's id, and a digest of what it computes with.

    Of a node with a checkpoint that is the checkpoint; settings that say what becomes of its
    answers do not matter. Of any other, it is the settings.
    """
    try:
        model: Any = weights_of(checkpoint(str(node.settings["model"]), node.spec.id))
    except (KeyError, WeightsError):
        model = dict(node.settings)
    kind = f"{type(node).__module__}.{type(node).__qualname__}"  # a fake of a node is not the node
    return f"{node.spec.id} {digest([node.spec.version, kind, model])[:16]}"
