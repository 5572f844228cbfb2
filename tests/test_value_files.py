"""A file says what it holds; one of another type or form, or a damaged one, is refused by name."""

from __future__ import annotations

import io
import json
import pickle
import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import trimesh
from PIL.PngImagePlugin import PngInfo
from safetensors.numpy import save as save_arrays

from visionweave.errors import ValueTypeError
from visionweave.values import (
    TYPES,
    Boxes,
    Cutout,
    Embedding,
    Hits,
    Image,
    Masks,
    Mesh,
    Origin,
    Points,
    Scribble,
    Tags,
    Text,
    Value,
    Views,
)

ORIGIN = Origin("street/004.jpg", 2, "apple", 0.83, (1, 2, 3, 4), ("truncated",))
DICE = np.random.default_rng(0)
PIXELS = DICE.integers(0, 256, (6, 8, 4), np.uint8)
BOXES = Boxes(
    np.array([[0, 0, 4, 4], [1, 1, 7.5, 5]], np.float32), (6, 8), ("cup", ""), photo="a.jpg"
)
SAMPLES: dict[str, Value] = {
    "Image": Image.from_array(PIXELS, origin=ORIGIN),
    "Text": Text("a red apple", ORIGIN),
    "Tags": Tags(("apple", "cup"), origin=ORIGIN),
    "Boxes": BOXES,
    "Points": Points(np.ones((2, 2), np.float32)),
    "Scribble": Scribble((np.ones((2, 2), np.float32),)),
    "Masks": Masks.from_array(DICE.random((2, 6, 8)) > 0.5, BOXES),
    "Cutout": Cutout(PIXELS, (0, 0, 8, 6), ORIGIN),
    "Embedding": Embedding.normalised(np.arange(1, 9), "clip/mini", ORIGIN),
    "Hits": Hits(("a.jpg", "b.jpg#2"), np.array([1, 0.5], np.float32), "apple"),
    "Views": Views(PIXELS[None, ..., :3], np.zeros(1), np.zeros(1), np.ones(1), 50.0, ORIGIN),
    "Mesh": Mesh(
        DICE.random((4, 3), np.float32), np.array([[0, 1, 2], [1, 2, 3]]), PIXELS[0, :4], ORIGIN
    ),
}


def test_every_type_has_a_sample() -> None:
    assert {name: type(value).__name__ for name, value in SAMPLES.items()} == {
        name: name for name in TYPES
    }


# Another type, another form ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", TYPES)
def test_a_file_of_another_type_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    for other, value in SAMPLES.items():
        path = value.save(tmp_path / f"{other}{value.SUFFIX}")
        if other == kind:
            continue
        said = rf"{other}{value.SUFFIX}: expected (a visionweave {kind}|type {kind}|a PNG|a GLB)"
        with pytest.raises(ValueTypeError, match=said):
            TYPES[kind].load(path)


def restamped(value: Value, form: int) -> bytes:
    """The file of `value`, saying that it is of another form; checksums are put right."""
    data, old, new = value.to_bytes(), b'"form": 1', b'"form": %d' % form
    if value.SUFFIX == ".png":
        picture = PIL.Image.open(io.BytesIO(data))
        info, buffer = PngInfo(), io.BytesIO()
        info.add_itxt(
            "visionweave", picture.info["visionweave"].replace(old.decode(), new.decode())
        )
        picture.save(buffer, "PNG", pnginfo=info)
        return buffer.getvalue()
    escaped = [text.replace(b'"', b'\\"') for text in (old, new)]
    changed = data.replace(old, new) if value.SUFFIX == ".json" else data.replace(*escaped)
    assert changed != data
    return changed


@pytest.mark.parametrize("kind", TYPES)
def test_a_file_of_a_later_form_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "later"
    path.write_bytes(restamped(SAMPLES[kind], form=2))
    with pytest.raises(ValueTypeError, match=rf"later: expected type {kind}, form 1; got .*form 2"):
        TYPES[kind].load(path)


def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none"):
        Text.load(tmp_path / "none.json")


# Damage -----------------------------------------------------------------------------------------


def damaged(content: bytes, dice: random.Random) -> bytes:
    body = bytearray(content)
    for _ in range(dice.choice((1, 1, 3))):
        body[dice.randrange(len(body))] = dice.randrange(256)
    return bytes(body[: dice.randrange(len(body))] if dice.random() < 0.2 else body)


@pytest.mark.parametrize("kind", TYPES)
def test_a_damaged_file_gives_a_value_or_a_value_type_error(kind: str) -> None:
    content, dice, refused = SAMPLES[kind].to_bytes(), random.Random(kind), 0
    for _ in range(300):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow and trimesh, on numbers that overflow
            try:
                value = TYPES[kind].from_bytes(damaged(content, dice))
            except ValueTypeError:
                refused += 1
            else:
                assert type(value) is TYPES[kind]
    assert refused > 100


