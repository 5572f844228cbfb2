"""The flagship in Python: every object of a photo, named, cut out and made a 3D model.

    python examples/objects_to_3d.py [PICTURES...]

It runs with the models that come with visionweave, which know stickers. For photographs choose
published ones, once they are fetched: `pipeline.with_profile("base")`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import visionweave as vw
from visionweave.nodes import (
    boxes,
    grounding_dino,
    image,
    masks,
    mesh,
    sam,
    tag2text,
    tags,
    triposr,
)

photo = vw.Input("photo", vw.Image)
names = tags.Clean(singular=False)(tag2text.Tag()(photo))
found = boxes.Nms(iou=0.5)(grounding_dino.Detect()(photo, names))
outlined = masks.Dedupe()(masks.Clean()(sam.Segment()(photo, found)))
cutouts = image.CutOut()(photo, outlined)
meshes = mesh.Clean()(triposr.Mesh()(cutouts))
pipeline = vw.Pipeline(names=names, masks=outlined, meshes=meshes, about=mesh.Report()(meshes))

samples = Path(__file__).parent / "images" / "scenes"
pictures = [Path(argument) for argument in sys.argv[1:]] or sorted(samples.glob("*.jpg"))[:3]
for result in pipeline.map(pictures):
    print(f"{Path(result.name).name}: {', '.join(result['names'].phrases) or 'nothing'}")
    for text in result["about"]:
        print(f"  {text.origin.label}: {text}")
