"""mini-grounding-dino's training: what it is shown, what it is told, and that the node runs it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from training.models._grounding_dino_loss import central, matched, terms
from training.models._grounding_dino_measure import Tally, average_precision, hits, measured
from training.models._grounding_dino_net import (
    BOOK,
    GROUPS,
    PREPARATION,
    QUERIES,
    WRITER,
    Learner,
    cell_grid,
    shipped,
)
from training.models._grounding_dino_scenes import (
    BACKGROUND,
    IGNORED,
    SHAPES,
    Shape,
    absent_names,
    cell_classes,
    make_batch,
    prompt_of,
    scene_of,
)
from training.models._ram_net import student
from training.models._swin import DETECTOR_SWIN
from training.models.grounding_dino import Training
from training.world import NAMES, Placed, Scene, World, vocabulary
from visionweave import Boxes, Image, Pipeline, Runtime, Tags, testing
from visionweave.chain import Input
from visionweave.nodes.grounding_dino import Detect
from visionweave.nodes.grounding_dino.photos import prepared

DRAWN = NAMES[:4]


class Few(Training):
    """The training with few things: no test should wait until hundreds are drawn."""

    schedule = dataclasses.replace(Training.schedule, batch=2)

    @cached_property
    def world(self) -> World:
        return World(styles=("twemoji",), only=DRAWN)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def task() -> Few:
    return Few()


@pytest.fixture(scope="module")
def learner() -> Learner:
    torch.manual_seed(3)
    return Learner().eval()


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def tensors(batch: dict[str, Any]) -> dict[str, Any]:
    return {name: torch.as_tensor(each) for name, each in batch.items()}


def words(tokens: Any) -> str:
    """What places in the book say."""
    return " ".join(vocabulary()[BOOK.ids[place]] for place in tokens)


def boxes_of(scene: Scene) -> list[list[float]]:
    """The boxes that the ids of a scene say."""
    found = []
    for number in range(1, len(scene.objects) + 1):
        rows, columns = np.nonzero(scene.ids == number)
        found.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    return found


# What it is shown


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_scene_of_any_shape_shows_its_objects_whole(task: Few, shape: Shape) -> None:
    for seed in range(4):
        scene = scene_of(rng(seed), task.world, shape)
        assert scene.image.shape == (*shape, 3)
        assert scene.ids.shape == shape
        assert [thing.xyxy.tolist() for thing in scene.objects] == boxes_of(scene)


def test_a_prompt_names_present_and_absent_things_once_each(task: Few) -> None:
    scene = scene_of(rng(1), task.world, (160, 160))
    present = {thing.name_index for thing in scene.objects}
    nothing = left_out = 0
    for seed in range(300):
        asked = prompt_of(rng(seed), scene, (6, 12))
        assert 6 <= len(asked) <= 12
        assert len(set(asked)) == len(asked)
        nothing += not present & set(asked)
        left_out += bool(present - set(asked))
    assert 15 < nothing < 90
    assert nothing < left_out < 150
    assert not present & set(absent_names(rng(), scene, 100))


def test_every_object_that_the_prompt_names_has_its_box_and_the_tokens_of_its_name() -> None:
    world, seen = World(styles=("twemoji",), only=("dog", "fire engine")), set()
    for seed in range(8):
        batch = make_batch(rng(seed), world, 2)
        height, width = batch["pixels"].shape[1:3]
        for row in range(2):
            prompt = words(batch["tokens"][row][batch["is_token"][row]])
            assert prompt.startswith("[CLS] ")
            assert prompt.endswith(" . [SEP]")
            for box, name, wanted in zip(
                batch["boxes"][row], batch["classes"][row], batch["wanted"][row], strict=True
            ):
                if name < 0:
                    assert not wanted.any()
                    assert not box.any()
                    continue
                seen.add(words(batch["tokens"][row][wanted]))
                assert words(batch["tokens"][row][wanted]) == NAMES[name]
                corners = np.concatenate([box[:2] - box[2:] / 2, box[:2] + box[2:] / 2])
                corners *= [width, height] * 2
                np.testing.assert_allclose(corners, corners.round(), atol=1e-3)
                assert (corners >= -1e-3).all()
    assert seen == {"dog", "fire engine"}


def test_the_prompt_of_a_batch_is_what_the_node_would_ask() -> None:
    batch = make_batch(rng(2), World(styles=("twemoji",), only=DRAWN), 1)
    ids = [BOOK.ids[place] for place in batch["tokens"][0]]
    phrases = words(batch["tokens"][0][1:-1]).removesuffix(" .").split(" . ")
    (prompt,) = WRITER.phrases(phrases).prompts
    assert tuple(ids) == prompt.ids
    assert tuple(BOOK.places[place] for place in batch["tokens"][0]) == prompt.places


def test_a_cell_is_of_the_object_that_covers_it_or_background_or_neither() -> None:
    ids = np.zeros((32, 64), np.uint8)
    ids[:16, :16] = 1
    ids[:16, 16:24] = 2  # half of the second cell
    ids[16:20, 48:] = 2  # a quarter of the last
    nowhere = np.zeros(4, np.float32)
    things = [Placed(name, "twemoji", nowhere, 1.0) for name in (7, 5)]
    scene = Scene(np.zeros((32, 64, 3), np.uint8), ids, things)
    fine = [7, 5, BACKGROUND, BACKGROUND, BACKGROUND, BACKGROUND, BACKGROUND, IGNORED]
    assert cell_classes(scene, 16).tolist() == fine
    assert cell_classes(scene, 32).tolist() == [IGNORED, BACKGROUND]


@pytest.mark.parametrize(
    ("size_wh", "shape"),
    [
        pytest.param((640, 640), (160, 160), id="square"),
        pytest.param((640, 480), (128, 160), id="4:3"),
        pytest.param((480, 640), (160, 128), id="3:4"),
        pytest.param((900, 600), (96, 160), id="3:2"),
        pytest.param((1280, 720), (96, 160), id="16:9"),
        pytest.param((700, 640), (160, 160), id="nearly square"),
        pytest.param((900, 30), (32, 160), id="a strip"),
    ],
)
def test_photos_have_the_shapes_of_the_scenes(size_wh: tuple[int, int], shape: Shape) -> None:
    assert prepared(testing.make_image(size_wh), PREPARATION).shape == (*shape, 3)


# What it is told


def test_the_cells_in_the_middle_of_an_object_propose_it() -> None:
    grid = cell_grid([(4, 4)], torch.device("cpu"))
    assert grid[0].tolist() == [0.125, 0.125, 0.25, 0.25]
    assert grid[1].tolist() == [0.375, 0.125, 0.25, 0.25]
    boxes = torch.tensor([[[0.3, 0.75, 0.6, 0.5], [0.9, 0.1, 0.05, 0.05], [0.4, 0.4, 0.9, 0.9]]])
    classes = torch.tensor([[4, 4, -1]])
    assert central(grid, boxes, classes).view(4, 4).tolist() == [
        [-1, -1, -1, 1],  # too small for its cell, yet not without one
        [-1, -1, -1, -1],
        [-1, 0, -1, -1],  # 0.125 of the height from the centre: just near enough
        [-1, 0, -1, -1],
    ]


def perfect(batch: dict[str, Any], sure: float = 9.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and boxes of queries, of which in each group the last ones fit the objects."""
    count, most = batch["classes"].shape
    tokens = batch["tokens"].shape[1]
    logits = torch.full((count, QUERIES * GROUPS, tokens), -sure)
    boxes = torch.full((count, QUERIES * GROUPS, 4), 0.05)
    for group in range(1, GROUPS + 1):
        own = slice(group * QUERIES - most, group * QUERIES)
        logits[:, own] = torch.where(batch["wanted"], sure, -sure)
        boxes[:, own] = batch["boxes"]
    return logits.masked_fill(~batch["is_token"][:, None], -torch.inf), boxes


