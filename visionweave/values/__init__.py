"""The typed values that travel between nodes. Each is frozen, checks itself once, and has one
lossless file form.

The coordinate law, for all of them: pixels of the original photo, upright by its EXIF orientation;
x right, y down, (0, 0) the top left corner of the first pixel; boxes are x1, y1, x2, y2 with x2 and
y2 exclusive; masks are bool at the photo's size; images are RGB uint8, height x width x channels.
"""

from visionweave.values.base import JsonValue, Value
from visionweave.values.checks import Box
from visionweave.values.cutout import Cutout, Views
from visionweave.values.embedding import Embedding
from visionweave.values.geometry import Boxes, Points, Scribble
from visionweave.values.image import Image
from visionweave.values.masks import Masks
from visionweave.values.mesh import Mesh
from visionweave.values.origin import Origin
from visionweave.values.words import Hits, Tags, Text

__all__ = [
    "TYPES",
    "Box",
    "Boxes",
    "Cutout",
    "Embedding",
    "Hits",
    "Image",
    "JsonValue",
    "Masks",
    "Mesh",
    "Origin",
    "Points",
    "Scribble",
    "Tags",
    "Text",
    "Value",
    "Views",
]

TYPES: dict[str, type[Value]] = {
    cls.__name__: cls
    for cls in (
        Image,
        Text,
        Tags,
        Boxes,
        Points,
        Scribble,
        Masks,
        Cutout,
        Embedding,
        Hits,
        Views,
        Mesh,
    )
}
"""Every value type by the name that pipeline files use."""
