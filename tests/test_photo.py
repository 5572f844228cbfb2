"""Photos are read upright, in sRGB, with straight alpha, and every failure is an ImageError."""

from __future__ import annotations

import io
import os
import random
import struct
import warnings
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from visionweave.errors import ImageError, ImageWarning
from visionweave.photo import SUFFIXES, Fit, decode, from_pil, read_header

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def corners(width: int, height: int) -> Image.Image:
    """A picture that differs from all of its turned selves: three coloured corners, one black."""
    pixels = np.zeros((height, width, 3), np.uint8)
    h, w = height // 2, width // 2
    pixels[:h, :w], pixels[:h, w:], pixels[h:, :w] = RED, GREEN, BLUE
    return Image.fromarray(pixels)


def corner_names(rgb: np.ndarray) -> str:
    """The colours at top left, top right, bottom left and bottom right, such as "RGBK"."""
    picks = rgb[[0, 0, -1, -1], [0, -1, 0, -1]].astype(int)
    return "".join("RGBK"[pick.argmax()] if pick.max() > 128 else "K" for pick in picks)


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[0x0112] = orientation
    return block


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    values: np.ndarray, colour: int, depth: int = 16, before: bytes = b"", after: bytes = b""
) -> bytes:
    """A PNG of rows of whole bytes or 16-bit numbers, with chunks before and after the pixels."""
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    height, width = values.shape[0], values.shape[1] * (8 // depth if depth < 8 else 1)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + before
        + chunk(b"IDAT", zlib.compress(rows))
        + after
        + chunk(b"IEND", b"")
    )


def tiff(
    pixels: np.ndarray, bits: int, photometric: int, more: dict[int, tuple[int, ...]] | None = None
) -> bytes:
    """An uncompressed big-endian TIFF of (h, w, channels) numbers; every tag is of SHORTs."""
    height, width, channels = pixels.shape
    tags = {256: (width,), 257: (height,), 258: (bits,) * channels, 259: (1,), 262: (photometric,)}
    tags |= {273: (8,), 277: (channels,), 278: (height,), 279: (pixels.nbytes,)} | (more or {})
    data = pixels.tobytes()
    entries, tail = b"", b""
    after = 8 + len(data) + 2 + 12 * len(tags) + 4
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f">{len(values)}H", *values)
        if len(packed) > 4:
            packed, tail = struct.pack(">I", after + len(tail)), tail + packed
        entries += struct.pack(">HHI", tag, 3, len(values)) + packed.ljust(4, b"\0")
    directory = struct.pack(">H", len(tags)) + entries + bytes(4)
    return b"MM\0*" + struct.pack(">I", 8 + len(data)) + data + directory + tail


# Orientation ----------------------------------------------------------------------------------

UPRIGHT = {1: "RGBK", 2: "GRKB", 3: "KBGR", 4: "BKRG", 5: "RBGK", 6: "BRKG", 7: "KGBR", 8: "GKRB"}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_orientation_is_applied_once(tmp_path: Path, suffix: str, orientation: int) -> None:
    if suffix not in SUFFIXES:
        pytest.skip("this Pillow reads no AVIF")
    path = save(tmp_path / f"a{suffix}", corners(64, 32), exif=exif(orientation))
    frame = decode(path)
    size = (32, 64) if orientation >= 5 else (64, 32)
    assert corner_names(frame.rgb) == UPRIGHT[orientation]
    assert read_header(path).size_wh == frame.size_wh == frame.rgb.shape[1::-1] == size


@pytest.mark.parametrize("compression", ["tiff_lzw", "jpeg"])
def test_orientation_of_a_compressed_tiff(tmp_path: Path, compression: str) -> None:
    path = save(tmp_path / "a.tif", corners(64, 32), exif=exif(6), compression=compression)
    assert corner_names(decode(path).rgb) == UPRIGHT[6]
    assert read_header(path).size_wh == (32, 64)


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_orientation_of_a_jpeg_at_reduced_scale(tmp_path: Path, orientation: int) -> None:
    path = save(tmp_path / "a.jpg", corners(640, 320), exif=exif(orientation))
    frame = decode(path, [Fit(short=40)])
    turned = orientation >= 5
    assert corner_names(frame.rgb) == UPRIGHT[orientation]
    assert frame.rgb.shape == ((160, 80, 3) if turned else (80, 160, 3))
    assert frame.size_wh == read_header(path).size_wh == ((320, 640) if turned else (640, 320))


