"""mini-sam's training: what it is shown, what it is told, and that the node runs what it learnt."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from training.models._sam_losses import coverage, dense_losses, mask_losses, rough_logits
from training.models._sam_measure import measured
from training.models._sam_prompts import (
    beside,
    deepest,
    inside,
    jittered,
    prompt,
    roughened,
    stroke,
    tight_box,
)
from training.models._sam_pupil import SHAPE, Pupil
from training.models.sam import KINDS, MOST, Training
from training.world import NAMES, World
from visionweave import Boxes, Image, Input, Masks, Pipeline, Points
from visionweave.nodes.sam import Segment
from visionweave.nodes.sam.frame import Frame

SIDE = SHAPE.image_size


class Few(Training):
    """The training with few things: no test should wait until hundreds are drawn."""

    schedule = dataclasses.replace(Training.schedule, batch=2)

    @cached_property
    def world(self) -> World:
        return World(styles=("twemoji",), only=NAMES[:3])


@pytest.fixture
def task() -> Few:
    return Few()


@pytest.fixture
def pupil() -> Pupil:
    torch.manual_seed(4)
    return Pupil()


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def tensors(batch: dict[str, Any]) -> dict[str, Any]:
    return {name: torch.as_tensor(each) for name, each in batch.items()}


def ring() -> npt.NDArray[np.bool_]:
    """A disc with a hole, touching the right edge of the square."""
    y, x = np.mgrid[:SIDE, :SIDE]
    away = np.hypot(x - 97, y - 50)
    return (away < 31) & (away > 9)


def iou(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_boxes_and_numbers_of_a_batch_are_those_of_its_ids(task: Few) -> None:
    for seed in range(6):
        batch = task.batch(rng(seed), 0.5)
        for ids, boxes in zip(batch["ids"], batch["boxes"], strict=True):
            expected = np.zeros((MOST + 1, 4), np.float32)
            for number in set(ids.ravel()) - {0}:
                expected[number] = tight_box(ids == number)
            np.testing.assert_array_equal(boxes, expected)
        for place in ("0", "1", "2"):
            for ids, number in zip(batch["ids"], batch[f"{place}/number"], strict=True):
                assert number in ids


def test_a_click_of_number_0_meets_no_object_and_any_other_its_own(task: Few) -> None:
    task.schedule = dataclasses.replace(task.schedule, batch=60)
    batch = task.batch(rng(), 0.5)
    assert batch["1/positive"].all()
    columns, rows = batch["1/xy"][:, 0].astype(int).T
    np.testing.assert_array_equal(batch["ids"][np.arange(60), rows, columns], batch["1/number"])
    assert 0 < np.count_nonzero(batch["1/number"] == 0) < 15


def test_each_way_to_ask_turns_up_in_batches(task: Few) -> None:
    others = {"2/box", "2/xy", "2/rough"}
    seen = {tuple(sorted(others & task.batch(rng(seed), 0.5).keys())) for seed in range(24)}
    assert seen == {("2/xy",), ("2/box", "2/xy"), ("2/box", "2/rough")}


def test_padding_is_without_objects_and_of_the_mean_colour(task: Few) -> None:
    mean = np.rint(SHAPE.pixel_mean)
    batches = [task.batch(rng(seed), 0.5) for seed in range(8)]
    padded = 0
    for batch in batches:
        for image, ids in zip(batch["images"], batch["ids"], strict=True):
            grey = (image == mean).all(axis=2)
            if grey[-1].all() or grey[:, -1].all():
                padded += 1
                assert ids[grey].sum() == 0
    assert 0 < padded < 16


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_prompt_says_is_true_of_its_object(kind: str) -> None:
    mask = ring()
    for seed in range(10):
        said = prompt(kind, mask, 4, rng(seed))
        if "box" in said:
            assert ((said["box"] >= 0) & (said["box"] <= SIDE)).all()
            assert np.abs(said["box"] - tight_box(mask)).max() < 25
        if "rough" in said:
            assert 0.3 < iou(said["rough"], mask) < 1
        if "xy" in said:
            columns, rows = said["xy"].astype(int).T
            on = mask[rows, columns]
            assert said["positive"][0]
            assert on[0] or kind == "stroke"
            assert kind == "stroke" or (on == said["positive"]).all()


def test_places_on_an_object_beside_it_and_deepest_in_it() -> None:
    mask = ring()
    for seed in range(5):
        for places, expected in ((inside(mask, 9, rng(seed)), 1), (beside(mask, 9, rng(seed)), 0)):
            columns, rows = places.astype(int).T
            assert (mask[rows, columns] == expected).all()
    column, row = deepest(mask)[0]
    assert abs(np.hypot(column - 97, row - 50) - 20) < 1.5  # halfway from the hole to the outline


def test_most_of_a_stroke_lies_on_its_object() -> None:
    mask = ring()
    places = np.concatenate([stroke(mask, 5, rng(seed)) for seed in range(20)]).astype(int)
    assert 0.8 < mask[places[:, 1], places[:, 0]].mean() <= 1


def test_a_jittered_box_keeps_its_corners_in_order_even_of_one_pixel() -> None:
    for seed in range(20):
        x1, y1, x2, y2 = jittered(np.array([127, 0, 128, 128], np.float32), rng(seed), SIDE)
        assert 0 <= x1 <= x2 <= SIDE
        assert 0 <= y1 <= y2 <= SIDE


def test_a_rough_mask_is_told_as_the_node_tells_it() -> None:
    rough = roughened(ring(), rng())
    told = rough_logits(torch.tensor(rough)[None], SHAPE.low_size)
    frame = Frame((SIDE, SIDE), SIDE, SHAPE.low_size)
    np.testing.assert_allclose(told[0, 0], frame.low_logits(rough), atol=1e-3)


def losses_of(logits: Tensor, iou: Tensor, real: bool = True) -> list[float]:
    target = coverage(torch.tensor(ring())[None], SHAPE.low_size)
    found = mask_losses(logits, iou, target, torch.tensor([real]))
    return [each.item() for each in found]


def test_a_right_mask_costs_nothing_and_of_three_the_best_counts() -> None:
    right = rough_logits(torch.tensor(ring())[None], SHAPE.low_size)
    wrong = -right
    # Dice is not quite nothing where the outline cuts pixels.
    single, best, guess = losses_of(right.expand(-1, 4, -1, -1), torch.ones(1, 4))
    assert single == best < 0.05
    assert guess == 0
    mixed = torch.cat([wrong, wrong, right, wrong], dim=1)
    single, other, guess = losses_of(mixed, torch.tensor([[0.0, 0.0, 1.0, 0.0]]))
    assert single > 10
    assert (other, guess) == (best, 0)


def test_a_click_that_meets_nothing_teaches_the_predicted_iou_alone() -> None:
    right = rough_logits(torch.tensor(ring())[None], SHAPE.low_size).expand(-1, 4, -1, -1)
    assert losses_of(right, torch.ones(1, 4), real=False) == [0.0, 0.0, 1.0]
    assert losses_of(right, torch.zeros(1, 4), real=False) == [0.0, 0.0, 0.0]


def test_cells_that_know_what_covers_them_and_how_far_it_reaches_cost_nothing() -> None:
    ids = torch.tensor(ring().astype(np.uint8))[None]
    x1, y1, x2, y2 = box = tight_box(ring())
    told = torch.zeros(1, 20, 16, 16)
    cells = rough_logits(ids > 0, SHAPE.low_size)[0, 0].reshape(16, 4, 16, 4)
    told[0, :16] = 9 * cells.permute(1, 3, 0, 2).reshape(16, 16, 16)
    middle = torch.arange(16) * 8 + 4.0
    left, up = middle.expand(16, 16) - x1, middle[:, None].expand(16, 16) - y1
    reach = torch.stack([left, up, float(x2 - x1) - left, float(y2 - y1) - up])
    told[0, 16:] = reach * (4 / SIDE)
    boxes = torch.tensor(np.stack([np.zeros(4, np.float32), box]))[None]
    figure, off = dense_losses(told, ids, boxes, SHAPE.low_size)
    assert off.item() == pytest.approx(0, abs=1e-6)
    assert dense_losses(told, ids, boxes + 8, SHAPE.low_size)[1].item() > 0.1
    # Pixels that the outline cuts are neither on nor off, and cannot be right.
    assert figure.item() < 0.15 * dense_losses(-told, ids, boxes, SHAPE.low_size)[0].item()


def test_the_loss_falls_on_a_batch_seen_again_and_again(task: Few, pupil: Pupil) -> None:
    batch = tensors(task.batch(rng(1), 0.5))
    optimizer = torch.optim.AdamW(pupil.parameters(), 1e-3)
    totals = []
    for _ in range(8):
        loss = torch.stack(list(task.loss(pupil, batch, 0.0).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        totals.append(loss.item())
    assert totals[-1] < 0.8 * totals[0]
    untouched = {name for name, each in pupil.named_parameters() if each.grad is None}
    assert untouched <= {
        f"net.sam.prompt_encoder.{name}.weight"
        for name in ("not_a_point_embed", "no_mask_embed", *(f"point_embeddings.{n}" for n in "0"))
    } | {n for n, _ in pupil.named_parameters() if "mask_downscaling" in n}


def test_places_have_one_code_in_every_network() -> None:
    torch.manual_seed(1)
    one = Pupil()
    torch.manual_seed(2)
    other = Pupil()
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.net.places, other.net.places)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pupil: Pupil, task: Few) -> Path:
    """A store of weights with the exported network as "untrained"."""
    pupil.half().float()
    folder = tmp_path / "untrained"
    folder.mkdir()
    task.export(pupil, folder)
    (path,) = folder.iterdir()
    config = ", ".join(
        f"{key} = {json.dumps(value)}" for key, value in task.entry["config"].items()
    )
    (tmp_path / "weights.lock").write_text(
        '[checkpoint.untrained]\nfamily = "sam"\nlicense = "Apache-2.0"\ncommercial = "yes"\n'
        f'files = [{{ name = "{path.name}", url = "https://example.org/m", '
        f'sha256 = "{hashlib.sha256(path.read_bytes()).hexdigest()}" }}]\n'
        f"config = {{ {config} }}\n"
    )
    monkeypatch.setenv("VISIONWEAVE_WEIGHTS", str(tmp_path))
    return tmp_path


def segmented(**values: Any) -> Masks:
    inputs = {name: Input(name, type(value)) for name, value in values.items()}
    pipeline = Pipeline(masks=Segment("untrained")(**inputs))
    masks = pipeline.run(device="cpu", precision="fp32", **values)["masks"]
    assert isinstance(masks, Masks)
    return masks


def drawn(pupil: Pupil, image: npt.NDArray[np.uint8], **said: Tensor) -> npt.NDArray[np.bool_]:
    """The single mask as in training, at the size of the square."""
    with torch.inference_mode():
        logits, _ = pupil.answer(pupil.embed(torch.tensor(image)[None]), said)
    return Frame((SIDE, SIDE), SIDE, SHAPE.low_size).full_logits(logits[0, 0].numpy()) > 0


def test_the_node_gives_what_the_training_saw(store: Path, pupil: Pupil, task: Few) -> None:
    assert sum(path.stat().st_size for path in (store / "untrained").iterdir()) < 4e6
    pixels = task.batch(rng(), 0.5)["images"][0]
    image = Image.from_array(pixels)
    xyxy = np.array([[20, 30, 90, 100]], np.float32)
    by_box = segmented(image=image, boxes=Boxes(xyxy, (SIDE, SIDE)))
    expected = drawn(pupil, pixels, box=torch.tensor(xyxy))
    assert iou(by_box.mask(0), expected) > 0.99
    assert 0.1 < expected.mean() < 0.9
    # The middle of pixel (40, 60) is (40.5, 60.5) to visionweave.
    by_click = segmented(image=image, points=Points(np.array([[40.5, 60.5]]), np.ones(1, bool)))
    said = {"xy": torch.tensor([[[40.0, 60.0]]]), "positive": torch.ones(1, 1, dtype=torch.bool)}
    assert iou(by_click.mask(0), drawn(pupil, pixels, **said)) > 0.99


def test_every_way_to_ask_is_measured_between_nothing_and_all(pupil: Pupil, task: Few) -> None:
    scene = task.world.scene(rng(2), 96)
    with torch.inference_mode():
        found = measured(pupil.eval().net, scene, rng())
    names = {"box", "box_edge", "point", "point_single", "stroke", "rough"}
    assert len(found) == len(names) * len(scene.objects) > 0
    assert {name for name, _ in found} == names
    assert all(0 <= value <= 1 for _, value in found)
