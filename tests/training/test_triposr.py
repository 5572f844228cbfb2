"""What TripoSR learns from is true, it can learn it, and the node reads what it has learnt."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from training.models import _triposr_shots
from training.models._triposr_inflate import HALF_SIDE, inflate, on_picture, to_space
from training.models._triposr_items import cut_out, inflated, solid_item
from training.models._triposr_measure import drawings, iou, mesh_of, silhouette_iou, solids
from training.models._triposr_shots import Shot, placed_solid, shot, take
from training.models._triposr_solids import SHAPES, Part, Solid, turn
from training.models._triposr_start import begin
from training.models._triposr_things import THINGS
from training.models.triposr import CONFIG, UNSEEN, Training
from training.world import TRAINED, World
from visionweave import Mesh, Runtime
from visionweave.nodes import triposr
from visionweave.nodes.mesh import measure
from visionweave.nodes.triposr.config import Config
from visionweave.nodes.triposr.net import TripoSR, build
from visionweave.nodes.triposr.surface import extract, to_gltf

SMALL = CONFIG.model_copy(
    update={"image_size": 48, "plane_side": 6, "position_side": 6, "image_layers": 1, "layers": 1}
    | {"image_width": 96, "width": 96, "image_mlp": 96, "mlp": 96, "resolution": 32}
)


class Small(Training):
    """The training of a network that takes no time."""

    config = SMALL
    points = 256
    schedule = dataclasses.replace(Training.schedule, batch=4)
    solid_share = 0.25


@pytest.fixture(autouse=True)
def shots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for shots."""
    folder = tmp_path / "shots"
    monkeypatch.setattr(_triposr_shots, "FOLDER", folder)
    return folder


def disc(side: int = 96, radius: float = 40) -> npt.NDArray[np.bool_]:
    axis = np.arange(side) + 0.5 - side / 2
    return np.hypot(axis[:, None], axis) < radius


def volume(solid: object, resolution: int = 64, radius: float = 0.62) -> npt.NDArray[np.float32]:
    """Densities of what is inside, on a grid: a mesh of the truth."""
    axis = np.linspace(-radius, radius, resolution, dtype=np.float32)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = solid.inside(points).reshape((resolution,) * 3)  # type: ignore[attr-defined]
    return np.where(inside, np.float32(100), np.float32(1))


# Drawings as solids -----------------------------------------------------------------------------


def test_a_point_in_space_appears_where_its_ray_meets_the_picture() -> None:
    seen = np.float32([[0.3, -0.2], [0, 0.5]])
    x = np.float32([0.4, -0.5])
    points = to_space(seen, x)
    np.testing.assert_allclose(points[0], [0.4, 0.3 * 1.5 / 1.9, -0.2 * 1.5 / 1.9], rtol=1e-6)
    np.testing.assert_allclose(on_picture(points), seen, atol=1e-6)


def test_a_disc_is_inflated_to_a_flattened_ball() -> None:
    solid = inflate(disc(), np.zeros((96, 96, 3), np.float32))
    radius = 40 / 48 * HALF_SIDE
    axis = (np.arange(96) + 0.5 - 48) / 48 * HALF_SIDE
    across = np.hypot(axis[:, None], axis)
    ball = np.sqrt((radius**2 - across**2).clip(0))
    expected = np.sqrt(ball * (ball / 2 + 1 / 18))
    inner = across < 0.9 * radius  # a rim of pixels is not quite round
    np.testing.assert_allclose(solid.half[inner], expected[inner], atol=0.03)
    assert not solid.half[~disc()].any()


def test_a_thin_part_is_thicker_than_wide_and_a_large_one_flatter() -> None:
    mask = np.zeros((96, 96), bool)
    mask[8:88, 10:12] = True  # a stick, 2 pixels wide
    mask[20:80, 30:90] = True
    solid = inflate(mask, np.zeros((96, 96, 3), np.float32))
    pixel = 2 * HALF_SIDE / 96
    assert 1.2 * pixel < solid.half[40, 10] < 4 * pixel
    assert 0.6 * 30 * pixel < solid.half[50, 60] < 0.9 * 30 * pixel


def test_the_true_solid_of_a_drawing_covers_its_cutout() -> None:
    world = World(TRAINED, split="test", only=UNSEEN)
    rng = np.random.default_rng(3)
    for _ in range(3):
        cutout = cut_out(rng, world, exactly=True)
        solid, _ = inflated(cutout, CONFIG.image_size)
        vertices, faces = extract(volume(solid, 96), 25, CONFIG.radius)
        mesh = Mesh(to_gltf(vertices), faces)
        assert silhouette_iou(mesh, cutout, 128) > 0.9
        assert measure(mesh).watertight


