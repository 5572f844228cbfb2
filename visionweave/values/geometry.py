"""Values made of coordinates: boxes, points, scribbles.

One law for all: pixels of the original, upright photo, x to the right, y down, (0, 0) the top left
corner of the top left pixel. A node converts to its model's frame and back inside its own file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from visionweave.arrays import freeze, pick
from visionweave.errors import ValueTypeError
from visionweave.values.base import UNSET, JsonValue
from visionweave.values.checks import (
    check_hw,
    check_number,
    check_scores,
    check_text,
    check_texts,
    short,
)
from visionweave.values.origin import Origin

__all__ = ["Boxes", "Points", "Scribble"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Boxes(JsonValue):
    """The boxes of a photo's objects.

    Attributes:
        xyxy: (N, 4) float32, x1 <= x2 and y1 <= y2, x2/y2 exclusive, so that width = x2 - x1.
        image_hw: (height, width) of the photo. A box may stick out of it; `clip` cuts it off.
        labels: N labels; all "" when not given.
        scores: (N,) float32 in [0, 1]; all 1 when not given.
        ids: (N,) int32, each object's index in the photo, all different; 0 to N-1 when not given.
            Filtering keeps them.
        flags: N tuples of remarks on the objects (see `Origin.flags`).
        photo: the photo's name.
    """

    xyxy: npt.NDArray[np.float32]
    image_hw: tuple[int, int]
    labels: tuple[str, ...] = UNSET
    scores: npt.NDArray[np.float32] = UNSET
    ids: npt.NDArray[np.int32] = UNSET
    flags: tuple[tuple[str, ...], ...] = UNSET
    photo: str = ""

    def __post_init__(self) -> None:
        xyxy = freeze("Boxes.xyxy", self.xyxy, np.float32, "N 4")
        if (xyxy[:, 2:] < xyxy[:, :2]).any():
            bad = int(np.flatnonzero((xyxy[:, 2:] < xyxy[:, :2]).any(axis=1))[0])
            raise ValueTypeError(
                f"Boxes.xyxy must have x1 <= x2 and y1 <= y2; box {bad} is {xyxy[bad].tolist()} "
                "(is it x, y, width, height?)"
            )
        count = len(xyxy)
        ids = np.arange(count, dtype=np.int32) if self.ids is None else self.ids
        ids = freeze("Boxes.ids", ids, np.int32, "N", N=count)
        if len(np.unique(ids)) != count or (ids < 0).any():
            raise ValueTypeError("Boxes.ids must be different numbers from 0 up")
        labels = _per_object("Boxes.labels", self.labels, "", count)
        flags = _per_object("Boxes.flags", self.flags, (), count)
        for name, value in (
            ("xyxy", xyxy),
            ("image_hw", check_hw("Boxes.image_hw", self.image_hw)),
            ("labels", check_texts("Boxes.labels", labels)),
            ("scores", check_scores("Boxes.scores", self.scores, count)),
            ("ids", ids),
            ("flags", tuple(check_texts("Boxes.flags", marks) for marks in flags)),
            ("photo", check_text("Boxes.photo", self.photo)),
        ):
            object.__setattr__(self, name, value)

    @classmethod
    def empty(cls, image_hw: tuple[int, int], photo: str = "") -> Self:
        """No boxes: the answer when nothing was found."""
        return cls(np.zeros((0, 4), np.float32), image_hw, photo=photo)

    def __len__(self) -> int:
        return len(self.xyxy)

    __iter__ = None
    """Not by loop: that would go over one-box Boxes. `xyxy`, `labels` … are there for it."""

    def __getitem__(self, which: npt.ArrayLike | slice) -> Self:
        """Return the boxes at `which`: a bool mask (N,), integer indices in that order, a slice."""
        index = pick(which, len(self))
        return type(self)(
            self.xyxy[index],
            self.image_hw,
            tuple(self.labels[i] for i in index),
            self.scores[index],
            self.ids[index],
            tuple(self.flags[i] for i in index),
            self.photo,
        )

    @property
    def areas(self) -> npt.NDArray[np.float32]:
        """(N,) float32, in square pixels."""
        width, height = (self.xyxy[:, 2:] - self.xyxy[:, :2]).T
        return np.asarray(width * height, np.float32)

    def iou(self, other: Boxes) -> npt.NDArray[np.float32]:
        """(N, M) float32: how much each box overlaps each of `other`, in [0, 1].

        Intersection over union; 0 where both boxes are without area.
        """
        corner = np.maximum(self.xyxy[:, None, :2], other.xyxy[:, :2])
        sides = np.minimum(self.xyxy[:, None, 2:], other.xyxy[:, 2:]) - corner
        shared = np.maximum(sides, 0).prod(axis=2)
        union = self.areas[:, None] + other.areas - shared
        share = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
        return np.asarray(share, np.float32)

    def labelled(self, labels: Iterable[str]) -> npt.NDArray[np.bool_]:
        """(N,) bool: which boxes carry one of `labels`, in upper or lower case."""
        wanted = {label.casefold() for label in labels}
        return np.array([label.casefold() in wanted for label in self.labels], bool)

    def best(self, count: int) -> npt.NDArray[np.bool_]:
        """(N,) bool: which boxes have the `count` highest scores; of equal ones, the earlier."""
        chosen = np.zeros(len(self), bool)
        chosen[np.argsort(-self.scores, kind="stable")[:count]] = True
        return chosen

    def clip(self) -> Self:
        """Return the boxes cut off at the photo's border."""
        height, width = self.image_hw
        limit = np.array([width, height, width, height], np.float32)
        return self.replace(xyxy=np.clip(self.xyxy, 0, limit))

    def replace(self, **fields: Any) -> Self:
        """Return a copy with some fields replaced, checked anew."""
        return type(self)(**self._fields() | fields)

    def origin(self, index: int) -> Origin:
        """The origin of the object at `index`, for the values made from it."""
        x1, y1, x2, y2 = self.xyxy[index].tolist()
        return Origin(
            photo=self.photo,
            object=int(self.ids[index]),
            label=self.labels[index],
            score=float(self.scores[index]),
            box=(x1, y1, x2, y2),
            flags=self.flags[index],
        )

    def _to_json(self) -> dict[str, Any]:
        return {
            "photo": self.photo,
            "image_hw": self.image_hw,
            "labels": self.labels,
            "scores": self.scores.tolist(),
            "ids": self.ids.tolist(),
            "flags": self.flags,
            "xyxy": self.xyxy.tolist(),
        }


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Points(JsonValue):
    """Points that a person (or a step) set on objects.

    Attributes:
        xy: (N, 2) float32, in pixels of the photo; the middle of the first pixel is (0.5, 0.5).
        positive: (N,) bool: True on the object, False beside it; all True when not given.
        objects: (N,) int32: the object that each point speaks of; all 0 when not given.
        photo: the photo's name.
    """

    xy: npt.NDArray[np.float32]
    positive: npt.NDArray[np.bool_] = UNSET
    objects: npt.NDArray[np.int32] = UNSET
    photo: str = ""

    def __post_init__(self) -> None:
        xy = freeze("Points.xy", self.xy, np.float32, "N 2")
        positive, objects = _prompt_fields("Points", self.positive, self.objects, len(xy))
        photo = check_text("Points.photo", self.photo)
        for name, value in (
            ("xy", xy),
            ("positive", positive),
            ("objects", objects),
            ("photo", photo),
        ):
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.xy)

    @classmethod
    def coerce(cls, data: Any) -> Self:
        """Accept also a list of [x, y], all on object 0."""
        if isinstance(data, (list, tuple)):
            return cls(freeze("Points.xy", data, np.float32, "N 2"))
        return super(Points, cls).coerce(data)

    def _to_json(self) -> dict[str, Any]:
        arrays = {name: getattr(self, name).tolist() for name in ("xy", "positive", "objects")}
        return {"photo": self.photo} | arrays


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Scribble(JsonValue):
    """Strokes that a person drew over objects.

    Attributes:
        strokes: N polylines, each (M, 2) float32 xy in pixels of the photo, M >= 1.
        positive: (N,) bool: True on the object, False beside it; all True when not given.
        objects: (N,) int32: the object that each stroke speaks of; all 0 when not given.
        width: the pen's width in pixels of the photo.
        photo: the photo's name.
    """

    strokes: tuple[npt.NDArray[np.float32], ...]
    positive: npt.NDArray[np.bool_] = UNSET
    objects: npt.NDArray[np.int32] = UNSET
    width: float = 1.0
    photo: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.strokes, Iterable):
            raise ValueTypeError(
                f"Scribble.strokes must be several arrays; got {short(self.strokes)}"
            )
        strokes = tuple(freeze("Scribble.strokes", s, np.float32, "M 2") for s in self.strokes)
        if any(len(stroke) == 0 for stroke in strokes):
            raise ValueTypeError("Scribble.strokes must have at least one point each; got none")
        width = check_number("Scribble.width", self.width)
        if width <= 0:
            raise ValueTypeError(f"Scribble.width must be above 0 pixels; got {width}")
        positive, objects = _prompt_fields("Scribble", self.positive, self.objects, len(strokes))
        for name, value in (
            ("strokes", strokes),
            ("positive", positive),
            ("objects", objects),
            ("width", width),
            ("photo", check_text("Scribble.photo", self.photo)),
        ):
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.strokes)

    @classmethod
    def coerce(cls, data: Any) -> Self:
        """Accept also a list of strokes, each a list of [x, y], all on object 0."""
        if isinstance(data, (list, tuple)):
            return cls(tuple(data))
        return super(Scribble, cls).coerce(data)

    def _to_json(self) -> dict[str, Any]:
        return {
            "photo": self.photo,
            "width": self.width,
            "positive": self.positive.tolist(),
            "objects": self.objects.tolist(),
            "strokes": [stroke.tolist() for stroke in self.strokes],
        }


def _per_object(name: str, given: Collection[T] | None, default: T, count: int) -> tuple[T, ...]:
    if given is None:
        return (default,) * count
    if isinstance(given, str) or not isinstance(given, Collection) or len(given) != count:
        raise ValueTypeError(f"{name} must have one entry per box, {count}; got {short(given)}")
    return tuple(given)


def _prompt_fields(
    name: str, positive: npt.ArrayLike | None, objects: npt.ArrayLike | None, count: int
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int32]]:
    signs = np.ones(count, bool) if positive is None else positive
    which = np.zeros(count, np.int32) if objects is None else objects
    return (
        freeze(f"{name}.positive", signs, bool, "N", N=count),
        freeze(f"{name}.objects", which, np.int32, "N", N=count),
    )