def test_orientation_after_the_pixels_of_a_png(tmp_path: Path) -> None:
    late = chunk(b"eXIf", exif(6).tobytes().removeprefix(b"Exif\0\0"))
    path = write(tmp_path / "a.png", png(np.zeros((2, 5, 3), np.uint8), 2, 8, after=late))
    assert read_header(path).size_wh == decode(path).size_wh == (2, 5)


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_orientation_in_xmp(tmp_path: Path, suffix: str) -> None:
    packet = b'<x tiff:Orientation="6"/>'
    xmp = {"xmp": packet} if suffix == ".jpg" else {"tiffinfo": {700: packet}}
    path = save(tmp_path / f"a{suffix}", corners(64, 32), **xmp)
    assert corner_names(decode(path).rgb) == UPRIGHT[6]
    assert read_header(path).size_wh == (32, 64)


def test_orientation_of_a_picture_in_memory() -> None:
    image = corners(64, 32)
    image.getexif()[0x0112] = 8
    assert corner_names(from_pil(image).rgb) == UPRIGHT[8]
    assert from_pil(image).size_wh == (32, 64)


def test_damaged_exif_leaves_the_photo_readable(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", corners(64, 32), exif=b"Exif\0\0nonsense")
    with pytest.warns(ImageWarning, match=r"a\.png: its EXIF block is damaged"):
        assert corner_names(decode(path).rgb) == UPRIGHT[1]


# Reduced decoding -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size_wh", "fit", "scale"),
    [
        pytest.param((4000, 3000), Fit(800, 1333), 800 / 3000, id="short side decides"),
        pytest.param((3000, 6000), Fit(800, 1333), 1333 / 6000, id="long side decides"),
        pytest.param((640, 480), Fit(800, 1333), 1.0, id="never enlarges"),
        pytest.param((640, 480), Fit(), 1.0, id="no bounds"),
        pytest.param((640, 480), Fit(long=64), 0.1, id="long only"),
    ],
)
def test_fit_scale(size_wh: tuple[int, int], fit: Fit, scale: float) -> None:
    assert fit.scale(size_wh) == pytest.approx(scale)


@pytest.mark.parametrize(
    ("size_wh", "fits", "decoded_wh"),
    [
        pytest.param((801, 401), None, (801, 401), id="no fits"),
        pytest.param((801, 401), [], (801, 401), id="empty fits"),
        pytest.param((801, 401), [Fit()], (801, 401), id="a fit without bounds"),
        pytest.param((800, 400), [Fit(short=101)], (800, 400), id="just too large for 1/2"),
        pytest.param((801, 401), [Fit(short=100)], (401, 201), id="1/2"),
        pytest.param((801, 401), [Fit(long=100)], (201, 101), id="1/4"),
        pytest.param((801, 401), [Fit(long=50)], (101, 51), id="1/8"),
        pytest.param((801, 401), [Fit(long=5)], (101, 51), id="1/8 is the smallest"),
        pytest.param((801, 401), [Fit(long=50), Fit(short=100)], (401, 201), id="most demanding"),
        pytest.param((1, 1), [Fit(long=1)], (1, 1), id="one pixel"),
        pytest.param((1, 900), [Fit(long=9)], (1, 900), id="one pixel wide"),
        pytest.param((3, 900), [Fit(long=9)], (2, 450), id="three pixels wide"),
    ],
)
def test_a_jpeg_is_decoded_no_larger_than_needed(
    tmp_path: Path, size_wh: tuple[int, int], fits: list[Fit] | None, decoded_wh: tuple[int, int]
) -> None:
    frame = decode(save(tmp_path / "a.jpg", Image.new("RGB", size_wh, RED)), fits)
    assert frame.rgb.shape == (*decoded_wh[::-1], 3)
    assert frame.size_wh == size_wh
    assert np.abs(frame.rgb.astype(int) - RED).max() <= 2


