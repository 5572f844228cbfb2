"""Which of SAM's relatives a checkpoint is, and the way out where none of our networks reads it.

There are three: `_sam_net` for SAM, HQ-SAM and MobileSAM, in the names of their authors; and
`_sam2_net` and `_sam3_net` for SAM 2 and SAM 3, in transformers' names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from visionweave import WeightsError
from visionweave.weights import Checkpoint
from visionweave.weights.lock import read_lock

from .hub import HubShape
from .shape import SamShape

__all__ = ["shape_of", "text_shape_of"]


def shape_of(entry: Checkpoint, files: Mapping[str, Path] | None = None) -> SamShape | HubShape:
    """Return the sizes of a model that boxes, points and masks are put to.

    Args:
        entry: the checkpoint.
        files: its files, once they are verified; a config.json among them is read.

    Raises:
        WeightsError: it is no such model, or in a form that is not read.
    """
    kind = _kind(entry)
    if kind == "sam3":
        raise WeightsError(
            f"{entry.name} answers phrases, which sam.text puts to it; for boxes, points and masks "
            "take a SAM or SAM 2.1 with the setting 'model', such as sam-vit-b"
        )
    if kind == "sam2":
        return HubShape.read(entry, kind, files)
    return SamShape.from_config(entry.config, entry.name)


def text_shape_of(entry: Checkpoint, files: Mapping[str, Path] | None = None) -> HubShape:
    """Return the sizes of a model that phrases are put to; as `shape_of`."""
    if _kind(entry) != "sam3":
        raise WeightsError(
            f"{entry.name} finds no phrases: it has no text encoder, and neither has the SAM of "
            "any of the profiles mini, base and large. Go through boxes, as the ready pipeline "
            "'segment' does with grounding_dino.detect and sam.segment; or take a SAM 3 with the "
            f"setting 'model': {_readable('sam3')}"
        )
    return HubShape.read(entry, "sam3", files)


def _kind(entry: Checkpoint) -> str:
    """Return "sam", "sam2" or "sam3".

    Raises:
        WeightsError: the checkpoint is in a form that is not read.
    """
    variant = str(entry.config.get("variant"))
    kind = str(entry.config.get("model_type", variant if variant == "sam3" else "sam"))
    if kind in ("sam2", "sam3") and entry.config.get("naming") == "original":
        raise WeightsError(
            f"{entry.name} is in the names of its authors' code, which are read of SAM, HQ-SAM and "
            "MobileSAM alone; take one in transformers' names, with the setting 'model': "
            f"{_readable(kind)}"
        )
    if variant.startswith("efficient_"):
        raise WeightsError(
            f"{entry.name} is an EfficientSAM, which runs in its authors' code alone: its decoder "
            "is one of its own, which takes no rough masks and no negative points. Of the small "
            "models, take mobile-sam or sam2.1-hiera-small-hf with the setting 'model'"
        )
    return "sam" if kind == "sam_hq" else kind


def _readable(kind: str) -> str:
    """The names of the listed checkpoints of a kind that transformers builds."""
    form = {"model_type": kind, "naming": "transformers"}
    known = read_lock().checkpoints.items()
    return ", ".join(name for name, each in known if form.items() <= each.config.items())
