"""Running the ways to do a task, each in a process of its own, and printing what came of them."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import visionweave as vw
from visionweave.jobs.peak import Peak


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        photos: the photos.
        batch: the largest batch of visionweave's models, and the size that the others are given;
            None: what visionweave finds.
        batches: the sizes that are tried for the ceiling of the model alone.
        threads: of torch, for all.
        device: for all; "auto" is the first GPU, where there is one.
        precision: of visionweave; the others compute in fp32.
        warm: how many photos go before those that are timed.
        objects: how many boxes of a photo reach SAM.
        beams: of captions.
    """

    photos: tuple[str, ...]
    batch: int | None
    batches: tuple[int, ...]
    threads: int
    device: str
    precision: str
    warm: int
    objects: int
    beams: int

    @property
    def torch_device(self) -> str:
        """The device in torch's words."""
        return vw.Runtime.get(self.device, self.precision).device


@dataclass
class Outcome:
    """What came of one way to do it.

    Attributes:
        seconds: for all photos, the models loaded and warm.
        values: what was found, photo by photo, to be compared.
        peak: the most memory, in bytes.
    """

    seconds: float
    values: list[Any] = field(default_factory=list)
    peak: dict[str, int] = field(default_factory=dict)


Way = Callable[[Settings], Outcome]


OURS = "visionweave"
"""What our way is called, among those that a task can be done in."""


def each_alone(ways: dict[str, Way], settings: Settings) -> dict[str, Outcome | None]:
    """Run each way in a fresh process; the others without what visionweave tells torch."""
    return {name: alone(way, settings, huge_pages=name == OURS) for name, way in ways.items()}


def alone(way: Callable[[Settings], Any], settings: Settings, *, huge_pages: bool = True) -> Any:
    """Run something in a fresh process, so that its memory is its own; None if it is not here."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_prepared, (way, settings, huge_pages))


def _prepared(way: Callable[[Settings], Any], settings: Settings, huge_pages: bool) -> Any:
    os.environ["THP_MEM_ALLOC_ENABLE"] = str(int(huge_pages))
    import torch

    torch.set_num_threads(settings.threads)
    try:
        found = way(settings)
    except ImportError as error:
        print(f"{way.__name__}: left out, {error}", flush=True)
        return None
    if isinstance(found, Outcome) and not found.peak:
        peak = Peak()
        peak.ask()
        found.peak = peak.bytes
    return found


def one_by_one(settings: Settings, do: Callable[[str], Any]) -> Outcome:
    """Time a function of a photo's path in a plain loop."""
    import torch

    with torch.inference_mode():
        do(settings.photos[0])
        started = time.perf_counter()
        values = [do(path) for path in settings.photos]
    return Outcome(time.perf_counter() - started, values)


def woven(settings: Settings, pipeline: vw.Pipeline, value: Callable[[vw.Result], Any]) -> Outcome:
    """Time a pipeline; `value` makes of a result what is compared."""
    peak = Peak()
    options: dict[str, Any] = {
        "batch": settings.batch, "device": settings.device, "precision": settings.precision,
        "observers": [peak],
    }  # fmt: skip
    for result in pipeline.map(settings.photos[: settings.warm], **options):
        value(result)
    started = time.perf_counter()
    values = [value(result) for result in pipeline.map(settings.photos, **options)]
    seconds = time.perf_counter() - started
    peak.ask()
    return Outcome(seconds, values, peak.bytes)


def forward_seconds(node: vw.ModelNode, rows: Sequence[Sequence[Any]]) -> tuple[float, list[Any]]:
    """Run a node on rows of arguments as one batch: its seconds in forward passes; the results."""
    seconds, results = 0.0, [None] * len(rows)
    waiting = {place: node.run(*row) for place, row in enumerate(rows)}
    answers: dict[int, Any] = dict.fromkeys(waiting)
    while waiting:
        asked: dict[Any, list[tuple[int, int, Any]]] = {}
        for place, coroutine in list(waiting.items()):
            try:
                calls = coroutine.send(answers[place]).calls
            except StopIteration as stop:
                results[place] = stop.value
                del waiting[place]
            else:
                answers[place] = [None] * len(calls)
                for index, call in enumerate(calls):
                    asked.setdefault(call.method, []).append((place, index, call.payload))
        for method, payloads in asked.items():
            started = time.perf_counter()
            with node.forward_context():
                found = method.forward([payload for _, _, payload in payloads])
            seconds += time.perf_counter() - started
            for (place, index, _), answer in zip(payloads, found, strict=True):
                answers[place][index] = answer
    return seconds, results


def best_rate(
    settings: Settings, node: vw.ModelNode, rows: Callable[[int], list[list[Any]]]
) -> tuple[float, int, list[Any]]:
    """The model alone: photos per second at the best batch, that batch, results of the last."""
    node.ensure_loaded(vw.Runtime.get(settings.device, settings.precision))
    best = (0.0, 0)
    forward_seconds(node, rows(1))
    for batch in settings.batches:
        seconds, results = forward_seconds(node, rows(batch))
        best = max(best, (batch / seconds, batch))
    return *best, results


def decoding(settings: Settings, fits: Iterable[vw.Fit] | None) -> float:
    """Photos per second that one thread decodes: in full, or as far as it is needed."""
    paths = settings.photos[:32]
    started = time.perf_counter()
    for path in paths:
        vw.Image.open(path, fits=None if fits is None else list(fits)).decode()
    return len(paths) / (time.perf_counter() - started)


def ceiling(settings: Settings, models: Sequence[float], decoded: float) -> float:
    """What the machine allows: models one after the other, and decoding in as many threads.

    A GPU computes while the processor decodes; on a processor both take turns on its cores.
    """
    model, decode = 1 / sum(1 / rate for rate in models), settings.threads * decoded
    if settings.torch_device != "cpu":
        return min(model, decode)
    return 1 / (1 / model + 1 / decode)


def print_ways(settings: Settings, found: dict[str, Outcome | None]) -> float:
    """Print a row of markdown for each way; return our photos per second."""
    count = len(settings.photos)
    rates = {name: count / each.seconds for name, each in found.items() if each is not None}
    plain = next(iter(rates.values()))
    print("\n| way | photos/s | times the plain loop | peak memory |\n|---|---|---|---|")
    for name, rate in rates.items():
        outcome = found[name]
        assert outcome is not None
        peak = ", ".join(f"{size / 1e9:.2f} GB ({of})" for of, size in outcome.peak.items())
        print(f"| {name} | {rate:.3g} | {rate / plain:.2f} | {peak} |")
    return rates[OURS]


def print_ceilings(ours: float, whole: float, rows: dict[str, str]) -> None:
    """Print what the machine allows, and how much of it is reached."""
    print("\n| ceiling, measured in the same run | |\n|---|---|")
    for name, text in rows.items():
        print(f"| {name} | {text} |")
    print(f"| all together | {whole:.3g} photos/s |")
    print(f"| reached by visionweave | {100 * ours / whole:.0f}% |")


def describe(settings: Settings) -> None:
    """Print what is measured, and on what."""
    import platform

    import torch

    runtime = vw.Runtime.get(settings.device, settings.precision)
    where = torch.cuda.get_device_name(0) if runtime.device != "cpu" else _processor()
    print(
        f"{len(settings.photos)} photos of 1280 x 960 on {where}, {os.cpu_count()} cores, "
        f"{settings.threads} threads; visionweave {vw.__version__} in {runtime.precision}, batch "
        f"{settings.batch or 'found by itself'}; torch {torch.__version__}, Python "
        f"{platform.python_version()}"
    )


def _processor() -> str:
    import platform

    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
