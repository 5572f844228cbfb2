"""From any Pillow mode, bit depth and colour profile to 8-bit sRGB with straight alpha."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from visionweave.errors import ImageError

__all__ = ["to_srgb"]

Pixels = NDArray[np.uint8]
Conversion = Callable[[Image.Image], Image.Image]

# Rounded, where Pillow's own `v >> 8` darkens by half a level; full range, 65535 is white.
_SIXTEEN_TO_EIGHT = np.rint(np.arange(65536) / 257).astype(np.uint8)

# The mode that holds the colours alone, for every mode that is not such a mode itself.
_COLOUR_MODE = {
    "1": "L",
    "LA": "L",
    "La": "L",
    "P": "RGB",
    "PA": "RGB",
    "RGBA": "RGB",
    "RGBa": "RGB",
    "RGBX": "RGB",
    "YCbCr": "RGB",
    "HSV": "RGB",
}

_MODE_OF_SPACE = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}

# 9 x 9 x 9 colours over the whole cube: enough to tell sRGB from every other space.
_STEPS = np.linspace(0, 255, 9).astype(np.uint8)
_CUBE = np.stack(np.meshgrid(_STEPS, _STEPS, _STEPS), axis=-1).reshape(27, 27, 3)
_RAMP = np.arange(256, dtype=np.uint8)[:, np.newaxis]


def to_srgb(image: Image.Image, name: str, notes: list[str]) -> tuple[Pixels, Pixels | None]:
    """Convert a loaded picture to sRGB through its embedded profile, its alpha kept aside.

    Args:
        image: a picture of any mode, with "icc_profile" and "transparency" in its `info`.
        name: the picture's path, for the error.
        notes: gets a sentence when the profile is there but cannot be used.

    Returns:
        The colours, (h, w, 3) uint8, not multiplied by alpha; and alpha, (h, w) uint8, or None
        when every pixel is opaque. Both are read-only.

    Raises:
        ImageError: the pixels are numbers without a defined white (floats, or beyond 16 bits).
    """
    colour, alpha = _split_alpha(_to_eight_bits(image, name))
    rgb = _through_profile(colour, image.info.get("icc_profile"), notes)
    opaque = alpha is None or alpha.getextrema()[0] == 255
    return np.asarray(rgb), None if opaque else np.asarray(alpha)


def _to_eight_bits(image: Image.Image, name: str) -> Image.Image:
    """Return `image` with 8-bit channels: 0..65535 of grey becomes 0..255, a colour key alpha."""
    if image.mode == "F":
        raise ImageError(
            name,
            "its pixels are floating-point numbers, and nothing says which number is white; "
            "convert it to 8 or 16 bits per channel",
        )
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ImageError(
            name,
            f"its grey values run from {low} to {high}, and only 0 to 65535 has a defined white; "
            "convert it to 8 or 16 bits per channel",
        )
    grey = Image.fromarray(_SIXTEEN_TO_EIGHT[values])
    key = image.info.get("transparency")
    if key is not None:
        # Compared before the depth is lost: 256 greys share each 8-bit level.
        grey.putalpha(Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)))
    return grey


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Return the colours as L, RGB, CMYK or LAB, and the alpha channel as L or None."""
    mode = _COLOUR_MODE.get(image.mode, image.mode)
    if mode in ("L", "RGB") and image.has_transparency_data:
        image = _as(image, mode + "A")  # palettes and colour keys become a channel
        return image.convert(mode), image.getchannel("A")
    return _as(image, mode), None


def _as(image: Image.Image, mode: str) -> Image.Image:
    # Pillow's convert() copies even when the mode is right already.
    return image if image.mode == mode else image.convert(mode)


def _through_profile(image: Image.Image, profile: bytes | None, notes: list[str]) -> Image.Image:
    """Return `image` (L, RGB, CMYK or LAB) as RGB in sRGB; without a usable profile, as it is."""
    if profile:
        try:
            convert = _conversion(profile, image.mode)
        except (OSError, TypeError, ValueError, ImageCms.PyCMSError) as error:
            notes.append(f"read without its colour profile, which cannot be used: {error}")
        else:
            if convert is not None:
                return convert(image)
    return _as(image, "RGB")


@lru_cache(maxsize=32)
def _conversion(profile: bytes, mode: str) -> Conversion | None:
    """Build the way from an ICC profile to sRGB, or None when the profile is sRGB by itself.

    Kept, because photos of one camera carry the same profile and building costs milliseconds.

    Raises:
        OSError, TypeError, ValueError or PyCMSError: the profile is broken or for another mode.
    """
    source = ImageCms.ImageCmsProfile(BytesIO(profile))
    space = source.profile.xcolor_space.strip()
    own_mode = _MODE_OF_SPACE.get(space)
    if own_mode is None:
        raise ValueError(f"it is for {space} pictures")
    convert = _by_table(source) if own_mode == "L" else _transform(source, own_mode).apply
    # Before the mode check: grey photos saved with an sRGB profile are common, and right.
    if {mode, own_mode} <= {"L", "RGB"} and _is_identity(convert, own_mode):
        return None
    if own_mode != mode:
        raise ValueError(f"it is for {space} pictures, and this one is {mode}")
    return convert


def _transform(
    source: ImageCms.ImageCmsProfile,
    mode: str,
    precision: ImageCms.Flags = ImageCms.Flags.HIGHRESPRECALC,
) -> ImageCms.ImageCmsTransform:
    # Relative colorimetric leaves the colours that sRGB can show as they are, where perceptual
    # may shift all of them; black point compensation maps the black of ink to black.
    return ImageCms.ImageCmsTransform(
        source,
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION | precision,
    )


def _by_table(source: ImageCms.ImageCmsProfile) -> Conversion:
    # littleCMS interpolates greys, off by up to 10 of 255 in the darks, or is 20 times slower.
    exact = _transform(source, "L", ImageCms.Flags.NOOPTIMIZE)
    table = np.asarray(exact.apply(Image.fromarray(_RAMP))).T.ravel().tolist()
    return lambda image: image.convert("RGB").point(table)


def _is_identity(convert: Conversion, mode: str) -> bool:
    """Tell whether a conversion of L or RGB moves no colour by more than one level of 255."""
    # Measured, not looked up by name: sRGB profiles have many names, and some lie.
    probe = Image.fromarray(_CUBE if mode == "RGB" else _RAMP)
    moved = np.asarray(convert(probe), np.int16) - np.asarray(probe.convert("RGB"))
    return bool(np.abs(moved).max() <= 1)
