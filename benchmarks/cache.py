"""What a result costs that is known already: a cache hit, and a finished job that is run again.

    python benchmarks/cache.py

The hits are those of a model on 1024 x 768 photos (a made-up model without torch, which gives what
CLIP gives, 512 numbers): all of one hit counts, from the photo's path to the value. Beside it, what
decoding the photo alone takes. The finished job has 1,000 photos with three files each. Time of the
processor, of all threads, stands beside that of the clock, because machines are shared. What is
printed is markdown.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import PIL.Image

import visionweave as vw
from visionweave.cache import Cache
from visionweave.jobs.job import Job, run_job
from visionweave.jobs.photos import find_photos

PHOTOS = 200
JOB = 1000
ROUNDS = 5


@vw.node("bench.embed")
class Embed(vw.ModelNode):
    """512 numbers for a photo."""

    def load(self, runtime: vw.Runtime) -> None:
        pass

    def forward_context(self) -> AbstractContextManager[None]:
        return nullcontext()

    async def run(self, image: vw.Image) -> vw.Embedding:
        vector = await self.forward(image.pixels[::16, ::16].astype(np.float32).ravel())
        return vw.Embedding.normalised(vector, "bench", image.origin)

    @vw.batched(size=32)
    def forward(self, pixels: list[np.ndarray]) -> list[np.ndarray]:
        return [np.resize(each, 512) + 1 for each in pixels]


@vw.node("bench.describe")
class Describe(vw.Node):
    """A text about an embedding."""

    def run(self, embedding: vw.Embedding) -> vw.Text:
        return vw.Text(f"{embedding.vector[0]:.3f}", embedding.origin)


def make_photos(folder: Path, count: int, size_wh: tuple[int, int]) -> list[Path]:
    folder.mkdir()
    width, height = size_wh
    x, y = np.meshgrid(np.linspace(0, 9, width), np.linspace(0, 7, height))
    noise = np.random.default_rng(0).integers(0, 20, (height, width, 3))
    paths = []
    for number in range(count):
        waves = np.stack([np.sin(x + y + number + c) for c in range(3)], axis=2)
        pixels = (110 + 100 * waves + noise).astype(np.uint8)
        paths.append(folder / f"{number:04}.jpg")
        PIL.Image.fromarray(pixels).save(paths[-1], quality=90)
    return paths


class Timed:
    """Medians of the clock and of the processor over several rounds, in seconds."""

    def __init__(self) -> None:
        self.clock: list[float] = []
        self.processor: list[float] = []

    def __enter__(self) -> None:
        self.started = time.perf_counter(), time.process_time()

    def __exit__(self, *error: object) -> None:
        self.clock.append(time.perf_counter() - self.started[0])
        self.processor.append(time.process_time() - self.started[1])

    @property
    def medians(self) -> tuple[float, float]:
        return statistics.median(self.clock), statistics.median(self.processor)


def hits(folder: Path) -> None:
    photos = make_photos(folder / "photos", PHOTOS, (1024, 768))
    pipeline = vw.Pipeline(out=Embed()(vw.Input("photo", vw.Image)))
    time.sleep(0.1)  # photos that were written just now are not remembered
    timed = {name: Timed() for name in ("a hit", "decoding alone", "computed anew")}
    with Cache(folder / "cache") as cache:
        list(pipeline.map(photos, cache=cache, device="cpu", precision="fp32"))
        for _ in range(ROUNDS):
            with timed["a hit"]:
                for result in pipeline.map(photos, cache=cache, device="cpu", precision="fp32"):
                    assert result["out"].space == "bench"
            with timed["decoding alone"]:
                for path in photos:
                    vw.Image.open(path).decode()
            with timed["computed anew"]:
                list(pipeline.map(photos, device="cpu", precision="fp32"))
    about = f"a photo of 1024 x 768; {PHOTOS} photos, medians of {ROUNDS} rounds"
    print_table(about, "ms", timed, 1000 / PHOTOS)


def finished_job(folder: Path) -> None:
    make_photos(folder / "many", JOB, (64, 48))
    time.sleep(0.1)
    photo = vw.Input("photo", vw.Image)
    embedding = Embed()(photo)
    pipeline = vw.Pipeline(embedding=embedding, text=Describe()(embedding), photo=photo)

    def run() -> None:
        with Cache(folder / "cache") as cache:
            job = Job(
                "job", pipeline, find_photos([str(folder / "many")]), folder / "out",
                photo_input="photo", device="cpu", precision="fp32", cache=cache,
                hashes=cache.photos,
            )  # fmt: skip
            assert run_job(job).counts == {"ok": JOB}

    timed = {"again": Timed(), "the first time": Timed()}
    with timed["the first time"]:
        run()
    for _ in range(ROUNDS):
        with timed["again"]:
            run()
    about = f"a job of {JOB} photos, three files each; median of {ROUNDS} runs again"
    print_table(about, "s", timed)


def print_table(about: str, unit: str, timed: dict[str, Timed], scale: float = 1) -> None:
    """Print a row for each, with how many times the first row's processor time it takes."""
    least = next(iter(timed.values())).medians[1]
    print(f"\n| {about} | {unit}, clock | {unit}, processor | times the first |\n|---|---|---|---|")
    for name, each in timed.items():
        clock, processor = (seconds * scale for seconds in each.medians)
        times = each.medians[1] / least
        print(f"| {name} | {clock:.3f} | {processor:.3f} | {times:.1f} |")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        hits(Path(temporary))
        finished_job(Path(temporary))
