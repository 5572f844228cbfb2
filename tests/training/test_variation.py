"""How drawings vary: what a change of colours, of light and of outline does to known pixels."""

import cv2
import numpy as np
import pytest

from training.world import World, variation
from training.world.names import drawings
from training.world.sprites import premultiplied, recoloured, recolouring, scaled
from training.world.variation import bent, redrawn


def disc(side: int = 60) -> np.ndarray:
    """A reddish disc with a soft edge, premultiplied."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    alpha = np.clip(side / 2 - 4 - np.hypot(x, y), 0, 1)
    straight = np.dstack([np.full_like(alpha, each) for each in (200, 90, 40)] + [255 * alpha])
    return premultiplied(straight.round().astype(np.uint8))


def test_recolouring_premultiplied_colours_is_recolouring_straight_ones() -> None:
    sprite, matrix = disc(), recolouring(np.random.default_rng(4), keep_hue=False)
    changed = recoloured(sprite, matrix)
    expected = np.clip(matrix[:3, :3] @ (200, 90, 40) + 255 * matrix[:3, 3], 0, 255)
    np.testing.assert_allclose(changed[30, 30, :3], expected, atol=1.5)
    assert np.array_equal(changed[..., 3], sprite[..., 3])
    assert (changed[..., :3] <= changed[..., 3:]).all()  # also at the edge, and outside


def test_a_thing_whose_colour_is_named_keeps_its_hue() -> None:
    for seed in range(20):
        matrix = recolouring(np.random.default_rng(seed), keep_hue=True)
        red, green, blue = recoloured(disc(), matrix)[30, 30, :3].astype(int)
        assert red > green > blue


def test_what_is_bent_by_nothing_is_laid_as_by_warping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variation, "_BEND", 0.0)
    matrix = np.float32([[0.8, 0.2, 3], [-0.1, 1.1, 2]])
    laid = bent(disc(), matrix, (70, 80), np.random.default_rng(0))
    expected = cv2.warpAffine(disc(), matrix, (70, 80), flags=cv2.INTER_LINEAR)
    assert np.abs(laid.astype(int) - expected).max() <= 3  # the grids of both round differently


def test_bending_moves_an_outline_by_some_hundredths_of_its_length() -> None:
    matrix = np.float32([[1, 0, 0], [0, 1, 0]])
    before = disc()[..., 3] > 127
    for seed in range(5):
        after = bent(disc(), matrix, (60, 60), np.random.default_rng(seed))[..., 3] > 127
        common = (before & after).sum() / (before | after).sum()
        assert 0.7 < common < 0.995


def test_light_and_outline_change_colours_and_leave_the_shape() -> None:
    sprite, rng = disc(), np.random.default_rng(0)
    drawn = [redrawn(sprite, rng) for _ in range(30)]
    assert all(np.array_equal(each[..., 3], sprite[..., 3]) for each in drawn)
    same = sum(np.array_equal(each, sprite) for each in drawn)
    assert 0 < same < 20
    outlined = [each for each in drawn if each[30, 5, 0] < 0.6 * each[30, 10, 0]]
    assert 0 < len(outlined) < 15


def test_only_scenes_to_learn_from_are_redrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object) -> None:
        raise AssertionError("redrawn")

    monkeypatch.setattr("training.world.scenes.redrawn", fail)
    World(("twemoji",), split="test").scene(np.random.default_rng(1), 96)
    World(("twemoji",), split="train", redraws=False).scene(np.random.default_rng(1), 96)
    with pytest.raises(AssertionError, match="redrawn"):
        World(("twemoji",), split="train").scene(np.random.default_rng(1), 96)


def test_a_drawing_is_taken_at_less_than_twice_the_size_that_is_wanted() -> None:
    drawing = drawings(("twemoji",))[0]
    for longer in (9, 20, 64, 100, 128):
        assert longer <= max(scaled(drawing, longer).shape[:2]) < 2 * longer + 2
