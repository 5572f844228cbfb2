"""The training of mini-clip: its texts, what it takes over from mini-blip, what comes out of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from training.models import blip
from training.models._blip_network import see
from training.models._clip_network import Pair, from_blip
from training.models._clip_texts import phrases, texts_of
from training.models._vit_dense import normalised
from training.models._vit_pictures import SIDE, labelled
from training.models._vit_words import padded, tokenizer
from training.models.clip import Training
from training.world import NAMES, NAMES_ZH, World
from training.world.scenes import Placed, Scene
from visionweave import Image, Runtime, Tags, Text
from visionweave.nodes.clip import Embed, Rank
from visionweave.weights.adding import add_files


class Few(Training):
    """The training with few things: no test should wait until hundreds are drawn."""

    schedule = dataclasses.replace(Training.schedule, batch=8)

    @cached_property
    def world(self) -> World:
        return World(styles=("twemoji",), only=NAMES[:3])


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks as small as these lose time when several threads share them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def scene_of(*names: str) -> Scene:
    """A scene of plain rectangles beside each other, each of a grey of its own."""
    image, ids = np.zeros((SIDE, SIDE, 3), np.uint8), np.zeros((SIDE, SIDE), np.uint8)
    things, width = [], SIDE // len(names)
    for place, name in enumerate(names):
        left = place * width
        ids[20:60, left : left + width] = place + 1
        image[20:60, left : left + width] = 20 + 2 * NAMES.index(name)
        box = np.array([left, 20, left + width, 60], np.float32)
        things.append(Placed(NAMES.index(name), "twemoji", box, 1.0))
    return Scene(image, ids, things)


SCENES = [scene_of("cat"), scene_of("car"), scene_of("car", "cat"), scene_of("apple", "car")]


def tensors(batch: dict[str, Any]) -> dict[str, Tensor]:
    return {name: torch.as_tensor(array) for name, array in batch.items()}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_every_class_has_a_phrase_each_time_in_either_language() -> None:
    told = [phrases(rng(seed)) for seed in range(30)]
    assert {len(each) for each in told} == {len(NAMES)}
    cat = {each[NAMES.index("cat")] for each in told}
    assert {"猫", "a cat"} <= cat
    assert any(text.startswith("a photo of a ") for text in cat)


def test_all_words_of_the_phrases_are_in_the_vocabulary() -> None:
    unknown = tokenizer().token_to_id("[UNK]")
    for seed in range(10):
        for text in phrases(rng(seed)):
            assert unknown not in tokenizer().encode(text).ids, text


def test_texts_are_right_of_the_pictures_that_show_what_they_name() -> None:
    told = texts_of(rng(), SCENES)
    right, cat, car = told["right"], NAMES.index("cat"), NAMES.index("car")
    assert len(told["tokens"]) == right.shape[1] == len(NAMES) + 2
    np.testing.assert_allclose(right.sum(axis=1), 1)
    assert (right[0, cat], right[1, car]) == (1, 1)
    assert right[2, cat] == right[2, car] == pytest.approx(0.3)
    np.testing.assert_allclose(right[2:, len(NAMES) :], np.diag([0.4, 0.4]))


def test_two_pictures_of_one_caption_share_it() -> None:
    told = texts_of(rng(2), [SCENES[2]] * 12)["right"][:, len(NAMES) :]
    assert told.shape[1] < 12
    np.testing.assert_allclose(told.sum(axis=1), 0.4)


def test_texts_mean_the_same_however_they_are_filled_up() -> None:
    network = Pair().eval()
    ids = [tokenizer().encode(text).ids for text in ("a cat", "狮子", "an apple left of a fox")]
    whole = np.zeros((3, network.clip.context_length), np.int64)
    for row, each in zip(whole, ids, strict=True):
        row[: len(each)] = each
    with torch.no_grad():
        expected = network.clip.encode_text(torch.from_numpy(whole), normalize=True)
        found = network.texts(torch.from_numpy(padded(ids)))
    assert torch.allclose(found, expected, atol=1e-6)


def test_pictures_are_embedded_as_open_clip_does() -> None:
    network = Pair().eval()
    pixels = normalised(torch.from_numpy(np.stack([scene.image for scene in SCENES])))
    with torch.no_grad():
        expected = network.clip.encode_image(pixels, normalize=True)
        found, patches = network.images(pixels)
        fewer, _ = network.images(pixels, torch.arange(64).expand(4, -1))
    assert torch.allclose(found, expected, atol=1e-6)
    assert torch.allclose(fewer, expected, atol=1e-6)
    assert patches.shape == (4, 64, 192)


def test_the_vision_tower_begins_by_seeing_what_mini_blip_sees() -> None:
    captioner, pair = blip.Training().network().eval(), Pair().eval()
    with torch.no_grad():
        for weight in captioner.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
        Training().start(pair, captioner.state_dict())
        pixels = normalised(torch.from_numpy(np.stack([scene.image for scene in SCENES])))
        expected = see(captioner.blip.vision_model, pixels)[:, 1:]
        assert torch.allclose(pair.images(pixels)[1], expected, atol=1e-4)
        assert torch.equal(pair.names.weight, captioner.names.weight)


def test_it_goes_on_from_a_state_of_its_own() -> None:
    one, other = Pair(), Pair()
    Training().start(other, one.state_dict())
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, other.state_dict()[name]), name


def test_another_size_of_mini_blip_is_refused() -> None:
    weights = blip.Training().network().state_dict()
    weights["names.other"] = torch.zeros(1)
    with pytest.raises(ValueError, match=r"has other sizes than mini-clip: .*names\.other"):
        Training().start(Pair(), weights)
    assert "names.weight" in from_blip(weights)


def test_the_vision_tower_learns_more_slowly_than_all_else_and_no_weight_is_forgotten() -> None:
    network = Pair()
    groups = Training().parameters(network)
    given = [id(weight) for group in groups for weight in group["params"]]
    assert sorted(given) == sorted(map(id, network.parameters()))
    factors = {id(w): group["factor"] for group in groups for w in group["params"]}
    assert factors[id(network.clip.visual.conv1.weight)] < 1
    assert factors[id(network.clip.visual.proj)] == factors[id(network.clip.text_projection)] == 1


def test_a_batch_shows_what_its_texts_say() -> None:
    batch = Few().batch(rng(1), 0.5)
    for classes, right in zip(batch["classes"], batch["right"], strict=True):
        assert set(np.flatnonzero(right[: len(NAMES)])) == set(classes[classes >= 0])


@pytest.mark.parametrize("progress", [0.0, 0.9])
def test_one_batch_is_learnt_by_heart(progress: float) -> None:
    training, network = Few(), Pair()
    batch = tensors(labelled(SCENES) | texts_of(rng(), SCENES))
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    totals = []
    for _ in range(25):
        losses = training.loss(network, batch, progress)
        totals.append(float(torch.stack(list(losses.values())).sum().detach()))
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
    assert set(losses) == {"texts", "images", "patches"}
    assert totals[-1] < 0.5 * totals[0]


def test_what_is_exported_loads_through_the_nodes_and_ranks_as_the_training_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISIONWEAVE_WEIGHTS", str(tmp_path / "store"))
    training, network = Training(), Pair().eval()
    network.clip.half().float()  # what is exported
    folder = tmp_path / "made"
    folder.mkdir()
    training.export(network, folder)
    files = sorted(folder.iterdir())
    facts = {"family": "clip", "license": "MIT", "commercial": "yes", **training.entry}
    add_files("taught", files, facts)
    names = (NAMES[0], NAMES_ZH[1], "fire engine")
    with torch.no_grad():
        pixels = normalised(torch.from_numpy(SCENES[3].image)[None])
        ids = [tokenizer().encode(f"a {name}").ids for name in names]
        image, texts = network.images(pixels)[0], network.texts(torch.from_numpy(padded(ids)))
        scores = (network.clip.logit_scale.exp() * image @ texts.T).softmax(dim=-1)[0].numpy()

    rank, embed = Rank("taught", template="a {}"), Embed("taught")
    for node in (rank, embed):
        node.ensure_loaded(Runtime.get("cpu", "fp32"))
    photo = Image.from_array(SCENES[3].image)
    ranked = rank(photo, Tags(names))
    expected = dict(zip(names, scores, strict=True))
    for name, score in zip(ranked.phrases, ranked.scores, strict=True):
        assert score == pytest.approx(expected[name], abs=1e-4)
    np.testing.assert_allclose(embed(photo).vector, image[0].numpy(), atol=1e-4)
    np.testing.assert_allclose(embed(Text("a fire engine")).vector, texts[2].numpy(), atol=1e-4)
    assert sum(path.stat().st_size for path in files) < 12_000_000
