"""Artwork: drawings of things in several styles, from the npm packages of emoji sets.

    fluent-3d, fluent, fluent-flat   Microsoft's Fluent Emoji, MIT
    twemoji                          Twitter's Twemoji, CC-BY-4.0: NOTICE gives the credit
    fxemoji                          Mozilla's FxEmojis, Apache-2.0
    noto                             Google's Noto Emoji, Apache-2.0; held out of all training

`npm` fetches the packages, at fixed versions, on first use. Nothing of them is committed.
"""

from __future__ import annotations

import functools
import io
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["HELD_OUT", "STYLES", "TRAINED", "concrete_things", "draw", "has", "keywords", "package"]

TRAINED = ("fluent-3d", "fluent", "fluent-flat", "twemoji", "fxemoji")
HELD_OUT = ("noto",)
STYLES = TRAINED + HELD_OUT

_ICONIFY = {
    "fluent": "fluent-emoji",
    "fluent-flat": "fluent-emoji-flat",
    "twemoji": "twemoji",
    "fxemoji": "fxemoji",
    "noto": "noto",
}
_PACKAGES = {
    "@lobehub/fluent-emoji-3d": "1.1.0",
    "@iconify-json/fluent-emoji": "1.2.7",
    "@iconify-json/fluent-emoji-flat": "1.2.6",
    "@iconify-json/twemoji": "1.2.5",
    "@iconify-json/fxemoji": "1.2.2",
    "@iconify-json/noto": "1.2.9",
    "emojibase-data": "17.0.0",
}
# emojibase's numbers of the groups: animals & nature, food & drink, travel & places, activities,
# objects. Faces, people, symbols and flags are no things that one could cut out of a photo.
_CONCRETE = {3, 4, 5, 6, 7}


def draw(style: str, icon: str, side: int) -> npt.NDArray[np.uint8]:
    """Return a drawing, cropped to what shows: RGBA uint8 with straight alpha, longer side `side`.

    Args:
        style: one of `STYLES`.
        icon: what the style calls it, such as "red-apple".
        side: the length of the longer side in pixels.
    """
    if style == "fluent-3d":
        with Image.open(_webp(icon)) as opened:
            picture = opened.convert("RGBA")
    else:
        picture = _render(style, icon, 2 * side)
    alpha = picture.getchannel("A").point(lambda value: 255 if value > 12 else 0)
    picture = picture.crop(alpha.getbbox())
    scale = side / max(picture.size)
    size = tuple(max(1, round(length * scale)) for length in picture.size)
    return np.asarray(
        picture.convert("RGBa").resize(size, Image.Resampling.LANCZOS).convert("RGBA")
    )


def has(style: str, icon: str) -> bool:
    """Whether a style draws a thing."""
    if style == "fluent-3d":
        return icon in _emojis() and _webp(icon).exists()
    icons = _icons(style)
    return icon in icons["icons"] or icon in icons.get("aliases", {})


def keywords(icon: str) -> tuple[str, ...]:
    """Return Unicode CLDR's English keywords of a thing, by the slug of its label."""
    return tuple(_emojis()[icon]["tags"])


@functools.cache
def concrete_things() -> tuple[str, ...]:
    """Return the slugs of all concrete things that every style but fxemoji draws, in order."""
    styles = [style for style in STYLES if style != "fxemoji"]
    things = (slug for slug, entry in _emojis().items() if entry.get("group") in _CONCRETE)
    return tuple(slug for slug in sorted(things) if all(has(style, slug) for style in styles))


def package(name: str) -> Path:
    """Return the folder of an npm package, which is installed first where it is missing.

    Raises:
        RuntimeError: there is no npm, or it failed.
    """
    folder = _folder() / "node_modules" / name
    if not folder.exists():
        _install()
    return folder


def _folder() -> Path:
    default = Path("~/.cache/visionweave/artwork").expanduser()
    return Path(os.environ.get("VISIONWEAVE_ARTWORK", default))


def _install() -> None:
    if shutil.which("npm") is None:
        raise RuntimeError("the artwork comes from npm's registry, and there is no `npm` here")
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text('{"private": true}\n', encoding="utf-8")
    wanted = [f"{name}@{version}" for name, version in _PACKAGES.items()]
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *wanted]
    subprocess.run(command, cwd=folder, check=True)


@functools.cache
def _icons(style: str) -> dict[str, Any]:
    path = package(f"@iconify-json/{_ICONIFY[style]}") / "icons.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@functools.cache
def _emojis() -> dict[str, dict[str, Any]]:
    path = package("emojibase-data") / "en" / "data.json"
    entries = json.loads(path.read_text(encoding="utf-8"))
    return {_slug(entry["label"]): entry for entry in entries}


def _slug(label: str) -> str:
    plain = re.sub("['.\u2019\u201c\u201d]", "", label.lower()).replace("&", "and")
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def _webp(icon: str) -> Path:
    hexcode = _emojis()[icon]["hexcode"].lower()
    folder = package("@lobehub/fluent-emoji-3d") / "assets"
    # Some file names carry the variation selector that asks for a picture, and some do not.
    names = [hexcode, f"{hexcode}-fe0f", hexcode.removesuffix("-fe0f")]
    found = (folder / f"{name}.webp" for name in names)
    return next((path for path in found if path.exists()), folder / f"{hexcode}.webp")


def _render(style: str, icon: str, side: int) -> Image.Image:
    import resvg_py  # needed only while sprites are made, which the cache makes rare

    icons = _icons(style)
    icon = icons.get("aliases", {}).get(icon, {}).get("parent", icon)
    entry = icons["icons"][icon]
    width = entry.get("width", icons.get("width", 16))
    height = entry.get("height", icons.get("height", 16))
    left, top = entry.get("left", 0), entry.get("top", 0)
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{left} {top} {width} {height}" width="{width}" height="{height}">'
        f"{entry['body']}</svg>"
    )
    png = resvg_py.svg_to_bytes(svg_string=svg, width=side)
    return Image.open(io.BytesIO(bytes(png))).convert("RGBA")
