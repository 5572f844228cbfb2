"""Words about a picture: captions, answers to questions, and how well phrases fit.

Papers: Li et al. 2022, "BLIP: Bootstrapping Language-Image Pre-training for Unified
Vision-Language Understanding and Generation", arXiv:2201.12086; BLIP-2: Li et al. 2023,
arXiv:2301.12597.
Code: transformers (Apache-2.0). Weights: the entries of family "blip" in weights.lock,
BSD-3-Clause; BLIP-2's language models have licences of their own.
"""

from __future__ import annotations

from .nodes import Answer, BlipNode, Caption, Match

__all__ = ["Answer", "BlipNode", "Caption", "Match"]
