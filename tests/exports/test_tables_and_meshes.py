"""The table of objects, and meshes for other programs."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import trimesh

from visionweave import Boxes, JobError, Mesh, Origin, Tags, Text
from visionweave.exports import export_job
from visionweave.testing import make_boxes, make_cutout, make_masks, make_mesh

if TYPE_CHECKING:
    from tests.exports.conftest import JobFolder


def origin(number: int) -> Origin:
    return Origin("s/a.png", number, "red, apple", 0.5)


def test_the_whole_table(job: JobFolder) -> None:
    boxes = Boxes(
        [[0.1, 0, 8, 6], [-1, 2, 3, 4]],
        (48, 64),
        ("red, apple", "Äpfel"),
        [0.1, 1],
        ids=[4, 2],
        flags=[("small", "sparse"), ()],
    )
    masks = make_masks(boxes)
    job.add(
        "s/a.png",
        masks=masks,
        tags=Tags(("apple",)),
        cutouts=[make_cutout(origin(4))],
        captions=[Text("a b", origin(4)), Text('"c"', origin(2))],
        meshes=[],
    )
    job.add("empty.png", masks=make_masks(make_boxes(0)), captions=[])
    exported = export_job(job.out, "csv")
    areas = masks.areas.tolist()
    assert exported.path.read_text("utf-8").splitlines() == [
        "photo,object,label,score,x1,y1,x2,y2,area,flags,captions,cutouts,meshes",
        f's/a.png,4,"red, apple",0.1,0.1,0.0,8.0,6.0,{areas[0]},small sparse,'
        "a b,s/a/cutouts/0.png,",
        f's/a.png,2,Äpfel,1.0,-1.0,2.0,3.0,4.0,{areas[1]},,"""c""",,',
    ]
    assert exported.outputs_left_out == ["tags (Tags)"]
    assert exported.notes == {"photos without objects": 1}


def test_line_ends_in_names_break_no_row(job: JobFolder) -> None:
    names = ["a\rb.png", "c\nd.png", "e\r\n"]
    for name in names:
        job.add("f.png", boxes=make_boxes(1))
        job.line(name, "ok", {"boxes": "f/boxes.json"})
    job.line("f.png", "gone", {})
    data = export_job(job.out, "csv").path.read_bytes().decode()
    assert [row["photo"] for row in csv.DictReader(io.StringIO(data, newline=""))] == names
    assert data.startswith("photo,object,label,score,x1,y1,x2,y2,area,flags\n")
    assert data.endswith("\n")
    assert not data.endswith("\r\n")


def test_the_area_of_a_box_stands_in_for_that_of_a_mask(job: JobFolder) -> None:
    job.add("a.png", boxes=Boxes([[1, 2, 3.5, 4]], (48, 64)))
    (row,) = csv.DictReader(io.StringIO(export_job(job.out, "csv").path.read_text()))
    assert (row["area"], row["x2"], row["label"]) == ("5.0", "3.5", "")


@pytest.mark.parametrize("format", ["glb", "obj", "ply"])
def test_meshes_carry_label_and_photo(job: JobFolder, format: str) -> None:
    job.add("s/a.png", meshes=[make_mesh(origin(1)), make_mesh(origin(3))], masks=make_masks())
    job.add("b.png", meshes=[], masks=make_masks())
    job.line("c.png", "failed", {})
    exported = export_job(job.out, format)
    path = exported.path / f"s/a/meshes/1.{format}"
    read = trimesh.load_mesh(path, process=False)
    mesh = make_mesh(origin(3))
    np.testing.assert_allclose(read.triangles, mesh.vertices[mesh.faces])
    assert b'"photo": "s/a.png"' in path.read_bytes().replace(b'":"', b'": "')
    assert b"red, apple" in path.read_bytes()
    assert (exported.count, exported.what, exported.photos) == (2, "meshes", 2)
    assert exported.left_out == {"failed": 1}
    assert exported.outputs_left_out == ["masks (Masks)"]


def test_a_glb_says_in_its_asset_what_it_shows(job: JobFolder) -> None:
    job.add("s/a.png", mesh=make_mesh(origin(3)))
    path = export_job(job.out, "glb").path / "s/a/mesh.glb"
    data = path.read_bytes()
    tree = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])
    assert tree["asset"] == {
        "version": "2.0",
        "generator": "visionweave",
        "extras": {"photo": "s/a.png", "object": 3, "label": "red, apple", "score": 0.5},
    }
    assert Mesh.load(path) == make_mesh(origin(3))


def test_no_meshes_are_an_answer(job: JobFolder) -> None:
    job.add("a.png", meshes=[])
    exported = export_job(job.out, "ply")
    assert (exported.count, exported.photos) == (0, 1)
    assert [path.name for path in exported.path.iterdir()] == ["export.json"]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        pytest.param(None, r"out holds no meshes; there is masks \(Masks\)", id="none"),
        pytest.param("masks", r"output masks \(Masks\) holds no meshes", id="of another type"),
        pytest.param("mask", r"no output 'mask'; did you mean masks\?", id="typing error"),
    ],
)
def test_without_meshes_there_are_none_to_write(
    job: JobFolder, output: str | None, message: str
) -> None:
    job.add("a.png", masks=make_masks())
    with pytest.raises(JobError, match=message):
        export_job(job.out, "ply", output=output)


def test_one_of_several_outputs_with_meshes_may_be_chosen(job: JobFolder) -> None:
    job.add("a.png", raw=[make_mesh(origin(1))], clean=[make_mesh(origin(1))])
    assert export_job(job.out, "obj").count == 2
    chosen = export_job(job.out, "obj", output="clean")
    assert (chosen.count, chosen.outputs_left_out) == (1, ["raw (a list of Mesh)"])
    assert not (chosen.path / "a/raw").exists()
