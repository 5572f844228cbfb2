"""TripoSR on a tiny random model: its picture, its frame, and what the node gives and refuses."""

from __future__ import annotations

import hashlib
import json
import math
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
import trimesh
from safetensors.torch import save_file
from torch import Tensor

import visionweave as vw
from visionweave import Cutout, Origin, Pipeline, Runtime, ValueTypeError, WeightsError
from visionweave.nodes import triposr
from visionweave.nodes.mesh import Camera, Render, measure, silhouette
from visionweave.nodes.triposr.config import Config, read_config
from visionweave.nodes.triposr.input import framed, over_grey
from visionweave.nodes.triposr.net import TripoSR, build
from visionweave.nodes.triposr.surface import extract, to_gltf
from visionweave.registry import replaced
from visionweave.weights import checkpoint

TINY = Config(
    image_size=32,
    patch_size=8,
    position_side=3,
    image_width=32,
    image_layers=2,
    image_heads=2,
    image_mlp=64,
    plane_side=4,
    width=64,
    layers=2,
    heads=4,
    mlp=96,
    features=8,
    field_width=16,
    field_layers=3,
    resolution=24,
)
LOG_25 = math.log(25)


def random_tensors(config: Config, seed: int = 0) -> dict[str, Tensor]:
    """Weights with which the picture matters, and about half of the cube is solid."""
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        shapes = {name: each.shape for name, each in TripoSR(config).state_dict().items()}
    tensors = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        is_scale = "norm" in name and name.endswith("weight")
        fan_in = math.prod(shape[1:]) if name.endswith("weight") else 1
        gain = 3 if ".attn2." in name else 1  # where the picture comes in
        tensors[name] = 1 + 0.1 * noise if is_scale else gain * noise / math.sqrt(fan_in)
    upsample, last = "post_processor.upsample", f"decoder.layers.{2 * config.field_layers}"
    images = torch.rand(1, 32, 32, 3, generator=generator)
    with torch.inference_mode():
        scale = build(config, tensors, "cpu")(images).std()
        tensors[f"{upsample}.weight"] /= scale
        tensors[f"{upsample}.bias"] /= scale
        model = build(config, tensors, "cpu")
        raw = model.decoder.grid(model(images)[0], 24)
        tensors[f"{last}.weight"][0] *= 2 / raw.std()
        tensors[f"{last}.bias"][0] = 0
        raw = build(config, tensors, "cpu").decoder.grid(model(images)[0], 24)
        tensors[f"{last}.bias"][0] = LOG_25 - config.density_bias - raw.median()
    return tensors


