"""The loop that trains every mini model: AdamW on a `Schedule`; EMA; checkpoints.

A run can be prolonged: with more images it goes on from before its cooldown. Batch `i` depends on
the seed, on `i` and on the length of the run alone, so that a run that was stopped and resumed sees
what an uninterrupted one sees, whatever the number of workers.
"""

from __future__ import annotations

import csv
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training.schedule import Schedule
from training.world import HELD_OUT, TRAINED

__all__ = ["Run", "Task", "device", "forward_context"]

_SEED = 20261121


class Task(ABC):
    """What one model learns, and how one sees what it has learnt."""

    name: str
    schedule: Schedule

    @abstractmethod
    def network(self) -> nn.Module:
        """Return a fresh network, with the heads that help in training and are dropped after."""

    @abstractmethod
    def batch(self, rng: np.random.Generator, progress: float) -> dict[str, Any]:
        """Return a batch; numpy arrays reach `loss` as tensors on the device.

        `progress` runs from 0 to 1 over the run, for those that begin with what is easy.
        """

    @abstractmethod
    def loss(self, network: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        """Return the terms of the loss, by name; `progress` as above."""

    @abstractmethod
    def measure(self, network: nn.Module, styles: tuple[str, ...], count: int) -> dict[str, float]:
        """Return what the network gets right on `count` unseen pictures in some styles."""

    @abstractmethod
    def export(self, network: nn.Module, folder: Path) -> None:
        """Write what the node's loader reads."""

    def parameters(self, network: nn.Module) -> list[dict[str, Any]]:
        """Return groups of parameters; "factor" multiplies a group's rate."""
        decayed = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
        others = [p for p in network.parameters() if p.requires_grad and p.ndim <= 1]
        return [{"params": decayed}, {"params": others, "weight_decay": 0.0}]

    def start(self, network: nn.Module, weights: dict[str, Tensor]) -> None:
        """Take over the weights of a relative."""
        network.load_state_dict(weights)


def device() -> torch.device:
    """Return the GPU, or the CPU where there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def forward_context(on: torch.device) -> torch.autocast:
    """Return bf16 autocast where the hardware has bf16, else a context that changes nothing."""
    capable = on.type == "cuda" or torch.cpu._is_avx512_bf16_supported()
    return torch.autocast(on.type, torch.bfloat16, enabled=capable)


@dataclass
class Run:
    """A training in a folder: it goes on where it stopped.

    Attributes:
        task: what is learnt.
        schedule: how long; may be longer than it was when the run began.
        folder: holds `state.pt`, `before_cooldown.pt` and `curve.csv`.
    """

    task: Task
    schedule: Schedule
    folder: Path
    on: torch.device = field(default_factory=device)
    step: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        torch.manual_seed(_SEED)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.network = self.task.network().to(self.on)
        groups = self.task.parameters(self.network)
        self._factors = [group.pop("factor", 1.0) for group in groups]
        schedule = self.schedule
        self.optimizer = torch.optim.AdamW(
            groups, schedule.rate, schedule.betas, weight_decay=schedule.weight_decay, fused=True
        )
        self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}

    def resume(self, *, to_train: bool = True) -> bool:
        """Take up the last state; False where there is none.

        Args:
            to_train: whether the run goes on: then, where it was prolonged after its cooldown had
                begun, it goes back to the state before that.
        """
        state = self._load("state.pt")
        if state is None:
            return False
        prolonged = state["images"] < self.schedule.images
        if to_train and prolonged and state["step"] > state["cooldown_begins"]:
            state = self._load("before_cooldown.pt") or state
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average = {k: v.to(self.on) for k, v in state["average"].items()}
        self.step, self.seconds = state["step"], state["seconds"]
        return True

    def start_from(self, path: Path) -> None:
        """Begin with the averaged weights of another run's state."""
        state = torch.load(path, map_location="cpu", weights_only=True)
        self.task.start(self.network, state["average"])
        self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}

    def mix(self, paths: Sequence[Path]) -> None:
        """Average the averaged weights once more, with those of other ends of the same run.

        "Model soups", Wortsman et al. 2022, arXiv:2203.05482: where runs share their beginning, the
        mean of their weights is often better than each.
        """
        states = [torch.load(path, map_location=self.on, weights_only=True) for path in paths]
        for state in states:
            if state["average"].keys() != self.average.keys():
                raise ValueError("these are weights of another network")
        for name, own in self.average.items():
            if own.is_floating_point():
                others = [state["average"][name] for state in states]
                own.copy_(torch.stack([own, *others]).mean(0))

    def averaged(self) -> nn.Module:
        """Return a network with the averaged weights, for measuring and exporting."""
        network = self.task.network()
        network.load_state_dict(self.average)
        return network.to(self.on).eval()

    def train(self, minutes: float | None = None, workers: int = 0) -> None:
        """Train to the end of the schedule, or for some minutes."""
        begun = saved = measured = time.monotonic()
        already = self.seconds
        for batch in self._batches(workers):
            losses = self._advance(batch)
            now = time.monotonic()
            self.seconds = already + now - begun
            if self.step == self.schedule.cooldown_begins:
                self.save("before_cooldown.pt")
            if now - saved > 120 or self.step == self.schedule.steps:
                self.save("state.pt")
                saved = now
            if now - measured > self.schedule.measure_every or self.step == self.schedule.steps:
                self.log(losses, self.measured(200))
                measured = time.monotonic()
                begun += measured - now  # what measuring takes is no training
            elif self.step % 50 == 0:
                self.log(losses, {})
            if minutes is not None and self.seconds - already > 60 * minutes:
                break
        self.save("state.pt")

    def measured(self, count: int) -> dict[str, float]:
        """Return what the averaged weights get right, in the trained and the held-out styles."""
        network, found = self.averaged(), {}
        with torch.inference_mode():
            for label, styles in (("trained", TRAINED), ("held_out", HELD_OUT)):
                for name, value in self.task.measure(network, styles, count).items():
                    found[f"{label}/{name}"] = round(float(value), 4)
        return found

    def save(self, name: str) -> None:
        """Keep a state: a temporary name first, so that a stop leaves the last one whole."""
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
            "step": self.step,
            "seconds": self.seconds,
            "images": self.schedule.images,
            "cooldown_begins": self.schedule.cooldown_begins,
        }
        partial = self.folder / f"{name}.partial"
        torch.save(state, partial)
        partial.replace(self.folder / name)

    def log(self, losses: dict[str, float], measures: dict[str, float]) -> None:
        """Append a line to the curve, and print it."""
        seen = self.step * self.schedule.batch
        facts = losses | measures
        line = "  ".join(f"{name} {value:.3f}" for name, value in facts.items())
        print(f"{self.task.name}: {seen} images, {self.seconds / 60:.1f} min  {line}", flush=True)
        with (self.folder / "curve.csv").open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            for name, value in facts.items():
                writer.writerow([seen, round(self.seconds), name, round(value, 5)])

    def _advance(self, batch: dict[str, Any]) -> dict[str, float]:
        self.network.train()
        factor = self.schedule.factor(self.step)
        for group, own in zip(self.optimizer.param_groups, self._factors, strict=True):
            group["lr"] = self.schedule.rate * factor * own
        with forward_context(self.on):
            losses = self.task.loss(self.network, batch, self.step / self.schedule.steps)
        total = torch.stack([loss.float() for loss in losses.values()]).sum()
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.schedule.clip)
        if torch.isfinite(norm):  # one broken batch must not break the run
            self.optimizer.step()
        self.step += 1
        self._follow()
        return {"loss": float(total.detach())} | {k: float(v.detach()) for k, v in losses.items()}

    def _follow(self) -> None:
        # A young average follows quickly: the first weights are worth nothing.
        keep = min(self.schedule.ema, (1 + self.step) / (10 + self.step))
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value.detach(), 1 - keep)
            else:
                self.average[name].copy_(value)

    def _batches(self, workers: int) -> Iterator[dict[str, Any]]:
        ahead = torch.utils.data.DataLoader(
            _Numbered(self.task, self.step, self.schedule.steps),
            batch_size=None,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
        )
        for batch in ahead:
            yield {
                key: torch.as_tensor(value).to(self.on, non_blocking=True)
                if isinstance(value, np.ndarray | Tensor)
                else value
                for key, value in batch.items()
            }

    def _load(self, name: str) -> dict[str, Any] | None:
        path = self.folder / name
        return torch.load(path, map_location=self.on, weights_only=True) if path.exists() else None


class _Numbered(torch.utils.data.Dataset[dict[str, Any]]):
    """The batches of a run, by number."""

    def __init__(self, task: Task, first: int, end: int) -> None:
        self._task, self._first, self._end = task, first, end

    def __len__(self) -> int:
        return self._end - self._first

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index >= len(self):
            raise IndexError(index)
        import cv2

        cv2.setNumThreads(1)  # workers are the threads
        step = self._first + index
        return self._task.batch(np.random.default_rng((_SEED, step)), step / self._end)
