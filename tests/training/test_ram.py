"""mini-ram's training: what it is shown, what it is told, and that the node runs what it learnt."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from training.models import grounding_dino
from training.models._grounding_dino_net import Learner
from training.models._ram_measure import (
    average_precision,
    precision_and_recall,
    present,
    scored,
    thresholds_for,
)
from training.models._ram_net import Student, student
from training.models.ram import Training, asymmetric, cells, naming
from training.world import NAMES, NAMES_ZH, Placed, Scene, World
from visionweave import Image
from visionweave.nodes.tag2text import Tag
from visionweave.weights.lock import Checkpoint, WeightFile
from visionweave.weights.lock_text import checkpoint_text


class Few(Training):
    """The training with few things: no test should wait until hundreds are drawn."""

    schedule = dataclasses.replace(Training.schedule, batch=4)
    scenes_for_thresholds = 20

    @cached_property
    def world(self) -> World:
        return World(styles=("twemoji",), only=NAMES[:4])

    @cached_property
    def plain(self) -> World:
        return self.world


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """For a network as small as this, several threads cost more than they do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def network() -> Student:
    torch.manual_seed(0)
    return student(len(NAMES))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def scene_of(ids: npt.NDArray[np.uint8], *classes: int) -> Scene:
    things = [Placed(each, "twemoji", np.zeros(4, np.float32), 1.0) for each in classes]
    return Scene(np.zeros((*ids.shape, 3), np.uint8), ids, things)


def test_a_cell_tells_what_share_of_it_each_thing_covers() -> None:
    ids = np.zeros((32, 32), np.uint8)
    ids[:16, :4] = 1  # a quarter of the first cell
    ids[:16, 4:12] = 2  # a half of it
    ids[16:, 16:] = 3  # all of the last, by a second thing of the class of number 1
    found = cells(scene_of(ids, 7, 5, 7))
    expected = np.zeros((4, len(NAMES) + 1), np.float32)
    expected[0, [7, 5, -1]] = 0.25, 0.5, 0.25
    expected[[1, 2], -1] = 1
    expected[3, 7] = 1
    np.testing.assert_array_equal(found, expected)


def test_tags_are_the_names_of_the_things_each_once() -> None:
    empty = np.zeros((16, 16), np.uint8)
    truth = present([scene_of(empty, 3, 1, 3), scene_of(empty)])
    assert [np.flatnonzero(row).tolist() for row in truth] == [[1, 3], []]


def test_a_batch_says_the_same_in_tags_and_in_cells() -> None:
    batch = Few().batch(rng(), 0.5)
    assert batch["images"].shape == (4, 160, 160, 3)
    assert batch["cells"].shape == (4, 100, len(NAMES) + 1)
    np.testing.assert_allclose(batch["cells"].sum(2), 1, atol=1e-6)
    np.testing.assert_array_equal(batch["cells"][..., :-1].any(1), batch["tags"] > 0)
    assert batch["tags"].any(1).all()


def test_the_same_generator_makes_the_same_batch() -> None:
    first, second, other = (Few().batch(rng(seed), 0.5) for seed in (1, 1, 2))
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])
    assert (first["images"] != other["images"]).any()


def test_without_focus_and_margin_the_loss_is_cross_entropy_per_tag_there() -> None:
    scores, truth = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([[1.0, 1.0, 0.0]])
    expected = F.binary_cross_entropy(scores, truth, reduction="sum") / 2
    torch.testing.assert_close(asymmetric(scores, truth, focus=0, margin=0), expected)


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        pytest.param(0.05, 0.0, id="within the margin"),
        pytest.param(0.55, -(0.5**2) * np.log(0.5), id="weighed by its shifted score"),
        pytest.param(1.0, -(0.95**2) * np.log(0.05), id="sure and wrong, still finite"),
    ],
)
def test_an_absent_tag_costs_by_how_far_it_is_above_the_margin(
    score: float, expected: float
) -> None:
    loss = asymmetric(torch.tensor([[1.0, score]]), torch.tensor([[1.0, 0.0]]))
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_naming_is_cross_entropy_in_which_background_counts_less() -> None:
    torch.manual_seed(0)
    logits, shares = torch.randn(2, 5, 4), torch.rand(2, 5, 4).softmax(-1)
    weight = torch.tensor([1, 1, 1, 0.3])
    by_hand = -(shares * weight * logits.log_softmax(-1)).sum() / (shares * weight).sum()
    torch.testing.assert_close(naming(logits, shares), by_hand)
    only_background = torch.tensor([0.0, 0, 0, 1]).expand_as(shares)
    expected = F.cross_entropy(logits.flatten(0, 1), torch.full((10,), 3))
    torch.testing.assert_close(naming(logits, only_background), expected)


def test_average_precision_is_the_mean_over_the_tags_that_occur() -> None:
    scores = np.array([[0.9, 0.1, 0.5], [0.8, 0.2, 0.6], [0.7, 0.3, 0.7]], np.float32)
    truth = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0]], bool)
    first = (1 / 1 + 2 / 3) / 2  # right, wrong, right
    second = 1 / 2  # wrong, right
    assert average_precision(scores, truth) == pytest.approx((first + second) / 2)


def test_a_threshold_is_the_lowest_above_which_tags_are_right() -> None:
    falling = np.linspace(0.99, 0.01, 99, dtype=np.float32)
    sure = np.arange(99) < 40  # right above 0.595, wrong below
    mixed = np.arange(99) % 2 == 0  # never right often enough: surest at the top
    thresholds = thresholds_for(np.stack([falling, falling], 1), np.stack([sure, mixed], 1))
    scores, truth = falling[:, None], sure[:, None]
    precision, recall = precision_and_recall(scores, truth, thresholds[:1])
    assert recall == 1
    assert 0.9 <= precision < 0.96
    assert 0 < np.count_nonzero(falling > thresholds[1]) < 99