def test_other_formats_are_decoded_whole(tmp_path: Path) -> None:
    assert decode(save(tmp_path / "a.png", corners(80, 40)), [Fit(long=5)]).rgb.shape == (40, 80, 3)


# Formats --------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", sorted(SUFFIXES - {".mpo", ".pbm", ".pgm"}))
def test_every_suffix_is_read(tmp_path: Path, suffix: str) -> None:
    if suffix in {".jpc", ".jpf", ".jpx", ".j2k", ".j2c"}:
        content = encoded(corners(64, 32), "JPEG2000")
    else:
        content = encoded(corners(64, 32), Image.registered_extensions().get(suffix, "JPEG"))
    path = write(tmp_path / f"a{suffix.upper()}", content)
    assert corner_names(decode(path).rgb) == "RGBK"
    assert read_header(path).size_wh == (64, 32)


def test_the_first_picture_of_an_mpo_is_read_without_a_warning(tmp_path: Path) -> None:
    second = Image.new("RGB", (64, 32))
    path = save(
        tmp_path / "a.jpg", corners(64, 32), format="MPO", save_all=True, append_images=[second]
    )
    assert read_header(path).format == "MPO"
    assert corner_names(decode(path).rgb) == "RGBK"
    assert decode(path, [Fit(long=4)]).rgb.shape == (4, 8, 3)


@pytest.mark.parametrize("suffix", [".gif", ".tif", ".png", ".webp"])
def test_the_first_of_several_pictures_is_read_with_a_warning(tmp_path: Path, suffix: str) -> None:
    rest = [Image.new("RGB", (64, 32), c) for c in (RED, WHITE)]
    path = save(tmp_path / f"a{suffix}", corners(64, 32), save_all=True, append_images=rest)
    assert read_header(path).size_wh == (64, 32)
    with pytest.warns(ImageWarning, match=r"a\.\w+: holds 3 pictures, of which the first is read"):
        assert corner_names(decode(path).rgb) == "RGBK"


def test_a_wrong_suffix_is_read_by_content_with_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jpg", encoded(corners(64, 32), "PNG"))
    with pytest.warns(ImageWarning, match=r"a\.jpg: named \.jpg but holds PNG"):
        assert corner_names(decode(path).rgb) == "RGBK"


@pytest.mark.parametrize("name", ["a", "a.upload"])
def test_a_suffix_that_names_no_format_is_no_concern(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, encoded(corners(64, 32), "PNG"))
    assert read_header(path).format == "PNG"
    assert corner_names(decode(path).rgb) == "RGBK"


# Modes and depths -----------------------------------------------------------------------------


def palette(*colours: Iterable[int]) -> Image.Image:
    image = Image.new("P", (len(colours), 1))
    image.putpalette([level for colour in colours for level in colour])
    image.putdata(range(len(colours)))
    return image


def row(mode: str, *pixels: object) -> Image.Image:
    image = Image.new(mode, (len(pixels), 1))
    image.putdata(pixels)
    return image


def greys(*levels: int) -> list[tuple[int, int, int]]:
    return [(level, level, level) for level in levels]


SIXTEEN_GREY = row("I;16", 0, 128, 129, 386, 65535)


