"""Find things in a photo by naming them: phrases in, boxes out.

Paper: Liu et al. 2023, "Grounding DINO: Marrying DINO with Grounded Pre-Training for Open-Set
Object Detection", arXiv:2303.05499. Code: IDEA-Research/GroundingDINO, Apache-2.0; it runs through
transformers, Apache-2.0. weights.lock: the entries of family "grounding_dino".
"""

from __future__ import annotations

from .nodes import Detect

__all__ = ["Detect"]
