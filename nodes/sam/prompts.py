"""What SAM is asked about: prompts of all kinds, gathered by the object that they speak of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from visionweave import Boxes, Image, Masks, Points, Scribble, ValueTypeError

from .._regions import check_frame
from .frame import Floats, Frame

__all__ = ["Answer", "Asked", "Objects", "along", "answered", "gather"]

Answer = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
"""What SAM says to one prompt: (K, low, low) logits, and (K,) predicted IoU."""

Click = tuple[int, npt.NDArray[np.float64], bool]
"""One or more points on (or beside) an object: its number, (M, 2) xy, whether on it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One prompt as the network takes it, in the frame of its square.

    Attributes:
        embedding: the photo's, a tensor (C, h, w).
        xy: (P, 2) points, and `positive` (P,) bool: on the object, or beside it.
        box: (4,), or None.
        logits: a rough mask, (1, low, low), or None.
    """

    embedding: Any
    xy: Floats
    positive: npt.NDArray[np.bool_]
    box: Floats | None = None
    logits: npt.NDArray[np.float32] | None = None

    @property
    def makeup(self) -> tuple[int, bool, bool]:
        """What prompts must have in common to be decoded together."""
        return len(self.xy), self.box is None, self.logits is None


def answered(asked: Sequence[Asked], answer: Callable[[list[Asked]], list[Answer]]) -> list[Answer]:
    """Answer prompts, those of one make-up together, and return the answers in their order.

    Prompts of another make-up need another number of tokens, and padding would be a prompt too.
    """
    found: dict[int, Answer] = {}
    places = sorted(range(len(asked)), key=lambda place: asked[place].makeup)
    for _, group in groupby(places, key=lambda place: asked[place].makeup):
        same = list(group)
        found |= zip(same, answer([asked[place] for place in same]), strict=True)
    return [found[place] for place in range(len(asked))]


@dataclass(frozen=True, slots=True)
class Objects:
    """The objects to segment, and what was said about each.

    Attributes:
        boxes: one for each; zeros for those that were given none.
        known: (N,) bool: which came with a box and a score, from boxes or rough masks.
        xy, positive: the points of each, (P, 2) float64 in the photo and (P,) bool.
        rough: the place of each one's rough mask among `masks`, or None.
        masks: the rough masks.
    """

    boxes: Boxes
    known: npt.NDArray[np.bool_]
    xy: list[npt.NDArray[np.float64]]
    positive: list[npt.NDArray[np.bool_]]
    rough: list[int | None]
    masks: Masks | None

    def asked(self, frame: Frame, embedding: Any) -> Iterator[tuple[int, Asked]]:
        """Yield the place and the prompt of each object that is said to be somewhere."""
        for place in range(len(self.boxes)):
            box, logits = self._box_and_mask(place, frame)
            if box is None and not self.positive[place].any():
                continue  # no box in the photo, no pixel of a rough mask, no point on it
            # Whole numbers are the middles of pixels to SAM, and their corners to visionweave.
            xy = frame.xy(self.xy[place] - 0.5).astype(np.float32)
            yield place, Asked(embedding, xy, self.positive[place], box, logits)

    def _box_and_mask(
        self, place: int, frame: Frame
    ) -> tuple[Floats | None, npt.NDArray[np.float32] | None]:
        if not self.known[place]:
            return None, None
        xyxy, which = self.boxes.xyxy[place], self.rough[place]
        height, width = frame.image_hw
        inside = xyxy.clip(0, [width, height, width, height])
        has_area = bool((inside[2:] > inside[:2]).all())
        if self.masks is None or which is None or not (mask := self.masks.mask(which)).any():
            return (frame.box(xyxy).astype(np.float32) if has_area else None), None
        around = xyxy if has_area else self.masks.tight_xyxy[which]
        return frame.box(around).astype(np.float32), frame.low_logits(mask)[None]


def gather(
    image: Image,
    boxes: Boxes | None,
    points: Points | None,
    scribble: Scribble | None,
    masks: Masks | None,
    stroke_points: int,
) -> Objects:
    """Gather prompts by object.

    The objects are those of the boxes, then of the masks, then those that points and strokes alone
    speak of, each in its order; one number (`ids`, `objects`) is one object throughout.

    Raises:
        ValueTypeError: no prompt is connected, boxes or masks are of another photo, an object's
            number is negative, or all that is said of an object is where it is not.
    """
    if boxes is None and points is None and scribble is None and masks is None:
        raise ValueTypeError(
            "expected boxes, points, a scribble or masks; got none of them; connect one of the "
            "ports, or segment all there is with sam.everything"
        )
    check_frame(image, boxes)
    check_frame(image, masks)
    found = Boxes.empty(image.image_hw, image.origin.photo) if boxes is None else boxes
    rough: dict[int, int] = {}
    if masks is not None:
        rough = {number: place for place, number in enumerate(masks.boxes.ids.tolist())}
        found = _joined(found, masks.boxes[~np.isin(masks.boxes.ids, found.ids)])
    clicks = [*_clicks(points), *_strokes(scribble, stroke_points)]
    known = len(found)
    found = _joined(found, _unboxed(clicks, found))
    numbers = found.ids.tolist()
    # A first one without points gives shape and dtype where nothing was said.
    said = [
        [(number, np.zeros((0, 2)), True), *(click for click in clicks if click[0] == number)]
        for number in numbers
    ]
    return Objects(
        found,
        np.arange(len(found)) < known,
        [np.concatenate([xy for _, xy, _ in each]) for each in said],
        [np.concatenate([np.full(len(xy), on) for _, xy, on in each]) for each in said],
        [rough.get(number) for number in numbers],
        masks,
    )


def _clicks(points: Points | None) -> Iterator[Click]:
    if points is not None:
        signs = zip(points.objects.tolist(), points.xy, points.positive.tolist(), strict=True)
        yield from ((number, xy[None].astype(np.float64), on) for number, xy, on in signs)


def _strokes(scribble: Scribble | None, most: int) -> Iterator[Click]:
    if scribble is not None:
        signs = zip(
            scribble.objects.tolist(), scribble.strokes, scribble.positive.tolist(), strict=True
        )
        for number, stroke, on in signs:
            yield number, along(stroke, most, scribble.width), on


def along(stroke: npt.ArrayLike, most: int, width: float) -> npt.NDArray[np.float64]:
    """Return up to `most` points on a polyline, evenly spread by length, a pen's width apart."""
    xy = np.asarray(stroke, np.float64)
    steps = np.hypot(*np.diff(xy, axis=0).T)
    reached = np.concatenate([[0.0], np.cumsum(steps)])
    count = int(min(most, 1 + reached[-1] // width))
    middles = (np.arange(count) + 0.5) / count * reached[-1]
    return np.stack([np.interp(middles, reached, column) for column in xy.T], axis=1)


def _unboxed(clicks: list[Click], found: Boxes) -> Boxes:
    """The objects that are not in `found`, with zeros for boxes, in the order of their clicks."""
    numbers = [n for n in dict.fromkeys(n for n, *_ in clicks) if n not in found.ids]
    for number in numbers:
        if number < 0:
            raise ValueTypeError(f"the objects of points and strokes are 0 or above; got {number}")
        if not any(on for n, _, on in clicks if n == number):
            raise ValueTypeError(
                f"object {number} has negative points alone, and neither box nor mask: nothing "
                "says where it is; set a positive point on it, or leave its negative ones out"
            )
    ids = np.array(numbers, np.int32)
    return Boxes(np.zeros((len(ids), 4), np.float32), found.image_hw, ids=ids)


def _joined(first: Boxes, second: Boxes) -> Boxes:
    return Boxes(
        np.concatenate([first.xyxy, second.xyxy]),
        first.image_hw,
        first.labels + second.labels,
        np.concatenate([first.scores, second.scores]),
        np.concatenate([first.ids, second.ids]),
        first.flags + second.flags,
        first.photo or second.photo,
    )
