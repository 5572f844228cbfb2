"""Tag2Text, RAM and RAM++: what is in a photo, as tags, and a caption that those guide.

Paper: Tag2Text, Huang et al. 2023, arXiv:2303.05657; RAM (Recognize Anything), Zhang et al. 2023,
arXiv:2306.03514; RAM++, Huang et al. 2023, arXiv:2310.15200. Code: written here from the papers
(upstream github.com/xinyu1205/recognize-anything, Apache-2.0), on transformers' Swin and BLIP text
classes. weights.lock: the entries of family "tag2text"; `config` reads theirs.
"""

from __future__ import annotations

from .caption import Caption, FromCaption
from .nodes import OpenSet, Tag

__all__ = ["Caption", "FromCaption", "OpenSet", "Tag"]
