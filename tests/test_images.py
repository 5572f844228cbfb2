"""An Image is read late, once, upright, and no larger than its readers need."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from visionweave.errors import ImageError, ValueTypeError
from visionweave.photo import Fit
from visionweave.values import Image, Origin

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
RGBA = np.dstack([PIXELS, np.arange(2400).reshape(40, 60).astype(np.uint8)])


def saved(path: Path, picture: Any = PIXELS, **options: Any) -> Path:
    PIL.Image.fromarray(picture).save(path, **options)
    return path


def turned(path: Path) -> Path:
    """A PNG of 60 x 40 that its EXIF says to turn clockwise."""
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    return saved(path, exif=exif)


def large(path: Path) -> Path:
    return saved(path, np.full((400, 800, 3), 99, np.uint8), quality=90)


# Lazy and once ----------------------------------------------------------------------------------


@pytest.mark.parametrize("use", ["size_wh", "image_hw", "pixels", "alpha"])
def test_a_missing_file_is_an_error_when_it_is_used(tmp_path: Path, use: str) -> None:
    image = Image.open(tmp_path / "none.jpg")
    assert (
        repr(image)
        == f"Image({str(tmp_path / 'none.jpg')!r}, size unread, file {str(image.path)!r})"
    )
    with pytest.raises(
        ImageError, match=r"none\.jpg: cannot read this image: there is no such file"
    ):
        getattr(image, use)


def test_the_size_is_read_from_the_header_alone(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png")
    path.write_bytes(path.read_bytes()[:100])
    image = Image.open(path)
    assert image.size_wh == (60, 40)
    assert image.image_hw == (40, 60)
    assert "60x40" in repr(image)
    with pytest.raises(ImageError, match=r"a\.png: cannot read this image: .*cut off"):
        image.decode()


def test_a_photo_is_decoded_once(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", RGBA)
    image = Image.open(path)
    image.decode()
    path.unlink()
    assert image.pixels is image.pixels
    assert image.alpha is image.alpha
    assert image.size_wh == (60, 40)
    assert image == Image.from_array(RGBA, str(path))


def test_a_photo_that_failed_is_tried_again(tmp_path: Path) -> None:
    image = Image.open(tmp_path / "a.png")
    with pytest.raises(ImageError, match="no such file"):
        image.decode()
    saved(tmp_path / "a.png")
    assert (image.pixels == PIXELS).all()


@pytest.mark.parametrize("picture", [PIXELS, RGBA], ids=["rgb", "rgba"])
def test_threads_get_one_array(tmp_path: Path, picture: Any) -> None:
    path = saved(tmp_path / "a.png", picture)
    for _ in range(10):
        image = Image.open(path)
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda image: image.pixels, [image] * 32))
        assert {id(pixels) for pixels in found} == {id(image.pixels)}


def test_threads_that_need_more_than_was_foreseen_get_one_array(tmp_path: Path) -> None:
    path = large(tmp_path / "a.jpg")
    for _ in range(10):
        image = Image.open(path, fits=[Fit(long=100)])
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda image: image.pixels, [image] * 16))
        assert {id(pixels) for pixels in found} == {id(image.pixels)}
        assert image.pixels.shape == (400, 800, 3)


# Upright and on white ---------------------------------------------------------------------------


def test_a_photo_is_upright(tmp_path: Path) -> None:
    image = Image.open(turned(tmp_path / "a.png"))
    assert image.size_wh == (40, 60)
    assert (image.pixels == np.rot90(PIXELS, -1)).all()
    again = Image.from_bytes(image.to_bytes())
    assert again == image  # and not turned a second time
    assert Image.from_pil(PIL.Image.open(tmp_path / "a.png"), str(image.path)) == image


def test_alpha_is_kept_and_pixels_are_laid_over_white() -> None:
    colours = np.array([[[200, 0, 0, 0], [200, 0, 0, 128], [200, 0, 0, 255]]], np.uint8)
    image = Image.from_array(colours)
    assert image.pixels.tolist() == [[[255, 255, 255], [227, 127, 127], [200, 0, 0]]]
    assert image.alpha is not None
    assert image.alpha.tolist() == [[0, 128, 255]]
    assert not image.pixels.flags.writeable
    assert not image.alpha.flags.writeable
    assert (np.asarray(image.to_pil()) == colours).all()


def test_an_opaque_photo_has_no_alpha(tmp_path: Path) -> None:
    opaque = np.dstack([PIXELS, np.full((40, 60), 255, np.uint8)])
    for image in (
        Image.open(saved(tmp_path / "a.png", opaque), photo=""),
        Image.from_array(opaque),
        Image.from_array(PIXELS),
        Image.from_pil(PIL.Image.fromarray(opaque)),
    ):
        assert image.alpha is None
        assert image.to_pil().mode == "RGB"
        assert image == Image.from_array(PIXELS)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "YCbCr", "I;16"])
def test_a_picture_of_any_mode_becomes_rgb(mode: str) -> None:
    image = Image.from_pil(PIL.Image.new(mode, (5, 3), 0), "a")
    assert image.pixels.shape == (3, 5, 3)
    assert image.origin == Origin("a")
    assert repr(image) == "Image('a', 5x3, pixels in memory)"


def test_a_picture_without_a_defined_white_is_refused() -> None:
    with pytest.raises(
        ImageError, match="a: cannot read this image: its pixels are floating-point"
    ):
        Image.from_pil(PIL.Image.new("F", (2, 2)), "a")


# Reduced decoding -------------------------------------------------------------------------------


def test_a_photo_is_decoded_no_larger_than_its_readers_need(tmp_path: Path) -> None:
    photo = Image.open(large(tmp_path / "a.jpg"), "a")
    image = photo.for_fits([Fit(long=100), Fit(short=80)])
    assert image.origin == photo.origin
    small = image.shrunk(Fit(short=80))
    assert small.shape == (200, 400, 3)
    assert image.shrunk(Fit(long=100)) is small
    assert image.size_wh == (800, 400)
    assert image.pixels.shape == (400, 800, 3)  # more was needed after all
    assert image.shrunk(Fit(long=100)) is image.pixels
    assert image == photo


def test_a_reader_that_needs_more_than_was_foreseen_gets_it(tmp_path: Path) -> None:
    image = Image.open(large(tmp_path / "a.jpg"), fits=[Fit(long=100)])
    assert image.shrunk(Fit(long=100)).shape == (100, 200, 3)
    assert image.shrunk(Fit(long=201)).shape == (400, 800, 3)


def test_the_reduced_photo_stays_when_the_full_one_cannot_be_read(tmp_path: Path) -> None:
    path = large(tmp_path / "a.jpg")
    image = Image.open(path, fits=[Fit(long=100)])
    small = image.shrunk(Fit(long=100))
    path.unlink()
    with pytest.raises(ImageError, match="no such file"):
        _ = image.pixels
    assert image.shrunk(Fit(long=50)) is small


def test_a_transparent_photo_is_shrunk_over_white(tmp_path: Path) -> None:
    image = Image.open(saved(tmp_path / "a.png", RGBA), fits=[Fit(long=5)])
    assert image.shrunk(Fit(long=5)) is image.pixels
    assert (image.pixels[0, 0] == 255).all()


def test_a_photo_that_is_decoded_is_not_opened_again(tmp_path: Path) -> None:
    image = Image.open(large(tmp_path / "a.jpg"))
    assert image.for_fits(None) is not image
    assert image.for_fits([]) is not image
    image.decode()
    assert image.for_fits([Fit(long=5)]) is image
    in_memory = Image.from_array(PIXELS)
    assert in_memory.path is None
    assert in_memory.for_fits([Fit(long=5)]) is in_memory


# Names, plain data, equality --------------------------------------------------------------------


def test_plain_data_becomes_an_image(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png")
    named = Image.from_array(PIXELS, str(path))
    assert Image.coerce(path) == Image.coerce(str(path)) == named
    assert Image.coerce(PIXELS) == Image.coerce(PIL.Image.fromarray(PIXELS)) != named
    assert Image.coerce(named) is named
    with pytest.raises(ValueTypeError, match=r"expected Image; got list \[1, 2\]"):
        Image.coerce([1, 2])


def test_a_photo_is_named_as_it_was_given(tmp_path: Path) -> None:
    assert Image.open("street/004.jpg").origin == Origin("street/004.jpg")
    assert Image.open(tmp_path / "a.png").origin == Origin(str(tmp_path / "a.png"))
    assert Image.open(tmp_path / "a.png", "004.jpg").origin == Origin("004.jpg")
    origin = Origin("004.jpg", 2, "apple")
    assert Image.from_array(PIXELS, "unused", origin).origin is origin


@pytest.mark.skipif(os.name == "nt", reason="file names are Unicode there")
def test_a_file_whose_name_is_no_unicode_is_read_and_named_with_escapes(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.png")
    path.write_bytes(saved(tmp_path / "a.png").read_bytes())
    image = Image.open(path)
    assert image.origin.photo == str(tmp_path / r"caf\udce9.png")
    assert (
        Image.from_bytes(image.to_bytes()) == image == Image.from_array(PIXELS, image.origin.photo)
    )


def test_images_are_equal_by_pixels_name_and_alpha() -> None:
    other = RGBA.copy()
    other[0, 0, 0] += 1  # where alpha is 0: a difference that is not seen, and kept all the same
    images = [
        Image.from_array(RGBA, "a"),
        Image.from_array(RGBA, "b"),
        Image.from_array(RGBA[..., :3], "a"),
        Image.from_array(other, "a"),
        Image.from_array(RGBA[::-1], "a"),
    ]
    for i, a in enumerate(images):
        for j, b in enumerate(images):
            assert (a == b) is (i == j)
    assert (images[0].pixels == images[3].pixels).all()


def test_an_image_of_a_damaged_file_says_where(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(
        ValueTypeError, match=re.escape(f"{path}: expected a visionweave Image in a")
    ):
        Image.load(path)
