"""Photos per second beside what a user would write instead, and beside what the machine allows.

    python -m benchmarks.throughput clip --photos 200
    python -m benchmarks.throughput captions --photos 32
    python -m benchmarks.throughput chain --photos 8 --objects 4

Networks of the published sizes with random weights, which compute as long as any; photos of 1280 x
960 that are made on the spot. Each way runs in a process of its own, one after the other, models
loaded and warm. The plain ways compute in fp32, as their READMEs do. What is printed is markdown.
"""

from __future__ import annotations

import argparse
import importlib
import os
import tempfile
from pathlib import Path

DEFAULTS = {"clip": (200, (8, 32, 64)), "captions": (32, (4, 8, 16)), "chain": (8, (1, 2, 4))}
"""By task: how many photos, and the batches that are tried for the model alone."""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.throughput",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("task", choices=DEFAULTS)
    parser.add_argument("--photos", type=int, help="how many photos")
    parser.add_argument("--batch", type=int, help="the largest batch; else found by visionweave")
    parser.add_argument("--batches", type=int, nargs="+", help="tried for the model alone")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch, for all")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", help="of visionweave")
    parser.add_argument("--warm", type=int, help="photos before those that are timed; else all")
    parser.add_argument("--objects", type=int, default=4, help="chain: boxes that reach SAM")
    parser.add_argument("--beams", type=int, default=1, help="captions: beams, on both sides")
    parser.add_argument("--keep", type=Path, help="a folder to keep the made weights in")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    with tempfile.TemporaryDirectory() as temporary:
        kept = options.keep or Path(temporary)
        os.environ["VISIONWEAVE_WEIGHTS"] = str(kept.absolute() / "weights")
        os.environ["VISIONWEAVE_CACHE"] = str(kept.absolute() / "cache")
        run(options, Path(temporary))


def run(options: argparse.Namespace, folder: Path) -> None:
    """Make the photos, and measure."""
    from .photos import make_photos
    from .run import Settings, describe

    count, batches = DEFAULTS[options.task]
    photos = make_photos(folder / "photos", options.photos or count)
    settings = Settings(
        photos=tuple(map(str, photos)),
        batch=options.batch,
        batches=tuple(options.batches or batches),
        threads=options.threads,
        device=options.device,
        precision=options.precision,
        warm=len(photos) if options.warm is None else options.warm,
        objects=options.objects,
        beams=options.beams,
    )
    describe(settings)
    importlib.import_module(f".{options.task}", __package__).main(settings)


if __name__ == "__main__":
    main()