def test_in_each_group_every_object_is_matched_with_the_query_that_fits(task: Few) -> None:
    batch = tensors(make_batch(rng(5), task.world, 3))
    chosen = matched(*perfect(batch), batch)
    most = batch["classes"].shape[1]
    expected = torch.full_like(chosen, -1)
    for group in range(1, GROUPS + 1):
        there = batch["classes"] >= 0
        own = slice(group * QUERIES - most, group * QUERIES)
        expected[:, own] = torch.where(there, torch.arange(most), -1)
    assert (batch["classes"] >= 0).any()
    assert chosen.tolist() == expected.tolist()


def test_right_answers_cost_nothing_and_wrong_ones_do(task: Few, learner: Learner) -> None:
    batch = tensors(make_batch(rng(5), task.world, 3))
    with torch.inference_mode():
        found = learner(batch["pixels"], batch["tokens"], batch["is_token"])
    logits, boxes = perfect(batch)
    right = dataclasses.replace(found, logits=[logits] * 2, boxes=[boxes] * 2)
    good, bad = terms(right, batch), terms(found, batch)
    for name in ("decode_fit", "decode_place", "decode_overlap"):
        assert good[name] < 0.01 < bad[name]
    assert good["propose_fit"] == bad["propose_fit"]
    assert all(torch.isfinite(value) for value in bad.values())