def test_the_points_of_a_drawing_are_in_the_cube_and_their_colours_are_the_pictures() -> None:
    task = Small()
    task.solid_share = 0
    batch = task.batch(np.random.default_rng(0), 0.5)
    assert np.abs(batch["points"]).max() <= SMALL.radius
    assert 0.15 < batch["occupied"].mean() < 0.5
    assert not batch["coloured"][~batch["occupied"]].any()
    seen = on_picture(batch["points"][0])
    column, row = ((seen * [1, -1] / HALF_SIDE + 1) * 24).astype(int).clip(0, 47).T
    coloured = batch["coloured"][0]
    off = np.abs(batch["picture"][0][row, column] - batch["colours"][0])[coloured]
    assert np.median(off) < 0.1


# Procedural solids ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_a_distance_is_zero_on_the_surface_and_grows_by_one_per_unit(name: str) -> None:
    part = Part(name, (0.5, 0.3, 0.4), (0.1, 0.2, -0.1), turn(0.3, 0.5, 0.7))
    points = np.random.default_rng(0).uniform(-1, 1, (4000, 3)).astype(np.float32)
    distance = part.distance(points)
    step = np.float32(1e-2)
    slope = np.stack(
        [(part.distance(points + d) - part.distance(points - d)) / (2 * step)
         for d in np.eye(3, dtype=np.float32) * step],
        axis=1,
    )  # fmt: skip
    outside = distance > 0.03
    # But for a few points that are as far from one side as from another.
    assert np.mean(np.abs(np.linalg.norm(slope[outside], axis=1) - 1) < 0.01) > 0.98
    foot = (points - distance[:, None] * slope)[outside]
    assert np.quantile(np.abs(part.distance(foot)), 0.98) < 0.01
    assert (distance < 0).any()


def test_what_is_hollowed_out_is_empty() -> None:
    cup = Solid((Part("cylinder", (0.5, 0, 0.5)), Part("ball", (0.3,), hollow=True)), np.eye(3))
    distance, _ = cup.distance(np.float32([[0, 0, 0], [0.4, 0, 0], [0.6, 0, 0]]))
    np.testing.assert_allclose(distance, [0.3, -0.1, 0.1], atol=1e-6)


@pytest.mark.parametrize("thing", THINGS, ids=lambda thing: thing.__name__)
def test_every_thing_has_parts_that_hold_together(thing: object) -> None:
    solid = Solid(thing(np.random.default_rng(1)), np.eye(3))  # type: ignore[operator]
    axis = np.linspace(-2.2, 2.2, 80, dtype=np.float32)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    distance = solid.distance(points)[0].reshape(80, 80, 80)
    assert distance[0].min() > 0
    vertices, faces = extract(np.exp(math.log(25) - 20 * distance), 25, 2.2)
    assert measure(Mesh(vertices, faces)).parts <= 2  # a hollow would be a second one


def test_a_shot_is_framed_as_a_cutout_is_and_shows_what_its_points_say() -> None:
    taken = take(placed_solid("test", 4), 0, 96, 0.62)
    rows, columns = np.nonzero(taken.mask)
    longest = max(np.ptp(rows), np.ptp(columns)) + 1
    assert longest == pytest.approx(0.85 * 96, abs=3)
    inside = taken.points[taken.distances < 0]
    column, row = ((on_picture(inside) * [1, -1] / HALF_SIDE + 1) * 48).astype(int).T
    assert taken.mask[row, column].mean() > 0.98
    np.testing.assert_allclose(np.linalg.norm(taken.normals[taken.mask], axis=1), 1, atol=1e-3)
    facing = taken.normals[taken.mask] @ [1, 0, 0] > -0.1  # but where an edge rounds its normal
    assert facing.mean() > 0.97


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_shot_shows_what_its_turned_points_say(quarters: int, mirrored: bool) -> None:
    turned = take(placed_solid("test", 4), 0, 48, 0.62).turned(quarters, mirrored)
    inside = turned.points[turned.distances < 0]
    column, row = ((on_picture(inside) * [1, -1] / HALF_SIDE + 1) * 24).astype(int).T
    assert turned.mask[row, column].mean() > 0.96


def test_a_shot_is_taken_once_and_read_back_the_same(shots: Path) -> None:
    first = shot("test", 1, 32, 0.62)
    (kept,) = shots.rglob("*.npz")
    before = kept.stat().st_mtime_ns
    again = shot("test", 1, 32, 0.62)
    assert kept.stat().st_mtime_ns == before
    for name in Shot.__slots__:
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    kept.write_bytes(b"broken")
    np.testing.assert_array_equal(shot("test", 1, 32, 0.62).points, first.points)


