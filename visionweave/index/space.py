"""What made an index: embeddings can be compared when the same weights made them, the same way."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

from visionweave.contract import NodeSpec
from visionweave.errors import JobError
from visionweave.weights import Checkpoint

__all__ = ["Space"]


@dataclass(frozen=True, slots=True)
class Space:
    """The weights and the node that embeddings come from.

    Attributes:
        checkpoint: the checkpoint's name.
        weights: the sha256 of its files, by name.
        node: the id of the node.
        version: the node's version, which is raised when its results change.
    """

    checkpoint: str
    weights: dict[str, str]
    node: str
    version: int

    @classmethod
    def of(cls, checkpoint: Checkpoint, node: NodeSpec) -> Self:
        """The space of what `node` makes with a checkpoint as it is listed now."""
        weights = {file.name: file.sha256 or "" for file in checkpoint.files}
        return cls(checkpoint.name, weights, node.id, node.version)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain JSON data."""
        return dataclasses.asdict(self)

    def check(self, wanted: Space, index: str) -> None:
        """Refuse to compare embeddings of this space, which `index` holds, with others.

        Raises:
            JobError: `wanted` is another space. The message says what to do.
        """
        if wanted == self:
            return
        again = f"visionweave index PHOTOS --out {index} --model {wanted.checkpoint} --overwrite"
        if (wanted.checkpoint, wanted.node) != (self.checkpoint, self.node):
            raise JobError(
                f"{index} was made with {self.checkpoint} ({self.node}), you ask for "
                f"{wanted.checkpoint} ({wanted.node}): their embeddings cannot be compared. "
                f"Use the index's own model, {self.checkpoint}; or choose another --out for an "
                f"index with {wanted.checkpoint}; or replace this one: {again}"
            )
        if wanted.weights != self.weights:
            raise JobError(
                f"{index} was made with other weights of {self.checkpoint} than those listed now\n"
                f"  expected: {_hashes(self.weights)}\n  got:      {_hashes(wanted.weights)}\n"
                f"  fix:      list the former weights again, or make the index again: {again}"
            )
        raise JobError(
            f"{index} was made with version {self.version} of {self.node}; this is version "
            f"{wanted.version}, whose embeddings differ. Make the index again: {again}"
        )


def _hashes(weights: dict[str, str]) -> str:
    return ", ".join(f"{name} {sha256[:12]}…" for name, sha256 in sorted(weights.items()))
