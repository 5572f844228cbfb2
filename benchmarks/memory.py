"""Whether a job takes more memory when it has more photos.

    python benchmarks/memory.py                     # 500 photos, and 10,000
    python benchmarks/memory.py --photos 2000 --beside 200

Photos of 160 x 120 with 8 objects each go through models (made up, without torch) that find boxes,
then masks, and through the nodes that clean masks and cut objects out; the job draws overlays. All
is written, and kept in a result cache. The photos show a few dozen pictures, but no two have the
same bytes, so that every one is computed. Each job runs in a process of its own; what is printed is
the peak of its memory, as the system has counted it, and after every tenth of the photos what it
held.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import PIL.Image

import visionweave as vw
from visionweave.cache import Cache
from visionweave.jobs.job import Job, run_job
from visionweave.jobs.peak import Peak
from visionweave.jobs.photos import find_photos
from visionweave.nodes.image import CutOut
from visionweave.nodes.masks import Clean

ORIGINALS = 50
OBJECTS = 8
SIZE_WH = (160, 120)


@vw.node("memory.find")
class Find(vw.ModelNode):
    """Eight boxes, in places that the photo's pixels say."""

    def load(self, runtime: vw.Runtime) -> None:
        pass

    def forward_context(self) -> AbstractContextManager[None]:
        return nullcontext()

    async def run(self, image: vw.Image) -> vw.Boxes:
        xyxy = await self.forward(image.pixels[:OBJECTS, 0].astype(np.float32))
        labels = [f"thing {index}" for index in range(OBJECTS)]
        return vw.Boxes(xyxy, image.image_hw, labels, photo=image.origin.photo)

    @vw.batched(size=16)
    def forward(self, corners: list[np.ndarray]) -> list[np.ndarray]:
        return [np.hstack([each[:, :2], each[:, :2] + 15 + each[:, 2:] / 8]) for each in corners]


@vw.node("memory.segment")
class Segment(Find):
    """The discs in boxes."""

    async def run(self, image: vw.Image, boxes: vw.Boxes) -> vw.Masks:
        height, width = boxes.image_hw
        y, x = np.mgrid[:height, :width]
        middles = (boxes.xyxy[:, :2] + boxes.xyxy[:, 2:]) / 2
        masks = [(x - cx) ** 2 + (y - cy) ** 2 < 9**2 for cx, cy in middles]
        return vw.Masks.from_array(np.stack(masks), boxes)


class Watch(Peak):
    """Prints how much memory the process holds, after every tenth of the photos."""

    def __init__(self, photos: int) -> None:
        super().__init__()
        self.every, self.done = max(1, photos // 10), 0

    def item_finished(self, result: vw.Result) -> None:
        self.done += 1
        if self.done % self.every == 0:
            self.ask()
            print(f"  {self.done:>6} photos: {held() / 2**20:.0f} MB now", flush=True)


def held() -> int:
    """How many bytes of memory this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def make_photos(folder: Path, count: int) -> None:
    """Some photos, and those again with other bytes behind the picture."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"{number // 1000:02}" / f"{number:05}.png"
        path.parent.mkdir(exist_ok=True)
        if number < ORIGINALS:
            small = random.integers(0, 200, (SIZE_WH[1] // 8, SIZE_WH[0] // 8, 3), np.uint8)
            picture = PIL.Image.fromarray(small).resize(SIZE_WH)
            pixels = np.asarray(picture).copy()
            pixels[:OBJECTS, 0] = random.integers(0, 90, (OBJECTS, 3))
            PIL.Image.fromarray(pixels).save(path)
        else:
            original = folder / "00" / f"{number % ORIGINALS:05}.png"
            path.write_bytes(original.read_bytes() + number.to_bytes(4, "little"))


def run(photos: Path, out: Path, limit: int | None) -> tuple[int, float]:
    """Run the job; return the peak of this process's memory, and photos per second."""
    photo = vw.Input("photo", vw.Image)
    boxes = Find()(photo)
    masks = Clean()(Segment()(photo, boxes))
    pipeline = vw.Pipeline(boxes=boxes, masks=masks, cutouts=CutOut()(photo, masks))
    found = find_photos([str(photos)])[:limit]
    watch = Watch(len(found))
    started = time.perf_counter()
    with Cache(out.with_name(f"{out.name}-cache")) as cache:
        job = Job(
            "memory", pipeline, found, out, photo_input="photo", device="cpu", precision="fp32",
            cache=cache, hashes=cache.photos,
        )  # fmt: skip
        summary = run_job(job, [watch])
    assert summary.counts == {"ok": len(found)}, summary
    watch.ask()
    return watch.bytes["process"], len(found) / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photos", type=int, default=10_000)
    parser.add_argument("--beside", type=int, default=500, help="of the job to compare with")
    options = parser.parse_args()
    peaks = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_photos(folder / "photos", max(options.photos, options.beside))
        for count in (options.beside, options.photos):
            print(f"{count} photos, {OBJECTS} objects each", flush=True)
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                arguments = (folder / "photos", folder / f"out-{count}", count)
                peak, rate = pool.apply(run, arguments)
            peaks.append(peak)
            print(f"  peak {peak / 2**20:.0f} MB, {rate:.1f} photos/s", flush=True)
    print(
        f"\n| photos | peak memory |\n|---|---|\n| {options.beside} | {peaks[0] / 2**20:.0f} MB |"
    )
    print(f"| {options.photos} | {peaks[1] / 2**20:.0f} MB |\n")
    print(f"ratio {peaks[1] / peaks[0]:.3f}; the goal is at most 1.1")


if __name__ == "__main__":
    main()
