"""How long the command line takes to answer: medians over fresh processes.

    python benchmarks/startup.py

A bare Python and one that imports numpy are measured in the same run, because machines differ.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from visionweave.pipeline import Pipeline, ready_pipelines

ROUNDS = 11


def largest_ready_pipeline() -> str:
    return max(ready_pipelines(), key=lambda name: len(Pipeline.load(name).graph.steps))


def main() -> None:
    largest = largest_ready_pipeline()
    commands = {
        "python -c pass": ["-c", "pass"],
        "python -c 'import numpy'": ["-c", "import numpy"],
        "visionweave --help": ["-m", "visionweave", "--help"],
        f"visionweave check {largest}": ["-m", "visionweave", "check", largest],
        "visionweave nodes": ["-m", "visionweave", "nodes"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, arguments in commands.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - started)
    print(f"medians of {ROUNDS} fresh processes each, taking turns")
    for name, times in seconds.items():
        print(f"{name:40}{statistics.median(times):8.3f} s")


if __name__ == "__main__":
    main()
