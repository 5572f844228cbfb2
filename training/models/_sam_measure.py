"""What a small SAM gets right about a scene, through the code that the node runs."""

from __future__ import annotations

import cv2
import numpy as np

from training.world import Scene
from visionweave.nodes.sam.frame import Frame
from visionweave.nodes.sam.net import SamNet
from visionweave.nodes.sam.prompts import Asked

from ._sam_prompts import Floats, Mask, deepest, roughened, stroke, tight_box
from ._sam_pupil import SHAPE

__all__ = ["measured"]


def measured(net: SamNet, scene: Scene, rng: np.random.Generator) -> list[tuple[str, float]]:
    """Return the IoU of the masks of each object of a scene, by the way in which it is asked for.

    "box": an exact box. "point": a click at the deepest place, the model choosing one of its three
    masks; "point_single": its single one. "stroke", "rough": single masks. "box_edge": as "box",
    but near the outlines only, within 2% of the diagonal (Cheng et al. 2021, arXiv:2103.16562).
    """
    frame = Frame(scene.ids.shape, SHAPE.image_size, SHAPE.low_size)
    (embedding,) = net.encode([frame.scaled(scene.image)])
    found = []
    for number in range(1, len(scene.objects) + 1):
        mask = scene.ids == number
        ways = _ways(mask, frame, embedding, rng)
        answers = dict(zip(ways, net.decode(list(ways.values()), multimask=False), strict=True))
        answers["point"] = net.decode([ways["point_single"]], multimask=True)[0]
        for name, (logits, iou) in answers.items():
            drawn = frame.full_logits(logits[iou.argmax()]) > 0
            found.append((name, _iou(drawn, mask)))
            if name == "box":
                found.append(("box_edge", _iou(_rim(drawn), _rim(mask))))
    return found


def _ways(
    mask: Mask, frame: Frame, embedding: object, rng: np.random.Generator
) -> dict[str, Asked]:
    box, rough = frame.box(tight_box(mask)).astype(np.float32), roughened(mask, rng)
    nowhere, unsaid = np.zeros((0, 2), np.float32), np.zeros(0, bool)

    def on(xy: Floats) -> Asked:
        return Asked(embedding, frame.xy(xy).astype(np.float32), np.ones(len(xy), bool))

    return {
        "box": Asked(embedding, nowhere, unsaid, box),
        "point_single": on(deepest(mask)),
        "stroke": on(stroke(mask, 5, rng)),
        "rough": Asked(embedding, nowhere, unsaid, box, frame.low_logits(rough)[None]),
    }


def _rim(mask: Mask) -> Mask:
    """Return the pixels of a mask that are near its outline."""
    width = max(1, round(0.02 * np.hypot(*mask.shape)))
    framed = np.pad(mask.astype(np.uint8), 1)
    core = cv2.erode(framed, np.ones((3, 3), np.uint8), iterations=width)[1:-1, 1:-1]
    return mask & (core == 0)


def _iou(one: Mask, other: Mask) -> float:
    either = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / either if either else 1.0
