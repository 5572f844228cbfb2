"""For tests of your own pipelines and nodes: values to hand, and fakes in the place of models.

    from visionweave import testing

    def test_my_pipeline_survives_a_photo_without_objects():
        pipeline = testing.with_fakes(
            vw.Pipeline.load("mine.yaml"),
            {"grounding_dino.detect": lambda image: vw.Boxes.empty(image.image_hw)},
        )
        assert pipeline.run(photo=testing.make_image())["cutouts"] == []

Nothing here needs weights, a network or torch. All is deterministic: the same arguments give the
same values.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from visionweave.contract import ModelNode, Node, node
from visionweave.errors import NodeError, did_you_mean
from visionweave.pipeline import Pipeline
from visionweave.types import PortType
from visionweave.values import (
    Boxes,
    Cutout,
    Embedding,
    Hits,
    Image,
    Masks,
    Mesh,
    Origin,
    Points,
    Scribble,
    Tags,
    Text,
    Value,
    Views,
)

__all__ = [
    "make_boxes",
    "make_cutout",
    "make_image",
    "make_masks",
    "make_mesh",
    "make_value",
    "with_fakes",
]

PHRASES = ("apple", "cat", "chair", "dog", "mug", "tree")
"""The labels of made-up objects."""

Fake = Callable[..., Any]
"""In the place of a node's `run`: called with those of its ports that it names."""


def make_image(
    size_wh: tuple[int, int] = (64, 48), photo: str = "photo.jpg", seed: int = 0
) -> Image:
    """A photo of smooth colours, different for each seed."""
    width, height = size_wh
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    phases = np.random.default_rng(seed).uniform(0, 2 * np.pi, (3, 1, 1))
    waves = np.sin(2 * np.pi * (x + 2 * y) + phases)
    return Image.from_array((127 + 120 * waves).astype(np.uint8).transpose(1, 2, 0), photo)


def make_boxes(
    count: int = 3,
    image_hw: tuple[int, int] = (48, 64),
    labels: Sequence[str] | None = None,
    photo: str = "photo.jpg",
) -> Boxes:
    """Boxes side by side, none touching another or the border, with falling scores."""
    height, width = image_hw
    left = (np.arange(count) + 0.2) * width / max(count, 1)
    right = (np.arange(count) + 0.8) * width / max(count, 1)
    top, bottom = np.full(count, 0.2 * height), np.full(count, 0.8 * height)
    xyxy = np.stack([left, top, right, bottom], axis=1).astype(np.float32)
    names = [PHRASES[index % len(PHRASES)] for index in range(count)]
    scores = np.linspace(0.95, 0.55, count, dtype=np.float32)
    return Boxes(xyxy, image_hw, tuple(names if labels is None else labels), scores, photo=photo)


def make_masks(boxes: Boxes | None = None) -> Masks:
    """The ellipse inside each box; `make_boxes()` when none are given."""
    boxes = make_boxes() if boxes is None else boxes
    height, width = boxes.image_hw
    y, x = np.mgrid[:height, :width] + 0.5
    masks = np.zeros((len(boxes), height, width), bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.xyxy.astype(float), strict=True):
        across = (2 * x - x1 - x2) / max(x2 - x1, 1)
        down = (2 * y - y1 - y2) / max(y2 - y1, 1)
        mask[:] = across**2 + down**2 <= 1
    return Masks.from_array(masks, boxes)


def make_cutout(origin: Origin | None = None, side: int = 16) -> Cutout:
    """A disc on a transparent background, `side` pixels wide and high."""
    y, x = np.mgrid[:side, :side] + 0.5
    inside = (x - side / 2) ** 2 + (y - side / 2) ** 2 <= (side / 2) ** 2
    rgba = np.zeros((side, side, 4), np.uint8)
    rgba[inside] = (200, 60, 40, 255)
    region = (0.0, 0.0, float(side), float(side))
    if origin is None:
        origin = Origin("photo.jpg", 0, "apple", 0.95, region)
    return Cutout(rgba, origin.box or region, origin)


def make_mesh(origin: Origin | None = None) -> Mesh:
    """A closed cube of side 1 around the middle, in colours."""
    corners = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float32)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [face for a, b, c, d in quads for face in ((a, b, c), (a, c, d))]
    colours = np.concatenate([255 * corners, np.full((8, 1), 255)], axis=1).astype(np.uint8)
    placed = Origin("photo.jpg", 0, "apple", 0.95) if origin is None else origin
    return Mesh(corners - 0.5, np.array(faces, np.int32), colours, placed)


def make_value(kind: type[Value], given: Mapping[str, Any] | None = None) -> Value:
    """A plausible value of any type.

    Args:
        kind: one of the types of `visionweave.values`.
        given: what a node was given, by port, to be made from: the size of its photo, its phrases,
            the origin of its object.
    """
    values = [value for value in (given or {}).values() if isinstance(value, Value)]
    return _MAKERS[kind](_Given(values))


