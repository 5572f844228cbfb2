"""TripoSR: how much of the true solid the shipped network finds, of things it never saw."""

from __future__ import annotations

from training.models._triposr_measure import drawings, solids
from training.models.triposr import UNSEEN
from training.world import World
from visionweave.nodes.triposr import Mesh
from visionweave.runtime import Runtime

__all__ = ["measure_shape"]


def measure_shape(styles: tuple[str, ...], count: int) -> dict[str, float]:
    """Return the volume IoU with the truth, that of silhouettes, and the share of closed meshes.

    The truth of a drawing is the rule that inflates it, so its volume IoU tells how well that rule
    and the outline were learnt, not how well depth is seen. Procedural solids have hidden depth.
    """
    node = Mesh(model="mini")
    node.ensure_loaded(Runtime.get())
    network = node._net
    found = drawings(network, World(styles, "test", only=UNSEEN), count, meshes=count)
    procedural = solids(network, count)
    return found | {
        "solids_volume_iou": procedural["solids_iou"],
        "watertight": (found["watertight"] + procedural["solids_watertight"]) / 2,
    }
