"""Kill a job again and again, at random moments, and see that nothing is lost.

    python -m benchmarks.crash                     # 200 kills
    python -m benchmarks.crash --kills 1000 --seed 7

A job fetches a model (a made-up one, of four files) from a slow server on this machine, and runs a
pipeline with it, without torch, over a folder of photos, with several files per photo. It is killed
with SIGKILL after a random time; then the same job goes on, and is killed again, until it comes to
its end; then all begins anew, without weights, with an empty folder and, every second time, an
empty cache. In some rounds the pipeline changes half way, so that results are replaced.

After every kill, no file may count as fetched that is not whole and right, and the next request for
one must begin behind the bytes that are there; all that the journal says is done must be there,
byte for byte as an uninterrupted run makes it. At the end, the folder and the store of weights must
hold exactly that. It goes on until a quarter of the kills that were asked for have hit a file that
was arriving; which those are, and which hit photos whose files were being written, is seen from
what they leave behind.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.crash",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kills", type=int, default=200, help="how many, at least")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["VISIONWEAVE_WEIGHTS"] = str(Path(folder) / "weights")
        os.environ["NO_PROXY"] = "127.0.0.1"
        from .soak import soak

        soak(options.kills, options.seed, Path(folder))
    print("nothing was lost")


if __name__ == "__main__":
    main()
