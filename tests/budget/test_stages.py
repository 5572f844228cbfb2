"""What models need, and which of them fit into a stage together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from visionweave import Input, ModelNode, Node, Pipeline, Runtime, Text, node
from visionweave.budget.needs import Need, needs_of, size_of, weights_bytes
from visionweave.budget.stages import group_steps, parts_of
from visionweave.execution.figures import Figures
from visionweave.execution.plan import Plan
from visionweave.overrides import checkpoints
from visionweave.weights.lock import Checkpoint, WeightFile, store_folder


@node("stages.one")
class One(Node):
    """A step that reads one text."""

    def __init__(self, name: str = "") -> None:
        self.name = name

    def run(self, text: Text) -> Text:
        return text


@node("stages.two")
class Two(Node):
    """A step that reads two."""

    def run(self, text: Text, other: Text) -> Text:
        return text


def chain() -> Plan:
    """a -> b -> c, and d of the input alone; e of all."""
    text = Input("text", Text)
    a = One("a")(text)
    b = One("b")(a)
    c = One("c")(b)
    d = One("d")(text)
    return Pipeline(e=Two()(c, d), b=b).plan


def needing(plan: Plan, models: Mapping[str, tuple[str, int, int]]) -> dict[str, Need]:
    """The needs of steps, by the name that they were built with: model, weights, working."""
    names = {step.node.settings["name"]: step.name for step in plan.steps if step.node.settings}
    return {
        names[name]: Need(names[name], "stages.one", model, None, weights, working, working)
        for name, (model, weights, working) in models.items()
    }


def grouped(models: Mapping[str, tuple[str, int, int]], budget: int) -> list[str]:
    """The stages, each as the letters of its steps."""
    plan = chain()
    letters = {step.name: step.node.settings.get("name", "e") for step in plan.steps}
    groups = group_steps(plan, needing(plan, models), budget)
    return ["".join(letters[name] for name in group) for group in groups]


MODELS = {"a": ("A", 10, 5), "b": ("B", 20, 1), "c": ("C", 10, 2), "d": ("D", 5, 1)}


@pytest.mark.parametrize(
    ("models", "budget", "stages"),
    [
        pytest.param(MODELS, 50, ["abcde"], id="all fit: 45 of weights, 5 to work in"),
        pytest.param(MODELS, 49, ["abc", "de"], id="one does not"),
        pytest.param(MODELS, 35, ["ab", "cde"], id="two and two"),
        pytest.param(MODELS, 20, ["ad", "b", "ce"], id="what needs nothing of it goes ahead"),
        pytest.param(MODELS, 0, ["a", "b", "c", "de"], id="nothing fits: each alone"),
        pytest.param(
            MODELS | {"d": ("A", 10, 5)}, 15, ["ad", "b", "ce"], id="two steps of one model"
        ),
        pytest.param(
            MODELS | {"c": ("A", 10, 5)},
            25,
            ["ad", "b", "ce"],
            id="a model that needs what another makes of its answers comes twice",
        ),
        pytest.param({"c": ("C", 10, 2)}, 12, ["abcde"], id="what has no model goes anywhere"),
    ],
)
def test_steps_are_grouped_so_that_their_models_fit(
    models: Mapping[str, tuple[str, int, int]], budget: int, stages: list[str]
) -> None:
    assert grouped(models, budget) == stages


def test_a_part_carries_what_later_ones_need_and_nothing_else() -> None:
    plan = chain()
    names = {step.node.settings.get("name", "e"): step for step in plan.steps}
    slot = {letter: step.slots[""] for letter, step in names.items()}
    text = plan.inputs[0].slot
    first, second, third = parts_of(
        plan, [[names[letter].name for letter in group] for group in ("a", "bd", "ce")]
    )
    assert (first.carried, set(first.outputs.values())) == ((), {text, slot["a"]})
    assert (second.carried, set(second.outputs.values())) == ((slot["a"],), {slot["b"], slot["d"]})
    assert [each.slot for each in second.inputs] == [text]
    assert (third.inputs, set(third.carried)) == ((), {slot["b"], slot["d"]})
    assert third.outputs == plan.outputs
    assert [step.releases for step in second.steps] == [(slot["a"],), (text,)]


# What models need -----------------------------------------------------------------------------


def test_together_models_need_all_weights_and_the_most_that_one_works_in() -> None:
    needs = [
        Need("a", "x.y", "A", None, 10, 7, 3),
        Need("b", "x.z", "A", None, 10, 2, 1),  # the same model
        Need("c", "x.y", "C", None, 20, 4, 4),
    ]
    assert size_of(needs) == 10 + 20 + 7
    assert size_of(needs, least=True) == 10 + 20 + 4
    assert size_of([]) == 0


def entry(name: str, *files: WeightFile) -> Checkpoint:
    facts: dict[str, Any] = {
        "family": "clip", "source": "", "revision": "", "format": "safetensors", "license": "MIT",
        "commercial": "yes", "terms": "", "paper": "", "config": {},
    }  # fmt: skip
    return Checkpoint(name=name, files=files, **facts)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VISIONWEAVE_WEIGHTS", str(tmp_path))
    return store_folder()


def test_weights_are_counted_in_fp32_where_their_file_is_here(store: Path) -> None:
    tensors = {"half": np.zeros((100, 10), np.float16), "places": np.zeros(7, np.int64)}
    (store / "small").mkdir()
    save_file(tensors, store / "small/model.safetensors")
    (store / "small/words.txt").write_text("12345")
    files = [WeightFile(n, "", 999, None) for n in ("model.safetensors", "words.txt")]
    assert weights_bytes(entry("small", *files)) == 4 * 1000 + 8 * 7 + 5


def test_weights_that_are_not_here_take_what_the_list_says(store: Path) -> None:
    files = [WeightFile("a.safetensors", "", 1000, None), WeightFile("b.bin", "", None, None)]
    assert weights_bytes(entry("absent", *files)) == 1000
    (store / "damaged").mkdir()
    (store / "damaged/a.safetensors").write_bytes(b"no tensors")
    assert weights_bytes(entry("damaged", *files)) == 1000


def test_what_was_measured_stands_in_the_place_of_the_guess() -> None:
    pipeline = Pipeline.load("tags")
    figures = Figures("cpu", "fp32")
    found = checkpoints(pipeline.graph)
    (guess,) = needs_of(pipeline.plan, found, figures).values()
    assert (guess.working, guess.least, guess.measured) == (guess.weights, guess.weights, False)
    step = next(step for step in pipeline.plan.steps if step.name == guess.step)
    batches = {"one": {"size": 8, "bytes": 800}, "two": {"size": 1, "bytes": 200}, "new": {}}
    figures.change(step.node, {"batches": batches})
    (need,) = needs_of(pipeline.plan, found, Figures("cpu", "fp32")).values()
    assert (need.working, need.least, need.measured) == (800, 200, True)


def test_a_model_of_which_nothing_is_known_needs_nothing_that_could_be_said() -> None:
    @node("stages.model")
    class Unlisted(ModelNode):
        def load(self, runtime: Runtime) -> None: ...

        async def run(self, text: Text) -> Text:
            return text

    plan = Pipeline(out=Unlisted()(Input("text", Text))).plan
    (need,) = needs_of(plan, {}, Figures("cpu", "fp32")).values()
    assert (need.weights, need.working, need.known) == (0, 0, False)
