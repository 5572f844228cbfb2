"""Meshes drawn, measured, cleaned and exported."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import trimesh

from visionweave import Mesh, Origin, Pipeline, Text, ValueTypeError, Views, testing
from visionweave.nodes.mesh import Camera, Clean, Measures, Render, Report, measure, silhouette
from visionweave.nodes.mesh.raster import rasterise
from visionweave.registry import replaced

ORIGIN = Origin("street/004.jpg", 2, "apple", 0.83)
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
CYAN, MAGENTA, YELLOW = (0, 255, 255), (255, 0, 255), (255, 255, 0)

Pixels = npt.NDArray[np.uint8]


def box(
    size: tuple[float, float, float] = (1, 1, 1), at: tuple[float, float, float] = (0, 0, 0)
) -> Mesh:
    """A box whose sides have vertices of their own: front red, back blue, right-hand (-x) green,
    left-hand cyan, top yellow, bottom magenta."""
    sides = (((0, 0, 1), RED), ((0, 0, -1), BLUE), ((-1, 0, 0), GREEN))
    sides += (((1, 0, 0), CYAN), ((0, 1, 0), YELLOW), ((0, -1, 0), MAGENTA))
    vertices, faces, colours = [], [], []
    for normal, colour in sides:
        n = np.array(normal, float)
        u = np.roll(n, 1)
        v = np.cross(n, u)
        first = len(vertices)
        vertices += [(n + a * u + b * v) / 2 for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
        faces += [(first, first + 1, first + 2), (first, first + 2, first + 3)]
        colours += [(*colour, 255)] * 4
    places = np.array(vertices) * size + at
    return Mesh(
        places.astype(np.float32), np.array(faces, np.int32), np.array(colours, np.uint8), ORIGIN
    )


def ball(radius: float = 0.5, at: tuple[float, float, float] = (0, 0, 0), level: int = 3) -> Mesh:
    shape = trimesh.creation.icosphere(subdivisions=level, radius=radius)
    return Mesh(
        (shape.vertices + at).astype(np.float32), shape.faces.astype(np.int32), None, ORIGIN
    )


def together(*meshes: Mesh) -> Mesh:
    starts = np.cumsum([0, *(len(each.vertices) for each in meshes)])
    faces = [each.faces + start for each, start in zip(meshes, starts, strict=False)]
    return Mesh(
        np.concatenate([each.vertices for each in meshes]),
        np.concatenate(faces).astype(np.int32),
        None,
        ORIGIN,
    )


# Drawing ----------------------------------------------------------------------------------------


def hue(image: Pixels) -> tuple[int, int, int]:
    """The pure colour of the middle pixel, however shaded."""
    middle = image[len(image) // 2, len(image) // 2]
    red, green, blue = (255 if value > middle.max() / 2 else 0 for value in middle.tolist())
    return red, green, blue


def test_the_turntable_begins_in_front_and_goes_to_the_right_hand_side() -> None:
    views = Render(views=4, elevation_deg=0, size=32)(box())
    assert [hue(image) for image in views.images] == [RED, GREEN, BLUE, CYAN]
    assert views.azimuth_deg.tolist() == [0, 90, 180, 270]
    assert views.origin == ORIGIN


@pytest.mark.parametrize(("elevation", "colour"), [(90, YELLOW), (-90, MAGENTA)])
def test_views_from_above_and_below(elevation: float, colour: tuple[int, int, int]) -> None:
    views = Render(views=1, elevation_deg=elevation, size=32)(box())
    assert hue(views.images[0]) == colour
    assert views.elevation_deg.tolist() == [elevation]


def test_a_picture_is_not_mirrored_and_not_upside_down() -> None:
    speck = box((0.1, 0.1, 0.1), at=(0.3, 0.2, 0.0))  # to the right in the photo, and up
    rows, columns = np.nonzero(silhouette(speck, Camera(0, 0, 5, 30), 64))
    assert (31 - rows.max(), columns.min() - 32) > (0, 0)
    rows, columns = np.nonzero(silhouette(speck, Camera(180, 0, 5, 30), 64))
    assert (31 - rows.max(), 31 - columns.max()) > (0, 0)


@pytest.mark.parametrize("azimuth", [0, 33, 90, 200])
@pytest.mark.parametrize("elevation", [-60, 0, 45, 90])
def test_the_whole_mesh_is_in_every_picture(azimuth: float, elevation: float) -> None:
    mesh = box((0.2, 3, 0.5), at=(5, -2, 7))
    seen = silhouette(mesh, Camera.around(mesh, azimuth, elevation, 40), 48)
    assert seen.any()
    assert seen[1:-1, 1:-1].sum() == seen.sum()  # nothing touches the border


def test_a_ball_covers_the_disc_that_perspective_says() -> None:
    seen = silhouette(ball(0.5, level=5), Camera(0, 0, 2, 40), 200)
    tangent = math.tan(math.asin(0.5 / 2)) / math.tan(math.radians(20)) * 100
    y, x = np.mgrid[:200, :200] + 0.5 - 100
    disc = np.hypot(x, y) < tangent
    assert (seen & disc).sum() / (seen | disc).sum() > 0.99


def test_pixels_on_the_seams_of_faces_are_covered() -> None:
    side = np.linspace(-1, 1, 17, dtype=np.float32)  # the seams run through the middles of pixels
    x, y = np.meshgrid(side, side)
    vertices = np.stack([x.ravel(), y.ravel(), np.zeros(17 * 17, np.float32)], axis=1)
    corner = (np.arange(16)[:, None] * 17 + np.arange(16)).reshape(-1)
    quads = np.stack([corner, corner + 1, corner + 18, corner + 17], axis=1)
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)
    camera = Camera(0, 0, 1 / math.tan(math.radians(20)), 40)
    for size in (15, 16, 31, 32):
        assert silhouette(Mesh(vertices, faces), camera, size).all()


def test_the_nearer_surface_hides_the_farther_whatever_the_order() -> None:
    near, far = box((1, 1, 0.1), (0, 0, 0.5)), box((2, 2, 0.1), (0, 0, -0.5))
    count = len(near.vertices)
    vertices = np.concatenate([near.vertices, far.vertices])
    colours = np.repeat([(*GREEN, 255), (*BLUE, 255)], count, axis=0).astype(np.uint8)
    faces = [near.faces, far.faces + np.int32(count)]
    for order in (faces, faces[::-1]):
        mesh = Mesh(vertices, np.concatenate(order), colours)
        image = Render(views=1, elevation_deg=0, size=48)(mesh).images[0]
        assert hue(image) == GREEN
        assert image[24, 15].argmax() == 2  # blue, beside the near box


def test_colours_vary_as_in_space_and_not_as_in_the_picture() -> None:
    # A floor from black (near) to white (far): its middle in space lies above the picture's.
    vertices = np.array([(-1, 0, 1), (1, 0, 1), (1, 0, -3), (-1, 0, -3)], np.float32)
    faces = np.array([(0, 1, 2), (0, 2, 3)], np.int32)
    colours = np.array([[0, 0, 0, 255]] * 2 + [[255, 255, 255, 255]] * 2, np.uint8)
    camera = Camera(0, 30, 4, 40)
    seen = rasterise(Mesh(vertices, faces, colours), camera, 64)
    rows, columns = np.nonzero(seen.faces >= 0)
    corners = faces[seen.faces[rows, columns]]
    places = np.einsum("pk,pkc->pc", seen.weights[rows, columns], vertices[corners])
    back = camera.project(places, 64)
    np.testing.assert_allclose(back[:, 0], columns + 0.5, atol=1e-3)
    np.testing.assert_allclose(back[:, 1], rows + 0.5, atol=1e-3)


def test_shading_keeps_colours_and_shows_the_shape() -> None:
    flat = Render(views=1, elevation_deg=0, size=64, background="black")(box()).images[0]
    assert flat[32, 32, 0] > 0.9 * 255  # a side that faces the camera keeps its colour
    assert flat[32, 32, 1:].tolist() == [0, 0]
    round_ = Render(views=1, elevation_deg=0, size=64, background="black")(ball(level=4)).images[0]
    grey = round_[:, :, 0].astype(int)
    assert grey[24, 24] > grey[40, 40] + 10  # lit from the upper left
    assert grey[grey > 0].min() < 0.8 * grey.max()


def test_edges_are_smooth_and_the_background_is_the_setting() -> None:
    image = Render(views=1, size=33, background="#102030")(ball(level=4)).images[0]
    assert image[0, 0].tolist() == [16, 32, 48]
    row = image[16].astype(int).sum(axis=1)
    assert len({*row.tolist()}) > 6


def test_views_carry_their_cameras() -> None:
    views = Render(views=3, elevation_deg=20, size=16, fov_deg=30)(ball(2.0))
    assert isinstance(views, Views)
    assert views.images.shape == (3, 16, 16, 3)
    assert views.fov_deg == 30
    assert views.elevation_deg.tolist() == [20, 20, 20]
    np.testing.assert_allclose(views.distance, 1.05 * 2 / math.sin(math.radians(15)), rtol=1e-5)
    assert Views.from_bytes(views.to_bytes()) == views


@pytest.mark.parametrize(
    "vertices",
    [
        pytest.param(np.zeros((3, 3)), id="all in one point"),
        pytest.param([(0, 0, 0), (1, 0, 0), (2, 0, 0)], id="on a line"),
    ],
)
def test_a_mesh_without_a_surface_draws_nothing(vertices: Any) -> None:
    mesh = Mesh(np.array(vertices, np.float32), np.array([(0, 1, 2)], np.int32))
    views = Render(views=2, size=16)(mesh)
    assert (views.images == 255).all()


def test_what_lies_behind_the_camera_is_left_out() -> None:
    mesh = together(ball(0.3), ball(0.3, (0, 0, 9)))
    camera = Camera(0, 0, 5, 40)
    assert np.array_equal(silhouette(mesh, camera, 64), silhouette(ball(0.3), camera, 64))


def test_many_large_faces_are_drawn_part_by_part() -> None:
    sheets = [box((1, 1, 0.01), (0, 0, z)) for z in np.linspace(-0.5, 0.5, 12)]
    mesh = together(*sheets)
    found = silhouette(mesh, Camera.around(mesh, 10, 10, 40), 256)
    parts = [silhouette(each, Camera.around(mesh, 10, 10, 40), 256) for each in sheets]
    assert np.array_equal(found, np.any(parts, axis=0))


# Measuring --------------------------------------------------------------------------------------


def test_a_box_is_measured_though_its_sides_share_no_vertices() -> None:
    found = measure(box((1, 2, 3)))
    assert found == Measures(24, 12, 1, True, pytest.approx(6.0), (1.0, 2.0, 3.0))


def test_parts_are_counted() -> None:
    found = measure(together(ball(0.5), ball(0.2, (2, 0, 0)), box(at=(0, 3, 0))))
    assert found.parts == 3
    assert found.watertight


def test_a_mesh_with_a_hole_has_no_volume() -> None:
    whole = box()
    found = measure(Mesh(whole.vertices, whole.faces[1:], whole.colours))
    assert (found.watertight, found.volume) == (False, None)


def test_a_mesh_turned_inside_out_has_a_negative_volume() -> None:
    whole = box()
    turned = Mesh(whole.vertices, whole.faces[:, ::-1].copy(), whole.colours)
    assert measure(turned).volume == pytest.approx(-1)


@pytest.mark.parametrize("faces", [[(0, 0, 0)], [(0, 1, 1)], [(3, 4, 5), (5, 4, 3)]], ids=str)
@pytest.mark.filterwarnings("error")
def test_a_mesh_of_collapsed_faces_alone_is_open(faces: Any) -> None:
    places = [(0, 0, 0), (1, 0, 0), (0, 1, 0), *[(2, 2, 2)] * 3]
    found = measure(Mesh(np.array(places, np.float32), np.array(faces, np.int32)))
    assert (found.watertight, found.volume) == (False, None)


def test_collapsed_faces_leave_a_whole_mesh_watertight() -> None:
    whole = ball()
    faces = np.concatenate([whole.faces, [(0, 0, 0), (3, 5, 5)]]).astype(np.int32)
    found = measure(Mesh(whole.vertices, faces))
    assert (found.watertight, found.volume) == (True, measure(whole).volume)


def test_vertices_without_a_face_count_neither_for_the_size_nor_for_the_camera() -> None:
    whole = box((1, 2, 3))
    astray = np.concatenate([whole.vertices, [(1000, 0, 0)]]).astype(np.float32)
    mesh = Mesh(astray, whole.faces)
    found = measure(mesh)
    assert (found.vertices, found.size_whd) == (25, (1.0, 2.0, 3.0))
    assert Camera.around(mesh, 10, 20, 40) == Camera.around(whole, 10, 20, 40)


def test_the_report_is_one_line_about_its_object() -> None:
    report = Report()(box((0.5, 2, 1)))
    assert report == Text(
        "watertight, 1 part, volume 1, 12 faces, 24 vertices, 0.5 wide, 2 high, 1 deep", ORIGIN
    )
    holey = Mesh(box().vertices, box().faces[1:])
    assert str(Report()(together(holey, ball(level=4, at=(3, 0, 0))))).startswith(
        "open, 2 parts, no volume, 5,131 faces, 2,586 vertices"
    )


# Cleaning ---------------------------------------------------------------------------------------


def test_small_parts_are_removed_with_their_vertices_and_colours() -> None:
    large, speck = box(), box((0.1, 0.1, 0.1), (1, 1, 1))
    assert large.colours is not None
    joined = together(large, speck)
    both = Mesh(
        joined.vertices, joined.faces, np.concatenate([large.colours, 255 - large.colours]), ORIGIN
    )
    assert Clean()(both) == large


def test_an_equal_part_stays_and_the_setting_says_what_is_small() -> None:
    mesh = together(ball(0.5), ball(0.25, (2, 0, 0)), ball(0.5, (-2, 0, 0)))
    assert Clean(min_share=0.2)(mesh) == mesh
    assert measure(Clean(min_share=0.3)(mesh)).parts == 2
    assert Clean(min_share=0)(mesh) == mesh


def test_the_largest_part_always_stays() -> None:
    assert measure(Clean(min_share=1)(together(ball(0.4), ball(0.5, (2, 0, 0))))).parts == 1


# Writing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".glb", ".obj", ".ply", ".PLY"])
@pytest.mark.parametrize("coloured", [True, False])
def test_an_exported_mesh_is_read_by_others(tmp_path: Path, suffix: str, coloured: bool) -> None:
    made = box((1, 2, 3))
    mesh = made if coloured else Mesh(made.vertices, made.faces, None, ORIGIN)
    path = mesh.export(tmp_path / f"2-apple{suffix}")
    data = path.read_bytes()
    read = trimesh.load_mesh(io.BytesIO(data), file_type=suffix[1:].lower(), process=False)
    np.testing.assert_allclose(read.triangles, mesh.vertices[mesh.faces], atol=1e-6)
    if coloured:
        corner_colours = np.asarray(read.visual.vertex_colors)[read.faces]
        assert mesh.colours is not None
        assert np.array_equal(corner_colours[:, :, :3], mesh.colours[mesh.faces][:, :, :3])
    assert b"street/004.jpg" in data
    assert b"apple" in data


def test_the_glb_is_the_one_that_is_saved(tmp_path: Path) -> None:
    assert Mesh.load(box().export(tmp_path / "box.glb")) == box()


def test_a_label_cannot_break_out_of_its_comment(tmp_path: Path) -> None:
    origin = Origin("a.jpg", 0, "mug\nv 9 9 9\n\u82f9\u679c", 0.5)
    mesh = Mesh(box().vertices, box().faces, None, origin)
    text = mesh.export(tmp_path / "mug.obj").read_text("ascii")
    assert text.splitlines()[0].startswith(
        '# visionweave {"photo": "a.jpg", "object": 0, "label": '
    )
    assert "\nv 9 9 9" not in text
    read = trimesh.load_mesh(mesh.export(tmp_path / "mug.ply"))
    assert len(read.faces) == len(mesh.faces)


def test_other_suffixes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueTypeError, match=r"box\.stl: a mesh is written as .*; got '\.stl'"):
        box().export(tmp_path / "box.stl")
    assert list(tmp_path.iterdir()) == []


# In pipelines -----------------------------------------------------------------------------------


def test_the_nodes_work_from_yaml() -> None:
    nodes: dict[str, Any] = {"mesh.render": Render, "mesh.report": Report, "mesh.clean": Clean}
    with replaced(nodes):
        pipeline = Pipeline.from_yaml(
            "visionweave: 1\ninputs: {mesh: Mesh}\nsteps:\n"
            "  clean: {node: mesh.clean, min_share: 0.5, mesh: $mesh}\n"
            "  views: {node: mesh.render, views: 2, size: 8, mesh: $clean}\n"
            "  report: {node: mesh.report, mesh: $clean}\n"
            "outputs: [views, report]\n"
        )
        result = pipeline.run(mesh=testing.make_mesh())
    assert len(result["views"]) == 2
    assert str(result["report"]).startswith("watertight, 1 part, volume 1, 12 faces, 8 vertices")
