"""Image: a photo, lazy and upright."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import PIL.Image

from visionweave import photo as files
from visionweave.arrays import freeze
from visionweave.errors import ValueTypeError
from visionweave.photo import Fit, Frame
from visionweave.photo.state import FileState, unchanged
from visionweave.values.base import Value, check_stamp, stamp, with_origin
from visionweave.values.origin import Origin
from visionweave.values.png import Pixels, composite, open_png, to_png

__all__ = ["Image"]


class Image(Value):
    """A photo: lazy, decoded once, upright by its EXIF orientation.

    Build one with `open` (a file, which nothing reads until its size or pixels are asked for),
    `from_array` or `from_pil`. Everything that is said of it (`size_wh`, boxes, masks) is in pixels
    of the full, upright photo, also when its file was decoded at a reduced scale.

    Attributes:
        origin: the photo's name and, for a crop, the object that it shows.
    """

    __slots__ = ("_file", "_fits", "_frame", "_lock", "_path", "_pixels", "_size_wh", "origin")
    SUFFIX = ".png"
    origin: Origin
    _path: Path | None
    _file: tuple[FileState, str] | None
    _fits: tuple[Fit, ...] | None
    _frame: Frame | None
    _pixels: Pixels | None
    _size_wh: tuple[int, int] | None
    _lock: threading.Lock

    def __init__(self) -> None:
        raise TypeError("build an Image with Image.open, Image.from_array or Image.from_pil")

    @classmethod
    def _make(cls, origin: Origin, path: Path | None = None, frame: Frame | None = None) -> Self:
        self = object.__new__(cls)
        size_wh = None if frame is None else frame.size_wh
        fields = dict.fromkeys(("_file", "_fits", "_pixels"))
        fields |= {"origin": origin, "_path": path, "_frame": frame, "_size_wh": size_wh}
        self._set(_lock=threading.Lock(), **fields)
        return self

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        photo: str | None = None,
        fits: Sequence[Fit] | None = None,
    ) -> Self:
        """A photo in a file, unread as yet: a bad file raises ImageError when it is first used.

        Args:
            path: the file.
            photo: the photo's name; the path as given when None. A file name that is no Unicode
                is written with escapes.
            fits: the sizes that all who will read it shrink it to; a JPEG is then decoded at the
                smallest scale that serves them. None: full resolution.
        """
        name = os.fspath(path) if photo is None else photo
        origin = Origin(name.encode("utf-8", "backslashreplace").decode())
        image = cls._make(origin, Path(path))
        image._set(_fits=None if fits is None else tuple(fits))
        return image

    @classmethod
    def from_array(
        cls, pixels: npt.ArrayLike, photo: str = "", origin: Origin | None = None
    ) -> Self:
        """A photo from (H, W, 3) RGB or (H, W, 4) RGBA uint8 pixels, upright.

        Args:
            pixels: they are not copied; an alpha that is 255 throughout is dropped.
            photo: the photo's name.
            origin: in its place, for a picture of one object: photo, object, label and all.
        """
        array = np.asarray(pixels)
        channels = 4 if array.ndim == 3 and array.shape[2] == 4 else 3
        array = freeze("pixels", array, np.uint8, f"H W {channels}")
        if 0 in array.shape:
            raise ValueTypeError(f"pixels must have at least one pixel; got {array.shape}")
        alpha = array[:, :, 3] if channels == 4 and array[:, :, 3].min() < 255 else None
        size_wh = (array.shape[1], array.shape[0])
        if origin is None:
            origin = Origin(photo)
        return cls._make(origin, frame=Frame(array[:, :, :3], alpha, size_wh))

    @classmethod
    def from_pil(cls, image: PIL.Image.Image, photo: str = "") -> Self:
        """A photo from a Pillow image of any mode, turned upright and converted to sRGB."""
        return cls._make(Origin(photo), frame=files.from_pil(image, photo or "image"))

    @classmethod
    def coerce(cls, data: Any) -> Self:
        """Accept also a path, an array or a Pillow image.

        Raises:
            ValueTypeError: `data` is none of these, or an array of another dtype or shape.
            ImageError: the Pillow image cannot be converted.
        """
        if isinstance(data, (str, os.PathLike)):
            return cls.open(data)
        if isinstance(data, np.ndarray):
            return cls.from_array(data)
        if isinstance(data, PIL.Image.Image):
            return cls.from_pil(data)
        return super().coerce(data)

    def for_fits(self, fits: Sequence[Fit] | None) -> Self:
        """The same photo, to be decoded for consumers that all shrink it to one of `fits`.

        With None it is decoded in full. It is another object, so that its pixels are gone when that
        one is; a photo that is not in a file, or is decoded already, is returned as it is.
        """
        if self._path is None or self._frame is not None:
            return self
        image = self.closed()
        if fits is not None:
            image._set(_fits=tuple(fits))
        return image

    def held_to(self, state: FileState, sha256: str) -> Self:
        """The same photo, whose file was hashed when it was in `state`, and may not change.

        Reading it raises ImageError when the file is not in that state any more.
        """
        assert self._path is not None
        image = self.closed()
        image._set(_file=(state, sha256))
        return image

    def closed(self) -> Self:
        """The same photo, with its pixels in the file alone where it has one."""
        if self._path is None:
            return self
        image = self._make(self.origin, self._path)
        image._set(_fits=self._fits, _file=self._file)
        return image

    @property
    def held(self) -> tuple[FileState, str] | None:
        """The state and sha256 of its file that the photo is held to; None where it is not."""
        return self._file

    @property
    def fits(self) -> tuple[Fit, ...] | None:
        """The sizes that it is decoded for; None for full resolution."""
        return self._fits

    @property
    def path(self) -> Path | None:
        """The file that the photo is in; None for pixels in memory."""
        return self._path

    @property
    def size_wh(self) -> tuple[int, int]:
        """(width, height) of the full, upright photo; reads the file's header at most."""
        if self._size_wh is None:
            self._set(_size_wh=files.read_header(self._known_path()).size_wh)
        assert self._size_wh is not None
        return self._size_wh

    @property
    def decoded_bytes(self) -> int:
        """How much memory `decode` takes, or has taken; reads the file's header at most."""
        if self._frame is not None:
            return self._frame.rgb.nbytes
        header = files.read_header(self._known_path())
        divisor = files.reduction(header, self._fits)
        width, height = (math.ceil(side / divisor) for side in header.size_wh)
        return 3 * width * height

    @property
    def image_hw(self) -> tuple[int, int]:
        """(height, width): `size_wh` the other way round, as arrays have it."""
        width, height = self.size_wh
        return height, width

    @property
    def pixels(self) -> Pixels:
        """(H, W, 3) RGB uint8, read-only, at full resolution; alpha is composited over white.

        Raises:
            ImageError: the file cannot be read.
        """
        return self._opaque(self._full())

    @property
    def alpha(self) -> Pixels | None:
        """(H, W) uint8, read-only, 255 is opaque; None where the photo has no transparency."""
        return self._decoded().alpha

    def shrunk(self, fit: Fit) -> Pixels:
        """(h, w, 3) RGB uint8, read-only: at least as large as `fit` asks, where the photo is.

        What a node that resizes for its model should read: a photo that nobody needs at full
        resolution is decoded at a reduced scale. Multiply the photo's coordinates by
        w / size_wh[0] and h / size_wh[1].
        """
        frame = self._decoded()
        width, height = (side * fit.scale(self.size_wh) for side in self.size_wh)
        enough = frame.rgb.shape[1] >= width and frame.rgb.shape[0] >= height
        return self._opaque(frame) if enough else self.pixels

    def to_pil(self) -> PIL.Image.Image:
        """The full photo as a Pillow image: RGB, or RGBA where it has transparency."""
        frame = self._full()
        straight = frame.rgb if frame.alpha is None else np.dstack([frame.rgb, frame.alpha])
        return PIL.Image.fromarray(straight)

    def to_bytes(self) -> bytes:
        """Return an 8-bit RGB or RGBA PNG of the full photo; its name is in a text chunk."""
        return to_png(self.to_pil(), stamp("Image") | {"origin": self.origin.to_json()})

    @classmethod
    def _read(cls, data: bytes) -> Self:
        picture, note = open_png(data)
        fields = {} if note is None else check_stamp("Image", note)  # any PNG is an Image
        frame = files.from_pil(picture, "image")
        return cls._make(with_origin(fields)["origin"], frame=frame)

    def decode(self) -> None:
        """Read the pixels now, unless that is done: at full resolution, or for `fits`.

        Raises:
            ImageError: the file cannot be read.
        """
        self._decoded()

    def _decoded(self) -> Frame:
        with self._lock:
            if self._frame is None:
                frame = self._read_file(self._fits)
                self._set(_frame=frame, _size_wh=frame.size_wh)
            assert self._frame is not None
            return self._frame

    def _full(self) -> Frame:
        """The frame at full resolution, decoded again where less was foreseen to be enough."""
        frame = self._decoded()
        if frame.rgb.shape[:2] == self.image_hw:
            return frame
        with self._lock:
            if self._frame is frame:  # else another thread did it meanwhile
                self._set(_frame=self._read_file(None))
            assert self._frame is not None
            return self._frame

    def _read_file(self, fits: Sequence[Fit] | None) -> Frame:
        path = self._known_path()
        with unchanged(path, None if self._file is None else self._file[0]):
            return files.decode(path, fits)

    def _known_path(self) -> Path:
        assert self._path is not None, "asked of a photo in a file alone"
        return self._path

    def _opaque(self, frame: Frame) -> Pixels:
        if frame.alpha is None:
            return frame.rgb
        with self._lock:
            if self._pixels is None:
                self._set(_pixels=composite(frame.rgb, frame.alpha, (255, 255, 255)))
            assert self._pixels is not None
            return self._pixels

    def _fields(self) -> dict[str, Any]:
        frame = self._full()
        return {"origin": self.origin, "pixels": frame.rgb, "alpha": frame.alpha}

    def __repr__(self) -> str:
        where = "pixels in memory" if self._path is None else f"file {os.fspath(self._path)!r}"
        size = "size unread" if self._size_wh is None else "{}x{}".format(*self._size_wh)
        return f"Image({self.origin.photo!r}, {size}, {where})"

    def _set(self, **fields: Any) -> None:
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"an Image is frozen; cannot set {name!r}")
