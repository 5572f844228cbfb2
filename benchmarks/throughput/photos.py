"""Photos to measure with: textured, each another, the same on every machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image

SIZE_WH = (1280, 960)


def make_photos(folder: Path, count: int, size_wh: tuple[int, int] = SIZE_WH) -> list[Path]:
    """Write JPEGs of some 500 kB each, as large as a camera's would be at this size."""
    folder.mkdir(parents=True, exist_ok=True)
    width, height = size_wh
    random = np.random.default_rng(0)
    grain = random.normal(0, 12, (height, width, 3))
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    paths = []
    for number in range(count):
        picture = np.roll(grain, 97 * number, axis=1)
        for _ in range(12):  # discs of all sizes, so that there are edges
            (cx, cy, radius), colour = random.uniform(0, 1, 3), random.uniform(-90, 90, 3)
            picture[(x - cx) ** 2 + (y - cy) ** 2 < (0.05 + 0.2 * radius) ** 2] += colour
        pixels = np.clip(128 + picture, 0, 255).astype(np.uint8)
        paths.append(folder / f"{number:05}.jpg")
        PIL.Image.fromarray(pixels).save(paths[-1], quality=88)
    return paths
