"""Masks filtered, deduplicated and cleaned: small drawings, and definitions by brute force."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.measure import label

from visionweave.nodes.masks import Clean, Dedupe, Filter
from visionweave.values import Boxes, Masks

Array = npt.NDArray[np.bool_]


def drawn(picture: str) -> Array:
    """A mask from rows of "#" and ".", parted by spaces."""
    return np.array([[letter == "#" for letter in row] for row in picture.split()])


def block(x1: int, y1: int, x2: int, y2: int, image_hw: tuple[int, int] = (10, 20)) -> Array:
    mask = np.zeros(image_hw, bool)
    mask[y1:y2, x1:x2] = True
    return mask


def masks_of(
    arrays: list[Array], labels: tuple[str, ...] | None = None, scores: object = None
) -> Masks:
    """Masks with boxes that are not tight, ids from 10 down, and a flag on the first."""
    count, (height, width) = len(arrays), arrays[0].shape
    boxes = Boxes(
        np.tile(np.array([0, 0, width, height], np.float32), (count, 1)),
        (height, width),
        labels,
        scores,
        ids=np.arange(10, 10 - count, -1),
        flags=(("small",), *((),) * (count - 1)),
        photo="street/004.jpg",
    )
    return Masks.from_array(np.stack(arrays), boxes)


@pytest.mark.parametrize(
    "node",
    [
        pytest.param(Filter(min_score=0.5, min_side=1, labels=["a"], keep=1), id="filter"),
        pytest.param(Dedupe(merge_labels=True), id="dedupe"),
        pytest.param(Dedupe(across=False), id="dedupe by label"),
        pytest.param(Clean(smooth=1, tighten=True), id="clean"),
    ],
)
def test_no_masks_stay_no_masks(node: Filter | Dedupe | Clean) -> None:
    nothing = Masks.empty((10, 20), photo="a.jpg")
    assert node.run(nothing) == nothing


FOUND = masks_of(
    [block(0, 0, 10, 5), block(0, 0, 1, 10), block(0, 0, 20, 10), block(0, 0, 0, 0)],
    ("Cup", "pen", "table", "cup"),
    [0.5, 0.25, 0.5, 1.0],
)


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        pytest.param({}, [0, 1, 2], id="without settings all but the empty"),
        pytest.param({"drop_empty": False}, [0, 1, 2, 3], id="empty ones may stay"),
        pytest.param({"min_score": 0.5}, [0, 2], id="the lowest score stays"),
        pytest.param({"max_score": 0.25}, [1], id="the highest score stays"),
        pytest.param({"labels": ["CUP"]}, [0], id="upper and lower case are the same"),
        pytest.param({"without_labels": ["cup"]}, [1, 2], id="labels that go"),
        pytest.param({"drop_flags": ["torn", "small"]}, [1, 2], id="flags that go"),
        pytest.param({"min_side": 5}, [0, 2], id="the shorter side counts"),
        pytest.param({"min_pixels": 50}, [0, 2], id="pixels of the mask, not of its box"),
        pytest.param({"min_area": 0.25}, [0, 2], id="the smallest area stays"),
        pytest.param({"max_area": 0.25}, [0, 1], id="the largest area stays"),
        pytest.param({"keep": 1}, [0], id="of equal scores the earlier"),
        pytest.param({"keep": 2, "drop_empty": False}, [0, 3], id="the best two, in their order"),
    ],
)
def test_filter(settings: dict[str, object], kept: list[int]) -> None:
    assert Filter(**settings).run(FOUND) == FOUND[kept]


CUP, MUG = block(0, 0, 10, 10), block(0, 0, 10, 9)  # 90 of 100 pixels are shared
TILE = block(0, 0, 5, 5)
PIECE = block(0, 0, 5, 2) | block(0, 2, 4, 3)  # 14 of 25 pixels; .56 * 25 is a little more
BODY, HAT, COAT = block(0, 0, 10, 10), block(0, 0, 10, 3), block(0, 0, 10, 6)


@pytest.mark.parametrize(
    ("arrays", "labels", "scores", "settings", "kept"),
    [
        pytest.param([CUP, MUG], "cm", [0.5, 0.9], {}, [1], id="two labels: the better score"),
        pytest.param([MUG, CUP], "cm", [0.5, 0.5], {}, [1], id="of equal scores the larger"),
        pytest.param([CUP, CUP], "cm", [0.5, 0.5], {}, [0], id="of equal sizes the earlier"),
        pytest.param([CUP, MUG], "cm", [1, 1], {"across": False}, [0, 1], id="not across labels"),
        pytest.param([CUP, MUG], "cc", [1, 1], {"across": False}, [0], id="one label"),
        pytest.param(
            [CUP, MUG], "cm", [1, 1], {"iou": 0.9, "containment": None}, [0], id="exactly the iou"
        ),
        pytest.param(
            [CUP, MUG], "cm", [1, 1], {"iou": 0.91, "containment": None}, [0, 1], id="below it"
        ),
        pytest.param(
            [TILE, PIECE], "tp", [1, 1], {"iou": 0.56, "containment": None}, [0], id="exactly .56"
        ),
        pytest.param(
            [TILE, PIECE | block(6, 0, 20, 10)],
            "aa",
            [1, 1],
            {"containment": 0.56},
            [1],
            id=".56 inside",
        ),
        pytest.param([TILE, PIECE], "tp", [1, 1], {"part_ratio": 0.56}, [0], id="a part of .56"),
        pytest.param([BODY, HAT], "bh", [0.5, 0.9], {}, [0, 1], id="a part stays with its whole"),
        pytest.param([BODY, HAT], "bb", [0.5, 0.9], {}, [1], id="a part has a label of its own"),
        pytest.param([BODY, COAT], "bc", [0.9, 0.5], {}, [0], id="too large to be a part"),
        pytest.param(
            [BODY, COAT], "bc", [1, 1], {"part_ratio": 0.61}, [0, 1], id="unless parts are larger"
        ),
        pytest.param([BODY, HAT], "bh", [1, 1], {"keep_parts": False}, [0], id="no parts wanted"),
        pytest.param(
            [BODY, COAT], "bb", [1, 1], {"containment": None}, [0, 1], id="containment is no matter"
        ),
        pytest.param(
            [block(0, 0, 10, 10), block(5, 0, 15, 10)], "aa", [1, 1], {}, [0, 1], id="half is less"
        ),
        pytest.param(
            [block(0, 0, 0, 0), block(0, 0, 0, 0), CUP], "aaa", [1, 1, 1], {}, [0, 1, 2], id="empty"
        ),
        pytest.param(
            [block(0, 0, 10, 10), block(1, 0, 11, 10), block(2, 0, 12, 10)],
            "abc",
            [0.9, 0.8, 0.7],
            {},
            [0, 2],
            id="a duplicate of a dropped one alone",
        ),
    ],
)
def test_dedupe(
    arrays: list[Array],
    labels: str,
    scores: list[float],
    settings: dict[str, object],
    kept: list[int],
) -> None:
    masks = masks_of(arrays, tuple(labels), scores)
    assert Dedupe(**settings).run(masks) == masks[kept]


def test_a_frame_and_what_is_in_it_are_two_objects() -> None:
    inner = block(5, 2, 15, 8)
    masks = masks_of([block(0, 0, 20, 10) & ~inner, inner], ("frame", "picture"))
    assert Dedupe().run(masks) == masks


def test_the_labels_of_duplicates_are_kept_as_flags() -> None:
    labels = ("cup", "mug", "cup", "", "mug", "plate")
    masks = masks_of([CUP, MUG, CUP, MUG, MUG, block(12, 0, 20, 10)], labels)
    expected = masks.boxes.replace(flags=(("small", "also:mug"), (), (), (), (), ()))[[0, 5]]
    assert Dedupe(merge_labels=True).run(masks) == Masks(
        (masks.counts[0], masks.counts[5]), expected
    )


@st.composite
def crowds(draw: st.DrawFn) -> Masks:
    """Up to five masks on 3 x 3 pixels, so that they overlap and tie often."""
    count = draw(st.integers(1, 5))
    pixels = draw(arrays(bool, (count, 3, 3)))
    labels = draw(st.lists(st.sampled_from("ab"), min_size=count, max_size=count))
    scores = draw(st.lists(st.sampled_from([0.25, 0.5]), min_size=count, max_size=count))
    return masks_of(list(pixels), tuple(labels), scores)


def same(masks: Masks, a: int, b: int, node: Dedupe) -> bool:
    """The definition in the docstring of Dedupe, word by word."""
    one, other = masks.mask(a), masks.mask(b)
    shared, union = (one & other).sum(), (one | other).sum()
    smaller, larger = sorted((one.sum(), other.sum()))
    equal = masks.boxes.labels[a] == masks.boxes.labels[b]
    if shared == 0 or not (equal or node.across):
        return False
    if shared / union >= node.iou:
        return True
    part = node.keep_parts and smaller / larger < node.part_ratio and not equal
    return node.containment is not None and shared / smaller >= node.containment and not part


@given(
    crowds(),
    st.builds(
        Dedupe,
        iou=st.sampled_from([0.5, 0.75, 1.0]),
        containment=st.sampled_from([None, 0.5, 1.0]),
        keep_parts=st.booleans(),
        part_ratio=st.sampled_from([0.25, 0.5, 1.0]),
        across=st.booleans(),
    ),
)
def test_dedupe_is_what_its_definition_says(masks: Masks, node: Dedupe) -> None:
    scores, areas = masks.boxes.scores.tolist(), masks.areas.tolist()
    kept: list[int] = []
    for index in sorted(range(len(masks)), key=lambda i: (-scores[i], -areas[i], i)):
        if not any(same(masks, index, k, node) for k in kept):
            kept.append(index)
    assert node.run(masks) == masks[sorted(kept)]


DONUT = """
    ............
    ..######....
    .########...
    .##....##...
    .##....##...
    .##....##...
    .########...
    ..######....
    ............"""
PITTED = """
    ............
    ..######....
    .########.#.
    .##.#####...
    .########...
    .#######....
    .#####......
    ..##.#......
    ............"""


@pytest.mark.parametrize(
    ("picture", "settings", "expected"),
    [
        pytest.param(DONUT, {}, DONUT, id="the hole of a doughnut stays"),
        pytest.param(
            PITTED, {"max_hole": 0.03, "max_speck": 0.03},
            """
            ............
            ..######....
            .########...
            .########...
            .########...
            .#######....
            .#####......
            ..##.#......
            ............""",
            id="a hole is filled and a speck goes, a bay stays",
        ),
        pytest.param(PITTED, {"max_hole": 0, "max_speck": 0}, PITTED, id="neither"),
        pytest.param("##.## ##.##", {"max_speck": 0.4}, "##.## ##.##", id="parts above a speck"),
        pytest.param("##.## ##.##", {"max_speck": 0.5}, "##... ##...", id="the first of equals"),
        pytest.param("##..# ##..#", {"largest_only": True}, "##... ##...", id="the largest only"),
        pytest.param("#.# .#.", {"largest_only": True}, "#.# .#.", id="joined over corners"),
        pytest.param("#.# #.# ###", {"max_hole": 1}, "#.# #.# ###", id="a bay at the border"),
        pytest.param(".#. #.# .#.", {"max_hole": 1}, ".#. ### .#.", id="a hole with corners open"),
        pytest.param(
            "##### #...# #.#.# #...# #####", {"max_hole": 0.4}, "##### ##### ##### ##### #####",
            id="a hole is filled round what is in it",
        ),
        pytest.param(
            "##### #...# #.#.# #...# #####", {"max_speck": 0.1}, "##### #...# #...# #...# #####",
            id="a speck in a hole goes",
        ),
        pytest.param(  # 1 / 49 * 49 is a little less than 1
            f"{3 * '####### '}###.### {3 * '####### '}", {"max_hole": 1 / 49}, 7 * "####### ",
            id="a hole of exactly the share",
        ),
        pytest.param("... ...", {"largest_only": True, "smooth": 1}, "... ...", id="empty"),
        pytest.param("### ###", {"smooth": 2}, "### ###", id="smooth up to the photo's border"),
        pytest.param("..... #####", {"smooth": 0.5}, "..... #####", id="a straight edge"),
        pytest.param(". . # . .", {"smooth": 5}, ". . # . .", id="too small to smooth"),
        pytest.param(
            "......... ....#.... ######### #########",
            {"smooth": 1},
            "......... ......... ######### #########",
            id="a spike is smoothed away",
        ),
    ],
)  # fmt: skip
def test_clean(picture: str, settings: dict[str, object], expected: str) -> None:
    masks = masks_of([drawn(picture)], ("thing",), [0.5])
    assert Clean(**settings).run(masks) == Masks.from_array([drawn(expected)], masks.boxes)


def test_boxes_are_tightened_on_demand() -> None:
    masks = masks_of([drawn("#....... ...###.. ........"), drawn("........ ........ ........")])
    boxes = masks.boxes.replace(xyxy=[[3, 1, 6, 2], [0, 0, 0, 0]])
    assert Clean(max_speck=0.3, tighten=True).run(masks).boxes == boxes


def test_each_mask_is_cleaned_by_itself() -> None:
    arrays = [block(2, 2, 9, 9), block(9, 2, 18, 9), block(0, 0, 20, 10)]
    masks = masks_of(arrays, ("a", "b", "c"), [0.5, 0.25, 1.0])
    assert Clean().run(masks) == masks


def parts(mask: Array) -> list[Array]:
    numbers = label(mask, connectivity=2)
    return [numbers == number for number in range(1, numbers.max() + 1)]


shares = st.sampled_from([0.0, 0.05, 0.1, 0.3, 0.5, 1.0])
small_masks = arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))


@given(small_masks, shares, shares, st.booleans())
def test_cleaning_twice_is_cleaning_once(
    mask: Array, max_hole: float, max_speck: float, largest_only: bool
) -> None:
    node = Clean(max_hole, max_speck, largest_only)
    once = node.run(masks_of([mask]))
    assert node.run(once) == once


@given(small_masks, shares)
def test_specks_go_and_the_largest_part_stays(mask: Array, max_speck: float) -> None:
    (cleaned,) = Clean(max_hole=0, max_speck=max_speck).run(masks_of([mask]))
    background = label(~np.pad(mask, 1), connectivity=1)
    outline = (background != background[0, 0]).sum()
    largest = max((part.sum() for part in parts(mask)), default=0)
    left = parts(cleaned)
    for part in parts(mask):
        stays = any((part == other).all() for other in left)
        assert stays or not (part & cleaned).any()
        if part.sum() / outline > max_speck:
            assert stays
        elif part.sum() < largest:
            assert not stays
    assert max((part.sum() for part in left), default=0) == largest


@given(small_masks, shares)
def test_holes_are_filled_whole_and_nothing_else_changes(mask: Array, max_hole: float) -> None:
    (cleaned,) = Clean(max_hole=max_hole, max_speck=0).run(masks_of([mask]))
    background = label(~np.pad(mask, 1), connectivity=1)
    outline = (background != background[0, 0]).sum()
    expected = np.pad(mask, 1)
    for number in set(np.unique(background)) - {0, background[0, 0]}:
        hole = background == number
        if hole.sum() / outline <= max_hole:
            expected |= hole
    np.testing.assert_array_equal(cleaned, expected[1:-1, 1:-1])


@given(st.lists(small_masks, min_size=1, max_size=1), st.integers(0, 3))
def test_a_mask_is_its_crop_and_nothing_around_it(arrays: list[Array], margin: int) -> None:
    masks = masks_of(arrays)
    ((x1, y1, x2, y2),) = masks.windows(margin)
    crop = masks.crop(0, (x1, y1, x2, y2))
    np.testing.assert_array_equal(crop, arrays[0][y1:y2, x1:x2])
    assert crop.sum() == arrays[0].sum()
    assert Masks.from_crops([(x1, y1, crop)], masks.boxes) == masks
