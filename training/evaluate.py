"""Measure the shipped mini models on scenes never trained on, and write what their cards tell.

`training/figures/<name>.json` is what `card.py` reads; `chain.json` holds the figures of the chain.
"""

from __future__ import annotations

import importlib
import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

from training.world import HELD_OUT, TRAINED

__all__ = ["FIGURES", "MEASURES", "evaluate"]

FIGURES = Path(__file__).parent / "figures"

Measure = Callable[[tuple[str, ...], int], dict[str, float]]

MEASURES: dict[str, str] = {
    "grounding_dino": "detection:measure_detection",
    "sam": "segmentation:measure_segmentation",
    "clip": "naming:measure_ranking",
    "ram": "naming:measure_tags",
    "blip": "naming:measure_captions",
    "triposr": "shape:measure_shape",
    "chain": "chain:measure_chain",
}
"""Where each measure is defined, below training.evaluation."""

GOALS: dict[str, dict[str, tuple[str, str]]] = {
    "grounding_dino": {
        "ap50": ("AP50 over prompts of 8 names, half of them absent, NMS 0.5", "0.80 / 0.52"),
        "recall": ("recall at IoU 0.5, 20 queries", "0.95"),
        "absent_gives_none": ("prompts of absent names only that give no box", "0.90"),
    },
    "sam": {
        "box_iou": ("mean IoU from a box", "0.84 / 0.80"),
        "point_iou": ("mean IoU from one point, the model choosing among its masks", "0.74 / 0.70"),
    },
    "clip": {
        "top1": ("the right name of all comes first", "0.75 / 0.35"),
        "top5": ("among the first five", "0.92 / 0.65"),
        "top1_zh": ("the right Chinese name comes first", "within 0.1 of English"),
        "top5_zh": ("among the first five", ""),
    },
    "ram": {
        "map": ("mean average precision of tags over scenes", "0.75"),
        "precision": ("precision at the shipped thresholds", "0.85"),
        "recall": ("recall at the shipped thresholds", ""),
    },
    "blip": {
        "one_named": ("one object: named by the caption", "0.82 / 0.48"),
        "two_share_named": ("two objects: share that is named", "0.55"),
        "two_both_named": ("two objects: both named", "0.25"),
    },
    "triposr": {
        "volume_iou": ("volume IoU with the true solid, unseen objects", "0.84 / 0.80"),
        "silhouette_iou": ("silhouette IoU from the input view, unseen objects", "0.90 / 0.88"),
        "solids_volume_iou": ("volume IoU, unseen procedural solids", "0.58"),
        "watertight": ("watertight meshes", "1"),
    },
    "chain": {
        "right": ("objects with the right name, mask and mesh", "0.60 / 0.35"),
        "false_per_scene": ("false objects per scene", "0.3"),
        "lost_tag": ("lost: not tagged", ""),
        "lost_box": ("lost: tagged, not boxed", ""),
        "lost_mask": ("lost: boxed, mask wrong", ""),
        "lost_cutout": ("lost: masked, not cut out", ""),
        "lost_mesh": ("lost: cut out, mesh wrong", ""),
    },
}
"""What is measured, in words, and what we want: in the trained styles / in the held-out one."""


def evaluate(name: str, count: int, training: dict[str, Any]) -> dict[str, Any]:
    """Measure one model, or the chain, through the nodes; write and return its figures.

    Args:
        name: one of `MEASURES`.
        count: how many scenes of each kind of style.
        training: what the run says of itself: "images", "minutes".
    """
    module, function = MEASURES[name].split(":")
    measure: Measure = getattr(importlib.import_module(f"training.evaluation.{module}"), function)
    trained, held_out = measure(TRAINED, count), measure(HELD_OUT, count)
    rows = [
        {"what": what, "trained": trained[key], "held_out": held_out.get(key), "goal": goal}
        for key, (what, goal) in GOALS[name].items()
    ]
    found = {
        **training,
        "machine": f"CPU, {platform.machine()}",
        "styles": list(TRAINED),
        "figures": rows,
        "notes": [f"Over {count} unseen scenes of each; noto is the style held out of training."],
    }
    FIGURES.mkdir(exist_ok=True)
    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    (FIGURES / f"{name}.json").write_text(text, encoding="utf-8")
    return found