def with_fakes(pipeline: Pipeline, fakes: Mapping[str, Fake] | None = None) -> Pipeline:
    """Return the pipeline with fakes in the place of nodes.

    Ports, settings and checks stay those of the real nodes; models are neither imported nor loaded.

    Args:
        pipeline: any pipeline.
        fakes: functions to run instead, by step name or node id; each is called with those ports
            that it names. Models without one are faked by `make_value` of their output types.

    Raises:
        NodeError: a name is neither a step nor a node of the pipeline.
    """
    fakes = {} if fakes is None else fakes
    steps = pipeline.graph.steps
    known = {*steps, *(step.node.spec.id for step in steps.values())}
    for name in fakes:
        if name not in known:
            hint = did_you_mean(name, known) or f"it has {', '.join(sorted(known))}"
            raise NodeError(f"cannot fake {name!r}: the pipeline has no such step or node; {hint}")
    faked = {}
    for name, step in steps.items():
        function = fakes.get(name, fakes.get(step.node.spec.id))
        if function is None and isinstance(step.node, ModelNode):
            function = _imitate(step.node)
        if function is not None:
            step = dataclasses.replace(step, node=_fake_node(step.node, function))
        faked[name] = step
    return Pipeline.from_graph(dataclasses.replace(pipeline.graph, steps=faked))


def _fake_node(real: Node, function: Fake) -> Node:
    """A node of a subclass of the real one's, with another `run` and nothing to load."""
    spec = real.spec
    named = inspect.signature(function).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in named.values())

    @functools.wraps(spec.cls.run)  # so that it has the same ports
    def run(self: Node, *arguments: Any) -> Any:
        given = dict(zip(spec.ports, arguments, strict=False))
        return function(**{n: v for n, v in given.items() if takes_all or n in named})

    def load(self: Node, runtime: object) -> None:
        """There is nothing to load."""

    cls = type(f"Fake{spec.cls.__name__}", (spec.cls,), {"run": run, "load": load})
    decorate = node(spec.id, version=spec.version, paper=spec.paper, license=spec.license)
    fake: Node = decorate(cls)(**real.settings)
    return fake


def _imitate(node: Node) -> Fake:
    """A function that makes plausible values of a node's output types."""
    outputs = node.spec.outputs

    def run(**given: Any) -> Any:
        made = {name: _make_output(kind, given) for name, kind in outputs.items()}
        if "" in made:
            return made[""]
        return inspect.get_annotations(type(node).run, eval_str=True)["return"](**made)

    return run


def _make_output(kind: PortType, given: Mapping[str, Any]) -> Any:
    if not kind.many:
        return make_value(kind.kinds[0], given)
    objects = next((v for v in given.values() if isinstance(v, (Boxes, Masks))), None)
    if objects is None:
        return [make_value(kind.kinds[0], given) for _ in range(2)]
    boxes = objects.boxes if isinstance(objects, Masks) else objects
    image = [value for value in given.values() if isinstance(value, Image)]
    return [
        _MAKERS[kind.kinds[0]](_Given([*image, make_cutout(boxes.origin(index))]))
        for index in range(len(boxes))
    ]


class _Given:
    """What can be learnt from the values that a node was given."""

    def __init__(self, values: Sequence[Value]) -> None:
        self._values = values

    def first(self, kind: type[Any]) -> Any:
        return next((value for value in self._values if isinstance(value, kind)), None)

    @property
    def origin(self) -> Origin:
        origins = [getattr(value, "origin", None) for value in self._values]
        known = [origin for origin in origins if isinstance(origin, Origin)]
        objects = [origin for origin in known if origin.object is not None]
        return (objects or known or [Origin("photo.jpg")])[0]

    @property
    def image_hw(self) -> tuple[int, int]:
        for value in self._values:
            if isinstance(value, (Image, Boxes, Masks)):
                return value.image_hw
        return (48, 64)

    def boxes(self) -> Boxes:
        found = self.first(Boxes)
        if found is not None:
            return found  # type: ignore[no-any-return]
        tags = self.first(Tags)
        labels = PHRASES[:3] if tags is None else tags.phrases
        return make_boxes(len(labels), self.image_hw, labels, self.origin.photo)

    def middle(self) -> npt.NDArray[np.float32]:
        """The middle of the photo, (1, 2) xy."""
        height, width = self.image_hw
        return np.array([[width / 2, height / 2]], np.float32)

    def vector(self) -> npt.NDArray[np.float64]:
        """A direction that depends on the origin, or on the text."""
        text = self.first(Text)
        seed = zlib.crc32(str(self.origin if text is None else text).encode())
        return np.random.default_rng(seed).normal(size=8)


_MAKERS: dict[type[Value], Callable[[_Given], Value]] = {
    Image: lambda given: make_image(given.image_hw[::-1], given.origin.photo),
    Text: lambda given: Text(f"a picture of {given.origin.label or 'something'}", given.origin),
    Tags: lambda given: Tags(PHRASES[:3], np.array([0.9, 0.8, 0.7], np.float32), given.origin),
    Boxes: lambda given: given.boxes(),
    Points: lambda given: Points(given.middle()),
    Scribble: lambda given: Scribble((given.middle(),)),
    Masks: lambda given: make_masks(given.boxes()),
    Cutout: lambda given: make_cutout(given.origin),
    Embedding: lambda given: Embedding.normalised(given.vector(), "fake", given.origin),
    Hits: lambda given: Hits(("photo.jpg",), np.array([0.9], np.float32)),
    Views: lambda given: Views(
        np.zeros((2, 16, 16, 3), np.uint8),
        np.array([0, 90], np.float32),
        np.zeros(2, np.float32),
        np.ones(2, np.float32),
        49.1,
        given.origin,
    ),
    Mesh: lambda given: make_mesh(given.origin),
}
