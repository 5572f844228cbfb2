"""Where the vertices of a layered drawing stand from left to right.

The method of Brandes & Köpf 2001 (Graph Drawing, LNCS 2265), with the block graph of its erratum
(arXiv:2008.01252): vertices are aligned with the median of their neighbours, so that long edges are
straight; four such alignments, to each side from above and below, are averaged. Steps align with
steps before they align with lines that pass and with inputs and outputs, so that the steps of a
pipeline stand below each other.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from graphlib import TopologicalSorter

from visionweave.show.layering import Layering

__all__ = ["x_coordinates"]

Pair = tuple[int, int]
Distance = Callable[[int, int], float]
"""The least distance between the centres of two neighbours in a layer."""


def x_coordinates(layering: Layering, distance: Distance) -> dict[int, float]:
    """Return the centre of every vertex; neighbours keep their order and distance."""
    conflicts = _conflicts(layering)
    found = []
    up, down = _kindred(layering, layering.up), _kindred(layering, layering.down)
    for near, back, rows in ((up, down, layering.layers), (down, up, layering.layers[::-1])):
        neighbours = {vertex: [v for v in near[vertex] if vertex in back[v]] for vertex in near}
        for sign in (1, -1):
            turned = [row[::sign] for row in rows]
            root = _align(turned, neighbours, conflicts)
            xs = _compact(turned, root, distance)
            found.append({vertex: sign * x for vertex, x in xs.items()})
    return _average(found)


def _kindred(layering: Layering, neighbours: Mapping[int, list[int]]) -> dict[int, list[int]]:
    """The neighbours that each vertex wants to align with: steps with steps, lines with lines."""

    def strangeness(vertex: int, other: int) -> int:
        if not layering.up[other] or not layering.down[other]:
            return 2
        return int((vertex < layering.real) != (other < layering.real))

    kindred = {}
    for vertex, others in neighbours.items():
        least = min((strangeness(vertex, other) for other in others), default=0)
        kindred[vertex] = [other for other in others if strangeness(vertex, other) == least]
    return kindred


def _conflicts(layering: Layering) -> set[Pair]:
    """The edges that cross a long edge's middle; they give way to it."""
    place = {vertex: index for row in layering.layers for index, vertex in enumerate(row)}
    conflicts = set()
    for row in layering.layers:
        pairs = [(above, below) for below in row for above in layering.up[below]]
        inner = [pair for pair in pairs if min(pair) >= layering.real]
        for above, below in pairs:
            if min(above, below) < layering.real and any(
                (place[above] - place[a]) * (place[below] - place[b]) < 0 for a, b in inner
            ):
                conflicts.add((above, below))
    return conflicts


def _align(
    rows: Sequence[Sequence[int]], neighbours: Mapping[int, Sequence[int]], conflicts: set[Pair]
) -> dict[int, int]:
    """Put each vertex below one of its median neighbours; return the top of each one's block."""
    root = {vertex: vertex for row in rows for vertex in row}
    for before, row in itertools.pairwise(rows):
        place = {vertex: index for index, vertex in enumerate(before)}
        taken, last = set[int](), -1
        for vertex in row:
            near = sorted(neighbours[vertex], key=place.__getitem__)
            middle = near[(len(near) - 1) // 2 : len(near) // 2 + 1]
            for other in middle:
                free = place[other] > last and other not in taken
                if free and not conflicts & {(other, vertex), (vertex, other)}:
                    root[vertex], last = root[other], place[other]
                    taken.add(other)
                    break
    return root


def _compact(
    rows: Sequence[Sequence[int]], root: Mapping[int, int], distance: Distance
) -> dict[int, float]:
    """Push all blocks to the left, then each to the right as far as its neighbours let it."""
    before: dict[int, dict[int, float]] = {top: {} for top in root.values()}
    after: dict[int, dict[int, float]] = {top: {} for top in root.values()}
    for row in rows:
        for left, right in itertools.pairwise(row):
            a, b, gap = root[left], root[right], distance(left, right)
            before[b][a] = after[a][b] = max(gap, before[b].get(a, 0.0))
    order = list(TopologicalSorter(before).static_order())
    xs: dict[int, float] = {}
    for block in order:
        xs[block] = max((xs[other] + gap for other, gap in before[block].items()), default=0.0)
    for block in reversed(order):
        if after[block]:
            xs[block] = min(xs[other] - gap for other, gap in after[block].items())
    return {vertex: xs[top] for vertex, top in root.items()}


def _average(found: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """The mean of the two middle ones of four drawings, laid over each other at their sides."""
    narrow = min(found, key=lambda xs: max(xs.values()) - min(xs.values()))
    moved = []
    for index, xs in enumerate(found):
        side = min if index % 2 == 0 else max  # the even ones lean to the left
        shift = side(narrow.values()) - side(xs.values())
        moved.append({vertex: x + shift for vertex, x in xs.items()})
    middle = {vertex: sorted(xs[vertex] for xs in moved)[1:3] for vertex in narrow}
    return {vertex: sum(pair) / 2 for vertex, pair in middle.items()}
