"""Chaining: write a pipeline in Python, run it, and keep it as a file for the command line.

python examples/chaining.py [PICTURE]
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

# It runs on one picture; examples/map_a_folder.py runs one on many.
sample = Path(__file__).parent / "images" / "stickers" / "kitchen" / "breakfast.png"
result = pipeline.run(photo=sys.argv[1] if len(sys.argv) > 1 else sample)
for cutout in result["cutouts"]:
    print(f"{cutout.origin}: {cutout.rgba.shape[1]} x {cutout.rgba.shape[0]} pixels")

# The same graph as a pipeline file: visionweave run mine.yaml photos/ -o out/
print(pipeline.to_yaml())