@pytest.mark.parametrize(
    ("image", "key", "rgb", "alpha"),
    [
        pytest.param(row("1", 0, 255), None, greys(0, 255), None, id="1 bit"),
        pytest.param(row("1", 0, 255), 0, greys(0, 255), [0, 255], id="1 bit, key"),
        pytest.param(row("L", 7, 90), None, greys(7, 90), None, id="L"),
        pytest.param(row("L", 7, 90), 7, greys(7, 90), [0, 255], id="L, key"),
        pytest.param(row("LA", (7, 3), (9, 0)), None, greys(7, 9), [3, 0], id="LA"),
        pytest.param(palette(RED, BLUE), None, [RED, BLUE], None, id="P"),
        pytest.param(palette(RED, BLUE), b"\x10\xff", [RED, BLUE], [16, 255], id="P, tRNS"),
        pytest.param(palette(RED, BLUE), 1, [RED, BLUE], [255, 0], id="P, one entry"),
        pytest.param(row("RGB", RED, BLUE), BLUE, [RED, BLUE], [255, 0], id="RGB, key"),
        pytest.param(row("RGBA", (9, 8, 7, 0)), None, [(9, 8, 7)], [0], id="colour at alpha 0"),
        pytest.param(row("RGBA", (9, 8, 7, 255)), None, [(9, 8, 7)], None, id="opaque RGBA"),
        pytest.param(SIXTEEN_GREY, None, greys(0, 0, 1, 2, 255), None, id="16-bit grey"),
    ],
)
def test_modes_of_png(
    tmp_path: Path, image: Image.Image, key: object, rgb: list, alpha: list | None
) -> None:
    path = save(tmp_path / "a.png", image, **({} if key is None else {"transparency": key}))
    frame = decode(path)
    assert frame.rgb.dtype == np.uint8
    assert frame.rgb[0].tolist() == [list(colour) for colour in rgb]
    assert (frame.alpha if frame.alpha is None else frame.alpha[0].tolist()) == alpha


@pytest.mark.parametrize(
    ("image", "rgb", "alpha"),
    [
        pytest.param(row("La", (50, 100)), (127, 127, 127), 100, id="premultiplied grey"),
        pytest.param(row("RGBa", (50, 0, 0, 100)), (127, 0, 0), 100, id="premultiplied colour"),
        pytest.param(palette(RED).convert("PA"), RED, None, id="PA"),
        pytest.param(row("RGBX", (1, 2, 3, 4)), (1, 2, 3), None, id="RGBX"),
        pytest.param(row("YCbCr", (76, 85, 255)), (254, 0, 0), None, id="YCbCr"),
        pytest.param(row("CMYK", (255, 0, 0, 0)), (0, 255, 255), None, id="CMYK"),
        pytest.param(row("LAB", (255, 128, 128)), WHITE, None, id="LAB"),
        pytest.param(row("I", 65535), WHITE, None, id="32-bit integer"),
        pytest.param(row("I;16B", 32896), (128, 128, 128), None, id="16-bit big-endian"),
    ],
)
def test_modes_in_memory(image: Image.Image, rgb: tuple[int, ...], alpha: int | None) -> None:
    frame = from_pil(image)
    assert np.abs(frame.rgb[0, 0].astype(int) - rgb).max() <= 1
    assert (frame.alpha if frame.alpha is None else int(frame.alpha[0, 0])) == alpha


def test_transparency_of_a_gif(tmp_path: Path) -> None:
    frame = decode(save(tmp_path / "a.gif", palette(RED, BLUE), transparency=1))
    assert frame.rgb[0, 0].tolist() == list(RED)
    assert frame.alpha is not None
    assert frame.alpha[0].tolist() == [255, 0]


SIXTEEN = np.array([[[0, 257, 65535], [128, 386, 32896]]], ">u2")


def test_sixteen_bit_colour_is_within_a_level(tmp_path: Path) -> None:
    # Pillow itself drops the low byte: at most one level below the rounded value.
    for path in (
        write(tmp_path / "a.png", png(SIXTEEN, 2)),
        write(tmp_path / "a.tif", tiff(SIXTEEN, 16, 2)),
    ):
        assert np.abs(decode(path).rgb - SIXTEEN / 257).max() <= 1


