"""What image.draw draws: contours, outlines and legible chips, and nothing beside them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageFont

from visionweave import Boxes, Image, Masks, PipelineError
from visionweave.nodes._paint import PALETTE, ink_on
from visionweave.nodes.image import Draw, chips

Pixels = npt.NDArray[np.uint8]
HW = (480, 640)
BOX = (200, 150, 300, 250)
BLACK, WHITE = (0, 0, 0), (255, 255, 255)


def grey(hw: tuple[int, int] = HW, level: int = 128) -> Pixels:
    return np.full((*hw, 3), level, np.uint8)


def boxes_of(
    *xyxy: tuple[float, float, float, float], label: str = "apple", hw: tuple[int, int] = HW
) -> Boxes:
    scores = np.full(len(xyxy), 0.834, np.float32)
    return Boxes(np.array(xyxy, np.float32), hw, (label,) * len(xyxy), scores)


def masks_of(*boxes: tuple[int, int, int, int], hw: tuple[int, int] = HW) -> Masks:
    masks = np.zeros((len(boxes), *hw), bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        mask[y1:y2, x1:x2] = True
    return Masks.from_array(masks)


def luminance(rgb: npt.ArrayLike) -> Any:
    """Relative luminance by WCAG 2.2, of (..., 3) sRGB colours."""
    parts = np.asarray(rgb) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722])


def contrast(a: npt.ArrayLike, b: npt.ArrayLike) -> Any:
    light = np.maximum(luminance(a), luminance(b)) + 0.05
    return light / (np.minimum(luminance(a), luminance(b)) + 0.05)


def changed(after: Image, before: Pixels) -> npt.NDArray[np.bool_]:
    return (after.pixels != before).any(axis=2)


def chip_pixels(pixels: Pixels, boxes: Boxes, **settings: Any) -> npt.NDArray[np.bool_]:
    """Where the chips of some boxes lie: what labels and scores change in the drawing."""
    image = Image.from_array(pixels)
    bare = Draw(**settings | {"labels": False, "scores": False})(image, boxes)
    return changed(Draw(**settings)(image, boxes), bare.pixels)


def extent(where: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """The width and height of what is set."""
    rows, columns = np.nonzero(where)
    return int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1


# Masks and boxes --------------------------------------------------------------------------------


def test_a_mask_has_a_translucent_fill_a_contour_inside_and_a_dark_line_around() -> None:
    masks = masks_of(BOX)
    drawn = Draw(labels=False, scores=False, mask_opacity=0.6, line_width=2)(
        Image.from_array(grey(level=100)), masks=masks
    ).pixels
    row = drawn[200, 190:210].tolist()  # across the left border, at x = 200
    contour = list(PALETTE[0])
    fill = [round(100 * 0.4 + part * 0.6) for part in PALETTE[0]]
    assert row == [[100] * 3] * 9 + [[40] * 3] + [contour] * 2 + [fill] * 8


def test_the_hole_of_a_mask_stays_as_it_is() -> None:
    mask = np.zeros((1, *HW), bool)
    mask[0, 100:300, 100:300] = True
    mask[0, 150:250, 150:250] = False
    drawn = Draw(labels=False, scores=False)(Image.from_array(grey()), masks=Masks.from_array(mask))
    hole = changed(drawn, grey())[150:250, 150:250]
    assert not hole[2:-2, 2:-2].any()
    assert hole[0].mean() > 0.9  # the dark line


def test_a_box_is_a_dark_a_coloured_and_a_light_line_around_its_object() -> None:
    drawn = Draw(labels=False, scores=False, line_width=2)(
        Image.from_array(grey()), boxes_of(BOX)
    ).pixels
    middle = [tuple(colour) for colour in drawn[200, 194:204].tolist()]
    kept = (128, 128, 128)
    assert middle == [kept, kept, BLACK, PALETTE[0], PALETTE[0], WHITE, kept, kept, kept, kept]


def test_nothing_is_drawn_away_from_objects() -> None:
    image, boxes = Image.from_array(grey()), boxes_of(BOX)
    drawn = Draw(labels=False, scores=False, line_width=3)(image, boxes, masks_of(BOX))
    outside = changed(drawn, grey())
    outside[145:255, 195:305] = False
    assert not outside.any()


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_outline_shows_on_any_picture(level: int) -> None:
    hw, boxes = (
        (90, 120),
        ((40, 30, 60, 50), (0, 0, 120, 90), (-50, -50, 30, 30), (9.2, 9.2, 9.4, 9.4)),
    )
    for box in boxes:
        before = grey(hw, level)
        drawn = Draw(labels=False, scores=False)(Image.from_array(before), boxes_of(box, hw=hw))
        lines = contrast(drawn.pixels, before) >= 4.5
        assert lines.any(axis=0).sum() >= 4, box
        assert lines.any(axis=1).sum() >= 4, box


def test_an_object_keeps_its_colour_when_others_are_filtered_out() -> None:
    boxes = boxes_of((10, 40, 60, 90), (100, 100, 150, 150), BOX)
    image = Image.from_array(grey())
    node = Draw(labels=False, scores=False)
    all_three, last = node(image, boxes).pixels, node(image, boxes[[2]]).pixels
    assert np.array_equal(all_three[140:260, 190:310], last[140:260, 190:310])


def test_a_small_object_is_drawn_over_a_large_one() -> None:
    large, small = (100, 100, 400, 400), (150, 150, 200, 200)
    node = Draw(labels=False, scores=False, mask_opacity=1)
    image = Image.from_array(grey())
    for masks in (masks_of(large, small), masks_of(small, large)):
        colour = PALETTE[int(np.argmin(masks.areas))]
        assert tuple(node(image, masks=masks).pixels[175, 175]) == colour


def test_the_palette_repeats_after_its_last_colour() -> None:
    masks = masks_of(*[(20 * i, 20 * i, 20 * i + 15, 20 * i + 15) for i in range(8)])
    drawn = Draw(labels=False, scores=False, mask_opacity=1)(Image.from_array(grey()), masks=masks)
    colours = [tuple(drawn.pixels[20 * i + 7, 20 * i + 7]) for i in range(8)]
    assert colours == [*PALETTE, PALETTE[0]]


def test_no_objects_leave_the_photo_as_it_is() -> None:
    image = Image.from_array(grey(), "street.jpg")
    assert Draw()(image, Boxes.empty(HW), Masks.empty(HW)) == image


def test_a_transparent_photo_is_drawn_on_white() -> None:
    image = Image.from_array(np.zeros((*HW, 4), np.uint8))
    drawn = Draw()(image, Boxes.empty(HW))
    assert drawn.alpha is None
    assert (drawn.pixels == 255).all()


def test_lines_and_letters_grow_with_the_picture() -> None:
    hw, box = (1500, 2000), (500, 500, 1000, 1000)
    drawn = Draw(labels=False, scores=False)(Image.from_array(grey(hw)), boxes_of(box, hw=hw))
    coloured = (drawn.pixels[750, :500] == PALETTE[0]).all(axis=1)
    assert coloured.sum() == 6  # the diagonal is 2500 pixels long, and some 400 lines
    small = extent(chip_pixels(grey(), boxes_of(BOX)))
    large = extent(chip_pixels(grey(hw), boxes_of(box, hw=hw)))
    assert large[1] / small[1] == pytest.approx(2500 / 800, rel=0.1)


def test_a_picture_of_one_pixel_can_be_drawn_on() -> None:
    one = grey((1, 1))
    boxes, masks = boxes_of((0, 0, 1, 1), hw=(1, 1)), masks_of((0, 0, 1, 1), hw=(1, 1))
    assert tuple(Draw()(Image.from_array(one), masks=masks).pixels[0, 0]) == PALETTE[0]
    assert tuple(Draw()(Image.from_array(one), boxes).pixels[0, 0]) == BLACK


@pytest.mark.parametrize("hw", [(3, 200), (20, 20), (600, 800)], ids=str)
@pytest.mark.parametrize("kind", ["black", "white", "noise"])
def test_pictures_of_every_size_and_kind_can_be_drawn_on(hw: tuple[int, int], kind: str) -> None:
    height, width = hw
    pixels = grey(hw, 0 if kind == "black" else 255)
    if kind == "noise":
        pixels = np.random.default_rng(3).integers(0, 256, (*hw, 3), np.uint8)
    x, y = width // 3, height // 3
    box = (x, y, x + max(1, width // 4), y + max(1, height // 4))
    drawn = Draw()(Image.from_array(pixels), boxes_of(box, hw=hw), masks_of(box, hw=hw))
    assert drawn.size_wh == (width, height)
    assert changed(drawn, pixels).any()


# Chips ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("colour", [*PALETTE, BLACK, WHITE, (117, 117, 117), (118, 118, 118)])
def test_text_contrasts_with_its_chip(colour: tuple[int, int, int]) -> None:
    assert contrast(ink_on(colour), colour) >= 4.5


@pytest.mark.parametrize("background", [0, 128, 255])
def test_the_letters_of_a_chip_can_be_read_on_any_picture(background: int) -> None:
    pixels, boxes = grey(level=background), boxes_of(BOX)
    drawn = Draw(text_size=30)(Image.from_array(pixels), boxes).pixels
    where = chip_pixels(pixels, boxes, text_size=30)
    rows, columns = np.nonzero(where)
    middle = drawn[rows.min() + 4 : rows.max() - 3, columns.min() + 4 : columns.max() - 3]
    ratio = contrast(middle, PALETTE[0])
    assert 0.05 < (ratio >= 4.5).mean() < 0.5  # letters
    assert (middle == PALETTE[0]).all(axis=2).mean() > 0.5  # their ground


def test_labels_and_scores_can_be_left_out() -> None:
    boxes = boxes_of(BOX)
    image = Image.from_array(grey())
    plain = {"labels": False, "scores": False}
    pictures = [
        Draw(**setting)(image, boxes)
        for setting in ({}, {"scores": False}, {"labels": False}, plain)
    ]
    assert all(a != b for i, a in enumerate(pictures) for b in pictures[:i])
    assert Draw(scores=False)(image, boxes) == Draw(scores=False)(
        image, boxes.replace(scores=np.ones(1, np.float32))
    )


def test_masks_alone_are_named_too() -> None:
    masks = masks_of(BOX)
    named = Masks(masks.counts, masks.boxes.replace(labels=("apple",)))
    image = Image.from_array(grey())
    bare = Draw(labels=False, scores=False)(image, masks=named).pixels
    chip = changed(Draw(scores=False)(image, masks=named), bare)
    expected = chip_pixels(grey(), boxes_of(BOX), scores=False)
    assert extent(chip) == extent(expected)


def test_an_object_with_mask_and_box_is_named_once() -> None:
    image, boxes, masks = Image.from_array(grey()), boxes_of(BOX), masks_of(BOX)
    bare = Draw(labels=False, scores=False)(image, boxes, masks).pixels
    both = changed(Draw()(image, boxes, masks), bare)
    assert np.array_equal(both, chip_pixels(grey(), boxes))


def test_a_mask_and_a_box_of_other_objects_with_the_same_index_are_both_named() -> None:
    image, boxes, masks = Image.from_array(grey()), boxes_of((20, 300, 90, 400)), masks_of(BOX)
    pears = Masks(masks.counts, masks.boxes.replace(labels=("pear",)))
    bare = Draw(labels=False, scores=False)
    both = changed(Draw()(image, boxes, pears), bare(image, boxes, pears).pixels)
    of_mask = changed(Draw()(image, masks=pears), bare(image, masks=pears).pixels)
    assert np.array_equal(both, of_mask | chip_pixels(grey(), boxes))


def test_one_object_is_named_once_where_its_mask_has_another_box() -> None:
    image, boxes, masks = Image.from_array(grey()), boxes_of(BOX), masks_of((210, 160, 290, 240))
    apples = Masks(masks.counts, masks.boxes.replace(labels=("apple",)))
    bare = Draw(labels=False, scores=False)(image, boxes, apples).pixels
    both = changed(Draw()(image, boxes, apples), bare)
    assert np.array_equal(both, chip_pixels(grey(), boxes))


@pytest.mark.parametrize("box", [(0, 0, 0, 0), (700, 10, 800, 90)], ids=["no area", "outside"])
def test_a_mask_without_a_box_in_the_photo_is_named_at_its_pixels(
    box: tuple[int, int, int, int],
) -> None:
    image, masks = Image.from_array(grey()), masks_of(BOX)
    astray = masks.boxes.replace(xyxy=np.array([box], np.float32))
    drawn = Draw()(image, masks=Masks(masks.counts, astray))
    assert drawn == Draw()(image, masks=masks)
    assert drawn == Draw()(image, astray, Masks(masks.counts, astray))


@pytest.mark.parametrize(
    "box",
    [
        pytest.param((0, 0, 40, 40), id="top left"),
        pytest.param((630, 0, 640, 9), id="top right"),
        pytest.param((600, 440, 640, 480), id="bottom right"),
        pytest.param((0, 0, 640, 480), id="all of the photo"),
        pytest.param((-50, 200, 3, 260), id="half outside"),
        pytest.param((639, 479, 640, 480), id="one pixel"),
    ],
)
def test_a_chip_lies_whole_inside_the_photo(box: tuple[float, float, float, float]) -> None:
    free = extent(chip_pixels(grey(), boxes_of(BOX)))
    width, height = extent(chip_pixels(grey(), boxes_of(box)))
    # A white corner of the plate may fall on a white line, and so on: two pixels of play.
    assert abs(width - free[0]) <= 2
    assert abs(height - free[1]) <= 2


def test_an_object_outside_of_the_photo_is_not_drawn() -> None:
    image = Image.from_array(grey())
    assert Draw()(image, boxes_of((700, 0, 720, 20))) == image


def test_chips_of_one_place_lie_beside_each_other() -> None:
    one = chip_pixels(grey(), boxes_of(BOX)).sum()
    many = chip_pixels(grey(), boxes_of(*[BOX] * 12)).sum()
    assert many >= 11.5 * one  # letters and lines of the same colour aside


regions = st.tuples(
    st.integers(-50, 350), st.integers(-50, 250), st.integers(1, 200), st.integers(1, 200)
).map(lambda r: (r[0], r[1], r[0] + r[2], r[1] + r[3]))


@settings(max_examples=50, deadline=None, database=None, derandomize=True)
@given(st.lists(regions, max_size=30), st.tuples(st.integers(1, 300), st.integers(1, 66)))
def test_places_lie_in_the_picture_and_are_clear_while_there_is_room(
    objects: list[tuple[int, int, int, int]], size_wh: tuple[int, int]
) -> None:
    taken: list[tuple[int, int, int, int]] = []
    covered = np.zeros((200, 300), bool)
    width, height = size_wh
    for around in objects:
        x1, y1, x2, y2 = spot = chips.place(size_wh, around, (300, 200), taken)
        assert 0 <= x1 < x2 <= 300
        assert 0 <= y1 < y2 <= 200
        assert (x2 - x1, y2 - y1) == size_wh
        # In any grid of places of this size, a taken one blocks four at most.
        if 4 * len(taken) < (300 // width - 1) * (200 // height - 1):
            assert not covered[y1:y2, x1:x2].any()
        covered[y1:y2, x1:x2] = True
        taken.append(spot)


def test_of_a_crowd_a_chip_goes_where_it_covers_the_least_and_then_to_the_nearest_place() -> None:
    (width, height), room = (30, 12), (200, 100)
    taken: list[tuple[int, int, int, int]] = []
    covered = np.zeros((100, 200), int)
    crowded = 0
    for x1, y1 in np.random.default_rng(0).integers(0, (180, 80), (120, 2)).tolist():
        spot = chips.place((width, height), (x1, y1, x1 + 20, y1 + 20), room, taken)
        grid = [
            (covered[y : y + height, x : x + width].sum(), math.dist((x, y), (x1, y1 - height)))
            for x in range(x1 % width, room[0] - width + 1, width)
            for y in range(y1 % height, room[1] - height + 1, height)
        ]
        shared = covered[spot[1] : spot[3], spot[0] : spot[2]].sum()
        assert shared <= min(grid)[0]
        beside = spot[1] in (y1 - height, y1, y1 + 20, y1 + 20 - height)
        if not beside:
            crowded += 1
            assert (shared, math.dist(spot[:2], (x1, y1 - height))) == min(grid)
        covered[spot[1] : spot[3], spot[0] : spot[2]] += 1
        taken.append(spot)
    assert crowded > 20


def test_letters_shrink_before_a_label_is_given_up() -> None:
    room = (200, 100)
    chip = chips.make_chip(("a label of some length", "#1"), 40, room, None)
    assert chip is not None
    assert chip.text == "a label of some length"
    assert chip.size_wh[0] <= 200
    tight = chips.make_chip(("a label of some length", "#1"), 40, (60, 100), None)
    assert tight is not None
    assert tight.text == "#1"
    assert chips.make_chip(("a label of some length", "#1"), 40, (5, 100), None) is None


def test_a_label_that_no_font_can_write_becomes_the_objects_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chips, "FONTS", ("no such font.ttf",))
    image = Image.from_array(grey())
    chinese, nameless = boxes_of(BOX, label="苹果"), boxes_of(BOX, label="")
    assert Draw()(image, chinese) == Draw()(image, nameless)
    assert Draw()(image, chinese) != Draw()(image, boxes_of(BOX, label="apple"))


def test_a_label_is_written_in_the_first_font_that_has_its_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chips, "FONTS", ())
    built_in = ImageFont.load_default(20)
    assert isinstance(built_in, ImageFont.FreeTypeFont)
    file = tmp_path / "mine.ttf"
    file.write_bytes(built_in.font_bytes)
    chip = chips.make_chip(("苹果", "apple"), 12, (640, 480), str(file))
    assert chips._font_for("苹果", (str(file), "")) is None
    assert chips._font_for("apple", (str(file), "")) == str(file)
    assert chip is not None
    assert isinstance(chip.font, ImageFont.FreeTypeFont)
    assert (chip.text, chip.font.path) == ("apple", str(file))


def test_a_font_that_is_not_there_is_refused_before_anything_runs() -> None:
    with pytest.raises(PipelineError, match=r"no font can be read from 'none\.ttf'"):
        Draw(font="none.ttf")


def test_a_label_of_several_lines_is_written_in_one() -> None:
    image = Image.from_array(grey())
    lines, line = boxes_of(BOX, label="red\n\tapple "), boxes_of(BOX, label="red apple")
    assert Draw()(image, lines) == Draw()(image, line)
