"""Kill a job again and again, at random moments, and see that nothing is lost.

    python benchmarks/crash.py                     # 200 runs
    python benchmarks/crash.py --runs 1000 --seed 7

A pipeline with models (made-up ones, without torch) and several files per photo runs over a folder
of photos, and is killed with SIGKILL after a random time; then the same job goes on, and is killed
again, until it comes to its end; then all begins anew, with an empty folder and, every second time,
an empty cache. In some rounds the pipeline changes half way, so that results are replaced. After
every kill, all that the journal says is done must be there, byte for byte as an uninterrupted run
makes it; at the end, the folder must hold exactly that.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

import visionweave as vw
from visionweave.cache import Cache
from visionweave.jobs.job import Job, run_job
from visionweave.jobs.photos import find_photos

PHOTOS = 24
OWN = ("run.json", "items.jsonl", "failures.jsonl", ".lock")


@vw.node("crash.detect")
class Detect(vw.ModelNode):
    """Boxes, as many as the photo's first pixel says; the same every time."""

    def __init__(self, more: int = 0) -> None:
        self.more = more

    def load(self, runtime: vw.Runtime) -> None:
        pass

    def forward_context(self) -> AbstractContextManager[None]:
        return nullcontext()

    async def run(self, image: vw.Image) -> vw.Boxes:
        count = await self.forward(int(image.pixels[0, 0, 0]))
        xyxy = np.array([[x, 0, x + 8, 8] for x in range(count)], np.float32).reshape(-1, 4)
        return vw.Boxes(xyxy, image.image_hw, photo=image.origin.photo)

    @vw.batched(size=4)
    def forward(self, counts: list[int]) -> list[int]:
        time.sleep(0.002)
        return [count + self.more for count in counts]


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
    """Photos of noise, in two folders, of 0 to 5 objects."""
    noise = np.random.default_rng(0)
    for number in range(PHOTOS):
        pixels = noise.integers(0, 256, (80, 96, 3), np.uint8)
        pixels[0, 0, 0] = number % 6
        path = folder / f"{'street' if number % 2 else 'yard'}/{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(pixels).save(path)


def work(folder: Path, out: Path, cache: Path, more: int) -> int:
    """Run the job in this process."""
    with Cache(cache) as opened:
        job = Job(
            "crash", pipeline(more), find_photos([str(folder)]), out, photo_input="photo",
            chunk=5, device="cpu", precision="fp32", cache=opened, hashes=opened.photos,
        )  # fmt: skip
        return run_job(job).exit_code


def run_until(seconds: float | None, *arguments: Any) -> bool:
    """Run the job in a process of its own; kill it after so long. Whether it came to its end."""
    process = os.fork()  # quicker than starting Python anew; no thread is running here
    if process == 0:
        try:
            code = work(*arguments)
        except BaseException as error:
            print(f"FAILED: {type(error).__name__}: {error}", flush=True)
            os._exit(99)
        os._exit(code)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(process, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if code not in (0, 2, -signal.SIGKILL):  # 2: finished, with the failures that there must be
        sys.exit(f"a run ended with {code}")
    return code != -signal.SIGKILL


def results(out: Path) -> dict[str, bytes]:
    """The files below a job's folder, without its own; tracebacks by name alone."""
    found = {}
    for path in out.rglob("*"):
        name = path.relative_to(out).as_posix()
        if path.is_file() and name not in OWN:
            found[name] = b"" if name.startswith("failures/") else path.read_bytes()
    return found


def check_done(out: Path, references: list[dict[str, bytes]]) -> int:
    """See that all that is reported done is there, as one of the pipelines makes it."""
    journal = out / "items.jsonl"
    if not journal.exists():
        return 0
    last = {}
    for line in journal.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            entry = json.loads(line)
            last[entry["photo"]] = entry
    done = [entry for entry in last.values() if entry["status"] != "writing"]
    for entry in done:
        there = {name: (out / name).read_bytes() for name in entry["files"]}
        wanted = [{name: each.get(name) for name in there} for each in references]
        assert there in wanted, f"{entry['photo']} is reported done, and is not as it should be"
    return len(done)


def soak(runs: int, seed: int, folder: Path) -> None:
    dice = random.Random(seed)
    photos = folder / "photos"
    make_photos(photos)
    references, length = [], float("inf")
    for more in (0, 1):
        out = folder / f"reference-{more}"
        started = time.perf_counter()
        assert run_until(None, photos, out, folder / f"cache-{more}", more)
        length = min(length, time.perf_counter() - started)
        references.append(results(out))
    print(f"{PHOTOS} photos, {len(references[0])} files, {length:.2f} s uninterrupted", flush=True)
    killed = finished = done = 0
    while killed < runs:
        out, cache = folder / "out", folder / "cache"
        shutil.rmtree(out, ignore_errors=True)
        if finished % 2 == 0:
            shutil.rmtree(cache, ignore_errors=True)
        changes = dice.random() < 0.5
        at_end, kills = False, 0
        while not at_end:
            more = 1 if changes and kills >= 3 else 0
            # After some kills the job is let go, or a slow machine would never come to an end.
            limit = None if kills >= 8 else dice.uniform(0, 0.5 * length)
            at_end = run_until(limit, photos, out, cache, more)
            kills += not at_end
            done = max(done, check_done(out, references))
        killed += kills
        finished += 1
        found = results(out)
        assert found == references[more], differing(found, references[more])
        print(f"{killed} kills, {finished} jobs finished, all as uninterrupted", flush=True)


def differing(found: dict[str, bytes], wanted: dict[str, bytes]) -> str:
    names = [name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)]
    return f"these differ from an uninterrupted run: {sorted(names)[:10]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=200, help="how many kills")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        soak(options.runs, options.seed, Path(folder))
    print("nothing was lost")


if __name__ == "__main__":
    main()