def picture(seed: int, hw: tuple[int, int] = (20, 30)) -> Cutout:
    """An ellipse of smooth colours with a soft edge, object `seed` of kitchen.jpg."""
    height, width = hw
    y, x = np.mgrid[:height, :width]
    ring = np.hypot((2 * x + 1) / width - 1, (2 * y + 1) / height - 1)
    phases = np.random.default_rng(seed).uniform(0, 6, 3)
    rgb = 127 + 120 * np.sin(phases + 0.3 * (x + 2 * y)[:, :, None])
    alpha = np.clip((1.05 - ring) * 2550, 0, 255)
    rgba = np.dstack([rgb, alpha]).astype(np.uint8)
    box = (3.0, 4.0, 3.0 + width, 4.0 + height)
    return Cutout(rgba, box, Origin("kitchen.jpg", seed, "mug", 0.5, box))


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    return random_tensors(TINY)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tensors: dict[str, Tensor]) -> Path:
    """A store of weights that holds the checkpoint "tiny"."""
    monkeypatch.setenv("VISIONWEAVE_WEIGHTS", str(tmp_path))
    path = tmp_path / "tiny" / "model.safetensors"
    path.parent.mkdir()
    save_file(tensors, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    changed = TINY.model_dump(exclude_defaults=True)
    config = ", ".join(f"{name} = {json.dumps(value)}" for name, value in changed.items())
    (tmp_path / "weights.lock").write_text(
        '[checkpoint."tiny"]\nfamily = "triposr"\nlicense = "MIT"\ncommercial = "yes"\n'
        f'files = [{{ name = "model.safetensors", sha256 = "{sha256}" }}]\n'
        f"config = {{ {config} }}\n"
    )
    return tmp_path


def loaded(precision: str = "fp32", **settings: Any) -> triposr.Mesh:
    node = triposr.Mesh("tiny", **settings)
    node.ensure_loaded(Runtime.get("cpu", precision))
    return node


def run_all(node: vw.Node, items: Sequence[Cutout], batch: int | None = None) -> list[Any]:
    pipeline = Pipeline(out=node(vw.Input("item", Cutout)))
    options: dict[str, Any] = {"batch": batch, "device": "cpu", "precision": "fp32"}
    return [result["out"] for result in pipeline.map(items, **options)]


# What the model sees ----------------------------------------------------------------------------


def framed_by_torch(cutout: Cutout, ratio: float, side: int) -> npt.NDArray[Any]:
    """The published steps one by one: crop, pad to a square, pad again, composite, resize."""
    rgba = torch.from_numpy(cutout.rgba.copy()).float() / 255
    rows, columns = torch.nonzero(rgba[:, :, 3] > 0).T
    part = rgba[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].permute(2, 0, 1)
    longest = max(part.shape[1:])
    for size in (longest, int(longest / ratio)):
        above, before = ((size - length) // 2 for length in part.shape[1:])
        below, after = size - part.shape[1] - above, size - part.shape[2] - before
        part = F.pad(part, (before, after, above, below))
    grey = part[:3] * part[3:] + 0.5 * (1 - part[3:])
    resized = F.interpolate(
        grey[None], (side, side), mode="bilinear", align_corners=False, antialias=True
    )
    return resized[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize(
    ("hw", "ratio", "side"),
    [
        pytest.param((20, 30), 0.85, 32, id="near its own size"),
        pytest.param((200, 150), 0.85, 32, id="shrunk"),
        pytest.param((9, 7), 0.85, 64, id="enlarged"),
        pytest.param((30, 30), 1.0, 32, id="no margin"),
        pytest.param((40, 21), 0.3, 32, id="wide margin"),
        pytest.param((3, 700), 0.85, 32, id="very wide"),
        pytest.param((333, 2), 0.85, 32, id="very high"),
        pytest.param((1, 1), 0.85, 32, id="one pixel"),
    ],
)
def test_the_picture_is_cropped_padded_and_resized_as_published(
    hw: tuple[int, int], ratio: float, side: int
) -> None:
    cutout = picture(1, hw)
    found = over_grey(framed(cutout, ratio, side))
    assert found.shape == (side, side, 3)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, framed_by_torch(cutout, ratio, side), atol=1e-5)


def test_the_transparent_border_of_a_cutout_changes_nothing() -> None:
    tight = picture(1)
    rgba = np.zeros((70, 90, 4), np.uint8)
    rgba[:] = (255, 0, 255, 0)  # a colour that nobody may see
    rgba[11:31, 5:35] = tight.rgba
    wide = Cutout(rgba, (0, 0, 90, 70))
    # Inside the tight cutout are transparent corners too, whose colours must not count either.
    assert np.array_equal(framed(wide, 0.85, 32), framed(tight, 0.85, 32))


def test_a_cutout_of_nothing_is_refused() -> None:
    rgba = np.full((4, 4, 4), 255, np.uint8)
    rgba[:, :, 3] = 0
    with pytest.raises(ValueTypeError, match="every pixel of it is fully transparent"):
        framed(Cutout(rgba, (0, 0, 4, 4)), 0.85, 32)


# The surface ------------------------------------------------------------------------------------


def volume_of(distance: npt.NDArray[Any], steepness: float = 40) -> npt.NDArray[np.float32]:
    """The densities of a solid given by signed distances, negative inside."""
    return np.exp(LOG_25 - steepness * distance).astype(np.float32)


def axes(resolution: int = 48) -> list[npt.NDArray[Any]]:
    axis = np.linspace(-0.87, 0.87, resolution)
    return list(np.meshgrid(axis, axis, axis, indexing="ij"))


def test_a_ball_becomes_a_closed_surface_that_faces_outwards() -> None:
    x, y, z = axes()
    vertices, faces = extract(volume_of(np.sqrt(x**2 + y**2 + z**2) - 0.6), 25, 0.87)
    np.testing.assert_allclose(np.linalg.norm(vertices, axis=1), 0.6, atol=0.002)
    ball = trimesh.Trimesh(vertices, faces, process=False)
    assert ball.is_watertight
    assert ball.volume == pytest.approx(4 / 3 * math.pi * 0.6**3, rel=0.005)  # positive: outwards


def test_the_surface_of_a_coarse_grid_is_no_larger_than_that_of_a_fine_one() -> None:
    x, y, z = axes(16)
    vertices, _ = extract(volume_of(np.sqrt(x**2 + y**2 + z**2) - 0.6), 25, 0.87)
    np.testing.assert_allclose(np.linalg.norm(vertices, axis=1), 0.6, atol=0.01)


@pytest.mark.parametrize(
    "distance",
    [
        pytest.param(lambda x, y, z: np.hypot(y, z) - 0.4, id="a pipe through two sides"),
        pytest.param(lambda x, y, z: z - 0.2, id="the lower half"),
        pytest.param(lambda x, y, z: np.full_like(x, -1), id="all of the cube"),
        pytest.param(lambda x, y, z: -np.hypot(x, y), id="everywhere infinitely dense"),
        pytest.param(lambda x, y, z: np.abs(np.hypot(x, y) - 0.5) - 0.1, id="a tube"),
    ],
)
def test_what_reaches_the_border_of_the_volume_is_closed_there(distance: Any) -> None:
    with np.errstate(over="ignore"):
        density = volume_of(distance(*axes(24)), steepness=400)
    vertices, faces = extract(density, 25, 0.87)
    assert np.isfinite(vertices).all()
    assert np.abs(vertices).max() <= 0.87 + 1.74 / 23
    solid = trimesh.Trimesh(vertices, faces, process=False)
    assert solid.is_watertight
    assert solid.volume > 0


@pytest.mark.parametrize(
    ("density", "message"),
    [
        pytest.param(3.0, r"the highest density is 3, .* passes 25; check the cutout", id="thin"),
        pytest.param(math.nan, "the highest density is nan", id="not a number"),
    ],
)
def test_a_volume_without_a_surface_is_refused(density: float, message: str) -> None:
    with pytest.raises(ValueTypeError, match=message):
        extract(np.full((8, 8, 8), density, np.float32), 25, 0.87)


def mug() -> vw.Mesh:
    """A mug in TripoSR's frame turned into a Mesh: red to the camera (+x), blue behind, its handle
    green to the photo's right (+y), yellow to the left, white on top (+z)."""
    x, y, z = axes(64)
    handle = np.hypot(np.hypot(y - 0.38, z) - 0.22, x) - 0.06
    cup = np.maximum(np.hypot(x, y) - 0.35, np.abs(z) - 0.4)
    vertices, faces = extract(volume_of(np.minimum(cup, handle)), 25, 0.87)
    angle = np.degrees(np.arctan2(vertices[:, 1], vertices[:, 0]))
    colours = np.full((len(vertices), 4), (*BLUE, 255), np.uint8)
    colours[np.abs(angle) < 45, :3] = RED
    colours[(angle >= 45) & (angle < 135), :3] = GREEN
    colours[(angle <= -45) & (angle > -135), :3] = YELLOW
    colours[vertices[:, 2] > 0.38, :3] = WHITE
    return vw.Mesh(to_gltf(vertices), faces, colours)


RED, GREEN, BLUE = (220, 40, 40), (40, 180, 60), (50, 80, 220)
YELLOW, WHITE = (240, 200, 30), (250, 250, 250)


def nearest_colour(rgb: npt.NDArray[Any]) -> tuple[int, int, int]:
    """Of the mug's colours the one that is most like a shaded `rgb`."""
    known = np.array([RED, GREEN, BLUE, YELLOW, WHITE], float)
    unit = known / np.linalg.norm(known, axis=1, keepdims=True)
    best = int((unit @ rgb.astype(float)).argmax())
    return (RED, GREEN, BLUE, YELLOW, WHITE)[best]


def edge_colour(image: npt.NDArray[Any], end: int) -> tuple[int, int, int]:
    """The colour of the leftmost (0) or rightmost (-1) bright pixels on a black background."""
    column = np.flatnonzero((image.max(axis=2) > 80).any(axis=0))[end]
    pixels = image[:, column]
    return nearest_colour(pixels[pixels.max(axis=1) > 80].mean(axis=0))


def test_the_mesh_stands_upright_and_faces_the_camera_unmirrored() -> None:
    views = Render(views=4, elevation_deg=0, size=96, background="black")(mug())
    front, right, back, left = views.images
    assert [nearest_colour(each[48, 48]) for each in (front, right, back, left)] == [
        RED,
        YELLOW,  # the object's own right-hand side is to the left in the photo
        BLUE,
        GREEN,
    ]
    # The photo shows the handle on its right; from behind it is on the left.
    assert (edge_colour(front, -1), edge_colour(back, 0)) == (GREEN, GREEN)
    assert (edge_colour(front, 0), edge_colour(back, -1)) == (YELLOW, YELLOW)
    above = Render(views=1, elevation_deg=80, size=96)(mug()).images[0]
    assert nearest_colour(above[48, 48]) == WHITE


def test_the_silhouette_is_what_tripo_sr_itself_would_draw() -> None:
    vertices, faces = extract(two_balls(*axes(64)), 25, 0.87)
    mesh = vw.Mesh(to_gltf(vertices), faces)
    camera = Camera(0, 0, triposr.CAMERA_DISTANCE, triposr.CAMERA_FOV_DEG)
    seen, drawn = silhouette(mesh, camera, 64), opacity(two_balls, 64) > 0.5
    assert not np.array_equal(drawn, drawn[:, ::-1])  # mirrored or upside down would be noticed
    assert not np.array_equal(drawn, drawn[::-1])
    assert (seen & drawn).sum() / (seen | drawn).sum() > 0.97


def two_balls(x: Any, y: Any, z: Any) -> npt.NDArray[np.float32]:
    large = np.sqrt(x**2 + (y + 0.15) ** 2 + z**2) - 0.4
    small = np.sqrt((x - 0.3) ** 2 + (y - 0.3) ** 2 + (z - 0.3) ** 2) - 0.2
    return volume_of(np.minimum(large, small), steepness=200)


def opacity(density: Any, size: int) -> npt.NDArray[Any]:
    """TripoSR's own renderer from the photo's camera: at (1.9, 0, 0), up is +z, 40 degrees high.

    128 samples along each ray within the cube; alpha = 1 - exp(-density / 128).
    """
    half = math.tan(math.radians(20))
    steps = (np.arange(size) + 0.5) / size * 2 - 1
    right, down = np.meshgrid(steps * half, steps * half)
    direction = np.stack([-np.ones_like(right), right, -down], axis=-1)
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    eye = np.array([1.9, 0, 0])
    bounds = np.stack([(side * 0.87 * 0.999 - eye) / direction for side in (-1, 1)])
    near, far = bounds.min(axis=0).max(axis=-1), bounds.max(axis=0).min(axis=-1)
    share = (np.arange(128) + 0.5) / 128
    distance = near[..., None] + (far - near)[..., None] * share
    points = eye + direction[:, :, None] * distance[..., None]
    found = density(*np.moveaxis(points, -1, 0))
    passed = np.exp(-found.sum(axis=-1) / 128)
    return np.where(far - near > 0.01, 1 - passed, 0.0)


# The node ---------------------------------------------------------------------------------------


def test_a_cutout_becomes_a_closed_coloured_mesh_of_its_object() -> None:
    cutout = picture(2)
    (mesh,) = run_all(loaded(), [cutout])
    assert mesh.origin == cutout.origin
    assert measure(mesh).watertight
    assert measure(mesh).volume > 0
    assert mesh.colours is not None
    assert len(np.unique(mesh.colours[:, :3], axis=0)) > 10
    assert set(mesh.colours[:, 3]) == {255}
    assert np.abs(mesh.vertices).max() <= 0.87 + 1.74 / 23


def test_a_mesh_depends_on_its_picture_and_not_on_its_neighbours() -> None:
    cutouts = [picture(seed) for seed in range(3)]
    alone, together = (run_all(loaded(), cutouts, batch) for batch in (1, 3))
    assert len({len(mesh.vertices) for mesh in alone}) > 1
    for one, other in zip(alone, together, strict=True):
        assert one.origin == other.origin
        # Sums are rounded in another order, which may move a vertex or turn a tie in its cell.
        assert len(one.faces) == pytest.approx(len(other.faces), rel=0.01)
        assert measure(one).volume == pytest.approx(measure(other).volume, rel=1e-4)


def test_the_planes_of_a_batch_are_those_of_each_alone() -> None:
    node = loaded()
    pictures = [over_grey(framed(picture(seed), 0.85, 32)) for seed in range(4)]
    with node.forward_context():
        together = node.planes.forward(pictures)
        alone = [node.planes.forward([each])[0] for each in pictures]
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_settings_reach_the_mesh() -> None:
    cutout = picture(3)
    plain = run_all(loaded(colours=False), [cutout])[0]
    assert plain.colours is None
    coarse = run_all(loaded(resolution=12), [cutout])[0]
    assert len(coarse.faces) < len(plain.faces) / 2
    dense = run_all(loaded(threshold=50), [cutout])[0]
    assert measure(dense).volume < measure(plain).volume
    small = run_all(loaded(foreground_ratio=0.5), [cutout])[0]
    assert small != plain


def test_bf16_fills_the_same_space_within_the_stated_tolerance() -> None:
    solids = []
    for precision in ("fp32", "bf16"):
        node = loaded(precision)
        pictures = [over_grey(framed(picture(seed), 0.85, 32)) for seed in range(4)]
        with node.forward_context():
            densities = node.densities.forward(list(node.planes.forward(pictures)))
        solids.append(np.stack(densities) > node.threshold)
    exact, rounded = solids
    difference = (exact ^ rounded).sum() / (exact | rounded).sum()
    assert triposr.Mesh.tolerance is not None
    assert 0 < difference < triposr.Mesh.tolerance


@pytest.mark.parametrize("hw", [(1, 1), (1, 300), (250, 2)], ids=str)
def test_odd_cutouts_are_worked_on_like_any(hw: tuple[int, int]) -> None:
    cutout = picture(1, hw)
    (mesh,) = run_all(loaded(), [cutout])
    assert mesh.origin == cutout.origin


def test_an_empty_cutout_fails_alone() -> None:
    empty = Cutout(np.zeros((5, 5, 4), np.uint8), (0, 0, 5, 5), Origin("kitchen.jpg", 1, "fork"))
    with replaced({"triposr.mesh": triposr.Mesh, "test.cutouts": Three}):
        pipeline = Pipeline.from_yaml(
            "visionweave: 1\ninputs: {photo: Image}\nsteps:\n"
            "  cutouts: {node: test.cutouts, image: $photo}\n"
            "  meshes: {node: triposr.mesh, model: tiny, cutout: $cutouts}\n"
            "outputs: [meshes]\n"
        )
    Three.cutouts = [picture(0), empty, picture(2)]
    result = pipeline.run(photo=np.zeros((4, 4, 3), np.uint8), device="cpu")
    assert [mesh.origin.object for mesh in result["meshes"]] == [0, 2]
    (failure,) = result.failures
    assert (failure.step, failure.object, failure.label) == ("meshes", 1, "fork")
    assert "every pixel of it is fully transparent" in str(failure)


@vw.node("test.cutouts")
class Three(vw.Node):
    """Gives the cutouts that a test has put here."""

    cutouts: Sequence[Cutout] = ()

    def run(self, image: vw.Image) -> list[Cutout]:
        return list(self.cutouts)


def test_two_nodes_share_one_model() -> None:
    one, other = loaded(), loaded(resolution=16)
    assert one._net is other._net
    one.unload()
    assert run_all(other, [picture(0)])[0].origin.object == 0


# Checkpoints ------------------------------------------------------------------------------------


def test_the_published_checkpoint_is_listed_with_a_config_that_fits() -> None:
    entry = checkpoint("base", family="triposr")
    assert read_config(entry) == Config(naming="original")
    assert read_config(entry).resolution == 256


def test_a_checkpoint_that_is_not_here_says_how_to_get_it() -> None:
    with pytest.raises(WeightsError, match="visionweave weights pull triposr"):
        triposr.Mesh("base").ensure_loaded(Runtime.get("cpu", "fp32"))


def test_a_config_that_does_not_fit_is_refused(store: Path) -> None:
    lock = store / "weights.lock"
    lock.write_text(lock.read_text().replace("width = 64", "wide = 64"))
    with pytest.raises(WeightsError, match=r"(?s)config of tiny does not fit .*triposr.*wide"):
        triposr.Mesh("tiny").ensure_loaded(Runtime.get("cpu", "fp32"))


@pytest.mark.slow
def test_the_published_size_runs_on_random_weights() -> None:
    with torch.device("meta"):
        shapes = {name: each.shape for name, each in TripoSR(Config()).state_dict().items()}
    weights = {name: 0.02 * torch.randn(shape) for name, shape in shapes.items()}
    weights["decoder.layers.18.bias"][0] = LOG_25 + 1
    node = triposr.Mesh()
    node._net, node._device = build(Config(), weights, "cpu"), "cpu"
    node.runtime = Runtime.get("cpu", "fp32")
    del weights
    pictures = [over_grey(framed(picture(0), 0.85, 512))]
    with node.forward_context():
        start = time.monotonic()
        planes = node.planes.forward(pictures)
        middle = time.monotonic()
        (density,) = node.densities.forward(list(planes))
        end = time.monotonic()
    assert density.shape == (256, 256, 256)
    assert np.isfinite(density).all()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"planes {middle - start:.1f} s, grid {end - middle:.1f} s, peak {peak:.1f} GB")
