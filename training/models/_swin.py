"""The Swin that mini-ram and mini-grounding-dino share: what each may begin with of the other.

Both have the same sizes and both learn to name cells, so what one has learnt to see serves the
other. The keys differ, and so does the place of the last norm: Grounding DINO's detector reads the
last stage through a norm of its own, RAM through the Swin's.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ["DETECTOR_SWIN", "TAGGER_SWIN", "for_detector", "for_tagger"]

TAGGER_SWIN = "visual_encoder."
DETECTOR_SWIN = "network.model.backbone.conv_encoder.model."

_PLACES = {
    TAGGER_SWIN: f"{DETECTOR_SWIN}swin.",
    "dense_norm.": f"{DETECTOR_SWIN}hidden_states_norms.stage2.",
    "dense_fine.": "cell_heads.0.",
    f"{TAGGER_SWIN}layernorm.": f"{DETECTOR_SWIN}hidden_states_norms.stage3.",
}
"""Where a tagger's keys are in a detector: the Swin; the norm and the head of its finer cells; the
last norm, which overrules what the first line says of it."""


def for_detector(tagger: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return what mini-ram's training network gives mini-grounding-dino's, by the latter's keys."""
    return {
        new + key.removeprefix(old): tensor
        for old, new in _PLACES.items()
        for key, tensor in tagger.items()
        if key.startswith(old)
    }


def for_tagger(detector: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return what mini-grounding-dino's training network gives mini-ram's, by the latter's keys."""
    return {
        old + key.removeprefix(new): tensor
        for old, new in _PLACES.items()
        for key, tensor in detector.items()
        if key.startswith(new)
    }
