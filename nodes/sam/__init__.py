"""Cut objects out along their outlines: from boxes, points, strokes, rough masks, or phrases.

Papers: Kirillov et al. 2023, "Segment Anything", arXiv:2304.02643; HQ-SAM: arXiv:2306.01567;
MobileSAM: arXiv:2306.14289; SAM 2: arXiv:2408.00714; SAM 3, for sam.text: arXiv:2511.16719.
Code, all Apache-2.0: segment-anything 1.0, timm for MobileSAM's encoder, transformers for SAM 2
and 3; what is around them is visionweave's. Checkpoints in weights.lock: sam-vit-b (profile base),
-l, -h (large), hq-sam-vit-b, -l, -h, mobile-sam, sam2.1-hiera-…-hf, sam3.
"""

from __future__ import annotations

from .nodes import Everything, Segment
from .text import Text

__all__ = ["Everything", "Segment", "Text"]
