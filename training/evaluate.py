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
    found = {
        **training,
        "machine": f"CPU, {platform.machine()}",
        "styles": list(TRAINED),
        "trained": trained,
        "held_out": held_out,
        "notes": [f"Over {count} unseen scenes of each; noto is the style held out of training."],
    }
    FIGURES.mkdir(exist_ok=True)
    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    (FIGURES / f"{name}.json").write_text(text, encoding="utf-8")
    return found
