"""What the engine itself costs, beside other graph engines, in one run.

    python -m pip install -e '.[benchmarks]'
    python benchmarks/overhead.py

A chain of 50 nodes that do nothing is run over many items by visionweave, Hamilton, Haystack and
dask, each in the way its documentation shows. The figures are microseconds per node and item,
medians over repeated rounds in which the engines take turns, so that a noisy machine is noisy for
all. A second table passes a 12-megapixel photo and a 1-pixel photo through five nodes.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

import visionweave as vw

NODES = 50
ITEMS = 100
ROUNDS = 7


@vw.node("bench.same")
class Same(vw.Node):
    """Return what came."""

    def __init__(self, place: int = 0) -> None:
        self.place = place

    def run(self, value: vw.Image | vw.Text) -> vw.Image | vw.Text:
        return value


def weave(nodes: int) -> vw.Pipeline:
    value: Any = vw.Input("value", vw.Image | vw.Text)
    for place in range(nodes):  # a setting of its own, or equal steps would run once
        value = Same(place)(value)
    return vw.Pipeline(out=value)


def run_weave() -> Callable[[], None]:
    pipeline = weave(NODES)
    text = vw.Text("x")

    def run() -> None:
        for result in pipeline.map([text] * ITEMS):
            assert result["out"] is text

    return run


def run_weave_singly() -> Callable[[], None]:
    pipeline = weave(NODES)
    text = vw.Text("x")

    def run() -> None:
        for _ in range(ITEMS):
            pipeline.run(value=text)

    return run


def run_hamilton() -> Callable[[], None]:
    from hamilton import base, driver

    module = ModuleType("chain")
    source = ["def n0(value: str) -> str:\n    return value\n"]
    source += [f"def n{i}(n{i - 1}: str) -> str:\n    return n{i - 1}\n" for i in range(1, NODES)]
    exec("\n".join(source), module.__dict__)
    for name in [f"n{i}" for i in range(NODES)]:
        vars(module)[name].__module__ = "chain"
    sys.modules["chain"] = module
    adapter = base.DefaultAdapter()
    chain = driver.Builder().with_modules(module).with_adapters(adapter).build()

    def run() -> None:
        for _ in range(ITEMS):
            chain.execute([f"n{NODES - 1}"], inputs={"value": "x"})

    return run


def run_haystack() -> Callable[[], None]:
    from haystack import Pipeline, component

    @component
    class Same:
        @component.output_types(value=str)
        def run(self, value: str) -> dict[str, str]:
            return {"value": value}

    pipeline = Pipeline()
    for i in range(NODES):
        pipeline.add_component(f"n{i}", Same())
    for i in range(1, NODES):
        pipeline.connect(f"n{i - 1}.value", f"n{i}.value")

    def run() -> None:
        for _ in range(ITEMS):
            pipeline.run({"n0": {"value": "x"}})

    return run


def run_dask() -> Callable[[], None]:
    import dask
    from dask import delayed

    def same(value: str) -> str:
        return value

    def run() -> None:
        for _ in range(ITEMS):
            value: Any = "x"
            for _ in range(NODES):
                value = delayed(same, pure=False)(value)
            dask.compute(value, scheduler="synchronous", optimize_graph=False)

    return run


def run_dask_get() -> Callable[[], None]:
    from dask.local import get_sync

    def same(value: str) -> str:
        return value

    graph: dict[str, Any] = {"n0": (same, "x")}
    graph |= {f"n{i}": (same, f"n{i - 1}") for i in range(1, NODES)}

    def run() -> None:
        for _ in range(ITEMS):
            get_sync(graph, f"n{NODES - 1}")

    return run


def take_turns(runs: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """The median seconds of each, the engines taking turns."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()  # caches and imports are warm for all
    for _ in range(rounds):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(times) for name, times in seconds.items()}


def overhead() -> None:
    makers = {
        "visionweave, map": run_weave,
        "visionweave, run": run_weave_singly,
        "Hamilton": run_hamilton,
        "Haystack": run_haystack,
        "dask, delayed": run_dask,
        "dask, a graph made once": run_dask_get,
    }
    runs = {}
    for name, make in makers.items():
        try:
            runs[name] = make()
        except ImportError as error:
            print(f"{name}: not installed ({error})")
    medians = take_turns(runs, ROUNDS)
    ours = medians["visionweave, map"]
    print(f"{NODES} nodes, {ITEMS} items, medians of {ROUNDS} rounds")
    print(f"{'engine':26}{'us per node and item':>22}{'times ours':>12}")
    for name, seconds in medians.items():
        print(f"{name:26}{seconds / NODES / ITEMS * 1e6:22.2f}{seconds / ours:12.1f}")


def photos() -> None:
    pipeline = weave(5)
    large = vw.Image.from_array(np.zeros((3000, 4000, 3), np.uint8))
    small = vw.Image.from_array(np.zeros((1, 1, 3), np.uint8))

    def through(image: vw.Image) -> Callable[[], None]:
        def run() -> None:
            for result in pipeline.map([image] * 1000, chunk=8):  # 14 large photos fill a chunk
                assert result["out"].pixels is image.pixels

        return run

    medians = take_turns({"12 megapixels": through(large), "1 pixel": through(small)}, ROUNDS)
    print(f"\na photo through five nodes, medians of {ROUNDS} rounds of 1000")
    for name, seconds in medians.items():
        print(f"{name:26}{seconds / 1000 * 1e6:22.2f} us")
    print(f"ratio {medians['12 megapixels'] / medians['1 pixel']:.2f}")


if __name__ == "__main__":
    overhead()
    photos()
