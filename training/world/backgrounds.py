"""Backgrounds: drawn by chance, and crops of the free photos that scikit-image carries.

The two splits share no photo and no drawing, so that a measure on "test" is on backgrounds never
seen.
"""

from __future__ import annotations

import functools
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["Backdrops", "Rgb"]

Rgb = npt.NDArray[np.uint8]
_Drawn = npt.NDArray[np.float32]

# CC0, or in the public domain, by the docstrings of skimage.data.
_PHOTOS = {
    "train": ("grass.png", "gravel.png", "camera.png", "rocket.jpg"),
    "test": ("brick.png", "coffee.png", "hubble_deep_field.jpg"),
}


_POOL, _POOL_SIDE = 512, 224  # drawing one takes longer than composing a scene on it


class Backdrops:
    """Gives backgrounds by chance: windows of a pool that fills while it is used.

    Args:
        split: "train" or "test".
    """

    def __init__(self, split: str) -> None:
        self._split = split
        self._pool: dict[int, Rgb] = {}

    def __call__(self, rng: np.random.Generator, side: int) -> Rgb:
        """Return one, uint8 (side, side, 3)."""
        number, window = int(rng.integers(_POOL)), rng.uniform(0.55, 1.0)
        corner, flip = rng.random(2) * (1 - window), bool(rng.integers(2))
        drawn_side = max(side, _POOL_SIDE)
        drawn = self._drawn(number, drawn_side)
        length = round(window * drawn_side)
        top, left = (int(share * drawn_side) for share in corner)
        crop = drawn[top : top + length, left : left + length]
        crop = cv2.resize(crop, (side, side), interpolation=cv2.INTER_LINEAR)
        return cv2.flip(crop, 1) if flip else crop

    def _drawn(self, number: int, side: int) -> Rgb:
        if side > _POOL_SIDE:
            return _background(np.random.default_rng((number, side)), side, self._split)
        if number not in self._pool:
            own = np.random.default_rng((number, len(self._split)))
            self._pool[number] = _background(own, side, self._split)
        return self._pool[number]


def _background(rng: np.random.Generator, side: int, split: str) -> Rgb:
    if rng.random() < 0.25:
        return _photo(rng, side, split)
    drawn = {
        "train": (_plain, _slope, _clouds, _room, _stripes),
        "test": (_slope, _clouds, _tiles, _room),
    }
    kinds = drawn[split]
    picture = kinds[rng.integers(len(kinds))](rng, side)
    return np.clip(picture, 0, 255).astype(np.uint8)


def _colour(rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """A colour of the real world: more often pale or greyish than gaudy."""
    grey = rng.uniform(30, 245)
    return np.clip(grey + rng.normal(0, 28, 3), 0, 255).astype(np.float32)


def _plain(rng: np.random.Generator, side: int) -> _Drawn:
    return np.broadcast_to(_colour(rng), (side, side, 3)).astype(np.float32)


def _slope(rng: np.random.Generator, side: int) -> _Drawn:
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:side, :side].astype(np.float32) / side - 0.5
    share = np.clip(x * np.cos(angle) + y * np.sin(angle) + 0.5, 0, 1)[..., None]
    return _colour(rng) * share + _colour(rng) * (1 - share)


def _clouds(rng: np.random.Generator, side: int) -> _Drawn:
    picture = _slope(rng, side)
    for cells in rng.choice([2, 4, 8, 16, 32], size=3, replace=False):
        grey = rng.normal(0, rng.uniform(5, 22), (cells, cells, 1))
        noise = (grey + rng.normal(0, rng.uniform(0, 8), (cells, cells, 3))).astype(np.float32)
        grown = cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)
        picture = picture + grown
    return picture


def _room(rng: np.random.Generator, side: int) -> _Drawn:
    """A wall and a floor, or a sky and a field."""
    picture, floor = _clouds(rng, side), _clouds(rng, side)
    horizon = int(side * rng.uniform(0.35, 0.8))
    picture[horizon:] = floor[horizon:]
    return picture


def _stripes(rng: np.random.Generator, side: int) -> _Drawn:
    angle, width = rng.uniform(0, np.pi), side / rng.uniform(3, 16)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / width)
    share = np.clip(wave * rng.uniform(1, 8) + 0.5, 0, 1)[..., None]
    return _slope(rng, side) * share + _colour(rng) * (1 - share)


def _tiles(rng: np.random.Generator, side: int) -> _Drawn:
    cells = int(rng.integers(3, 12))
    tones = rng.normal(0, rng.uniform(3, 25), (cells, cells, 1)).astype(np.float32)
    grown = cv2.resize(tones, (side, side), interpolation=cv2.INTER_NEAREST)
    return _slope(rng, side) + grown[..., None]


def _photo(rng: np.random.Generator, side: int, split: str) -> Rgb:
    names = _PHOTOS[split]
    photo = _opened(names[rng.integers(len(names))])
    window = int(rng.uniform(0.3, 1.0) * min(photo.shape[:2]))
    top, left = (int(rng.integers(length - window + 1)) for length in photo.shape[:2])
    crop = photo[top : top + window, left : left + window][:, :: rng.choice([-1, 1])]
    shrinking = cv2.INTER_AREA if window > side else cv2.INTER_LINEAR
    crop = cv2.resize(np.ascontiguousarray(crop), (side, side), interpolation=shrinking)
    tinted = crop * rng.uniform(0.8, 1.2, 3) * rng.uniform(0.6, 1.1) + rng.uniform(-15, 40)
    return np.clip(tinted, 0, 255).astype(np.uint8)


@functools.cache
def _opened(name: str) -> Rgb:
    import skimage

    path = Path(skimage.__file__).parent / "data" / name
    return cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
