import itertools
import json

import numpy as np
import pytest

from training.world import HELD_OUT, NAMES, NAMES_ZH, STYLES, TRAINED, WORDS, Placed, Scene, World
from training.world.artwork import concrete_things, draw
from training.world.backgrounds import Backdrops
from training.world.captions import caption, phrase
from training.world.names import KEYWORDS, drawings
from training.world.words import VOCABULARY_SIZE, write_tokenizer


def _placed(name: str, x: float, y: float, colour: str = "") -> Placed:
    box = np.float32([x - 5, y - 5, x + 5, y + 5])
    return Placed(NAMES.index(name), "noto", box, 1.0, colour)


def _scene(*objects: Placed) -> Scene:
    return Scene(np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8), list(objects))


def test_every_style_draws_every_thing_but_fxemoji_which_draws_most() -> None:
    for style in STYLES:
        drawn = {drawing.name_index for drawing in drawings((style,))}
        assert len(drawn) > 80 if style == "fxemoji" else len(drawn) == len(NAMES)


def test_names_are_distinct_and_each_has_a_chinese_name_and_keywords_that_name_nothing_else() -> (
    None
):
    assert len(set(NAMES)) == len(NAMES) == len(set(NAMES_ZH)) == len(KEYWORDS)
    assert 100 <= len(NAMES) <= 200
    assert not {word for words in KEYWORDS for word in words} & set(NAMES)


def test_all_artwork_holds_hundreds_of_things_beyond_the_vocabulary() -> None:
    others = {d.icon for d in drawings(TRAINED, everything=True) if d.name_index == -1}
    assert len(others) > 300
    assert others <= set(concrete_things())


def test_a_drawing_is_cropped_to_what_shows() -> None:
    pixels = draw("noto", "red-apple", 64)
    assert max(pixels.shape[:2]) == 64
    assert pixels.shape[2] == 4
    for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        assert edge[:, 3].any()


def test_a_scene_depends_on_its_generator_alone() -> None:
    world, other = World(), World()
    world.scene(np.random.default_rng(1), 96)  # what came before does not count
    first = world.scene(np.random.default_rng(7), 96)
    second = other.scene(np.random.default_rng(7), 96)
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.ids, second.ids)


@pytest.mark.parametrize("seed", range(20))
def test_boxes_and_ids_tell_the_same(seed: int) -> None:
    scene = World().scene(np.random.default_rng(seed), 128)
    assert scene.image.shape == (128, 128, 3)
    assert set(np.unique(scene.ids)) == set(range(len(scene.objects) + 1))
    for number, thing in enumerate(scene.objects, start=1):
        rows, columns = np.nonzero(scene.ids == number)
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert thing.xyxy.tolist() == box
        assert 0.6 < thing.visible <= 1.0


def test_scenes_hold_only_the_styles_and_things_asked_for() -> None:
    world = World(HELD_OUT, "test", hold_out=NAMES[:100])
    seen = [world.scene(np.random.default_rng(seed), 96) for seed in range(20)]
    things = list(itertools.chain.from_iterable(scene.objects for scene in seen))
    assert {thing.style for thing in things} == {"noto"}
    assert {thing.name for thing in things} <= set(NAMES[100:])


def test_pasting_changes_the_picture_only_near_the_object() -> None:
    scene = World().scene(np.random.default_rng(3), 128, (1, 1), (0.3, 0.3))
    inside = scene.image[scene.ids == 1].astype(float)
    assert inside.std() > 0
    rows, columns = np.nonzero(scene.ids)
    assert 20 < np.ptp(rows) + np.ptp(columns) < 90


def test_the_splits_share_no_background() -> None:
    pictures = {
        split: [Backdrops(split)(np.random.default_rng(seed), 32) for seed in range(40)]
        for split in ("train", "test")
    }
    for one, other in itertools.product(*pictures.values()):
        assert not np.array_equal(one, other)


def test_a_single_object_fills_the_picture() -> None:
    image, name_index = World().single(np.random.default_rng(5), 80, (0.8, 0.9))
    assert image.shape == (80, 80, 3)
    assert 0 <= name_index < len(NAMES)


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        pytest.param((), "nothing", id="nothing"),
        pytest.param(
            (_placed("apple", 9, 9, "green"),), "a green apple", id="a colour that counts"
        ),
        pytest.param((_placed("glasses", 9, 9),), "glasses", id="plural"),
        pytest.param(
            (_placed("cat", 50, 20), _placed("elephant", 10, 30)),
            "an elephant left of a cat",
            id="left of",
        ),
        pytest.param(
            (_placed("cat", 20, 50), _placed("dog", 10, 10)), "a dog above a cat", id="above"
        ),
        pytest.param(
            (_placed("cat", 30, 5), _placed("dog", 10, 9), _placed("key", 60, 1)),
            "a dog, a cat and a key",
            id="three from left to right",
        ),
    ],
)
def test_captions_have_one_wording(objects: tuple[Placed, ...], expected: str) -> None:
    assert caption(_scene(*objects)) == expected


def test_phrases_are_english() -> None:
    phrases = {phrase(_placed(name, 0, 0)) for name in NAMES}
    assert {"an octopus", "a bus", "grapes", "an ice cream", "scissors"} <= phrases


def test_every_word_of_the_world_is_one_token_and_special_tokens_have_berts_numbers(
    tmp_path,
) -> None:
    from transformers import AutoTokenizer

    assert len(WORDS) == VOCABULARY_SIZE
    write_tokenizer(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.convert_tokens_to_ids(["[PAD]", "[CLS]", "[SEP]", ".", "?"]) == [
        0, 101, 102, 1012, 1029,
    ]  # fmt: skip
    for name in NAMES:
        ids = tokenizer(f"a {name}", add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids) == f"a {name}"
        assert len(ids) == 1 + len(name.split())
    for name in NAMES_ZH:
        assert tokenizer.tokenize(name) == list(name)
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["pad_token"] == "[PAD]"
