"""The training of mini-blip: what it is shown, what it is told, and what comes out of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from training.models._blip_captions import captioned, named
from training.models._blip_network import Captioner, see
from training.models._vit_dense import PATCH, choose, normalised, shares
from training.models._vit_pictures import SIDE, THINGS, Mix, cutout, labelled, mirrored, pictures
from training.models._vit_words import END, tokenizer
from training.models.blip import Training, _caption_losses, captions, measured
from training.world import NAMES, World
from training.world.captions import caption
from training.world.scenes import Placed, Scene
from visionweave import Image, Runtime
from visionweave.nodes.blip import Caption
from visionweave.weights.adding import add_files


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks as small as these lose time when several threads share them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


class Few(Training):
    """The training with few things: no test should wait until hundreds are drawn."""

    schedule = dataclasses.replace(Training.schedule, batch=8)

    @cached_property
    def world(self) -> World:
        return World(styles=("twemoji",), only=NAMES[:3])


def thing(name: str, *xyxy: float) -> Placed:
    return Placed(NAMES.index(name), "twemoji", np.array(xyxy, np.float32), 1.0)


def drawn(*things: Placed) -> Scene:
    """A scene of plain rectangles."""
    image, ids = np.zeros((SIDE, SIDE, 3), np.uint8), np.zeros((SIDE, SIDE), np.uint8)
    for number, each in enumerate(things, start=1):
        x1, y1, x2, y2 = each.xyxy.astype(int)
        ids[y1:y2, x1:x2] = number
        image[y1:y2, x1:x2] = 60 * number
    return Scene(image, ids, list(things))


CAT_AND_CAR = drawn(thing("cat", 50, 20, 70, 40), thing("car", 5, 20, 30, 40))


def tensors(batch: dict[str, Any]) -> dict[str, Tensor]:
    return {name: torch.as_tensor(array) for name, array in batch.items()}


def batch_of(scenes: list[Scene]) -> dict[str, Tensor]:
    return tensors(labelled(scenes) | captioned(scenes))


def test_a_caption_says_of_each_of_its_tokens_which_thing_it_names() -> None:
    told = captioned([CAT_AND_CAR])
    words = [tokenizer().id_to_token(int(number)) for number in told["tokens"][0]]
    assert words == ["[CLS]", "a", "car", "left", "of", "a", "cat", "[SEP]"]
    assert told["things"][0].tolist() == [0, 2, 2, 0, 0, 1, 1, 0]


def test_of_two_things_of_one_name_no_token_says_which_it_is() -> None:
    told = captioned([drawn(thing("cat", 50, 20, 70, 40), thing("cat", 5, 20, 30, 40))])
    assert not told["things"].any()


def test_a_mirrored_scene_has_another_caption_and_the_same_pixels_under_each_thing() -> None:
    turned = mirrored(CAT_AND_CAR, np.random.default_rng(0))
    assert caption(turned) == "a cat left of a car"
    for each, was in zip(turned.objects, CAT_AND_CAR.objects, strict=True):
        x1, y1, x2, y2 = each.xyxy.astype(int)
        number = turned.objects.index(each) + 1
        assert (turned.ids[y1:y2, x1:x2] == number).all()
        assert (turned.ids == number).sum() == (x2 - x1) * (y2 - y1)
        assert each.name_index == was.name_index


def test_a_cutout_is_alone_on_one_colour_and_touches_the_edge_of_its_square() -> None:
    scene = cutout(np.random.default_rng(0), CAT_AND_CAR)
    assert [each.name for each in scene.objects] == ["cat"]
    assert (scene.ids == 1).all()  # this cat is a square
    wide = cutout(np.random.default_rng(0), drawn(thing("car", 10, 30, 70, 45)))
    np.testing.assert_allclose(wide.objects[0].xyxy, [0, 29.33, 80, 49.33], atol=0.01)
    assert len(np.unique(wide.image[[0, -1]].reshape(-1, 3), axis=0)) == 1
    assert set(np.unique(wide.ids[[25, 40, 55]])) == {0, 1}


def test_patches_know_what_covers_them() -> None:
    covered = shares(torch.from_numpy(CAT_AND_CAR.ids)[None], THINGS)[0]
    side = SIDE // PATCH
    assert covered.shape == (side**2, THINGS + 1)
    assert torch.equal(covered.sum(dim=-1), torch.ones(side**2))
    assert covered[2 * side + 5].tolist() == [0, 1, 0, 0]  # the cat's
    assert covered[2 * side].tolist() == [0.5, 0, 0.5, 0]  # the car begins in its middle
    assert covered[0].tolist() == [1, 0, 0, 0]


def test_the_patches_that_are_looked_at_are_those_of_things_before_others() -> None:
    covered = shares(torch.from_numpy(CAT_AND_CAR.ids)[None], THINGS)
    kept = choose(covered, 20)
    inside = covered[0, :, 0] < 0.7
    assert kept.shape == (1, 20)
    assert set(kept[0].tolist()) >= set(inside.nonzero().flatten().tolist())
    assert kept[0].tolist() == sorted(set(kept[0].tolist()))


def test_a_batch_shows_what_it_says() -> None:
    training = Few()
    batch = training.batch(np.random.default_rng(3), 0.5)
    count = training.schedule.batch
    assert batch["images"].shape == (count, SIDE, SIDE, 3)
    assert batch["tokens"].shape == batch["things"].shape
    for ids, classes, tokens in zip(batch["ids"], batch["classes"], batch["tokens"], strict=True):
        text = tokenizer().decode(tokens.tolist())
        assert set(np.unique(ids)) - {0} == set(1 + np.flatnonzero(classes >= 0))
        assert all(named(text, NAMES[index]) for index in classes[classes >= 0])


def test_it_begins_with_one_thing_in_a_picture() -> None:
    training = Few()
    counts = [
        int((training.batch(np.random.default_rng(5), progress)["classes"] >= 0).sum(1).max())
        for progress in (0.0, 0.39, 0.41)
    ]
    assert counts[:2] == [1, 1]
    assert counts[2] > 1


def test_pictures_show_one_two_or_three_things_as_asked() -> None:
    rng = np.random.default_rng(0)
    made = pictures(rng, Few().world, 60, Mix(two=0.5, three=0.2, cutouts=0.0))
    counts = [len(scene.objects) for scene in made]
    assert {1, 2, 3} == set(counts)
    assert counts.count(2) > counts.count(3)


def test_all_patches_seen_are_what_the_published_network_sees() -> None:
    network = Captioner().eval()
    pixels = normalised(torch.from_numpy(CAT_AND_CAR.image)[None])
    vision = network.blip.vision_model
    with torch.no_grad():
        expected = vision(pixel_values=pixels).last_hidden_state
        kept = torch.arange((SIDE // PATCH) ** 2)[None]
        assert torch.equal(see(vision, pixels), expected)
        assert torch.allclose(see(vision, pixels, kept), expected, atol=1e-6)
        assert see(vision, pixels, kept[:, :5]).shape == (1, 6, expected.shape[2])


@pytest.mark.parametrize(
    ("progress", "terms"),
    [
        pytest.param(0.0, {"patches"}, id="naming comes first"),
        pytest.param(0.5, {"patches", "caption", "looks"}, id="then writing"),
        pytest.param(0.9, {"patches", "caption", "looks"}, id="at last with all patches"),
    ],
)
def test_each_stage_has_its_losses(progress: float, terms: set[str]) -> None:
    losses = Training().loss(Captioner(), batch_of([CAT_AND_CAR]), progress)
    assert set(losses) == terms
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())


def test_attention_on_the_named_thing_costs_nothing_and_elsewhere_much() -> None:
    network, batch = Captioner(), batch_of([CAT_AND_CAR])
    covered = shares(batch["ids"], THINGS)
    seen = torch.zeros(1, 1 + covered.shape[1], 192)

    def looked(at: Tensor) -> float:
        looks = torch.zeros(1, 2, batch["tokens"].shape[1] - 1, 1 + covered.shape[1])
        for place, number in enumerate(batch["things"][0, 1:].tolist()):
            looks[:, :, place, 1 + at[number]] = 1.0
        logits = network.write(batch["tokens"][:, :-1], seen)[0]
        network.write = lambda tokens, seen: (logits, looks)  # type: ignore[method-assign]
        found = float(_caption_losses(network, {**batch}, seen, covered)[1])
        del network.write
        return found

    best = covered[0].argmax(dim=0)
    assert looked(best) == pytest.approx(0.0, abs=1e-5)
    assert looked(best[[0, 2, 1, 3]]) > 5


def test_one_batch_is_learnt_by_heart_and_captioned_rightly() -> None:
    training = Few()
    network = training.network()
    scenes = [CAT_AND_CAR, drawn(thing("apple", 10, 10, 70, 70))]
    batch = batch_of(scenes)
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    for _ in range(60):
        losses = training.loss(network, batch, 0.9)
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
    assert losses["caption"] < 0.1
    assert captions(network.eval(), scenes) == [caption(scene) for scene in scenes]
    assert measured(network, scenes) == {"named": 1.0, "all": 1.0, "exact": 1.0}


def test_what_is_exported_loads_through_the_node_and_writes_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISIONWEAVE_WEIGHTS", str(tmp_path / "store"))
    training, network = Training(), Captioner().eval()
    network.blip.text_decoder.cls.predictions.bias.data[END] = -9  # it says more than nothing
    network.blip.half().float()  # what is exported
    folder = tmp_path / "made"
    folder.mkdir()
    training.export(network, folder)
    files = sorted(folder.iterdir())
    facts = {"family": "blip", "license": "MIT", "commercial": "yes", **training.entry}
    facts.pop("tasks")
    add_files("taught", files, facts)
    node = Caption("taught", beams=1, max_tokens=8)
    node.ensure_loaded(Runtime.get("cpu", "fp32"))
    scene = CAT_AND_CAR
    told = node(Image.from_array(scene.image)).text
    expected = captions(network, [scene])[0]
    assert 0 < len(told) < len(expected)
    assert expected.startswith(told)
    assert json.loads((folder / "config.json").read_text())["architectures"] == [
        "BlipForConditionalGeneration"
    ]
    assert sum(path.stat().st_size for path in files) < 12_000_000
