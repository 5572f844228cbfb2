"""Back into the frame that a file stores: the opposite of what Pillow does for EXIF."""

from __future__ import annotations

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from visionweave import Boxes, Masks
from visionweave.exports.frame import to_stored

ORIENTATIONS = range(1, 9)


def upright(stored: NDArray[np.bool_], orientation: int) -> NDArray[np.bool_]:
    """What Pillow makes of a stored mask."""
    picture = PIL.Image.fromarray(stored.astype(np.uint8))
    picture.getexif()[0x0112] = orientation
    return np.asarray(PIL.ImageOps.exif_transpose(picture), bool)


@given(
    arrays(bool, array_shapes(min_dims=3, max_dims=3, max_side=8)), st.sampled_from(ORIENTATIONS)
)
@settings(deadline=None)
def test_masks_come_back_to_the_pixels_they_were_made_from(
    stored: NDArray[np.bool_], orientation: int
) -> None:
    seen = Masks.from_array(np.stack([upright(mask, orientation) for mask in stored]))
    back = to_stored(seen, orientation)
    assert np.array_equal(back.array(), stored)
    full = [index for index, area in enumerate(back.areas) if area]
    assert np.array_equal(back.boxes.xyxy[full], back.tight_xyxy[full])


@pytest.mark.parametrize(
    ("orientation", "box"),
    [
        (1, (1, 2, 4, 3)),
        (2, (6, 2, 9, 3)),
        (3, (6, 4, 9, 5)),
        (4, (1, 4, 4, 5)),
        (5, (2, 1, 3, 4)),
        (6, (2, 6, 3, 9)),
        (7, (4, 6, 5, 9)),
        (8, (4, 1, 5, 4)),
    ],
)
def test_a_box_in_a_photo_10_wide_and_7_high(
    orientation: int, box: tuple[int, int, int, int]
) -> None:
    seen = Boxes(np.array([(1, 2, 4, 3)], np.float32), (7, 10), ("cat",), ids=[4])
    size = (7, 10) if orientation < 5 else (10, 7)
    assert to_stored(seen, orientation) == Boxes(
        np.array([box], np.float32), size, ("cat",), ids=[4]
    )


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_no_objects_are_none_in_every_frame(orientation: int) -> None:
    size = (7, 10) if orientation < 5 else (10, 7)
    assert to_stored(Masks.empty((7, 10), "a.jpg"), orientation) == Masks.empty(size, "a.jpg")
