"""Drawing a pipeline: as text for a terminal, as a Mermaid flowchart, as an SVG picture.

All three are made from one `Diagram` (`diagram.py`), without a network or another program. The same
pipeline gives the same text, byte for byte.
"""

from visionweave.show.mermaid import to_mermaid
from visionweave.show.svg import to_svg
from visionweave.show.text import to_text

__all__ = ["to_mermaid", "to_svg", "to_text"]
