"""Places for boxes and ways for the links between them, from the top down.

A layer of the drawing is a band in which all lines run upright: past the boxes, into them from
above, out of them at the bottom. Only between two bands do lines curve, so none runs over a box.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from visionweave.show.coordinates import x_coordinates
from visionweave.show.layering import Edge, Layering, make_layering

__all__ = ["ARROW", "LABEL_GAP", "Frame", "Layout", "Port", "make_layout"]

ARROW = 9.0
"""The length of an arrow's head: a way ends this far above its box."""

BOX_GAP = 34.0
WAY_GAP = 20.0
"""Between two boxes of a layer, and between a box and a line that passes it."""

LABEL_ROOM = 30.0
PLAIN_ROOM = 4.0
"""What a band holds below its boxes, with and without labels."""

ENTRY_GAP = 26.0
"""Between two arrows that come into one box, where it is wide enough."""

ENTRY_MARGIN = 16.0
"""Between an arrow and the box's corner."""

LABEL_GAP = 12.0
"""Between the labels of one box's outputs."""

Point = tuple[float, float]
Port = tuple[int, str]
"""A box and one of its outputs: a source and a channel of edges."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A box's place: its left top corner and its size, in pixels."""

    x: float
    y: float
    width: float
    height: float

    @property
    def centre(self) -> float:
        """The x of its middle."""
        return self.x + self.width / 2

    @property
    def bottom(self) -> float:
        """The y of its lower edge."""
        return self.y + self.height


@dataclass(frozen=True, slots=True)
class Layout:
    """A finished drawing.

    Attributes:
        frames: the place of every box.
        exits: for every output that is read, the x at which it leaves its box.
        ways: for every edge, the points (x, y) between its pieces: straight and curved ones take
            turns, and the first and the last one are straight.
        width: of all, in pixels; x begins at 0.
        height: of all; y begins at 0.
    """

    frames: list[Frame]
    exits: dict[Port, float]
    ways: list[list[Point]]
    width: float
    height: float


def make_layout(
    sizes: Sequence[Point], edges: Sequence[Edge], labels: Mapping[Port, float]
) -> Layout:
    """Lay out boxes.

    Args:
        sizes: the (width, height) of each box; the labels of its outputs fit below it.
        edges: each from a box to a later one.
        labels: how wide the labels of outputs are; the others have none.
    """
    layering = make_layering(len(sizes), edges)
    widths = dict(enumerate(width for width, _ in sizes))

    def distance(left: int, right: int) -> float:
        gap = BOX_GAP if max(left, right) < len(sizes) else WAY_GAP
        return (widths.get(left, 0.0) + widths.get(right, 0.0)) / 2 + gap

    xs = x_coordinates(layering, distance)
    left = min(x - widths.get(vertex, 0.0) / 2 for vertex, x in xs.items())
    right = max(x + widths.get(vertex, 0.0) / 2 for vertex, x in xs.items())
    xs = {vertex: x - left for vertex, x in xs.items()}
    bands = _bands(layering, sizes, xs, {source for source, _ in labels})
    frames = _frames(layering, sizes, xs, bands)
    exits = _exits(layering, edges, xs, labels)
    entries = _entries(layering, edges, xs, exits, frames)
    level = {vertex: row for row, layer in enumerate(layering.layers) for vertex in layer}
    ways = []
    for edge, way, entry in zip(edges, layering.ways, entries, strict=True):
        turns = [exits[edge.source, edge.channel], *(xs[v] for v in way[1:-1]), entry]
        points = [
            (x, y)
            for x, vertex in zip(turns, way, strict=True)
            for y in (bands[level[vertex]].top, bands[level[vertex]].bottom)
        ]
        points[0] = (turns[0], frames[edge.source].bottom)
        points[-1] = (entry, frames[edge.target].y - ARROW)
        ways.append(points)
    return Layout(frames, exits, ways, right - left, bands[-1].bottom)


@dataclass(frozen=True, slots=True)
class _Band:
    """One layer, from the y where lines are upright to where they curve again."""

    top: float
    tallest: float
    bottom: float