def test_sixteen_bit_grey_tiff_is_scaled_from_its_full_range(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", tiff(SIXTEEN.reshape(1, 6, 1), 16, 1))
    assert decode(path).rgb[0, :, 0].tolist() == [0, 1, 255, 0, 2, 128]


FOUR_GREYS = np.array([[0b00_01_10_11]], np.uint8)


@pytest.mark.parametrize(
    ("colour", "depth", "values", "key", "alpha"),
    [
        pytest.param(0, 16, SIXTEEN[..., 0], b"\0\x80", [255, 0], id="16-bit grey"),
        pytest.param(2, 16, SIXTEEN, SIXTEEN[0, 1].tobytes(), [255, 0], id="16-bit colour"),
        pytest.param(0, 2, FOUR_GREYS, b"\0\1", [255, 0, 255, 255], id="2-bit grey"),
        pytest.param(0, 4, FOUR_GREYS, b"\0\1", [0, 255], id="4-bit grey"),
    ],
)
def test_colour_keys_of_other_depths(
    tmp_path: Path, colour: int, depth: int, values: np.ndarray, key: bytes, alpha: list[int]
) -> None:
    content = png(values, colour, depth, before=chunk(b"tRNS", key))
    frame = decode(write(tmp_path / "a.png", content))
    assert frame.alpha is not None
    assert frame.alpha[0].tolist() == alpha


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        pytest.param(row("F", 0.5), "floating-point.*convert it to 8 or 16 bits", id="float"),
        pytest.param(row("I", 0, 65536), "from 0 to 65536.*convert it", id="beyond 16 bits"),
        pytest.param(row("I", -1, 5), "from -1 to 5.*convert it", id="negative"),
    ],
)
def test_pixels_without_a_defined_white_are_refused(
    tmp_path: Path, image: Image.Image, reason: str
) -> None:
    with pytest.raises(ImageError, match=reason):
        decode(save(tmp_path / "a.tif", image))


def test_lab_tiff(tmp_path: Path) -> None:
    white_and_red = np.array([[(255, 0, 0), (138, 81, 70)]], np.uint8)  # a and b are signed
    rgb = decode(write(tmp_path / "a.tif", tiff(white_and_red, 8, 8))).rgb
    assert np.abs(rgb[0].astype(int) - (WHITE, (254, 0, 0))).max() <= 6


def test_arrays_are_read_only(tmp_path: Path) -> None:
    frame = decode(save(tmp_path / "a.png", Image.new("RGBA", (2, 2))))
    assert frame.alpha is not None
    assert not frame.rgb.flags.writeable
    assert not frame.alpha.flags.writeable


def test_cmyk_jpeg_keeps_its_inks(tmp_path: Path) -> None:
    rgb = decode(
        save(tmp_path / "a.jpg", Image.new("CMYK", (16, 16), (0, 255, 0, 0)), quality=98)
    ).rgb
    assert np.abs(rgb.astype(int) - (255, 0, 255)).max() <= 3


def test_ycck_jpeg_keeps_its_inks(tmp_path: Path) -> None:
    # YCCK holds cyan, magenta and yellow ink as if they were red, green and blue light, and
    # Pillow writes 255 - value. The transform byte of the Adobe marker says which it is.
    y, cb, cr = Image.new("RGB", (1, 1), (0, 255, 255)).convert("YCbCr").getpixel((0, 0))
    content = encoded(Image.new("CMYK", (16, 16), (255 - y, 255 - cb, 255 - cr, 0)), "JPEG")
    at = content.index(b"Adobe") + 11
    assert content[at] == 0
    path = write(tmp_path / "a.jpg", content[:at] + b"\2" + content[at + 1 :])
    assert np.abs(decode(path).rgb.astype(int) - RED).max() <= 4


# Colour profiles ------------------------------------------------------------------------------

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
D50 = (0.9642, 1.0, 0.8249)
ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))


def icc(kind: bytes, space: bytes, pcs: bytes, **tags: bytes) -> bytes:
    """A minimal ICC profile of version 2."""
    table, data = struct.pack(">I", len(tags)), b""
    for name, body in tags.items():
        offset = 128 + 4 + 12 * len(tags) + len(data)
        table += name.encode() + struct.pack(">II", offset, len(body))
        data += body + bytes(-len(body) % 4)
    white = xyz(D50)[8:]
    header = struct.pack(">I4sI", 132 + 12 * len(tags) + len(data), b"lcms", 0x02400000)
    header += kind + space + pcs + bytes(12) + b"acsp" + bytes(28) + white
    return header.ljust(128, b"\0") + table + data


