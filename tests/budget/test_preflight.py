"""What is said of a run before it begins, and when it is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from visionweave import Image, Input, ModelNode, Pipeline, Runtime, Text, batched, node
from visionweave.budget.preflight import Preflight, look_ahead
from visionweave.budget.request import Options, Request
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
    def load(self, runtime: Runtime) -> None: ...

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
    **asked: Any,
) -> Preflight:
    """The look ahead on a machine with so much memory."""
    monkeypatch.setattr("visionweave.budget.request.known_memory", lambda device: total)
    monkeypatch.setattr("visionweave.budget.preflight.free_memory", lambda device: free)
    asked = {"device": "cpu", "precision": "fp32"} | asked
    return look_ahead(Request(pipeline or make_pipeline(), budget=budget, **asked), 100)


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
        "memory: 6 bytes for the models of which it is known; cpu, fp32, has an unknown size",
    ]
    assert found.refusal() == []


def test_what_no_model_tells_is_not_called_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ahead(monkeypatch, 32 * GB, pipeline=Pipeline(out=Unlisted()(Input("text", Text))))
    assert found.lines() == [
        "  out  ahead.unlisted: what it needs is not known",
        "memory: what the models need is not known; cpu, fp32, has 32.0 GB",
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
        "visionweave.budget.request.known_memory",
        lambda device: 64 * GB if device == "cpu" else GB,
    )
    assert look_ahead(Request(make_pipeline(), "cuda:0", "bf16"), 1).refusal() == [
        "5.0 GB of memory are needed, and cuda:0 has 1.0 GB",
        "it could run",
        "  on the processor, which has 64.0 GB, and is slower: --device cpu",
    ]


def measure(pipeline: Pipeline, precision: str = "fp32", **taken: int) -> None:
    """Let models have run in batches of 4, and have taken so many bytes; by step."""
    figures = Figures("cpu", precision)
    for step in pipeline.plan.steps:
        if step.name in taken:
            batches = {"look": {"size": 4, "bytes": taken[step.name]}}
            figures.change(step.node, {"batches": batches})


def test_a_batch_that_is_too_large_is_refused_with_one_that_fits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measure(make_pipeline(), seen=GB, named=GB // 2)  # 250 MB a photo, beside 3 GB of weights
    found = ahead(monkeypatch, 6 * GB, batch=32)
    assert found.refusal() == [
        "11.0 GB of memory are needed, and cpu has 6.0 GB",
        "it could run",
        "  in smaller batches: --batch 8",
        "  with smaller models: --profile base, which needs 5.3 GB",
        "  with a smaller model: --set seen.model=small",
    ]
    assert found.lines()[0].startswith("  seen   big needs 10.0 GB: 2.0 GB of weights, 8.0 GB to")
    assert ahead(monkeypatch, 6 * GB, batch=8).refusal() == []
    assert ahead(monkeypatch, 6 * GB).refusal() == [], "which finds sizes that fit by itself"


def test_a_batch_too_large_for_its_budget_is_refused_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measure(make_pipeline(), seen=GB, named=GB)
    refusal = ahead(monkeypatch, 32 * GB, budget=4 * GB, batch=16).refusal()
    assert refusal[:4] == [
        "a memory budget of 4.0 GB is too little, each model alone, for",
        "  step 'seen': big needs 6.0 GB: 2.0 GB of weights, 4.0 GB to work in (measured)",
        "  step 'named': namer needs 5.0 GB: 1.0 GB of weights, 4.0 GB to work in (measured)",
        "the least that would do is 6000MB",
    ]
    assert "  in smaller batches: --batch 8" in refusal


def test_what_smaller_batches_save_is_not_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ahead(monkeypatch, GB, batch=32).refusal() == [
        "5.0 GB of memory are needed, and cpu has 1.0 GB"
    ]


@pytest.mark.parametrize(
    ("taken", "ways"),
    [
        pytest.param({}, [], id="nothing is known"),
        pytest.param({"seen": 2 * GB}, [], id="one model only"),
        pytest.param({"seen": 2 * GB, "named": 9 * GB}, [], id="more"),
        pytest.param(
            {"seen": 2 * GB, "named": 2 * GB},
            ["it could run", "  in bf16, by what was measured in it: --precision bf16"],
            id="less",
        ),
    ],
)
def test_another_precision_is_named_where_it_was_measured_to_fit(
    monkeypatch: pytest.MonkeyPatch, taken: dict[str, int], ways: list[str]
) -> None:
    measure(make_pipeline(), seen=8 * GB, named=8 * GB)  # for 4 photos; beside 3 GB of weights
    measure(make_pipeline(), "bf16", **taken)
    fixed = Options(profile=None, model=None)
    assert ahead(monkeypatch, 3600 * 10**6, options=fixed).refusal() == [
        "5.0 GB of memory are needed, and cpu has 3.6 GB",
        *ways,
    ]


def test_a_budget_beyond_the_memory_there_is_is_refused_with_one_within(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refusal = ahead(monkeypatch, 4500 * 10**6, budget=20 * GB).refusal()
    assert "  in stages, one model after another: --memory-budget 4500MB" in refusal


def test_a_command_is_told_only_what_it_can_do(monkeypatch: pytest.MonkeyPatch) -> None:
    options = Options(profile=None, model="--model {model}", machine=False)
    measure(make_pipeline(), "bf16", seen=4, named=4)
    assert ahead(monkeypatch, 4500 * 10**6, options=options).refusal()[2:] == [
        "  in stages, one model after another: --memory-budget 4500MB",
        "  with a smaller model: --model small",
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
    monkeypatch.setattr("visionweave.budget.request.known_memory", lambda device: GB)
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
