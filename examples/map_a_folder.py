"""Mapping: a pipeline over many pictures, as a stream, in order and in bounded memory.

python examples/map_a_folder.py [PICTURES...]
"""

from __future__ import annotations

import sys
from pathlib import Path

import visionweave as vw

samples = Path(__file__).parent / "images" / "stickers"
pictures = [Path(argument) for argument in sys.argv[1:]] or sorted(samples.rglob("*.png"))

# A ready pipeline; `visionweave pipelines` lists them. Models stay loaded while it lives.
pipeline = vw.Pipeline.load("split-objects")

# The next pictures are read and decoded while these are worked on. One that fails gives a result
# with its failures, and does not stop the others.
for result in pipeline.map(pictures, chunk=8):
    name = Path(result.name).name
    for failure in result.failures:
        print(f"{name}: {failure}")
    if result.ok:
        sizes = ", ".join(f"{w} x {h}" for h, w, _ in (c.rgba.shape for c in result["cutouts"]))
        print(f"{name}: {len(result['cutouts'])} objects, {sizes} pixels")
