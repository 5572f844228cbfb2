"""Cutouts, crops, resized photos, redacted photos and alpha masks, pixel by pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import settings as checks
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import ImageOps

from visionweave import Boxes, Image, Masks, Node, NodeFailed, Origin, PipelineError
from visionweave.nodes.image import AlphaMasks, Blur, Crop, CutOut, Draw, Resize

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

HW = (40, 60)
RING = (slice(10, 20), slice(20, 36))
"""The rows and columns of an object 16 x 10 pixels large, with a hole."""


def noise(hw: tuple[int, int] = HW, channels: int = 3) -> Pixels:
    return np.random.default_rng(7).integers(0, 256, (*hw, channels), np.uint8)


def block(rows: slice, columns: slice, hw: tuple[int, int] = HW) -> Mask:
    mask = np.zeros(hw, bool)
    mask[rows, columns] = True
    return mask


def ring() -> Mask:
    mask = block(*RING)
    mask[13:16, 25:30] = False
    return mask


def masks_of(*masks: Mask) -> Masks:
    """Masks called a, b, c ... of street.jpg, with scores 0.9, 0.8, 0.7 ..."""
    found = Masks.from_array(np.stack(masks), photo="street.jpg")
    labels = tuple("abcdefgh"[: len(masks)])
    scores = np.linspace(0.9, 1 - len(masks) / 10, len(masks), dtype=np.float32)
    return Masks(found.counts, found.boxes.replace(labels=labels, scores=scores))


def boxes_of(*xyxy: tuple[float, float, float, float], hw: tuple[int, int] = HW) -> Boxes:
    labels = tuple("abcdefgh"[: len(xyxy)])
    return Boxes(np.array(xyxy, np.float32).reshape(-1, 4), hw, labels, photo="street.jpg")


def rotated_jpeg(folder: Path) -> tuple[Image, Image]:
    """A JPEG that lies on its side by EXIF, and a PNG of the same pixels, upright."""
    lying = Pillow.fromarray(noise().repeat(8, 0).repeat(8, 1)).resize((40, 60))
    exif = Pillow.Exif()
    exif[0x0112] = 6
    lying.save(folder / "lying.jpg", exif=exif)
    ImageOps.exif_transpose(Pillow.open(folder / "lying.jpg")).save(folder / "upright.png")
    return Image.open(folder / "lying.jpg", "p"), Image.open(folder / "upright.png", "p")


# Cutouts ----------------------------------------------------------------------------------------


def test_a_cutout_is_the_photo_inside_its_mask_and_nothing_else() -> None:
    pixels, mask = noise(), ring()
    (cutout,) = CutOut()(Image.from_array(pixels), masks_of(mask))
    assert cutout.region == (20, 10, 36, 20)
    assert np.array_equal(cutout.rgba[:, :, 3], mask[RING] * np.uint8(255))
    assert np.array_equal(cutout.rgba[:, :, :3], pixels[RING] * mask[RING][:, :, None])


def test_cutouts_know_their_objects_after_filtering() -> None:
    masks = masks_of(ring(), block(slice(0, 5), slice(0, 5)), block(slice(30, 40), slice(50, 60)))
    cutouts = CutOut()(Image.from_array(noise()), masks[[2, 0]])
    assert [each.origin for each in cutouts] == [masks.origin(2), masks.origin(0)]
    assert cutouts[0].origin == Origin(
        "street.jpg", 2, "c", cutouts[0].origin.score, (50, 30, 60, 40)
    )


@pytest.mark.parametrize(
    ("settings", "region"),
    [
        pytest.param({"margin": 0.25}, (16, 6, 40, 24), id="margin of the longer side"),
        pytest.param({"square": True}, (20, 7, 36, 23), id="square"),
        pytest.param({"margin": 0.25, "square": True}, (16, 3, 40, 27), id="margin, then square"),
        pytest.param({"margin": 2}, (-12, -22, 68, 52), id="out of the photo on every side"),
        pytest.param({"feather": 2.5}, (17, 7, 39, 23), id="room for the soft edge"),
        pytest.param({"feather": 2.5, "margin": 0.5}, (12, 2, 44, 28), id="room enough already"),
    ],
)
def test_the_region_of_a_cutout(
    settings: dict[str, Any], region: tuple[int, int, int, int]
) -> None:
    (cutout,) = CutOut(**settings)(Image.from_array(noise()), masks_of(ring()))
    assert cutout.region == region
    assert cutout.rgba.shape == (region[3] - region[1], region[2] - region[0], 4)


def test_what_a_region_has_outside_of_the_photo_is_transparent() -> None:
    pixels, corner = noise(), (slice(35, 40), slice(50, 60))
    (cutout,) = CutOut(margin=0.5, square=True)(Image.from_array(pixels), masks_of(block(*corner)))
    assert cutout.region == (45, 28, 65, 48)  # 10 x 5 pixels, 5 more on each side, then 20 x 20
    expected = np.zeros((20, 20, 4), np.uint8)
    expected[7:12, 5:15] = np.dstack([pixels[corner], np.full((5, 10), 255, np.uint8)])
    assert np.array_equal(cutout.rgba, expected)


def test_an_odd_object_lies_in_the_middle_of_its_square_to_half_a_pixel() -> None:
    (cutout,) = CutOut(square=True)(
        Image.from_array(noise()), masks_of(block(slice(5, 9), slice(5, 12)))
    )
    rows = np.flatnonzero(cutout.rgba[:, :, 3].any(axis=1))
    assert cutout.rgba.shape == (7, 7, 4)
    assert rows.tolist() == [1, 2, 3, 4]  # one row above, two below


def test_a_cutout_of_one_pixel() -> None:
    pixels = noise()
    (cutout,) = CutOut()(Image.from_array(pixels), masks_of(block(slice(39, 40), slice(59, 60))))
    assert cutout.region == (59, 39, 60, 40)
    assert cutout.rgba.tolist() == [[[*pixels[39, 59].tolist(), 255]]]


def test_a_background_makes_the_cutout_opaque() -> None:
    pixels, mask = noise(), ring()
    (cutout,) = CutOut(background="#ff8000", margin=0.1)(Image.from_array(pixels), masks_of(mask))
    window = (slice(8, 22), slice(18, 38))
    flat = np.where(mask[:, :, None], pixels, np.array([255, 128, 0], np.uint8))
    assert np.array_equal(cutout.rgba[:, :, :3], flat[window])
    assert (cutout.rgba[:, :, 3] == 255).all()


@pytest.mark.parametrize("colour", ["red", "#f00", "#FF0000", "rgb(255, 0, 0)", [255, 0, 0]])
def test_a_colour_is_kept_in_one_form(colour: object) -> None:
    assert CutOut(background=colour).settings["background"] == "#ff0000"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("colour", "message"),
    [
        pytest.param("redd", "unknown color specifier: 'redd'", id="no colour's name"),
        pytest.param([0, 0, 256], "three numbers, 0 to 255", id="too large"),
        pytest.param([0, 0], "three numbers, 0 to 255", id="too few"),
        pytest.param("#ff000080", "it is opaque", id="translucent"),
    ],
)
def test_a_wrong_colour_is_refused(colour: object, message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        CutOut(background=colour)  # type: ignore[arg-type]


def test_a_feathered_edge_is_soft_for_its_width_and_no_further() -> None:
    (cutout,) = CutOut(feather=6)(
        Image.from_array(noise((100, 100))),
        masks_of(block(slice(30, 70), slice(30, 70), (100, 100))),
    )
    alpha = cutout.rgba[26, :, 3].astype(int)  # a row through the middle of the object
    border = 6  # columns before it lie outside of the mask
    assert (alpha[border + 6 : border + 34] == 255).all()
    assert (np.diff(alpha[: border + 20]) >= 0).all()
    assert alpha[border - 1] < 128 < alpha[border]
    assert alpha[0] == 0
    assert 0 < alpha[border - 2] < alpha[border + 2] < 255
    assert not cutout.rgba[cutout.rgba[:, :, 3] == 0].any()


def test_a_feathered_object_stays_hard_where_the_photo_cuts_it_off() -> None:
    mask = block(slice(10, 30), slice(0, 20))
    (cutout,) = CutOut(feather=3)(Image.from_array(noise()), masks_of(mask))
    assert cutout.region == (0, 7, 23, 33)
    assert (cutout.rgba[8:18, 0, 3] == 255).all()
    assert (cutout.rgba[8:18, -1, 3] < 4).all()


def test_alpha_is_the_mask_times_the_alpha_of_the_photo() -> None:
    pixels, mask = noise(channels=4), ring()
    (cutout,) = CutOut()(Image.from_array(pixels), masks_of(mask))
    assert np.array_equal(cutout.rgba[:, :, 3], (pixels[:, :, 3] * mask)[RING])
    seen = cutout.rgba[:, :, 3] > 0
    assert np.array_equal(
        cutout.rgba[seen], pixels[RING][seen]
    )  # colours as they are, not on white


def test_a_photo_turned_by_exif_gives_the_cutouts_of_its_upright_copy(tmp_path: Path) -> None:
    turned, upright = rotated_jpeg(tmp_path)
    masks = masks_of(ring(), block(slice(0, 9), slice(50, 60)))
    assert turned.size_wh == upright.size_wh == (60, 40)
    assert CutOut(margin=0.3)(turned, masks) == CutOut(margin=0.3)(upright, masks)
    assert Crop()(turned, masks.boxes) == Crop()(upright, masks.boxes)


def test_an_empty_mask_gives_no_cutout_and_no_masks_give_none() -> None:
    image, masks = Image.from_array(noise()), masks_of(np.zeros(HW, bool), ring())
    assert [each.origin.label for each in CutOut()(image, masks)] == ["b"]
    assert CutOut()(image, Masks.empty(HW)) == []
    assert Crop()(image, Boxes.empty(HW)) == []


@pytest.mark.parametrize("node", [CutOut(), Draw(), Blur()], ids=lambda node: node.spec.id)
def test_objects_of_another_size_are_refused(node: Node) -> None:
    expected = "expected Masks of an image 30 x 20 .* got Masks of one 60 x 40"
    with pytest.raises(NodeFailed, match=expected):
        node(image=Image.from_array(noise((20, 30))), masks=masks_of(ring()))


# Crops ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("box", "settings", "rows", "columns"),
    [
        pytest.param((5, 6, 15, 12), {}, (6, 12), (5, 15), id="as it is"),
        pytest.param((5.2, 6.9, 14.1, 11.1), {}, (6, 12), (5, 15), id="every pixel touched"),
        pytest.param((5, 6, 15, 12), {"margin": 0.2}, (4, 14), (3, 17), id="margin"),
        pytest.param((50, 30, 70, 60), {}, (30, 40), (50, 60), id="clipped to the photo"),
        pytest.param((0, 0, 10, 4), {"margin": 0.1}, (0, 5), (0, 11), id="margin, clipped"),
        pytest.param((20, 10, 32, 14), {"square": True}, (6, 18), (20, 32), id="square"),
        pytest.param((20, 0, 32, 4), {"square": True}, (0, 12), (20, 32), id="square, moved down"),
        pytest.param((48, 36, 60, 40), {"square": True}, (28, 40), (48, 60), id="square, moved up"),
        pytest.param((0, 0, 60, 20), {"square": True}, (0, 40), (0, 60), id="square, no room"),
        pytest.param((59, 39, 60, 40), {}, (39, 40), (59, 60), id="one pixel"),
    ],
)
def test_what_a_crop_shows(
    box: tuple[float, float, float, float],
    settings: dict[str, Any],
    rows: tuple[int, int],
    columns: tuple[int, int],
) -> None:
    pixels, boxes = noise(), boxes_of(box)
    expected = Image.from_array(pixels[slice(*rows), slice(*columns)], origin=boxes.origin(0))
    assert Crop(**settings)(Image.from_array(pixels), boxes) == [expected]


def test_crops_keep_transparency_and_their_objects() -> None:
    pixels, boxes = (
        noise(channels=4),
        boxes_of((0, 0, 5, 5), (-9, 0, 0, 5), (7, 7, 7, 9), (3, 3, 9, 9)),
    )
    crops = Crop()(Image.from_array(pixels), boxes)
    assert [crop.origin.label for crop in crops] == ["a", "d"]  # b is outside, c without area
    assert crops[1].origin == boxes.origin(3)
    assert np.array_equal(np.asarray(crops[1].to_pil()), pixels[3:9, 3:9])


def test_a_crop_keeps_nothing_of_the_photo_but_its_own_pixels() -> None:
    (crop,) = Crop()(Image.from_array(noise()), boxes_of((0, 0, 5, 5)))
    whole = crop.pixels
    while whole.base is not None:
        whole = whole.base
    assert whole.shape == (5, 5, 3)


# Resizing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "size_wh"),
    [
        pytest.param({"longest": 30}, (30, 20), id="longest"),
        pytest.param({"shortest": 10}, (15, 10), id="shortest"),
        pytest.param({"width": 6}, (6, 4), id="width"),
        pytest.param({"height": 20}, (30, 20), id="height"),
        pytest.param({"width": 30, "height": 10}, (15, 10), id="into a frame"),
        pytest.param({"shortest": 20, "longest": 15}, (15, 10), id="as short as each asks"),
        pytest.param({"longest": 90}, (60, 40), id="never larger"),
        pytest.param({"longest": 90, "enlarge": True}, (90, 60), id="larger when asked"),
        pytest.param({"height": 1}, (2, 1), id="tiny"),
    ],
)
def test_the_size_of_a_resized_photo(settings: dict[str, Any], size_wh: tuple[int, int]) -> None:
    assert Resize(**settings)(Image.from_array(noise())).size_wh == size_wh


def test_no_side_is_resized_to_nothing() -> None:
    assert Resize(longest=10)(Image.from_array(noise((1, 100)))).size_wh == (10, 1)


def test_a_photo_that_fits_is_passed_on_with_its_origin() -> None:
    image = Image.from_array(noise(), "street.jpg")
    assert Resize(longest=60)(image) == image
    assert Resize(longest=30)(image).origin == image.origin


def test_resizing_needs_a_size() -> None:
    with pytest.raises(PipelineError, match="at least one of longest, shortest, width and height"):
        Resize(enlarge=True)


def test_no_colour_bleeds_out_of_transparent_pixels() -> None:
    pixels = np.zeros((40, 40, 4), np.uint8)
    pixels[:, :19] = (255, 0, 0, 255)
    pixels[:, 19:] = (0, 255, 0, 0)  # green, and not to be seen
    resized = np.asarray(Resize(longest=10)(Image.from_array(pixels)).to_pil())
    seen = resized[:, :, 3] > 8
    assert seen[:, :5].all()
    assert (resized[seen][:, :3] == (255, 0, 0)).all()


def test_a_large_jpeg_is_decoded_at_a_reduced_scale(tmp_path: Path) -> None:
    smooth = Pillow.fromarray(noise((6, 8))).resize((800, 600), Pillow.Resampling.BICUBIC)
    smooth.save(tmp_path / "large.jpg", quality=95)
    node = Resize(longest=80)
    reduced = Image.open(tmp_path / "large.jpg", fits=(node.fit(),))
    assert reduced.shrunk(node.fit()).shape == (150, 200, 3)
    small, full = node(reduced), node(Image.open(tmp_path / "large.jpg"))
    assert small.size_wh == full.size_wh == (80, 60)
    assert np.abs(small.pixels.astype(int) - full.pixels).max() <= 8


quick = checks(max_examples=100, deadline=None, database=None, derandomize=True)
sides = st.integers(1, 5000)
bounds = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("longest", "shortest", "width", "height"), sides)
).filter(len)


@quick
@given(bounds, st.tuples(sides, sides))
def test_a_photo_is_never_decoded_smaller_than_its_result(
    settings: dict[str, int], size_wh: tuple[int, int]
) -> None:
    node = Resize(**settings)
    decoded = max(size_wh) * node.fit().scale(size_wh)
    assert decoded >= max(node._size(size_wh)) - 0.5 - 1e-6  # results are rounded


# Redaction --------------------------------------------------------------------------------------

SQUARE = (slice(30, 130), slice(40, 140))


@pytest.mark.parametrize("method", ["blur", "pixelate", "fill"])
def test_nothing_finer_than_a_cell_is_left(method: Any) -> None:
    grey = np.full((160, 200, 3), 150, np.uint8)
    secret = grey.copy()
    secret[SQUARE][::2, ::2] = 200
    secret[SQUARE][1::2, ::2] = 100  # the same average in every cell
    masks = masks_of(block(*SQUARE, (160, 200)))
    hidden = [Blur(method)(Image.from_array(pixels), masks) for pixels in (secret, grey)]
    assert hidden[0] == hidden[1]


@pytest.mark.parametrize("method", ["blur", "pixelate", "fill"])
def test_only_the_objects_are_hidden(method: Any) -> None:
    pixels, mask = noise(), ring()
    hidden = Blur(method)(Image.from_array(pixels), masks_of(mask)).pixels
    assert np.array_equal(hidden[~mask], pixels[~mask])
    assert (hidden[mask] != pixels[mask]).any(axis=1).mean() > 0.95


def test_pixelating_leaves_so_many_cells_and_no_more() -> None:
    hidden = Blur("pixelate", strength=0.25)(
        Image.from_array(noise((80, 80))), boxes=boxes_of((0, 0, 80, 40), hw=(80, 80))
    ).pixels
    assert len(np.unique(hidden[:40].reshape(-1, 3), axis=0)) == 4 * 2
    assert np.array_equal(hidden[:20, :20], np.broadcast_to(hidden[0, 0], (20, 20, 3)))


def test_filling_hides_masks_and_boxes_and_what_the_margin_adds() -> None:
    image, mask = Image.from_array(noise()), ring()
    filled = Blur("fill", colour="white", margin=0.25)(
        image, masks_of(mask), boxes_of((0, 0, 8, 4))
    )
    white = (filled.pixels == 255).all(axis=2)
    rows, columns = np.mgrid[: HW[0], : HW[1]]
    ys, xs = np.nonzero(mask)
    near = ((rows[:, :, None] - ys) ** 2 + (columns[:, :, None] - xs) ** 2).min(axis=2) <= 16
    assert np.array_equal(white, near | block(slice(0, 6), slice(0, 10)))


@pytest.mark.parametrize("margin", [0.05, 0.3, 2, 10])
def test_a_margin_around_a_mask_goes_on_beyond_the_photo(margin: float) -> None:
    rows, columns = np.mgrid[: HW[0], : HW[1]]
    at_the_corner = (rows < 9) & (columns > 52 + rows)
    image = Image.from_array(noise())
    for mask in (ring(), at_the_corner, block(slice(39, 40), slice(None))):
        ys, xs = np.nonzero(mask)
        reach = round(margin * (1 + max(np.ptp(ys), np.ptp(xs))))
        squares = (rows[:, :, None] - ys) ** 2 + (columns[:, :, None] - xs) ** 2
        filled = Blur("fill", colour="white", margin=margin)(image, masks_of(mask)).pixels
        assert np.array_equal((filled == 255).all(axis=2), squares.min(axis=2) <= reach**2)


def test_a_wide_margin_around_a_long_object_takes_no_more_than_the_photo() -> None:
    line = np.full((1, 5000), True)
    hidden = Blur("fill", margin=10)(Image.from_array(noise((1, 5000))), masks_of(line))
    assert not hidden.pixels.any()


def test_hiding_works_at_the_border_and_for_one_pixel() -> None:
    pixels = noise()
    boxes = boxes_of((59, 39, 60, 40), (-5, -5, 10, 10), (70, 0, 90, 10))
    hidden = Blur()(Image.from_array(pixels), boxes=boxes).pixels
    changed = (hidden != pixels).any(axis=2)
    assert changed[:10, :10].mean() > 0.9
    assert not changed[10:].any()  # one pixel is its own average
    assert not changed[:, 10:].any()


def test_what_is_hidden_in_a_transparent_photo_is_hidden_in_alpha_too() -> None:
    pixels, mask = noise(channels=4), ring()
    filled = np.asarray(Blur("fill")(Image.from_array(pixels), masks_of(mask)).to_pil())
    assert (filled[mask] == (0, 0, 0, 255)).all()
    assert np.array_equal(filled[~mask], pixels[~mask])


def test_no_objects_hide_nothing() -> None:
    image = Image.from_array(noise(), "street.jpg")
    assert Blur()(image, Masks.empty(HW), Boxes.empty(HW)) == image


@pytest.mark.parametrize("node", [Draw(), Blur()], ids=lambda node: node.spec.id)
def test_a_node_without_objects_to_work_on_says_what_to_connect(node: Node) -> None:
    with pytest.raises(NodeFailed, match="expected boxes, masks or both; got neither"):
        node(Image.from_array(noise()))


# Alpha ------------------------------------------------------------------------------------------


def sheet(*masks: Mask) -> Image:
    """Stickers of any colour on a transparent picture."""
    pixels = noise(channels=4)
    pixels[:, :, 3] = np.any(masks, axis=0) * np.uint8(200)
    return Image.from_array(pixels, "sheet.png")


def test_every_sticker_gets_a_mask_with_its_holes() -> None:
    diagonal = np.zeros(HW, bool)
    diagonal[[30, 31, 32], [5, 6, 7]] = True  # hangs together by corners
    masks = AlphaMasks(label="sticker")(sheet(ring(), diagonal))
    expected = Masks.from_array(np.stack([ring(), diagonal]), photo="sheet.png")
    labelled = expected.boxes.replace(labels=("sticker", "sticker"))
    assert masks == Masks(expected.counts, labelled)


def test_stickers_are_found_in_reading_order() -> None:
    tops = [(2, 20), (4, 40), (0, 0), (22, 1), (20, 50), (24, 25)]  # two rows, not quite level
    stickers = [block(slice(y, y + 10), slice(x, x + 8)) for y, x in tops]
    boxes = AlphaMasks()(sheet(*stickers)).boxes
    assert boxes.xyxy[:, :2].tolist() == [[0, 0], [20, 2], [40, 4], [1, 22], [25, 24], [50, 20]]
    assert boxes.ids.tolist() == [0, 1, 2, 3, 4, 5]


def test_specks_and_faint_pixels_are_left_out() -> None:
    image = sheet(ring(), block(slice(0, 2), slice(0, 2)))  # 4 of 2400 pixels
    assert len(AlphaMasks(min_area=4 / 2400)(image)) == 2
    assert len(AlphaMasks(min_area=5 / 2400)(image)) == 1
    assert len(AlphaMasks(threshold=200)(image)) == 2
    assert AlphaMasks(threshold=201)(image) == Masks.empty(HW, "sheet.png")


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(Image.from_array(noise(), "p"), id="without transparency"),
        pytest.param(
            Image.from_array(np.dstack([noise(), np.full(HW, 250, np.uint8)]), "p"),
            id="nearly opaque",
        ),
        pytest.param(Image.from_array(np.zeros((*HW, 4), np.uint8), "p"), id="all transparent"),
    ],
)
def test_a_picture_without_stickers_gives_no_masks(image: Image) -> None:
    assert AlphaMasks()(image) == Masks.empty(HW, "p")


def test_the_cutouts_of_a_sticker_sheet_are_its_stickers() -> None:
    image = sheet(ring(), block(slice(30, 38), slice(0, 9)))
    whole = np.asarray(image.to_pil())
    for cutout in CutOut()(image, AlphaMasks()(image)):
        x1, y1, x2, y2 = map(int, cutout.region)
        seen = cutout.rgba[:, :, 3] > 0
        assert np.array_equal(cutout.rgba[seen], whole[y1:y2, x1:x2][seen])
        assert np.array_equal(cutout.rgba[:, :, 3], whole[y1:y2, x1:x2, 3])