NOTHING: list[Any] = [
    pytest.param(b"", id="empty"),
    pytest.param(b"\0" * 40, id="zeros"),
    pytest.param(b"[" * 100_000, id="brackets without end"),
    pytest.param(b"[]", id="a JSON list"),
    pytest.param(b'{"type": {}, "form": []}', id="a stamp of other types"),
    pytest.param(pickle.dumps(Text("x")), id="a pickle"),
    pytest.param(np.random.default_rng(1).bytes(200), id="noise"),
]


@pytest.mark.parametrize("content", NOTHING)
@pytest.mark.parametrize("kind", TYPES)
def test_what_is_no_value_is_refused(kind: str, content: bytes) -> None:
    with pytest.raises(ValueTypeError, match=f"expected (a visionweave|type) {kind}|a PNG|a GLB"):
        TYPES[kind].from_bytes(content)


class Bomb:
    """Its unpickling writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "it ran")


def test_no_form_runs_a_pickle(tmp_path: Path) -> None:
    bomb = np.array([Bomb(tmp_path / "ran")], object)
    array, archive = io.BytesIO(), io.BytesIO()
    np.save(array, bomb, allow_pickle=True)
    np.savez(archive, vector=bomb)
    payloads = [pickle.dumps(bomb), array.getvalue(), archive.getvalue()]
    for kind in TYPES.values():
        for payload in payloads:
            with pytest.raises(ValueTypeError, match="expected"):
                kind.from_bytes(payload)
    assert not (tmp_path / "ran").exists()
    pickle.loads(payloads[0])
    assert (tmp_path / "ran").read_text() == "it ran"  # so the payloads were live


# What the files look like -----------------------------------------------------------------------


def test_json_has_one_line_a_field() -> None:
    assert BOXES.to_bytes().decode().splitlines() == [
        "{",
        '  "type": "Boxes",',
        '  "form": 1,',
        '  "photo": "a.jpg",',
        '  "image_hw": [6, 8],',
        '  "labels": ["cup", ""],',
        '  "scores": [1.0, 1.0],',
        '  "ids": [0, 1],',
        '  "flags": [[], []],',
        '  "xyxy": [[0.0, 0.0, 4.0, 4.0], [1.0, 1.0, 7.5, 5.0]]',
        "}",
    ]


def test_others_read_the_pixels_of_a_cutout() -> None:
    picture = PIL.Image.open(io.BytesIO(SAMPLES["Cutout"].to_bytes()))
    assert (np.asarray(picture) == PIXELS).all()
    assert json.loads(picture.info["visionweave"])["origin"] == ORIGIN.to_json()


def test_others_read_the_surface_of_a_mesh() -> None:
    mesh = SAMPLES["Mesh"]
    assert isinstance(mesh, Mesh)
    scene = trimesh.load_scene(io.BytesIO(mesh.to_bytes()), file_type="glb", process=False)
    (surface,) = scene.geometry.values()
    assert (surface.vertices == mesh.vertices).all()
    assert (surface.faces == mesh.faces).all()
    assert (surface.visual.vertex_colors == mesh.colours).all()


def test_a_mesh_of_others_is_refused() -> None:
    content = trimesh.creation.box().export(file_type="glb")
    with pytest.raises(
        ValueTypeError, match="a visionweave Mesh; got a file without type and form"
    ):
        Mesh.from_bytes(content)


def test_a_safetensors_file_of_others_is_refused() -> None:
    content = save_arrays({"vector": np.ones(1, np.float32)})
    with pytest.raises(ValueTypeError, match=r"Embedding in a \.safetensors file; got KeyError"):
        Embedding.from_bytes(content)


def test_any_png_is_an_image() -> None:
    buffer = io.BytesIO()
    PIL.Image.fromarray(PIXELS).save(buffer, "PNG")
    assert Image.from_bytes(buffer.getvalue()) == Image.from_array(PIXELS)


@pytest.mark.parametrize("format", ["JPEG", "GIF", "EPS"])
def test_no_other_format_is_read_as_a_png(format: str) -> None:
    buffer = io.BytesIO()
    PIL.Image.fromarray(PIXELS[..., :3]).save(buffer, format)
    with pytest.raises(ValueTypeError, match="expected a PNG; got other data, or a damaged header"):
        Image.from_bytes(buffer.getvalue())


def test_a_png_without_alpha_is_no_cutout() -> None:
    picture = PIL.Image.open(io.BytesIO(SAMPLES["Cutout"].to_bytes()))
    info, buffer = PngInfo(), io.BytesIO()
    info.add_itxt("visionweave", picture.info["visionweave"])
    picture.convert("RGB").save(buffer, "PNG", pnginfo=info)
    with pytest.raises(
        ValueTypeError, match=r"Cutout.rgba must have shape \(H, W, 4\); got \(6, 8"
    ):
        Cutout.from_bytes(buffer.getvalue())
