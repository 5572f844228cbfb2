"""`python -m training`: train a mini model, measure it, ship it."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from training.loop import Run, Task

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)

RUNS = Path(__file__).parent / "runs"
MODELS = sorted(p.stem for p in (Path(__file__).parent / "models").glob("[a-z]*.py"))

Name = Annotated[str, typer.Argument(help=f"one of {', '.join(MODELS)}")]
Mix = Annotated[
    list[Path] | None, typer.Option(help="a state.pt of the same run, to average the weights with")
]


def task_named(name: str) -> Task:
    """Return the training of a model."""
    if name not in MODELS:
        raise typer.BadParameter(f"no model {name!r}; there are {', '.join(MODELS)}")
    training: type[Task] = importlib.import_module(f"training.models.{name}").Training
    return training()


def run_of(name: str, **wanted: float | None) -> Run:
    """Return the run of a model, with parts of its schedule changed where asked."""
    task = task_named(name)
    changed = {key: value for key, value in wanted.items() if value is not None}
    task.schedule = dataclasses.replace(task.schedule, **changed)
    return Run(task, task.schedule, RUNS / name)


@app.command()
def train(
    name: Name,
    images: Annotated[int | None, typer.Option(help="how many images in all")] = None,
    batch: Annotated[int | None, typer.Option(help="how many at a time")] = None,
    minutes: Annotated[float | None, typer.Option(help="stop after so many")] = None,
    start: Annotated[
        list[Path] | None, typer.Option(help="a state.pt to begin with; several, in this order")
    ] = None,
    threads: Annotated[int, typer.Option(help="of the CPU")] = 1,
    workers: Annotated[int, typer.Option(help="processes that make scenes ahead")] = 0,
    measure_every: Annotated[float | None, typer.Option(help="minutes between measures")] = None,
) -> None:
    """Train a model, or go on with it; a stop at any moment loses at most two minutes."""
    torch.set_num_threads(threads)
    seconds = None if measure_every is None else 60 * measure_every
    run = run_of(name, images=images, batch=batch, measure_every=seconds)
    if run.resume():
        print(f"{name}: goes on at step {run.step} of {run.schedule.steps}")
    else:
        for path in start or ():
            run.start_from(path)
    run.train(minutes, workers)


@app.command()
def measure(
    name: Name,
    count: Annotated[int, typer.Option(help="how many unseen pictures per style")] = 500,
    threads: Annotated[int, typer.Option(help="of the CPU")] = os.cpu_count() or 1,
    mix: Mix = None,
) -> None:
    """Print what a trained model gets right on unseen pictures."""
    torch.set_num_threads(threads)
    run = run_of(name)
    if not run.resume(to_train=False):
        raise typer.BadParameter(f"{run.folder} holds no state: train it first")
    run.mix(mix or [])
    print(json.dumps(run.measured(count), indent=2))


@app.command()
def evaluate(
    names: Annotated[
        list[str] | None, typer.Argument(help="models, or `chain`; all of them")
    ] = None,
    count: Annotated[int, typer.Option(help="how many unseen scenes per kind of style")] = 300,
) -> None:
    """Measure the shipped models through visionweave's nodes, and write figures and cards."""
    from training.card import WORDS
    from training.evaluate import MEASURES
    from training.evaluate import evaluate as figures_of
    from training.ship import write_card

    for name in names or MEASURES:
        if name not in MEASURES:
            raise typer.BadParameter(f"nothing measures {name!r}; there are {', '.join(MEASURES)}")
        found = figures_of(name, count, _told(name))
        if name != "chain":
            write_card(name, task_named(name))
        for key, value in found["trained"].items():
            what, goal = WORDS[name].get(key, (key, ""))
            held_out = found["held_out"].get(key, float("nan"))
            print(f"{name:15} {what:70} {value:.3f}  {held_out:.3f}  {goal}")


def _told(name: str) -> dict[str, Any]:
    """What a run says of how it was made."""
    state = RUNS / name / "state.pt"
    if not state.exists():
        return {}
    facts = torch.load(state, map_location="cpu", weights_only=True)
    images = facts["step"] * task_named(name).schedule.batch
    return {"images": images, "minutes": facts["seconds"] / 60}


@app.command()
def ship(name: Name, mix: Mix = None) -> None:
    """Export a trained model into the package, with its row in weights.lock and its card."""
    from training.ship import ship as put

    run = run_of(name)
    if not run.resume(to_train=False):
        raise typer.BadParameter(f"{run.folder} holds no state: train it first")
    run.mix(mix or [])
    put(name, run.task, run.averaged())


if __name__ == "__main__":
    app()