def xyz(values: Iterable[float]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(v * 65536) for v in values))


def gamma(value: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(value * 256))


def adobe_rgb() -> bytes:
    r, g, b = map(xyz, ADOBE)
    curve = gamma(563 / 256)
    tags = {"rXYZ": r, "gXYZ": g, "bXYZ": b, "rTRC": curve, "gTRC": curve, "bTRC": curve}
    return icc(b"mntr", b"RGB ", b"XYZ ", wtpt=xyz(D50), **tags)


def linear_grey() -> bytes:
    return icc(b"mntr", b"GRAY", b"XYZ ", wtpt=xyz(D50), kTRC=gamma(1.0))


def cyan_only_ink() -> bytes:
    """A press on which cyan prints black and the other inks print nothing."""
    ramp = bytes(range(256))
    identity = struct.pack(">9i", *(65536 if i in (0, 4, 8) else 0 for i in range(9)))
    corners = b"".join(bytes((0 if i & 8 else 255, 128, 128)) for i in range(16))
    lut = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + identity + ramp * 4 + corners + ramp * 3
    return icc(b"prtr", b"CMYK", b"Lab ", wtpt=xyz(D50), A2B0=lut)


def srgb_levels(linear: np.ndarray) -> np.ndarray:
    linear = np.clip(linear, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def test_a_wide_gamut_profile_is_converted_by_the_formula(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    from_srgb = np.array(
        [(0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)]
    )
    linear = (pixels / 255) ** (563 / 256) @ np.array(ADOBE) @ np.linalg.inv(from_srgb)
    path = save(tmp_path / "a.png", Image.fromarray(pixels), icc_profile=adobe_rgb())
    rgb = decode(path).rgb
    assert np.abs(rgb - srgb_levels(linear)).max() <= 2
    assert np.abs(rgb.astype(int) - pixels).max() > 20


def test_alpha_is_kept_aside_from_the_profile(tmp_path: Path) -> None:
    image = row("RGBA", (60, 200, 60, 0), (60, 200, 60, 77))
    opaque = from_pil(save_profile(image.convert("RGB"), adobe_rgb()))
    frame = decode(save(tmp_path / "a.png", image, icc_profile=adobe_rgb()))
    assert frame.alpha is not None
    assert frame.alpha[0].tolist() == [0, 77]
    assert frame.rgb.tolist() == opaque.rgb.tolist() != np.asarray(image)[..., :3].tolist()


def save_profile(image: Image.Image, profile: bytes) -> Image.Image:
    image.info["icc_profile"] = profile
    return image


def test_a_grey_profile_is_applied(tmp_path: Path) -> None:
    levels = np.arange(0, 256, 5, dtype=np.uint8)[None]
    for suffix in (".png", ".tif"):
        path = save(tmp_path / f"a{suffix}", Image.fromarray(levels), icc_profile=linear_grey())
        expected = srgb_levels(levels / 255)[..., None]
        assert np.abs(decode(path).rgb - expected).max() <= 2


def test_a_sixteen_bit_grey_keeps_its_profile() -> None:
    rgb = from_pil(save_profile(row("I;16", 32896), linear_grey())).rgb
    assert rgb[0, 0].tolist() == pytest.approx([188] * 3, abs=2)


def test_cmyk_goes_through_its_profile(tmp_path: Path) -> None:
    for ink, level in ((0, 255), (1, 0)):
        image = Image.new("CMYK", (16, 16), (255 * ink, 255, 0, 0))
        path = save(tmp_path / "a.jpg", image, icc_profile=cyan_only_ink(), quality=98)
        assert decode(path).rgb[0, 0].tolist() == pytest.approx([level] * 3, abs=3)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1"])
def test_an_srgb_profile_changes_nothing(mode: str) -> None:
    image = corners(8, 8).convert(mode)
    assert (from_pil(save_profile(image.copy(), SRGB)).rgb == from_pil(image).rgb).all()


@pytest.mark.parametrize(
    ("image", "profile", "why"),
    [
        pytest.param(row("RGB", RED), b"nonsense", "cannot open profile", id="broken"),
        pytest.param(row("RGB", RED), adobe_rgb()[:200], "", id="cut off"),
        pytest.param(
            row("RGB", RED), linear_grey(), "for GRAY pictures.*is RGB", id="grey for RGB"
        ),
        pytest.param(row("L", 76), adobe_rgb(), "for RGB pictures.*is L", id="RGB for grey"),
        pytest.param(
            Image.new("CMYK", (1, 1)), SRGB, "for RGB pictures.*is CMYK", id="RGB for CMYK"
        ),
    ],
)
def test_an_unusable_profile_is_left_out_with_a_warning(
    image: Image.Image, profile: bytes, why: str
) -> None:
    plain = from_pil(image).rgb
    with pytest.warns(ImageWarning, match=rf"^me: read without its colour profile.*{why}"):
        assert (from_pil(save_profile(image, profile), "me").rgb == plain).all()


# Failures -------------------------------------------------------------------------------------

NOISE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 60, 3), np.uint8))
FTYP = b"\0\0\0\x18ftyp"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(encoded(NOISE, "JPEG")[:-900], "cut off before its end", id="cut JPEG"),
        pytest.param(encoded(NOISE, "PNG")[:-900], "cut off before its end", id="cut PNG"),
        pytest.param(b"\xff\xd8\xff\xe0", "damaged", id="JPEG without a body"),
        pytest.param(b"\0\1\2\3" * 20, "none of JPEG, PNG.*or its first bytes", id="unknown"),
        pytest.param(b"\n<!DOCTYPE html><html>", "hold an HTML page", id="HTML"),
        pytest.param(b'<?xml version="1.0"?>\n<svg>', "hold an SVG drawing", id="SVG"),
        pytest.param(b"%PDF-1.7\n\xe2", "hold a PDF document", id="PDF"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n", "hold a PostScript drawing", id="EPS"),
        pytest.param(FTYP + b"heic\0\0\0\0", "hold a HEIC photo; convert it to JPEG", id="HEIC"),
        pytest.param(FTYP + b"mif1\0\0\0\0heic", "hold a HEIC photo", id="HEIC named mif1"),
        pytest.param(FTYP + b"isom\0\0\0\0", "hold a video", id="video"),
        pytest.param(FTYP + b"crx \0\0\0\0", "camera raw file; export it", id="raw CR3"),
        pytest.param(b"PK\3\4\0\0", "hold an archive", id="ZIP"),
        pytest.param(b"not found\n", "hold plain text", id="text"),
        pytest.param(b"Python is fun\n", "hold plain text", id="text that looks like PPM"),
        pytest.param(png(np.zeros((0, 5, 3), np.uint8), 2, 8), "none of JPEG, PNG", id="no rows"),
        pytest.param(tiff(SIXTEEN, 16, 2, {254: (1,)}), "camera raw file", id="raw NEF"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, content: bytes, reason: str) -> None:
    path = write(tmp_path / "a.jpg", content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(
            ImageError, match=rf"a\.jpg: cannot read this image: .*{reason}"
        ) as caught:
            decode(path)
    assert caught.value.path == str(path)


def test_a_missing_file_a_folder_and_a_locked_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ImageError, match="no such file"):
        decode(tmp_path / "none.jpg")
    with pytest.raises(ImageError, match="it is a folder"):
        read_header(tmp_path)

    def locked(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", locked)
    with pytest.raises(ImageError, match="permission denied"):
        decode(tmp_path / "a.jpg")


def test_a_failing_disk_is_not_called_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "open", fails)
    with pytest.raises(ImageError, match="the system could not read it: Input/output error"):
        decode(tmp_path / "a.jpg")


def test_an_empty_picture_in_memory_is_refused() -> None:
    with pytest.raises(ImageError, match=r"me: .*empty: 0 x 5 pixels"):
        from_pil(Image.new("RGB", (0, 5)), "me")


@pytest.mark.parametrize("format", ["PNG", "TIFF", "GIF"])
def test_the_pixel_limit_is_that_of_pillow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    path = write(tmp_path / "a", encoded(Image.new("L", (2000, 1000)), format))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_100_000)
    with pytest.warns(Image.DecompressionBombWarning, match="exceeds limit of 1100000"):
        assert decode(path).size_wh == (2000, 1000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 900_000)
    for read in (read_header, decode):
        with pytest.raises(
            ImageError,
            match=r"has 2\.0 megapixels and the limit is 1\.8.*--max-meg.*MAX_IMAGE_",
        ):
            read(path)


