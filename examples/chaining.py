"""The chaining API: write a pipeline in Python, run it on one picture and on a folder.

python examples/chaining.py [PICTURES...]
"""

from __future__ import annotations

import sys
from pathlib import Path

import visionweave as vw
from visionweave.nodes import image, masks, objects

# A graph is written by calling nodes on inputs and on each other's outputs. Nothing runs yet, but
# every connection is checked here: a wrong one is an error of its own line.
photo = vw.Input("photo", vw.Image)
parts = masks.Clean()(image.AlphaMasks(label="sticker")(photo))
flagged = objects.Flag()(parts)
cutouts = image.CutOut(margin=0.1, square=True)(photo, flagged.good)
overlay = image.Draw()(photo, masks=flagged.masks)
pipeline = vw.Pipeline(masks=parts, cutouts=cutouts, overlay=overlay)
print(pipeline)

samples = sorted((Path(__file__).parent / "images").rglob("*.png"))
pictures = [Path(argument) for argument in sys.argv[1:]] or samples

# One picture.
result = pipeline.run(photo=pictures[0])
for cutout in result["cutouts"]:
    print(f"{cutout.origin}: {cutout.rgba.shape[1]} x {cutout.rgba.shape[0]} pixels")

# Many: a stream, in order, in bounded memory. A picture that fails does not stop the others.
for result in pipeline.map(pictures):
    print(f"{Path(result.name).name}: {len(result['masks'])} objects")
    for failure in result.failures:
        print(f"  {failure}")

# A node called with values just runs.
small = image.Resize(longest=100)(pictures[0])
print(f"small: {small.size_wh[0]} x {small.size_wh[1]}")

# The same graph as a pipeline file, for the command line.
print(pipeline.to_yaml())
