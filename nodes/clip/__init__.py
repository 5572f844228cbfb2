"""What a picture and a text have in common: CLIP embeddings, rankings, classification, search.

Paper: Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision",
arXiv:2103.00020; SigLIP: Zhai et al. 2023, arXiv:2303.15343; SigLIP 2: Tschannen et al. 2025,
arXiv:2502.14786.
Code: open_clip (MIT) by default, transformers (Apache-2.0) where the checkpoint is in its layout.
Weights: the entries of family "clip" in weights.lock, each under a licence of its own.
"""

from __future__ import annotations

from .base import ClipNode
from .nodes import Classify, Embed, Rank
from .search import Search

__all__ = ["Classify", "ClipNode", "Embed", "Rank", "Search"]