def test_a_photo_with_a_damaged_exif_block_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    promises_three_tags = b"Exif\0\0MM\0*" + struct.pack(">IHHHIHH", 8, 3, 0x0112, 3, 1, 4, 0)
    path = save(tmp_path / "a.jpg", corners(64, 32), exif=promises_three_tags)
    with pytest.warns(UserWarning, match=r"Corrupt EXIF data\.\s+Expecting"):
        assert corner_names(decode(path).rgb) == UPRIGHT[4]


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(ImageError, match=r"a\.jpg: cannot read this image: it is no regular file"):
        decode(tmp_path / "a.jpg")


def test_threads_agree_with_one_thread(tmp_path: Path) -> None:
    paths = [
        save(
            tmp_path / f"{i}.jpg", NOISE.resize((300, 200)), icc_profile=adobe_rgb(), quality=50 + i
        )
        for i in range(16)
    ]
    alone = [decode(path).rgb for path in paths]
    with ThreadPoolExecutor(4) as pool:
        together = [frame.rgb for frame in pool.map(decode, paths)]
    assert all((a == b).all() for a, b in zip(alone, together, strict=True))


FUZZED = {
    "jpg": encoded(NOISE, "JPEG", exif=exif(6), icc_profile=adobe_rgb()),
    "cmyk": encoded(NOISE.convert("CMYK"), "JPEG", icc_profile=cyan_only_ink()),
    "mpo": encoded(NOISE, "MPO", save_all=True, append_images=[NOISE]),
    "png": encoded(NOISE, "PNG", exif=exif(6), icc_profile=adobe_rgb()),
    "palette": encoded(NOISE.quantize(16), "PNG", transparency=b"\0\x80"),
    "gif": encoded(NOISE, "GIF", save_all=True, append_images=[corners(60, 40)]),
    "webp": encoded(NOISE.convert("RGBA"), "WEBP", exif=exif(6)),
    "tiff": encoded(NOISE, "TIFF", exif=exif(6), icc_profile=adobe_rgb()),
    "lzw": encoded(NOISE, "TIFF", exif=exif(6), compression="tiff_lzw"),
    "bmp": encoded(NOISE, "BMP"),
    "ppm": encoded(NOISE, "PPM"),
    "jp2": encoded(NOISE, "JPEG2000"),
}


def damaged(content: bytes, dice: random.Random) -> bytes:
    body = bytearray(content)
    for _ in range(dice.choice((1, 1, 3))):
        # Behind the signature, and mostly in front of the pixels, where the structure is.
        body[dice.randrange(8, dice.choice((100, 1000, len(body))))] = dice.randrange(256)
    return bytes(body[: dice.randrange(len(body))] if dice.random() < 0.2 else body)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", FUZZED)
def test_damaged_files_give_a_frame_or_an_image_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)
    dice = random.Random(kind)
    for _ in range(50):
        path = write(tmp_path / "a", damaged(FUZZED[kind], dice))
        try:
            frame = decode(path, [Fit(long=8)])
            header = read_header(path)
        except ImageError:
            continue
        assert header.size_wh == frame.size_wh
