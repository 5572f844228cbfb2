"""Opening image files with Pillow: what is accepted, what a failure means, who hears a warning."""

from __future__ import annotations

import errno
import os
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import Image, PngImagePlugin, TiffImagePlugin, UnidentifiedImageError, features

from visionweave.errors import ImageError, ImageWarning

__all__ = ["SUFFIXES", "opened", "reading", "remarks"]

_SUFFIXES_OF = {
    "JPEG": ".jpg .jpeg .jpe .jfif .mpo",
    "PNG": ".png .apng",
    "WEBP": ".webp",
    "TIFF": ".tif .tiff",
    "BMP": ".bmp .dib",
    "GIF": ".gif",
    "PPM": ".ppm .pgm .pbm .pnm",
}
if features.check("avif"):
    _SUFFIXES_OF["AVIF"] = ".avif .avifs"
if features.check("jpg_2000"):
    _SUFFIXES_OF["JPEG2000"] = ".jp2 .j2k .jpc .jpf .jpx .j2c"

_FORMAT_OF = {s: name for name, suffixes in _SUFFIXES_OF.items() for s in suffixes.split()}
_SAME_FORMAT = {"MPO": "JPEG", "DIB": "BMP"}  # Pillow's names for variants of one format
_OPENABLE = (*_SUFFIXES_OF, "DIB")  # JPEG opens MPO too

SUFFIXES = frozenset(_FORMAT_OF)
"""The lower-case suffixes of the files that `decode` reads, such as ".jpg"."""

_MARKUP = rb"(\xef\xbb\xbf)?\s*(<\?xml.*|<!--.*)?"
_RAW = "a camera raw file; export it as TIFF or JPEG"
_OTHER_CONTENTS = tuple(
    (re.compile(pattern, re.DOTALL | re.IGNORECASE), what)
    for pattern, what in (
        (rb"....ftyp(hei|hev|mif1|msf1)", "a HEIC photo; convert it to JPEG"),
        (rb"....ftypcrx|IIR[OS]|MMOR|IIU\0|FUJIFILMCCD-RAW", _RAW),
        (rb"....ftyp(?!avi)|RIFF....AVI |\x1aE\xdf\xa3", "a video"),
        (rb"%PDF-", "a PDF document; export its pages as PNG"),
        (rb"%!PS|\xc5\xd0\xd3\xc6", "a PostScript drawing; export it as PNG"),
        (rb"8BPS", "a Photoshop document; export it as TIFF or PNG"),
        (rb"PK\x03\x04|\x1f\x8b|Rar!|7z\xbc\xaf", "an archive (ZIP or similar)"),
        (_MARKUP + rb"<(!doctype )?svg", "an SVG drawing"),
        (_MARKUP + rb"<(!doctype html|html|head|body)", "an HTML page"),
        (rb"(\xef\xbb\xbf)?[\t\n\r\x20-\x7e]+$", "plain text"),
    )
)


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open a file, within `reading`, as a picture whose pixels are not loaded yet.

    Raises:
        ImageError: the file is empty, or holds something else that can be named.
        Exception: what Pillow or the system raises; `reading` makes it an ImageError.
    """
    name = str(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ImageError(name, "it is no regular file")  # opening a pipe would wait for ever
    with path.open("rb") as file:
        head = file.read(512)
        if not head:
            raise ImageError(name, "the file is empty (0 bytes)")
        try:
            image = Image.open(file, formats=_OPENABLE)
        except Image.DecompressionBombError:
            raise
        except Exception as error:
            for pattern, what in _OTHER_CONTENTS:
                if pattern.match(head):
                    raise ImageError(name, f"it seems to hold {what}") from error
            raise
        if isinstance(image, PngImagePlugin.PngImageFile):
            _mend_png(image, file)
        elif isinstance(image, TiffImagePlugin.TiffImageFile) and _is_raw(image, head):
            raise ImageError(name, f"it seems to hold {_RAW}")
        yield image


def _is_raw(image: TiffImagePlugin.TiffImageFile, head: bytes) -> bool:
    """Tell a camera raw file, which opens as a TIFF of its thumbnail, from a true TIFF."""
    new_subfile_type, dng_version = 254, 50706
    thumbnail = image.tag_v2.get(new_subfile_type) == 1
    return thumbnail or dng_version in image.tag_v2 or head[8:10] == b"CR"


def _mend_png(image: PngImagePlugin.PngImageFile, file: BinaryIO) -> None:
    """Put right in `image.info` what Pillow knows too late or in the wrong scale."""
    key, raw_mode = image.info.get("transparency"), image.tile[0].args
    if isinstance(key, int) and raw_mode in ("L;2", "L;4"):
        image.info["transparency"] = key * (85 if raw_mode == "L;2" else 17)
    elif isinstance(key, tuple) and raw_mode == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in key)
    if "exif" not in image.info and (exif := _late_exif(file)):
        image.info["exif"] = exif


def _late_exif(file: BinaryIO) -> bytes:
    """Return the eXIf chunk of a PNG wherever it is, b"" without one; the position is kept."""
    position = file.tell()
    try:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind == b"eXIf":
                return file.read(length)
            file.seek(length + 4, os.SEEK_CUR)
        return b""
    finally:
        file.seek(position)


def remarks(image: Image.Image, path: Path) -> Iterator[str]:
    """Yield what its owner should know of a file that can be read."""
    holds = image.format or ""
    named = _FORMAT_OF.get(path.suffix.lower())
    if named not in (None, _SAME_FORMAT.get(holds, holds)):
        yield f"named {path.suffix} but holds {holds}"
    frames = getattr(image, "n_frames", 1)
    # The further pictures of an MPO are previews and second views of the same photo.
    if frames > 1 and holds != "MPO":
        yield f"holds {frames} pictures, of which the first is read"


_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (FileNotFoundError, "there is no such file"),
    (IsADirectoryError, "it is a folder, not an image file"),
    (PermissionError, "permission denied; this user may not read it"),
    (MemoryError, "there is not enough memory for its pixels"),
    (
        UnidentifiedImageError,
        f"it is none of {', '.join(_SUFFIXES_OF)}, or its first bytes are damaged",
    ),
)


def _reason(error: Exception) -> str:
    """Say in plain words why opening or decoding failed."""
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            return reason
    text = str(error) or type(error).__name__
    if isinstance(error, Image.DecompressionBombError):
        pixels = re.search(r"\d+", text)
        count = f"{int(pixels[0]) / 1e6:,.1f}" if pixels else "too many"
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        return (
            f"it has {count} megapixels and the limit is {limit:,.1f}; "
            "to read it all the same, add --max-megapixels with a larger number; in Python, set "
            "PIL.Image.MAX_IMAGE_PIXELS higher"
        )
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
        # EINVAL is a seek to a place that damaged data names.
        return f"the system could not read it: {error.strerror}"
    if "truncated" in text.lower():
        return f"the file is cut off before its end ({text})"
    return f"its data is damaged ({text})"


@contextmanager
def reading(name: str) -> Iterator[list[str]]:
    """Turn every exception of the block into ImageError, and every note into ImageWarning.

    Yields:
        the list that takes the notes.
    """
    notes: list[str] = []
    try:
        yield notes
    except (ImageError, Warning):  # a warning raised: its filter says "error"
        raise
    except Exception as error:  # damaged files make Pillow raise nearly anything
        raise ImageError(name, _reason(error)) from error
    for note in dict.fromkeys(notes):
        warnings.warn(f"{name}: {note}", ImageWarning, stacklevel=4)  # the caller of decode()
