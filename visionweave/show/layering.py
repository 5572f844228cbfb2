"""Layers of a drawing: which vertex stands on which level, and in which order.

The method of Sugiyama, Tagawa & Toda 1981 (IEEE Trans. SMC 11): longest-path layers, dummy vertices
where an edge passes a layer, and orders with few crossings by the barycentres of neighbours.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Edge", "Layering", "make_layering"]

SWEEPS = 24
"""Sweeps of reordering, after Gansner et al. 1993; more of them hardly find a better order."""


@dataclass(frozen=True, slots=True)
class Edge:
    """From one vertex down to another; edges of one source and channel share their way."""

    source: int
    target: int
    channel: str = ""


@dataclass(slots=True)
class Layering:
    """Vertices in layers, each in order from left to right.

    Attributes:
        real: the vertices below this number stand for boxes; from it on they are dummies.
        layers: the vertices of each layer, from the top.
        up: the neighbours of each vertex in the layer above.
        down: the neighbours in the layer below.
        ways: for every edge, the vertices from its source to its target, one per layer.
    """

    real: int
    layers: list[list[int]]
    up: dict[int, list[int]] = field(default_factory=dict)
    down: dict[int, list[int]] = field(default_factory=dict)
    ways: list[list[int]] = field(default_factory=list)


def make_layering(count: int, edges: Sequence[Edge]) -> Layering:
    """Place `count` vertices; an edge leads from a lower to a higher number."""
    level = _levels(count, edges)
    layering = Layering(count, [[] for _ in range(max(level, default=-1) + 1)])
    for vertex, row in enumerate(level):
        layering.layers[row].append(vertex)
        layering.up[vertex], layering.down[vertex] = [], []
    _add_ways(layering, edges, level)
    _reorder(layering)
    return layering


def _levels(count: int, edges: Sequence[Edge]) -> list[int]:
    """The longest path from above; vertices that nothing leads to move down to their readers."""
    level = [0] * count
    for edge in sorted(edges, key=lambda edge: edge.source):
        level[edge.target] = max(level[edge.target], level[edge.source] + 1)
    below: dict[int, int] = {}
    for edge in edges:
        below[edge.source] = min(below.get(edge.source, count), level[edge.target])
    led_to = {edge.target for edge in edges}
    for vertex in range(count):
        if vertex not in led_to and vertex in below:
            level[vertex] = below[vertex] - 1
    return level


def _add_ways(layering: Layering, edges: Sequence[Edge], level: Sequence[int]) -> None:
    shared: dict[tuple[int, str, int], int] = {}
    for edge in edges:
        way = [edge.source]
        for row in range(level[edge.source] + 1, level[edge.target]):
            key = (edge.source, edge.channel, row)
            if key not in shared:
                shared[key] = layering.real + len(shared)
                layering.layers[row].append(shared[key])
                layering.up[shared[key]], layering.down[shared[key]] = [], []
            way.append(shared[key])
        way.append(edge.target)
        layering.ways.append(way)
        for above, below in itertools.pairwise(way):
            if below not in layering.down[above]:
                layering.down[above].append(below)
                layering.up[below].append(above)


def _reorder(layering: Layering) -> None:
    """Sweep down and up, and keep the order with the fewest crossings."""
    best, fewest = [list(row) for row in layering.layers], _all_crossings(layering)
    for sweep in range(SWEEPS):
        if fewest == 0:
            break
        downward = sweep % 2 == 0
        neighbours = layering.up if downward else layering.down
        rows = range(1, len(best)) if downward else range(len(best) - 2, -1, -1)
        for row in rows:
            fixed = layering.layers[row - 1 if downward else row + 1]
            _sort_by_barycentre(layering.layers[row], fixed, neighbours)
        _exchange(layering)
        crossings = _all_crossings(layering)
        if crossings < fewest:
            best, fewest = [list(row) for row in layering.layers], crossings
    layering.layers[:] = best


def _sort_by_barycentre(
    row: list[int], fixed: Sequence[int], neighbours: Mapping[int, Sequence[int]]
) -> None:
    place = {vertex: index / len(fixed) for index, vertex in enumerate(fixed)}
    key = {vertex: index / len(row) for index, vertex in enumerate(row)}
    for vertex in row:
        if neighbours[vertex]:
            places = [place[other] for other in neighbours[vertex]]
            key[vertex] = sum(places) / len(places)
    row.sort(key=key.__getitem__)


def _exchange(layering: Layering) -> None:
    """In each layer, swap neighbours while that removes crossings."""
    place = {vertex: index for row in layering.layers for index, vertex in enumerate(row)}
    for row in layering.layers:
        ends = [
            {vertex: sorted(place[other] for other in others[vertex]) for vertex in row}
            for others in (layering.up, layering.down)
        ]
        better = True
        while better:
            better = False
            for index in range(len(row) - 1):
                left, right = row[index], row[index + 1]
                now = sum(_inversions(side[left], side[right]) for side in ends)
                then = sum(_inversions(side[right], side[left]) for side in ends)
                if then < now:
                    row[index], row[index + 1] = right, left
                    better = True
        place |= {vertex: index for index, vertex in enumerate(row)}


def _inversions(left: Sequence[int], right: Sequence[int]) -> int:
    """How often edges to `left` cross edges to `right`; both are sorted."""
    return sum(len(left) - bisect_right(left, place) for place in right)


def _all_crossings(layering: Layering) -> int:
    total = 0
    for above, below in zip(layering.layers, layering.layers[1:], strict=False):
        place = {vertex: index for index, vertex in enumerate(below)}
        seen: list[int] = []
        for vertex in above:
            ends = sorted(place[other] for other in layering.down[vertex])
            total += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return total
