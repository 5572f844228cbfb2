"""The job that is killed: it fetches a model, and runs it over photos."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import PIL.Image

import visionweave as vw
from visionweave.cache import Cache
from visionweave.jobs.job import Job, run_job
from visionweave.jobs.photos import find_photos
from visionweave.weights import checkpoint, verified_files
from visionweave.weights.pull import pull

MODEL, FAMILY = "crash-model", "crash"
PHOTOS = 24


@vw.node("crash.detect")
class Detect(vw.ModelNode):
    """Boxes, about as many as the photo's first pixel says; the same every time."""

    def __init__(self, more: int = 0, model: str = MODEL) -> None:
        self.more, self.model = more, model

    def load(self, runtime: vw.Runtime) -> None:
        files = verified_files(checkpoint(self.model, FAMILY)).values()
        self.table = np.frombuffer(b"".join(path.read_bytes() for path in files), np.uint8)

    def forward_context(self) -> AbstractContextManager[None]:
        return nullcontext()

    async def run(self, image: vw.Image) -> vw.Boxes:
        count = await self.forward(int(image.pixels[0, 0, 0]))
        xyxy = np.array([[x, 0, x + 8, 8] for x in range(count)], np.float32).reshape(-1, 4)
        return vw.Boxes(xyxy, image.image_hw, photo=image.origin.photo)

    @vw.batched(size=4)
    def forward(self, numbers: list[int]) -> list[int]:
        time.sleep(0.002)
        weights = [int(self.table[number % len(self.table)]) for number in numbers]
        return [
            number + weight % 3 + self.more
            for number, weight in zip(numbers, weights, strict=True)
        ]  # fmt: skip


@vw.node("crash.cut")
class Cut(vw.Node):
    """A cutout for each box."""

    def run(self, image: vw.Image, boxes: vw.Boxes) -> list[vw.Cutout]:
        rgba = np.dstack([image.pixels[:64, :64], np.full((64, 64), 255, np.uint8)])
        return [
            vw.Cutout(np.roll(rgba, i, axis=1), tuple(boxes.xyxy[i]), boxes.origin(i))
            for i in range(len(boxes))
        ]


@vw.node("crash.describe")
class Describe(Detect):
    """A text about a cutout; for some, none."""

    async def run(self, cutout: vw.Cutout) -> vw.Text:
        total = await self.forward(int(cutout.rgba.sum()))
        if total % 11 == 0:
            raise ValueError(f"{total} is divided by 11")
        return vw.Text(f"{total} of {cutout.origin.photo}", cutout.origin)


def pipeline(more: int) -> vw.Pipeline:
    photo = vw.Input("photo", vw.Image)
    boxes = Detect(more)(photo)
    cutouts = Cut()(photo, boxes)
    return vw.Pipeline(boxes=boxes, cutouts=cutouts, texts=Describe()(cutouts))


def make_photos(folder: Path) -> None:
    """Photos of noise, in two folders, of 0 to 8 objects."""
    noise = np.random.default_rng(0)
    for number in range(PHOTOS):
        pixels = noise.integers(0, 256, (80, 96, 3), np.uint8)
        pixels[0, 0, 0] = number % 6
        path = folder / f"{'street' if number % 2 else 'yard'}/{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(pixels).save(path)


def work(folder: Path, out: Path, cache: Path, more: int) -> int:
    """Fetch what is missing of the model, and run the job, in this process."""
    pull(checkpoint(MODEL, FAMILY))
    with Cache(cache) as opened:
        job = Job(
            "crash", pipeline(more), find_photos([str(folder)]), out, photo_input="photo",
            chunk=5, device="cpu", precision="fp32", cache=opened, hashes=opened.photos,
        )  # fmt: skip
        return run_job(job).exit_code