def test_every_weight_that_is_shipped_learns(task: Few) -> None:
    torch.manual_seed(0)
    learner, batch = Learner(), tensors(task.batch(rng(1), 0.5))
    sum(task.loss(learner, batch, 0.0).values()).backward()  # type: ignore[union-attr]
    still = [name for name, each in learner.named_parameters() if each.grad is None]
    assert still == [
        f"{DETECTOR_SWIN}swin.layernorm.weight",
        f"{DETECTOR_SWIN}swin.layernorm.bias",
    ]  # read by none


def test_the_loss_falls_on_one_repeated_batch(task: Few) -> None:
    torch.manual_seed(0)
    learner, batch = Learner(), tensors(make_batch(rng(1), task.world, 1))
    groups = [{"params": group["params"]} for group in task.parameters(learner)]
    assert sum(len(group["params"]) for group in groups) == len(list(learner.parameters()))
    optimizer, seen = torch.optim.AdamW(groups, 5e-4), []
    for _ in range(18):
        loss = torch.stack([*task.loss(learner, batch, 0.0).values()]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(float(loss.detach()))
    assert seen[-1] < 0.6 * seen[0]


# What it begins with


def test_the_swin_of_mini_ram_gives_the_same_features_here(learner: Learner, task: Few) -> None:
    """At twice the side: at 160 pixels RAM does not shift the windows of the last stage."""
    torch.manual_seed(1)
    ram, own = student(len(NAMES)).eval(), Learner().eval()
    torch.nn.init.normal_(ram.visual_encoder.layernorm.weight)
    task.start(own, ram.state_dict())
    photos = torch.randn(1, 3, 320, 320)
    with torch.inference_mode():
        swin = own.network.model.backbone.conv_encoder.model
        theirs = ram.visual_encoder(
            photos, output_hidden_states=True, output_hidden_states_before_downsampling=True
        )
        fine, coarse = swin(photos).feature_maps
        named = own.cell_heads[0](fine.flatten(2).mT)
        middle = theirs.reshaped_hidden_states[-2].flatten(2).mT
        expected = ram.dense_fine(ram.dense_norm(middle))
    torch.testing.assert_close(coarse.flatten(2).mT, theirs.last_hidden_state)
    torch.testing.assert_close(named, expected)


def test_a_run_can_begin_with_the_weights_of_another(learner: Learner, task: Few) -> None:
    own = Learner()
    task.start(own, learner.state_dict())
    assert all(
        torch.equal(one, other)
        for one, other in zip(own.parameters(), learner.parameters(), strict=True)
    )


def test_weights_of_another_mini_ram_are_refused(learner: Learner, task: Few) -> None:
    with pytest.raises(ValueError, match=r"mini-ram have no place here: .*swin\.deeper"):
        task.start(learner, {"visual_encoder.deeper": torch.zeros(1)})


# What comes of it


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, learner: Learner, task: Few) -> Path:
    """A store of weights with the exported network as "untrained"."""
    folder = tmp_path / "untrained"
    folder.mkdir()
    task.export(learner, folder)
    files = ", ".join(
        f'{{ name = "{path.name}", sha256 = "{hashlib.sha256(path.read_bytes()).hexdigest()}" }}'
        for path in sorted(folder.iterdir())
    )
    (tmp_path / "weights.lock").write_text(
        f'[checkpoint."untrained"]\nfamily = "grounding_dino"\nfiles = [{files}]\n'
        'license = "MIT"\ncommercial = "yes"\n'
    )
    monkeypatch.setenv("VISIONWEAVE_WEIGHTS", str(tmp_path))
    return tmp_path


