"""Masks: one per object, kept run-length encoded, lossless with holes, parts and overlaps.

The encoding is COCO's compressed RLE (Lin et al. 2014, arXiv:1405.0312; the string form is defined
by pycocotools' maskApi.c): runs in column-major order, beginning with a run of zeros.
A 12-megapixel mask takes some hundred bytes to a few kilobytes instead of 12 MB.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from visionweave.arrays import freeze, pick
from visionweave.errors import ValueTypeError
from visionweave.values.base import JsonValue
from visionweave.values.checks import short
from visionweave.values.geometry import Boxes
from visionweave.values.origin import Origin

__all__ = ["Masks"]

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Masks(JsonValue):
    """The masks of a photo's objects, aligned one to one with their boxes.

    Attributes:
        counts: N compressed COCO RLE strings, each for a mask of the photo's full size.
        boxes: the N boxes: with the labels, scores, ids and flags of the same objects.
    """

    counts: tuple[bytes, ...]
    boxes: Boxes

    def __post_init__(self) -> None:
        if not isinstance(self.boxes, Boxes):
            raise ValueTypeError(f"Masks.boxes must be Boxes; got {type(self.boxes).__name__}")
        counts: Any = self.counts
        if isinstance(counts, bytes) or not isinstance(counts, Iterable):
            raise ValueTypeError(f"Masks.counts must be several bytes; got {short(counts)}")
        object.__setattr__(self, "counts", tuple(counts))
        if len(self.counts) != len(self.boxes):
            raise ValueTypeError(
                f"Masks must have one mask per box; got {len(self.counts)} masks "
                f"and {len(self.boxes)} boxes"
            )
        height, width = self.image_hw
        for index, counts in enumerate(self.counts):
            _check_rle(counts, height * width, f"Masks.counts[{index}]")

    @classmethod
    def from_array(cls, masks: npt.ArrayLike, boxes: Boxes | None = None, photo: str = "") -> Self:
        """Encode masks.

        Args:
            masks: (N, H, W) bool at the photo's full size; they may overlap and be empty.
            boxes: the N boxes they belong to; when None, the tight boxes of the masks, without
                labels (an empty mask gets the box 0, 0, 0, 0).
            photo: the photo's name, when `boxes` is None.

        Raises:
            ValueTypeError: not bool, not (N, H, W), or not the size and number of `boxes`.
        """
        if boxes is None:
            array = freeze("masks", masks, bool, "N H W")
        else:
            height, width = boxes.image_hw
            sizes = {"N": len(boxes), "H": height, "W": width}
            array = freeze("masks", masks, bool, "N H W", **sizes)
        counts = tuple(encode(mask) for mask in array)
        if boxes is None:
            boxes = Boxes(_tight(counts, array.shape[1:]), array.shape[1:], photo=photo)
        return cls(counts, boxes)

    @classmethod
    def from_crops(cls, crops: Iterable[tuple[int, int, Mask]], boxes: Boxes) -> Self:
        """Encode masks of which only a part of the photo is given; see `crop`.

        Args:
            crops: x, y and an (h, w) bool mask each: its top left corner in the photo, within
                which it lies. The rest of the photo is not in the mask.
            boxes: the boxes they belong to.
        """
        return cls(tuple(_encode_at(x, y, mask, boxes.image_hw) for x, y, mask in crops), boxes)

    @classmethod
    def empty(cls, image_hw: tuple[int, int], photo: str = "") -> Self:
        """No masks: the answer when nothing was found."""
        return cls((), Boxes.empty(image_hw, photo))

    def __len__(self) -> int:
        return len(self.counts)

    def __getitem__(self, which: npt.ArrayLike | slice) -> Self:
        """Return the masks at `which`: a bool mask (N,), integer indices in that order, a slice."""
        index = pick(which, len(self))
        return type(self)(tuple(self.counts[i] for i in index), self.boxes[index])

    def __iter__(self) -> Iterator[Mask]:
        """Decode the masks one by one: (H, W) bool each."""
        return (self.mask(index) for index in range(len(self)))

    def mask(self, index: int) -> Mask:
        """Decode one mask: (H, W) bool."""
        height, width = self.image_hw
        return self.crop(index, (0, 0, width, height))

    def crop(self, index: int, window: tuple[int, int, int, int]) -> Mask:
        """Decode what of one mask lies in `window`: (y2 - y1, x2 - x1) bool.

        The window is x1, y1, x2, y2 in whole pixels, within the photo. Only its columns are
        decoded, so that a small object in a large photo costs little; see `windows`.
        """
        x1, y1, x2, y2 = window
        height, _ = self.image_hw
        ends = np.clip(np.cumsum(_runs(self.counts[index])), x1 * height, x2 * height)
        runs = np.diff(ends, prepend=x1 * height)
        bits = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
        return np.ascontiguousarray(bits.reshape(x2 - x1, height).T[y1:y2])

    def windows(self, margin: int = 0) -> list[tuple[int, int, int, int]]:
        """The N tight boxes in whole pixels, `margin` wider on each side but within the photo.

        The window of an empty mask lies at the photo's corner; without a margin it is 0, 0, 0, 0.
        """
        height, width = self.image_hw
        grown = self.tight_xyxy.astype(int) + np.array([-margin, -margin, margin, margin])
        x1, y1, x2, y2 = np.clip(grown, 0, [width, height, width, height]).T.tolist()
        return list(zip(x1, y1, x2, y2, strict=True))

    def array(self) -> Mask:
        """Decode all masks at once: (N, H, W) bool. N x H x W bytes; prefer to iterate."""
        return np.stack(list(self)) if len(self) else np.zeros((0, *self.image_hw), bool)

    @property
    def image_hw(self) -> tuple[int, int]:
        """(height, width) of the photo and of every mask."""
        return self.boxes.image_hw

    @property
    def areas(self) -> npt.NDArray[np.int64]:
        """(N,) int64: the number of pixels of each mask."""
        return np.asarray(coco.area(self.rles()), np.int64).reshape(len(self))

    @property
    def tight_xyxy(self) -> npt.NDArray[np.float32]:
        """(N, 4) float32: the smallest box around each mask; 0, 0, 0, 0 for an empty one."""
        return _tight(self.counts, self.image_hw)

    def intersections(self) -> npt.NDArray[np.float64]:
        """(N, N) float64: the number of pixels that each pair of masks shares."""
        if not len(self):
            return np.zeros((0, 0))
        rles = self.rles()
        # With "crowd" set, pycocotools divides by the first mask's area alone.
        inside = np.asarray(coco.iou(rles, rles, [True] * len(self)))
        return np.asarray(np.rint(inside * self.areas[:, None]))

    def origin(self, index: int) -> Origin:
        """The origin of the object at `index`, for the values made from it."""
        return self.boxes.origin(index)

    def rles(self) -> list[dict[str, Any]]:
        """The masks as COCO RLE dicts, {"size": (H, W), "counts": bytes}, for pycocotools."""
        return [{"size": self.image_hw, "counts": counts} for counts in self.counts]

    def _to_json(self) -> dict[str, Any]:
        # ASCII by definition: six bits a character, from "0" up.
        counts = [counts.decode("ascii") for counts in self.counts]
        return {"boxes": self.boxes._to_json(), "counts": counts}

    @classmethod
    def _from_json(cls, data: dict[str, Any]) -> Self:
        counts = tuple(counts.encode("ascii") for counts in data["counts"])
        return cls(counts, Boxes.coerce(data["boxes"]))


def encode(mask: Mask) -> bytes:
    """Encode one (H, W) bool mask as a compressed COCO RLE string."""
    counts = coco.encode(np.asfortranarray(mask).view(np.uint8))["counts"]
    assert isinstance(counts, bytes)
    return counts


def _encode_at(x: int, y: int, mask: Mask, image_hw: tuple[int, int]) -> bytes:
    """Encode a mask of the photo's size that is empty but for `mask` at (x, y)."""
    height, width = image_hw
    strip = np.zeros((mask.shape[1], height), bool)  # the mask's columns, at full height
    strip[:, y : y + mask.shape[0]] = mask.T
    edges = np.flatnonzero(np.diff(strip.ravel(), prepend=False, append=False)) + x * height
    runs = np.diff(edges, prepend=0, append=height * width)
    if len(runs) > 1 and runs[-1] == 0:
        runs = runs[:-1]  # the mask reaches the photo's last pixel
    rle = {"size": image_hw, "counts": runs.tolist()}
    counts = coco.frPyObjects(rle, height, width)["counts"]
    assert isinstance(counts, bytes)
    return counts


