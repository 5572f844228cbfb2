"""Objects: a node that takes one thing runs for each of several, and results know whose they are.

python examples/batch_over_objects.py
"""

from __future__ import annotations

from pathlib import Path

import visionweave as vw
from visionweave.nodes import image

folder = Path(__file__).parent / "images" / "stickers"

# Cropping one photo gives a list of crops. `Resize` takes one image, so that it runs for each of
# them: that is decided when the graph is written, and it is printed.
photo, boxes = vw.Input("photo", vw.Image), vw.Input("boxes", vw.Boxes)
crops = image.Crop(margin=0.1, square=True)(photo, boxes)
small = image.Resize(longest=32)(crops)
pipeline = vw.Pipeline(crops=crops, small=small)
print(pipeline)

# With several photos, models get the objects of all of them in common batches, but objects of
# different photos never mix. A photo without objects gives empty lists.
photos = [vw.Image.open(path, path.name) for path in sorted(folder.rglob("*.png"))]
found = image.AlphaMasks(label="sticker")(photos)
none = vw.Boxes.empty(photos[0].image_hw)
items = [
    {"photo": each, "boxes": objects.boxes} for each, objects in zip(photos, found, strict=True)
]
for result in pipeline.map([*items, {"photo": photos[0], "boxes": none}]):
    print(f"{len(result['small'])} of {result.name}")
    for crop in result["small"]:
        print(f"  {crop.origin}: {crop.size_wh[0]} x {crop.size_wh[1]}")
