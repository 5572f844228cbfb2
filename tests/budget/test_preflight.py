"""What is said of a run before it begins, and when it is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from visionweave import Image, Input, ModelNode, Pipeline, Runtime, Text, batched, node
from visionweave.budget.preflight import Preflight, look_ahead
from visionweave.budget.times import Times, duration_text, seconds_for
from visionweave.cli import main
from visionweave.execution.figures import Figures
from visionweave.testing import make_image

GB = 10**9
CPU = Runtime("cpu", "fp32")
LOCK = """
[profiles.base]
ahead = "small"
"ahead.name" = "namer"
[profiles.large]
ahead = "big"
"ahead.name" = "namer"
""" + "".join(
    f"""
[checkpoint.{name}]
family = "ahead"
source = "https://example.org/{name}"
files = [{{ name = "{name}.bin", url = "https://example.org/{name}.bin", bytes = {size}, \
sha256 = "{"0" * 64}" }}]
license = "{license}"
commercial = "{commercial}"
"""
    for name, size, license, commercial in (
        ("small", 300_000_000, "MIT", "yes"),
        ("big", 2 * GB, "CC-BY-NC-4.0", "no"),
        ("namer", GB, "MIT", "yes"),
    )
)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with a list of weights; those of the namer are here."""
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "weights.lock").write_text(LOCK)
    monkeypatch.setenv("VISIONWEAVE_WEIGHTS", str(folder))
    return folder


class Model(ModelNode):
    @batched(size=4)
    def look(self, names: list[str]) -> list[str]:
        return names


@node("ahead.look")
class Look(Model):
    def __init__(self, model: str = "large") -> None:
        self.model = model

    async def run(self, photo: Image) -> Text:
        return Text(await self.look(photo.origin.photo))


@node("ahead.name")
class Name(Model):
    def __init__(self, model: str = "large") -> None:
        self.model = model

    async def run(self, text: Text) -> Text:
        return Text(await self.look(text.text))


@node("ahead.unlisted")
class Unlisted(Model):
    async def run(self, text: Text) -> Text:
        return text


def make_pipeline(model: str = "large") -> Pipeline:
    seen = Look(model)(Input("photo", Image))
    return Pipeline(seen=seen, named=Name(model)(seen))


def ahead(
    monkeypatch: pytest.MonkeyPatch,
    total: int | None,
    free: int | None = None,
    budget: int | None = None,
    pipeline: Pipeline | None = None,
) -> Preflight:
    """The look ahead on a machine with so much memory."""
    monkeypatch.setattr("visionweave.budget.preflight.known_memory", lambda device: total)
    monkeypatch.setattr("visionweave.budget.preflight.free_memory", lambda device: free)
    return look_ahead(pipeline or make_pipeline(), 100, CPU, budget)


def test_models_are_listed_with_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ahead(monkeypatch, 32 * GB, 6 * GB)
    assert found.lines() == [
        "  seen   big needs 4.0 GB: 2.0 GB of weights, 2.0 GB to work in (guessed); "
        "2.0 GB to fetch; CC-BY-NC-4.0, not for commercial use",
        "  named  namer needs 2.0 GB: 1.0 GB of weights, 1.0 GB to work in (guessed); "
        "1.0 GB to fetch",
        "memory: 5.0 GB for all models; cpu, fp32, has 32.0 GB, 6.0 GB of them free",
    ]
    assert found.refusal() == []


def test_what_is_here_and_what_is_not_known_is_said(
    monkeypatch: pytest.MonkeyPatch, store: Path
) -> None:
    (store / "small").mkdir()
    (store / "small/small.bin").write_bytes(b"123")
    pipeline = Pipeline(out=Unlisted()(Look("base")(Input("photo", Image))))
    found = ahead(monkeypatch, None, pipeline=pipeline)
    assert found.lines() == [
        "  ahead_look  small needs 6 bytes: 3 bytes of weights, 3 bytes to work in (guessed); here",
        "  out         ahead.unlisted: what it needs is not known",
        "memory: 6 bytes for all models; cpu, fp32, has an unknown size",
    ]
    assert found.refusal() == []


def test_a_pipeline_without_models_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ahead(monkeypatch, 1, 1, pipeline=Pipeline.load("thumbnails"))
    assert (found.lines(), found.refusal()) == ([], [])


def test_stages_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ahead(monkeypatch, 32 * GB, 3 * GB, 4 * GB)
    assert found.lines()[2:] == [
        "memory: 2 stages, each within 4.0 GB; cpu, fp32, has 32.0 GB, 3.0 GB of them free",
        "  stage 1: seen (4.0 GB)",
        "  stage 2: named (2.0 GB)",
        "  that is more than is free now: it may run out of memory",
    ]


# Refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("total", "budget", "refusal"),
    [
        pytest.param(5 * GB, None, [], id="it just fits"),
        pytest.param(
            4500 * 10**6,
            None,
            [
                "5.0 GB of memory are needed, and cpu has 4.5 GB",
                "it could run",
                "  in stages, one model after another: --memory-budget 4500MB",
                "  with smaller models: --profile base, which needs 2.3 GB",
                "  with a smaller model: --set seen.model=small",
            ],
            id="in stages, or smaller",
        ),
        pytest.param(
            2400 * 10**6,
            None,
            [
                "5.0 GB of memory are needed, and cpu has 2.4 GB",
                "it could run",
                "  with smaller models: --profile base, which needs 2.3 GB",
                "  with a smaller model: --set seen.model=small",
            ],
            id="smaller only",
        ),
        pytest.param(
            GB, None, ["5.0 GB of memory are needed, and cpu has 1.0 GB"], id="not at all"
        ),
        pytest.param(
            3 * GB,
            4 * GB,
            [
                "4.0 GB of memory are needed, and cpu has 3.0 GB",
                "it could run",
                "  with smaller models: --profile base, which needs 2.3 GB",
                "  with a smaller model: --set seen.model=small",
            ],
            id="a budget above what there is",
        ),
        pytest.param(
            32 * GB,
            3 * GB,
            [
                "a memory budget of 3.0 GB is too little, each model alone, for",
                "  step 'seen': big needs 4.0 GB: 2.0 GB of weights, 2.0 GB to work in (guessed)",
                "the least that would do is 4000MB",
                "it could run",
                "  with smaller models: --profile base, which needs 2.3 GB",
                "  with a smaller model: --set seen.model=small",
            ],
            id="a budget below what is needed",
        ),
    ],
)
def test_what_cannot_fit_is_refused_with_what_would(
    monkeypatch: pytest.MonkeyPatch, total: int, budget: int | None, refusal: list[str]
) -> None:
    assert ahead(monkeypatch, total, total, budget).refusal() == refusal


def test_a_gpu_that_is_too_small_leaves_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "visionweave.budget.preflight.known_memory",
        lambda device: 64 * GB if device == "cpu" else GB,
    )
    runtime = Runtime("cuda:0", "bf16")
    runtime._expected = ("cuda:0", "bf16")  # as it is remembered, on a machine that has one
    assert look_ahead(make_pipeline(), 1, runtime).refusal() == [
        "5.0 GB of memory are needed, and cuda:0 has 1.0 GB",
        "it could run",
        "  on the processor, which has 64.0 GB, and is slower: --device cpu",
    ]


# On the command line --------------------------------------------------------------------------


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    make_image().save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_a_dry_run_says_what_is_needed_and_writes_nothing(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["run", "tags", str(photo), "-o", str(out), "--dry-run"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "profile mini: mini-ram"
    assert "mini-ram needs" in lines[2]
    assert lines[2].endswith(" (guessed); here")
    assert lines[3].startswith("memory: ")
    assert lines[4:] == ["photos: 1, in chunks of up to 64"]
    assert not out.exists()


def test_a_run_that_cannot_fit_is_refused_before_weights_are_asked_for(
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("visionweave.budget.preflight.known_memory", lambda device: GB)
    out = tmp_path / "out"
    assert main(["run", "tags", str(photo), "-o", str(out), "--profile", "base"]) == 1
    error = capsys.readouterr().err.partition("error: ")[2]
    assert error == "6.0 GB of memory are needed, and cpu has 1.0 GB\n"
    assert not out.exists()


def test_a_budget_is_read_from_the_command_line(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    for budget, error in (
        ("much", "--memory-budget must be a size such as 500MB or 20GB; got 'much'\n"),
        ("1MB", "a memory budget of 1 MB is too little, each model alone, for\n"),
    ):
        command = ["run", "tags", str(photo), "-o", str(out), "--memory-budget", budget]
        assert main(command) == 1
        assert capsys.readouterr().err.partition("error: ")[2].startswith(error)
    assert not out.exists()


# Time -----------------------------------------------------------------------------------------


def take(pipeline: Pipeline, photos: int, seconds: float) -> None:
    """A job on some photos, of which each step found a fifth, and took so long for the rest."""
    times = Times(CPU)
    for count in (photos // 2, photos - photos // 2):
        times.chunk_started([""] * count)
        for step in pipeline.plan.steps:
            times.results_found(step, count // 5)
            times.step_finished(step, count - count // 5, seconds * count / photos)
    times.run_finished()


def test_time_is_told_from_earlier_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert seconds_for(make_pipeline().plan, 100, Figures("cpu", "fp32")) is None
    take(make_pipeline(), 10, 40.0)  # 5 s a call, of each of two models
    found = ahead(monkeypatch, 32 * GB)
    assert found.seconds == pytest.approx(1000)
    assert (
        found.lines()[-1] == "time: about 17 min for the models, from earlier jobs on this machine"
    )
    assert seconds_for(make_pipeline("base").plan, 100, Figures("cpu", "fp32")) is None
    assert seconds_for(make_pipeline().plan, 100, Figures("cpu", "bf16")) is None


def test_of_many_photos_the_earlier_count_half(own_cache: Path) -> None:
    pipeline = make_pipeline()
    take(pipeline, 5000, 4000.0)
    take(pipeline, 5000, 12000.0)
    figures = Figures("cpu", "fp32")
    assert seconds_for(pipeline.plan, 5000, figures) == pytest.approx(2 * (2500 + 15000) / 1.5)


def test_time_that_is_damaged_is_not_known(own_cache: Path) -> None:
    take(make_pipeline(), 10, 40.0)
    memo = json.loads((own_cache / "models.json").read_text())
    for each in memo["known"].values():
        each["time"] = {"photos": "many"}
    (own_cache / "models.json").write_text(json.dumps(memo))
    assert seconds_for(make_pipeline().plan, 100, Figures("cpu", "fp32")) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (42, "42 s"), (700, "12 min"), (9000, "2.5 h"), (400_000, "4.6 days")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