def _tight(counts: tuple[bytes, ...], image_hw: tuple[int, ...]) -> npt.NDArray[np.float32]:
    boxes = coco.toBbox([{"size": image_hw, "counts": each} for each in counts])
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]  # x, y, width, height -> x1, y1, x2, y2
    return boxes


def _check_rle(counts: bytes, pixels: int, name: str) -> None:
    """Refuse all but the one encoding of a mask of `pixels`.

    pycocotools' C code would read past the end of a broken string, and a second encoding of the
    same mask would make equal masks differ.
    """
    good = isinstance(counts, bytes) and len(counts) > 0
    if good:
        runs = _runs(counts)
        # Each within the mask, so that the sum cannot overflow.
        good = bool(runs[0] >= 0 and (runs[1:] > 0).all() and (runs <= pixels).all())
        good = good and int(runs.sum()) == pixels
    if not good:
        raise ValueTypeError(f"{name} must be a compressed COCO RLE of {pixels} pixels; it is not")


def _runs(counts: bytes) -> npt.NDArray[np.int64]:
    """Decode the run lengths: five bits a character, the sixth says that more follow, the sign is
    the last one's bit 4, and from the fourth run on each is the difference to the one two before.

    A string that pycocotools would not write gives [-1].
    """
    codes = np.frombuffer(counts, np.uint8).astype(np.int64) - 48
    last = (codes & 0x20) == 0
    starts = np.concatenate(([0], np.flatnonzero(last[:-1]) + 1))
    ends = np.append(starts[1:], len(codes)) - 1
    place = np.arange(len(codes)) - np.repeat(starts, ends - starts + 1)
    if not last[-1] or codes.min() < 0 or codes.max() > 63 or place.max() > 10:
        return np.array([-1])
    # A last character that only repeats the sign of the one before says nothing.
    tail = np.where(codes[ends - 1] & 0x10, 0x1F, 0)
    if ((ends > starts) & (codes[ends] == tail)).any():
        return np.array([-1])
    values = np.add.reduceat((codes & 0x1F) << (5 * place), starts)
    values -= ((codes[ends] & 0x10) != 0) * (np.int64(1) << (5 * (place[ends] + 1)))
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values
