"""Things put together from simple shapes: they stand upright, z up, about 1 to 2 units large."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from training.models._triposr_solids import SHAPES, Part, Rng, Solid, turn

__all__ = ["THINGS", "random_solid"]

_ALONG_Y = turn(0, 0, np.pi / 2)
_ALONG_X = turn(0, np.pi / 2)
_FLAT_IN_XZ = _ALONG_Y


def random_solid(rng: Rng) -> Solid:
    """A thing that stands upright and is seen from about its height, or some shapes at random."""
    if rng.random() < 0.5:
        parts = THINGS[rng.integers(len(THINGS))](rng)
        return Solid(parts, turn(rng.uniform(0, 2 * np.pi), rng.uniform(-0.15, 0.75)))
    colours = int(rng.integers(1, 4))
    parts = tuple(_random_part(rng, number % colours) for number in range(rng.integers(1, 4)))
    return Solid(parts, _any_turn(rng))


def _random_part(rng: Rng, colour: int) -> Part:
    shape = sorted(SHAPES)[rng.integers(len(SHAPES))]
    a, b, c = rng.uniform(0.25, 0.6, 3)
    size = {"torus": (a, b * 0.4, 0), "capsule": (a * 0.6, 0, c), "cone": (a, b * 0.5, c)}
    centre = rng.uniform(-0.4, 0.4, 3) if colour or rng.random() < 0.5 else (0.0, 0.0, 0.0)
    rounding = rng.choice([0.0, 0.0, 0.05])
    return Part(shape, size.get(shape, (a, b, c)), centre, _any_turn(rng), rounding, colour)


def _any_turn(rng: Rng) -> npt.NDArray[np.float64]:
    """A rotation, all being equally likely: the columns of a random matrix made orthogonal."""
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.sign(np.linalg.det(q))


def mug(rng: Rng) -> tuple[Part, ...]:
    radius, half = rng.uniform(0.35, 0.55), rng.uniform(0.35, 0.6)
    ring = rng.uniform(0.5, 0.8) * half
    wall = rng.uniform(0.06, 0.1)
    return (
        Part("torus", (ring, 0.07, 0), (radius, 0, 0), _FLAT_IN_XZ, 0, 1),
        Part("cylinder", (radius, 0, half)),
        Part("cylinder", (radius - wall, 0, half), (0, 0, wall + 0.05), hollow=True),
    )


def bowl(rng: Rng) -> tuple[Part, ...]:
    low, high, half = rng.uniform(0.25, 0.45), rng.uniform(0.6, 0.8), rng.uniform(0.2, 0.4)
    wall = rng.uniform(0.07, 0.1)
    return (
        Part("cone", (low, high, half)),
        Part("cone", (low - wall, high - wall, half), (0, 0, wall + 0.02), hollow=True),
        Part("cylinder", (low * 0.7, 0, 0.06), (0, 0, -half - 0.04), colour=1),
    )


def chair(rng: Rng) -> tuple[Part, ...]:
    half, legs, back = rng.uniform(0.35, 0.5), rng.uniform(0.3, 0.5), rng.uniform(0.35, 0.6)
    return (
        Part("box", (half, half, 0.07), rounding=0.02),
        Part("box", (0.06, half, back), (-half + 0.06, 0, back), rounding=0.02, colour=1),
        *_legs(rng, half - 0.08, half - 0.08, legs),
    )


def table(rng: Rng) -> tuple[Part, ...]:
    long, wide, legs = rng.uniform(0.5, 0.9), rng.uniform(0.4, 0.6), rng.uniform(0.25, 0.5)
    round_top = rng.random() < 0.4
    top = Part("cylinder", (long, 0, 0.07)) if round_top else Part("box", (long, wide, 0.07))
    if round_top:
        foot = Part("cone", (0.45 * long, 0.1, legs), (0, 0, -legs), colour=1)
        return (top, foot)
    return (top, *_legs(rng, long - 0.1, wide - 0.1, legs))


def _legs(rng: Rng, x: float, y: float, half: float) -> list[Part]:
    size = (rng.uniform(0.05, 0.09), 0.0, half)
    return [
        Part("cylinder", size, (i * x, j * y, -half), colour=2) for i in (-1, 1) for j in (-1, 1)
    ]


def bottle(rng: Rng) -> tuple[Part, ...]:
    radius, half, neck = rng.uniform(0.25, 0.4), rng.uniform(0.35, 0.6), rng.uniform(0.1, 0.25)
    return (
        Part("cylinder", (radius, 0, half), rounding=0.03),
        Part("cone", (radius, 0.11, 0.15), (0, 0, half + 0.13)),
        Part("cylinder", (0.11, 0, neck), (0, 0, half + 0.28 + neck)),
        Part("cylinder", (0.14, 0, 0.08), (0, 0, half + 0.28 + 2 * neck), colour=1),
    )


def hammer(rng: Rng) -> tuple[Part, ...]:
    half, head = rng.uniform(0.5, 0.8), rng.uniform(0.25, 0.45)
    shape = ("cylinder", (0.16, 0, head)) if rng.random() < 0.5 else ("box", (0.15, 0.15, head))
    return (
        Part("capsule", (rng.uniform(0.06, 0.1), 0, half)),
        Part(*shape, (0, 0, half), _ALONG_Y, 0.02, 1),
    )


def snowman(rng: Rng) -> tuple[Part, ...]:
    radii = np.sort(rng.uniform(0.2, 0.5, 3))[::-1]
    heights = np.concatenate([[0], np.cumsum(0.85 * (radii[:-1] + radii[1:]))])
    return tuple(
        Part("ball", (r, 0, 0), (0, 0, h), colour=c)
        for c, (r, h) in enumerate(zip(radii, heights, strict=True))
    )


def tree(rng: Rng) -> tuple[Part, ...]:
    trunk, crown = rng.uniform(0.2, 0.45), rng.uniform(0.35, 0.6)
    stem = Part("cylinder", (rng.uniform(0.08, 0.14), 0, trunk), (0, 0, -trunk))
    if rng.random() < 0.5:
        return (stem, Part("ball", (crown, 0, 0), (0, 0, 0.8 * crown), colour=1))
    tiers = [
        Part("cone", (crown * (1 - 0.25 * k), 0.02, 0.3), (0, 0, 0.2 + 0.35 * k), colour=1)
        for k in range(3)
    ]
    return (stem, *tiers)


def car(rng: Rng) -> tuple[Part, ...]:
    long, wide, high = rng.uniform(0.6, 0.9), rng.uniform(0.3, 0.42), rng.uniform(0.14, 0.24)
    cabin = rng.uniform(0.3, 0.55) * long
    x = rng.uniform(-0.25, 0.25) * long
    radius = rng.uniform(0.14, 0.2)
    wheels = [
        Part("cylinder", (radius, 0, 0.07), (i * 0.6 * long, j * wide, -high), _ALONG_Y, 0, 2)
        for i in (-1, 1)
        for j in (-1, 1)
    ]
    return (
        Part("box", (long, wide, high), rounding=0.04),
        Part("box", (cabin, wide * 0.9, high), (x, 0, 1.8 * high), rounding=0.04, colour=1),
        *wheels,
    )


def house(rng: Rng) -> tuple[Part, ...]:
    long, wide, high = rng.uniform(0.4, 0.6), rng.uniform(0.35, 0.5), rng.uniform(0.3, 0.5)
    half = 0.78 * wide  # a beam on its edge: the lower half is in the house
    roof = Part("box", (half, long + 0.05, half), (0, 0, high), turn(0, np.pi / 4), colour=1)
    return (Part("box", (wide, long, high)), roof)


def dumbbell(rng: Rng) -> tuple[Part, ...]:
    half, radius = rng.uniform(0.35, 0.6), rng.uniform(0.22, 0.35)
    shape = "ball" if rng.random() < 0.5 else "cylinder"
    ends = [Part(shape, (radius, 0, 0.13), (0, i * half, 0), _ALONG_Y, 0, 1) for i in (-1.0, 1.0)]
    return (Part("cylinder", (0.08, 0, half), turn=_ALONG_Y), *ends)


def lamp(rng: Rng) -> tuple[Part, ...]:
    half, shade = rng.uniform(0.4, 0.6), rng.uniform(0.35, 0.5)
    return (
        Part("cylinder", (rng.uniform(0.25, 0.4), 0, 0.06), (0, 0, -half)),
        Part("cylinder", (0.06, 0, half)),
        Part("cone", (shade, shade * rng.uniform(0.4, 0.8), 0.25), (0, 0, half), colour=1),
    )


def animal(rng: Rng) -> tuple[Part, ...]:
    long, thick, legs = rng.uniform(0.3, 0.5), rng.uniform(0.2, 0.3), rng.uniform(0.15, 0.3)
    head = rng.uniform(0.18, 0.26)
    under = legs + 0.6 * thick
    return (
        Part("capsule", (thick, 0, long), turn=_ALONG_X),
        Part("ball", (head, 0, 0), (long + 0.6 * thick, 0, 0.9 * thick + 0.1), colour=1),
        *(
            Part("capsule", (0.08, 0, legs), (i * 0.8 * long, j * 0.6 * thick, -under), colour=2)
            for i in (-1, 1)
            for j in (-1, 1)
        ),
    )


def ring(rng: Rng) -> tuple[Part, ...]:
    radius = rng.uniform(0.4, 0.6)
    stone = Part("ball", (rng.uniform(0.12, 0.22), 0, 0), (0, 0, radius), colour=1)
    return (Part("torus", (radius, rng.uniform(0.07, 0.15), 0), turn=_FLAT_IN_XZ), stone)


THINGS: tuple[Callable[[Rng], tuple[Part, ...]], ...] = (
    animal,
    bottle,
    bowl,
    car,
    chair,
    dumbbell,
    hammer,
    house,
    lamp,
    mug,
    ring,
    snowman,
    table,
    tree,
)
"""What can be made; each takes a generator and gives the parts of one such thing."""
