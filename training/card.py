"""The model card of a shipped checkpoint, from the template `card.md` beside this file.

What was measured comes from `training/figures/<name>.json`, which `training/evaluate.py` writes:

    {
      "images": 570000, "minutes": 38.5, "machine": "one thread of an AMD EPYC (Zen 3)",
      "styles": ["fluent-3d", "twemoji"],
      "trained": {"ap50": 0.81}, "held_out": {"ap50": 0.52},
      "notes": ["a sentence each"]
    }

Every key may be missing; what is missing is said to be so, never made up.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from visionweave.weights.lock import Checkpoint
from visionweave.weights.store import checkpoint_size

__all__ = ["WORDS", "card_text", "figures_path"]

TEMPLATE = Path(__file__).with_name("card.md")

WORDS: dict[str, dict[str, tuple[str, str]]] = {
    "clip": {
        "top1": ("right name first, of the whole vocabulary, one object", "0.75 / 0.35"),
        "top5": ("right name among the first five", "0.92 / 0.65"),
        "top1_zh": ("the same with Chinese names: first", "within 0.1 of English"),
        "top5_zh": ("Chinese: among the first five", ""),
    },
    "blip": {
        "one_named": ("captions that name the object, one object", "0.82 / 0.48"),
        "two_share_named": ("share of two objects that the caption names", "0.55 / -"),
        "two_both_named": ("captions that name both of two objects", "0.25 / -"),
    },
    "ram": {
        "map": ("average precision of a tag, mean over the tags", "0.75 / -"),
        "precision": ("precision of the tags given", "0.85 / -"),
        "recall": ("recall of the tags given", ""),
    },
    "grounding_dino": {
        "ap50": ("AP50 over prompts of eight names, half of them absent", "0.80 / 0.52"),
        "recall": ("recall at IoU 0.5 of 20 boxes", "0.95 / -"),
        "absent_gives_none": ("prompts of absent names that give no box", "0.90 / -"),
    },
    "sam": {
        "box_iou": ("mean IoU of masks from a box", "0.84 / 0.80"),
        "point_iou": ("mean IoU of masks from one point", "0.74 / 0.70"),
    },
    "triposr": {
        "volume_iou": ("volume IoU with the true solid, unseen things", "0.84 / 0.80"),
        "silhouette_iou": ("silhouette IoU from the input view", "0.90 / 0.88"),
        "solids_volume_iou": ("volume IoU of unseen procedural solids", "0.58"),
        "watertight": ("share of watertight meshes", "1"),
    },
    "chain": {
        "right": ("objects with the right name, mask and mesh", "0.60 / 0.35"),
        "false_per_scene": ("false objects per scene", "0.3"),
        "lost_tag": ("lost: not tagged", ""),
        "lost_box": ("lost: tagged, not boxed", ""),
        "lost_mask": ("lost: boxed, the mask is wrong", ""),
        "lost_cutout": ("lost: masked, not cut out", ""),
        "lost_mesh": ("lost: cut out, the mesh is wrong", ""),
    },
}
"""What the figures mean, and the goals: trained styles / held-out style."""

LIMITS = (
    "Things outside its vocabulary, photographs, drawings in very different styles, crowds and "
    "pictures far from the size that it was trained at: it will answer, and be wrong."
)


def card_text(checkpoint: Checkpoint, task: Any, root: Path) -> str:
    """Return the card of a checkpoint.

    Args:
        checkpoint: its row in weights.lock.
        task: the training: its docstring tells what is learnt and how; its `schedule` is shown;
            its attribute `limits`, if it has one, is added to those of all mini models.
        root: the repository.
    """
    summary, _, recipe = (inspect.getdoc(type(task)) or "").partition("\n\n")
    path = figures_path(task.name, root)
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        name=checkpoint.name,
        task=task.name,
        summary=summary,
        family=checkpoint.family,
        paper=checkpoint.paper or "our own",
        size=checkpoint_size(checkpoint),
        config=json.dumps(checkpoint.config, ensure_ascii=False),
        names=_names(),
        styles=", ".join(found.get("styles", [])) or "see `training/world/artwork.py`",
        recipe=recipe or "See the source.",
        schedule=_schedule(getattr(task, "schedule", None)),
        compute=_compute(found),
        figures=_figures(found, WORDS.get(task.name, {})),
        limits=" ".join([LIMITS, getattr(task, "limits", "")]).strip(),
        license=checkpoint.license,
        terms=checkpoint.terms,
    )


def figures_path(name: str, root: Path) -> Path:
    """Where the figures of a model lie."""
    return root / "training" / "figures" / f"{name}.json"


def _names() -> int:
    from training.world import NAMES  # reading the vocabulary takes a moment

    return len(NAMES)


def _schedule(schedule: Any) -> str:
    if not dataclasses.is_dataclass(schedule) or isinstance(schedule, type):
        return ""
    facts = dataclasses.asdict(schedule)
    return "\n".join(f"- {name}: {_number(value)}" for name, value in facts.items())


def _compute(found: Mapping[str, Any]) -> str:
    if "images" not in found:
        return "Not written down."
    parts = [f"{found['images']:,} images"]
    if "minutes" in found:
        parts.append(f"{found['minutes']:.0f} minutes")
    if "machine" in found:
        parts.append(found["machine"])
    return f"{', '.join(parts)}."


def _figures(found: Mapping[str, Any], words: Mapping[str, tuple[str, str]]) -> str:
    trained, held_out = found.get("trained", {}), found.get("held_out", {})
    notes = [f"\n{note}" for note in found.get("notes", [])]
    if not trained and not held_out:
        return "\n".join(["Not measured yet.", *notes])
    lines = ["| what | trained styles | held-out style | goal |", "|---|---|---|---|"]
    for key in dict.fromkeys([*trained, *held_out]):
        what, goal = words.get(key, (key, ""))
        figures = f"{_number(trained.get(key))} | {_number(held_out.get(key))}"
        lines.append(f"| {what} | {figures} | {goal} |")
    return "\n".join([*lines, *notes])


def _number(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"