def test_nothing_above_a_threshold_is_no_precision_and_no_recall() -> None:
    scores, truth = np.full((2, 1), 0.3, np.float32), np.ones((2, 1), bool)
    assert precision_and_recall(scores, truth, np.ones(1, np.float32)) == (0, 0)


def test_each_label_begins_by_looking_at_the_tokens_that_resemble_it(network: Student) -> None:
    labels = network.label_embed.detach()
    layer = network.head[0]
    queries = layer.query(network.queries(labels, labels)[0])
    looks = queries @ layer.key(labels).T  # (labels, tokens)
    assert (looks.argmax(1) == torch.arange(len(labels))).float().mean() > 0.9


def test_the_training_sees_what_the_node_sees(network: Student) -> None:
    pixels = torch.randint(0, 256, (2, 160, 160, 3), dtype=torch.uint8)
    with torch.inference_mode():
        seen = network(pixels)
        torch.testing.assert_close(seen.tags, network.score(network.encode(pixels)))
    assert seen.fine.shape == (2, 100, len(NAMES) + 1)
    assert seen.coarse.shape == (2, 25, len(NAMES) + 1)


@pytest.mark.parametrize("place", [(0, 0), (3, 1)])
def test_a_cell_is_named_from_its_own_place(network: Student, place: tuple[int, int]) -> None:
    """Rows come before columns: a change in one cell moves that cell's own logits most."""
    row, column = place
    pixels = torch.full((2, 160, 160, 3), 128, dtype=torch.uint8)
    pixels[1, row * 32 : row * 32 + 32, column * 32 : column * 32 + 32] = 255
    with torch.inference_mode():
        seen = network(pixels)
    fine = (seen.fine[1] - seen.fine[0]).norm(dim=1).view(5, 2, 5, 2).sum((1, 3))
    assert fine.flatten().argmax() == row * 5 + column


def test_it_begins_with_what_a_detector_has_learnt_to_see(network: Student) -> None:
    detector = Learner()
    task, taught = Few(), student(len(NAMES))
    grounding_dino.Training().start(detector, network.state_dict())
    task.start(taught, detector.state_dict())
    pixels = torch.randint(0, 256, (1, 160, 160, 3), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(taught(pixels).fine, network(pixels).fine)
        assert torch.equal(
            taught.visual_encoder(network.normalised(pixels)).pooler_output,
            network.visual_encoder(network.normalised(pixels)).pooler_output,
        )
    assert not torch.equal(taught.label_embed, network.label_embed)  # a detector has none
    task.start(taught, network.state_dict())
    assert torch.equal(taught.label_embed, network.label_embed)


def test_the_loss_falls_on_a_repeated_batch(network: Student) -> None:
    task = Few()
    batch = {key: torch.as_tensor(value) for key, value in task.batch(rng(), 0.5).items()}
    optimizer = torch.optim.AdamW(network.parameters(), 5e-4)

    def step() -> dict[str, float]:
        losses = task.loss(network, batch, 0.0)
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
        return {name: value.item() for name, value in losses.items()}

    first = step()
    for _ in range(25):
        last = step()
    assert {name for name in first if last[name] < 0.8 * first[name]} == {"tags", "fine", "coarse"}


def test_the_node_runs_what_was_exported(
    network: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, folder = Few(), tmp_path / "mini-test"
    folder.mkdir()
    task.export(network, folder)
    entry = json.loads((folder / "entry.json").read_text())
    (folder / "entry.json").unlink()
    assert sum(path.stat().st_size for path in folder.iterdir()) < 12_000_000
    (tmp_path / "weights.lock").write_text(checkpoint_text(row_of(folder, entry["config"])))
    monkeypatch.setenv("VISIONWEAVE_WEIGHTS", str(tmp_path))

    scene = task.world.scene(rng(3))
    with torch.inference_mode():
        expected = network.score(network.encode(torch.from_numpy(scene.image)[None]))[0]
    photo = Image.from_array(scene.image)
    found = Tag(model="mini-test", threshold=0.0)(photo)
    assert_tags(dict(zip(found.phrases, found.scores.tolist(), strict=True)), NAMES, expected)
    chinese = Tag(model="mini-test", threshold=0.0, language="zh")(photo)
    assert_tags(
        dict(zip(chinese.phrases, chinese.scores.tolist(), strict=True)), NAMES_ZH, expected
    )

    limits = np.float32((folder / "thresholds.txt").read_text().split())
    above = {NAMES[index] for index in np.flatnonzero(expected.numpy() > limits)}
    assert set(Tag(model="mini-test")(photo).phrases) == above


def test_thresholds_come_from_scenes_of_training_and_measures_from_others() -> None:
    torch.manual_seed(0)
    task, network = Few(), student(len(NAMES))
    first, second = (scored(network, task.plain, rng(5), 3) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert first[1][:, :4].any()
    assert not first[1][:, 4:].any()


def assert_tags(found: dict[str, float], names: tuple[str, ...], expected: Tensor) -> None:
    assert set(found) == set(names)
    scores = torch.tensor([found[name] for name in names])
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=0)


def row_of(folder: Path, config: dict[str, object]) -> Checkpoint:
    files = tuple(
        WeightFile(path.name, "", None, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(folder.iterdir())
    )
    return Checkpoint(
        folder.name, "tag2text", "", "", files, "safetensors", "MIT", "yes", "", "", config
    )