def test_a_solid_is_painted_and_lit_anew_each_time() -> None:
    rng = np.random.default_rng(0)
    one, other = (solid_item(rng, "test", 2, SMALL, 64) for _ in range(2))
    assert one.picture.shape == (48, 48, 3)
    assert np.abs(one.picture - other.picture).max() > 0.1
    np.testing.assert_array_equal(one.picture == 0.5, other.picture == 0.5)


# Learning ---------------------------------------------------------------------------------------


def test_a_plane_of_the_first_network_looks_at_the_pixels_in_front_of_it() -> None:
    torch.manual_seed(0)
    network = begin(CONFIG)
    picture = torch.full((1, 96, 96, 3), 0.5)
    with torch.inference_mode():
        plain = network(picture)
        changed = picture.clone()
        changed[:, :24, 72:] = 1  # above, to the right: +z, +y
        difference = (network(changed) - plain).abs().mean(dim=2)[0]  # 3 24 24: xy, xz, yz
    places = [np.unravel_index(int(each.flatten().argmax()), (24, 24)) for each in difference]
    (y_of_xy, _), (z_of_xz, _), (z_of_yz, y_of_yz) = places
    assert min(y_of_xy, z_of_xz, z_of_yz, y_of_yz) >= 16


def test_the_loss_falls_on_one_batch_seen_again_and_again() -> None:
    torch.manual_seed(0)
    task = Small()
    batch = {k: torch.from_numpy(v) for k, v in task.batch(np.random.default_rng(0), 0.5).items()}
    network = task.network()
    optimizer = torch.optim.AdamW(task.parameters(network), 2e-3)
    losses = []
    for _ in range(30):
        terms = task.loss(network, batch, 0.0)
        losses.append({name: float(term.detach()) for name, term in terms.items()})
        optimizer.zero_grad()
        sum(terms.values(), torch.zeros(())).backward()
        optimizer.step()
    assert losses[-1]["occupied"] < 0.7 * losses[0]["occupied"]
    assert losses[-1]["colour"] < 0.9 * losses[0]["colour"]


def test_positions_need_one_width() -> None:
    with pytest.raises(ValueError, match="image_width 96 must be the width, 192"):
        begin(Config(image_width=96, width=192))


def test_measures_are_shares_and_the_truth_agrees_with_itself() -> None:
    torch.manual_seed(0)
    network = begin(SMALL)
    with torch.no_grad():
        network.decoder.layers[-1].bias[0] = 2.0  # everything is solid
    with torch.inference_mode():
        found = drawings(network, World(TRAINED, "test", only=UNSEEN), 2, meshes=1)
        found |= solids(network, 1)
    assert all(0 < value <= 1 for value in found.values())
    assert found["watertight"] == 1
    assert iou(disc(), disc()) == 1
    assert iou(disc(), ~disc()) == 0


def test_an_exported_network_is_read_by_the_node_and_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network = begin(SMALL)
    with torch.no_grad():
        network.decoder.layers[-1].weight[0] *= 50  # so that there is a surface
    monkeypatch.setenv("VISIONWEAVE_WEIGHTS", str(tmp_path))
    folder = tmp_path / "mini-small"
    folder.mkdir()
    Small().export(network, folder)
    write_row(tmp_path, folder)
    node = triposr.Mesh("mini-small")
    node.ensure_loaded(Runtime.get("cpu", "fp32"))
    cutout = cut_out(np.random.default_rng(0), World(TRAINED, "test", only=UNSEEN))
    mesh = node(cutout)
    picture = torch.from_numpy(inflated(cutout, SMALL.image_size)[1])
    exact = build(SMALL, {k: v.half() for k, v in network.state_dict().items()}, "cpu")
    with torch.inference_mode():
        expected = mesh_of(exact, exact(picture[None])[0])
    assert isinstance(exact, TripoSR)
    assert expected is not None
    np.testing.assert_allclose(mesh.vertices, expected.vertices, atol=1e-5)
    np.testing.assert_array_equal(mesh.faces, expected.faces)


def write_row(store: Path, folder: Path) -> None:
    """List what was exported, as `ship` does."""
    weights = folder / "model.safetensors"
    config = json.loads((folder / "entry.json").read_text())["config"]
    assert weights.stat().st_size < 12_000_000
    sizes = ", ".join(f"{name} = {json.dumps(value)}" for name, value in config.items())
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    (store / "weights.lock").write_text(
        '[checkpoint."mini-small"]\nfamily = "triposr"\nlicense = "Apache-2.0"\n'
        'commercial = "yes"\n'
        f'files = [{{ name = "model.safetensors", sha256 = "{sha256}" }}]\n'
        f"config = {{ {sizes} }}\n"
    )
