"""Fingerprints: equal for equal values, different for others; whose a value is does not count."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from visionweave import Embedding, Fit, Image, Masks, Origin, Tags, Text
from visionweave.cache.fingerprint import fingerprint
from visionweave.cache.owner import given_to, owner_of
from visionweave.cache.photos import PhotoHashes
from visionweave.testing import (
    make_boxes,
    make_cutout,
    make_image,
    make_masks,
    make_mesh,
    make_value,
)
from visionweave.values import TYPES

SIDES = st.integers(1, 5)
PIXELS = st.tuples(SIDES, SIDES).flatmap(lambda hw: arrays(np.uint8, (*hw, 3)))


@given(PIXELS, PIXELS)
def test_images_of_other_shape_or_pixels_never_share_a_fingerprint(
    one: np.ndarray, other: np.ndarray
) -> None:
    same = one.shape == other.shape and bool((one == other).all())
    prints = [fingerprint(Image.from_array(pixels.copy())) for pixels in (one, other)]
    assert (prints[0] == prints[1]) == same


@given(PIXELS)
def test_the_same_bytes_in_another_shape_are_another_image(pixels: np.ndarray) -> None:
    turned = pixels.reshape(pixels.shape[1], pixels.shape[0], 3)
    same = turned.shape == pixels.shape
    assert (fingerprint(Image.from_array(pixels)) == fingerprint(Image.from_array(turned))) == same


WORDS = st.lists(st.text("ab,", min_size=1, max_size=3), max_size=3)


@given(WORDS, WORDS)
def test_phrases_never_run_together(one: list[str], other: list[str]) -> None:
    prints = {fingerprint(Tags(tuple(phrases))) for phrases in (one, other)}
    assert len(prints) == (1 if one == other else 2)


BOXES = make_boxes(3)
CUTOUT = make_cutout()
VECTOR = np.array([0.6, 0.8], np.float32)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(BOXES, BOXES.replace(scores=BOXES.scores * 0.5), id="scores"),
        pytest.param(BOXES, BOXES.replace(labels=("a", "b", "c")), id="labels"),
        pytest.param(BOXES, BOXES.replace(ids=np.array([0, 1, 7], np.int32)), id="ids of boxes"),
        pytest.param(BOXES, BOXES.replace(image_hw=(49, 64)), id="size of the photo"),
        pytest.param(BOXES, BOXES.replace(flags=(("cut",), (), ())), id="flags"),
        pytest.param(BOXES, make_masks(BOXES), id="type"),
        pytest.param(
            make_masks(BOXES), Masks(make_masks(BOXES).counts[::-1], BOXES), id="order of masks"
        ),
        pytest.param(Text("a"), Text("b"), id="text"),
        pytest.param(Text("cat"), Text("cat", Origin(label="cat")), id="label of the object"),
        pytest.param(
            CUTOUT,
            dataclasses.replace(CUTOUT, origin=dataclasses.replace(CUTOUT.origin, score=0.1)),
            id="score of the object",
        ),
        pytest.param(CUTOUT, dataclasses.replace(CUTOUT, region=(0, 0, 9, 9)), id="region"),
        pytest.param(Embedding(VECTOR, "a"), Embedding(VECTOR, "b"), id="space"),
        pytest.param(Embedding(VECTOR, "a"), Embedding(-VECTOR, "a"), id="vector"),
        pytest.param(
            make_mesh(), dataclasses.replace(make_mesh(), colours=None), id="colours of a mesh"
        ),
        pytest.param(
            Image.from_array(np.full((2, 2, 4), 9, np.uint8)),
            Image.from_array(np.full((2, 2, 3), 9, np.uint8)),
            id="alpha",
        ),
    ],
)
def test_all_that_a_node_can_see_counts(one: Any, other: Any) -> None:
    assert fingerprint(one) != fingerprint(other)


@pytest.mark.parametrize("kind", TYPES.values(), ids=TYPES)
def test_a_value_read_from_its_file_has_its_fingerprint(kind: Any) -> None:
    value = make_value(kind)
    assert fingerprint(kind.from_bytes(value.to_bytes())) == fingerprint(value)


@pytest.mark.parametrize("kind", TYPES.values(), ids=TYPES)
def test_whose_a_value_is_does_not_count_and_can_be_changed(kind: Any) -> None:
    value = make_value(kind)
    _, number = owner_of(value)
    others = given_to(value, ("other.jpg", None if number is None else number + 5))
    assert fingerprint(others) == fingerprint(value)
    if owner_of(value) != ("", None):
        assert owner_of(others) == ("other.jpg", None if number is None else number + 5)
    assert given_to(others, owner_of(value)) == value


# Photos ---------------------------------------------------------------------------------------


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "a.jpg"
    make_image().to_pil().save(path)
    return path


def of_file(path: Path, **options: Any) -> str:
    return fingerprint(PhotoHashes().hold(Image.open(path, **options)))


def test_a_photo_is_known_by_its_bytes_wherever_it_lies(photo: Path, tmp_path: Path) -> None:
    before = of_file(photo)
    copy = shutil.copy(photo, tmp_path / "b.jpg")
    assert of_file(copy, photo="street/b.jpg") == before


def test_exif_counts(photo: Path, tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    with PIL.Image.open(photo) as picture:
        picture.save(tmp_path / "turned.jpg", exif=exif, quality="keep")
        picture.save(tmp_path / "upright.jpg", quality="keep")
    assert of_file(tmp_path / "turned.jpg") != of_file(tmp_path / "upright.jpg")


def test_how_far_a_photo_may_be_shrunk_counts(photo: Path) -> None:
    sizes = [None, [Fit(short=8)], [Fit(long=8)], [Fit(short=8), Fit(long=8)]]
    assert len({of_file(photo, fits=fits) for fits in sizes}) == 4


def test_a_photo_that_cannot_be_read_is_not_held(tmp_path: Path) -> None:
    image = Image.open(tmp_path / "none.jpg")
    assert PhotoHashes().hold([image]) == [image]
    assert image.held is None


@settings(max_examples=20, deadline=None)
@given(st.binary(max_size=200))
def test_the_hash_of_a_photo_is_that_of_its_bytes(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("photos") / "a.jpg"
    path.write_bytes(data)
    assert PhotoHashes().of(path)[1] == hashlib.sha256(data).hexdigest()