def test_the_node_gives_what_the_training_saw(store: Path, learner: Learner, task: Few) -> None:
    assert sum(path.stat().st_size for path in (store / "untrained").iterdir()) < 12e6
    batch = make_batch(rng(3), task.world, 2)
    given = tensors(batch)
    with torch.inference_mode():
        seen = learner(given["pixels"], given["tokens"], given["is_token"])
    node = Detect("untrained")
    node.ensure_loaded(Runtime.get("cpu", "fp32"))
    assert node._loaded.preparation == PREPARATION
    for row, photo in enumerate(batch["pixels"]):
        kept = batch["is_token"][row]
        said = words(batch["tokens"][row][kept][1:-1]).removesuffix(" .").split(" . ")
        (prompt,) = node._loaded.phrases(tuple(said)).prompts
        with node.forward_context():
            (scene,) = node.look.forward([photo])
            ((scores, places),) = node.detect.forward([(scene, prompt)])
        first = seen.logits[-1][row, :QUERIES, : len(prompt.ids)].sigmoid()
        # The exported weights are halves.
        np.testing.assert_allclose(scores, first, atol=0.02)
        np.testing.assert_allclose(places, seen.boxes[-1][row, :QUERIES], atol=0.02)


def test_boxes_come_out_of_the_whole_node(store: Path) -> None:
    photo, phrases = Input("photo", Image), Input("phrases", Tags)
    pipeline = Pipeline(boxes=Detect("untrained", box_threshold=0.0)(photo, phrases))
    asked = Tags(("dog", "狗", "fire engine"))
    boxes = pipeline.run(photo=testing.make_image((640, 480)), phrases=asked, device="cpu")["boxes"]
    assert len(boxes) == QUERIES
    assert boxes.image_hw == (480, 640)
    assert set(boxes.labels) <= set(asked.phrases)


def test_one_group_of_queries_answers_as_it_did_among_several(learner: Learner, task: Few) -> None:
    network = shipped(learner)
    assert network.config.num_queries == QUERIES
    assert learner.network.config.num_queries == QUERIES * GROUPS
    assert sum(p.numel() for p in network.parameters()) * 2 < 8e6


def test_the_area_under_the_curve_is_that_of_hand_work() -> None:
    # Precision 1, 1/2, 2/3, 2/4, 3/5, which may only fall: 1 | 2/3 | 3/5 at the right ones.
    right = np.array([True, False, True, False, True])
    assert average_precision(right, 4) == pytest.approx((1 + 2 / 3 + 3 / 5) / 4)
    assert average_precision(np.zeros(0, bool), 4) == 0.0


def boxes_at(lefts: list[int], labels: list[str], scores: list[float] | None = None) -> Boxes:
    xyxy = np.array([[left, 0, left + 20, 20] for left in lefts], np.float32)
    return Boxes(xyxy, (160, 160), labels, None if scores is None else np.float32(scores))


def test_a_box_is_right_if_it_is_the_first_on_an_object_of_its_label() -> None:
    truth = boxes_at([0, 50, 100], ["cat", "cat", "dog"])
    found = boxes_at([1, 2, 99, 100, 130, 52], ["cat", "cat", "cat", "dog", "dog", "cat"])
    assert hits(truth, found) == [True, False, False, True, False, True]


def test_the_tally_of_a_scene() -> None:
    things = [
        Placed(NAMES.index(name), "twemoji", np.float32([left, 0, left + 20, 20]), 1.0)
        for name, left in (("cat", 0), ("dog", 50), ("lion", 120))
    ]
    scene = Scene(np.zeros((160, 160, 3), np.uint8), np.zeros((160, 160), np.uint8), things)
    tally = Tally(silent=[True, False])
    found = boxes_at([0, 2, 50, 90], ["cat", "cat", "lion", "dog"], [0.9, 0.8, 0.7, 0.2])
    tally.add(scene, found)
    figures = tally.figures()
    assert figures == pytest.approx(
        {
            "ap50": 1 / 3,  # the second cat is suppressed, the dog has a lion's label
            "recall": 2 / 3,
            "named": 1 / 2,
            "nothing": 1 / 2,
            "precision": 1 / 2,
            "found": 1 / 3,
            "best": 0.9,
        }
    )


def test_an_untrained_network_is_measured(learner: Learner, task: Few) -> None:
    figures = measured(shipped(learner), task.world, 4)
    assert figures["ap50"] < 0.2
    assert all(0 <= value <= 1 for value in figures.values())