def _bands(
    layering: Layering, sizes: Sequence[Point], xs: Mapping[int, float], labelled: set[int]
) -> list[_Band]:
    bands = []
    y = 0.0
    for row in layering.layers:
        tallest = max((sizes[vertex][1] for vertex in row if vertex < len(sizes)), default=0.0)
        room = LABEL_ROOM if labelled.intersection(row) else PLAIN_ROOM
        bands.append(_Band(y, tallest, y + ARROW + tallest + room))
        spans = [abs(xs[v] - xs[below]) for v in row for below in layering.down[v]]
        y = bands[-1].bottom + min(110.0, 26.0 + max(spans, default=0.0) / 8)  # for flat curves
    return bands


def _frames(
    layering: Layering, sizes: Sequence[Point], xs: Mapping[int, float], bands: Sequence[_Band]
) -> list[Frame]:
    frames = {}
    for band, row in zip(bands, layering.layers, strict=True):
        for vertex in row:
            if vertex < len(sizes):
                width, height = sizes[vertex]
                y = band.top + ARROW + (band.tallest - height) / 2
                frames[vertex] = Frame(xs[vertex] - width / 2, y, width, height)
    return [frames[vertex] for vertex in range(len(sizes))]


def _exits(
    layering: Layering, edges: Sequence[Edge], xs: Mapping[int, float], labels: Mapping[Port, float]
) -> dict[Port, float]:
    """Outputs of one box leave it side by side, in the order in which their ways go on."""
    going: dict[int, dict[str, list[float]]] = {}
    for edge, way in zip(edges, layering.ways, strict=True):
        going.setdefault(edge.source, {}).setdefault(edge.channel, []).append(xs[way[1]])
    exits = {}
    for source, ways in going.items():
        channels = sorted(ways, key=lambda channel: sum(ways[channel]) / len(ways[channel]))
        widths = [labels.get((source, channel), 0.0) for channel in channels]
        x = xs[source] - (sum(widths) + LABEL_GAP * (len(widths) - 1)) / 2
        for channel, width in zip(channels, widths, strict=True):
            exits[source, channel] = x + width / 2
            x += width + LABEL_GAP
    return exits


def _entries(
    layering: Layering,
    edges: Sequence[Edge],
    xs: Mapping[int, float],
    exits: Mapping[Port, float],
    frames: Sequence[Frame],
) -> list[float]:
    """Where each edge comes in: in the middle, or as near as can be to where it comes from."""
    coming: dict[int, list[tuple[float, int]]] = {}
    for index, (edge, way) in enumerate(zip(edges, layering.ways, strict=True)):
        x = exits[edge.source, edge.channel] if len(way) == 2 else xs[way[-2]]
        coming.setdefault(edge.target, []).append((x, index))
    entries = [0.0] * len(edges)
    for target, arrivals in coming.items():
        frame = frames[target]
        arrivals.sort()
        wanted = [x for x, _ in arrivals] if len(arrivals) > 1 else [frame.centre]
        places = _spread(wanted, frame.x + ENTRY_MARGIN, frame.x + frame.width - ENTRY_MARGIN)
        for (_, index), x in zip(arrivals, places, strict=True):
            entries[index] = x
    return entries


def _spread(wanted: Sequence[float], low: float, high: float) -> list[float]:
    """The places nearest to the rising `wanted`, in the least squares, that keep their distance.

    The pool-adjacent-violators method: places that come too near share their mean.
    """
    gap = min(ENTRY_GAP, (high - low) / max(len(wanted) - 1, 1))
    pools: list[tuple[float, int]] = []  # mean and size
    for index, x in enumerate(wanted):
        pool = (x - index * gap, 1)
        while pools and pools[-1][0] >= pool[0]:
            mean, size = pools.pop()
            size += pool[1]
            pool = (mean + (pool[0] - mean) * pool[1] / size, size)
        pools.append(pool)
    means = [mean for mean, size in pools for _ in range(size)]
    last = high - (len(wanted) - 1) * gap
    return [min(max(mean, low), last) + index * gap for index, mean in enumerate(means)]
