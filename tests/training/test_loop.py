from __future__ import annotations

import csv
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from training.loop import Run, Task
from training.schedule import Schedule


class Line(Task):
    """Learns y = 3x + 1."""

    name = "line"
    schedule = Schedule(images=640, batch=8, rate=0.05, warmup=4, weight_decay=0.0)

    def network(self) -> nn.Module:
        return nn.Linear(1, 1)

    def batch(self, rng: np.random.Generator, progress: float) -> dict[str, Any]:
        x = rng.normal(size=(8, 1)).astype(np.float32)
        return {"x": x, "y": 3 * x + 1, "words": ["kept as it is"]}

    def loss(self, network: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        assert batch["words"] == ["kept as it is"]
        assert 0 <= progress < 1
        return {"square": (network(batch["x"]) - batch["y"]).square().mean()}

    def measure(self, network: nn.Module, styles: tuple[str, ...], count: int) -> dict[str, float]:
        return {"slope": network.weight.item()}

    def export(self, network: nn.Module, folder: Path) -> None:
        raise AssertionError("not asked for")


def _weights(run: Run) -> list[float]:
    return [
        value for tensor in run.network.state_dict().values() for value in tensor.flatten().tolist()
    ]


def _run(folder: Path, images: int = 640) -> Run:
    return Run(Line(), Schedule(images=images, batch=8, rate=0.05, warmup=4), folder)


def test_it_learns_and_writes_its_curve(tmp_path: Path) -> None:
    run = _run(tmp_path)
    run.train()
    assert run.measured(1)["trained/slope"] == pytest.approx(3, abs=0.15)
    with (tmp_path / "curve.csv").open() as file:
        rows = list(csv.reader(file))
    assert {row[2] for row in rows} >= {"loss", "square", "trained/slope", "held_out/slope"}
    assert rows[-1][0] == "640"


def test_a_stopped_run_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = _run(tmp_path / "whole")
    whole.train()
    first = _run(tmp_path / "stopped")
    first.train(minutes=0.0)
    assert first.step < whole.step
    second = _run(tmp_path / "stopped")
    assert second.resume()
    second.train()
    assert _weights(second) == pytest.approx(_weights(whole))


def test_a_prolonged_run_goes_on_from_before_its_cooldown(tmp_path: Path) -> None:
    short = _run(tmp_path)
    short.train()
    longer = _run(tmp_path, images=1280)
    assert longer.resume(to_train=False)
    assert longer.step == short.step
    assert longer.resume()
    assert longer.step == short.schedule.cooldown_begins
    longer.train()
    assert longer.step == 160
    again = _run(tmp_path, images=1280)
    assert again.resume()
    assert again.step == 160


def test_nothing_to_resume_says_so(tmp_path: Path) -> None:
    assert not _run(tmp_path).resume()


def test_a_relatives_weights_are_taken_over(tmp_path: Path) -> None:
    parent = _run(tmp_path / "parent")
    parent.train()
    child = _run(tmp_path / "child")
    child.start_from(tmp_path / "parent" / "state.pt")
    assert child.network.weight.item() == pytest.approx(parent.average["weight"].item())


def test_the_ends_of_a_run_are_averaged(tmp_path: Path) -> None:
    run, other = _run(tmp_path / "one"), _run(tmp_path / "other")
    run.train()
    other.train()
    for tensor in other.average.values():
        tensor.add_(2)
    other.save("state.pt")
    before = {name: tensor.clone() for name, tensor in run.average.items()}
    run.mix([tmp_path / "other/state.pt"])
    for name, tensor in run.averaged().state_dict().items():
        torch.testing.assert_close(tensor, before[name] + 1)


def test_weights_of_another_network_are_not_averaged(tmp_path: Path) -> None:
    run = _run(tmp_path)
    torch.save({"average": {"else": torch.zeros(1)}}, tmp_path / "else.pt")
    with pytest.raises(ValueError, match="another network"):
        run.mix([tmp_path / "else.pt"])


def test_the_rate_rises_stays_and_falls() -> None:
    schedule = Schedule(images=1000, batch=10, rate=1.0, warmup=10, cooldown=0.2)
    factors = [schedule.factor(step) for step in range(schedule.steps)]
    assert factors[:2] == [0.1, 0.2]
    assert set(factors[10:80]) == {1.0}
    assert factors[-1] == pytest.approx(0.05)
    assert all(a >= b for a, b in itertools.pairwise(factors[80:]))


def test_a_batch_that_breaks_the_gradient_changes_nothing(tmp_path: Path) -> None:
    run = _run(tmp_path)
    before = _weights(run)
    run._advance(
        {"x": torch.full((8, 1), float("nan")), "y": torch.zeros(8, 1), "words": ["kept as it is"]}
    )
    assert _weights(run) == before
