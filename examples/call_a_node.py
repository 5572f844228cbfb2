"""Calling nodes with values: each call runs at once, like any function.

python examples/call_a_node.py
"""

from __future__ import annotations

from pathlib import Path

import visionweave as vw
from visionweave.nodes import image, masks, tags

picture = Path(__file__).parent / "images" / "stickers" / "outdoors.png"

# Settings are given when a node is made, inputs when it is called. A path is a photo.
small = image.Resize(longest=100)(picture)
print(f"small: {small.size_wh[0]} x {small.size_wh[1]}")

# What comes out of one goes into the next.
photo = vw.Image.open(picture)
found = image.AlphaMasks(label="sticker")(photo)
print(f"{len(found)} stickers, {found.areas.tolist()} pixels large")

# Values are indexed like arrays, and all that belongs to an object stays together.
large = found[found.areas > 12_000]
print(f"the large ones: {large.boxes.ids.tolist()}, boxes {large.boxes.xyxy.astype(int).tolist()}")
print(f"none is left: {len(masks.Filter(min_score=1.0, max_area=0.001)(large))}")

# Plain data is taken where it is clear what it means: a list of phrases is Tags.
print(f"for a detector: {tags.Clean()(['Cats', 'a sunny day', 'sunny', 'cat']).phrases}")

# A list is one call for each of its elements, in batches.
print([each.size_wh for each in image.Resize(longest=10)([photo, small])])
