"""What sharing a node's long calls among threads brings: cutting objects out of large photos.

    python benchmarks/side_by_side.py
    python benchmarks/side_by_side.py --photos 2 --rounds 3

Discs are cut out of photos of 12 megapixels, with the calls of a step one after another and shared
among threads. The two take turns within one run; medians are printed, and the cutouts compared.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

import numpy as np
import PIL.Image

import visionweave as vw
from visionweave.execution import side_by_side
from visionweave.nodes.image import CutOut

SIZE_WH = (4000, 3000)
WAYS = {"one after another": float("inf"), "shared among threads": side_by_side.LONG}
"""After how many seconds of a call the rest is shared out."""


def make_items(photos: int, objects: int) -> list[dict[str, vw.Value]]:
    """Photos, and discs of different sizes in them."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[: SIZE_WH[1], : SIZE_WH[0]]
    items: list[dict[str, vw.Value]] = []
    for _ in range(photos):
        small = random.integers(0, 256, (30, 40, 3), np.uint8)
        pixels = np.asarray(PIL.Image.fromarray(small).resize(SIZE_WH))
        places = random.integers([500, 500, 100], [3500, 2500, 500], (objects, 3))
        discs = np.stack([(x - cx) ** 2 + (y - cy) ** 2 < radius**2 for cx, cy, radius in places])
        items.append({"photo": vw.Image.from_array(pixels), "masks": vw.Masks.from_array(discs)})
    return items


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photos", type=int, default=4)
    parser.add_argument("--objects", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    items = make_items(options.photos, options.objects)
    cut = CutOut()(vw.Input("photo", vw.Image), vw.Input("masks", vw.Masks))
    pipeline = vw.Pipeline(cutouts=cut)
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    found: dict[str, list[list[vw.Cutout]]] = {}
    for _ in range(options.rounds + 1):  # the first is thrown away
        for name, long in WAYS.items():
            side_by_side.LONG = long
            started = time.perf_counter()
            found[name] = [result["cutouts"] for result in pipeline.map(items)]
            seconds[name].append(time.perf_counter() - started)
    one, other = found.values()
    same = all(
        np.array_equal(a.rgba, b.rgba)
        for cutouts, others in zip(one, other, strict=True)
        for a, b in zip(cutouts, others, strict=True)
    )
    medians = {name: statistics.median(each[1:]) for name, each in seconds.items()}
    slowest = max(medians.values())
    print(
        f"{options.objects} objects cut out of each of {options.photos} photos of 12 megapixels, "
        f"{os.cpu_count()} cores; medians of {options.rounds} rounds; the cutouts are "
        f"{'equal' if same else 'NOT EQUAL'}\n"
    )
    print("| calls of a step | seconds | times as fast |\n|---|---|---|")
    for name, median in medians.items():
        print(f"| {name} | {median:.3f} | {slowest / median:.2f} |")


if __name__ == "__main__":
    main()
