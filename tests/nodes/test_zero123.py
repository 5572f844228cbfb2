"""Zero-1-to-3 on tiny random models: its equations, its cameras, what it gives and refuses."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from diffusers import DDIMScheduler
from safetensors.torch import save_file
from torch import Tensor

import visionweave as vw
from visionweave import Cutout, NodeError, Origin, Pipeline, PipelineError, Runtime, WeightsError
from visionweave.cache.fingerprint import fingerprint
from visionweave.errors import NodeFailed
from visionweave.nodes.mesh import Camera
from visionweave.nodes.zero123 import CAMERA_DISTANCE, Views
from visionweave.nodes.zero123.config import Config, read_config
from visionweave.nodes.zero123.ddim import MOST_STEPS, ddim_steps
from visionweave.nodes.zero123.input import framed, pose
from visionweave.nodes.zero123.net import Zero123, build
from visionweave.nodes.zero123.nodes import Asked
from visionweave.registry import replaced
from visionweave.weights import checkpoint

SIZES: dict[str, Any] = {
    "image_size": 16,
    "unet_channels": (8, 16),
    "unet_heads": 2,
    "vae_channels": (8, 16),
    "groups": 4,
    "clip_size": 28,
    "clip_width": 32,
    "clip_layers": 2,
    "clip_heads": 2,
    "clip_mlp": 64,
    "width": 24,
}
TINY = Config(layout="clip_camera_projection", pose="radius", **SIZES)
COMMUNITY = Config(layout="cc_projection", pose="radius", **SIZES)
STABLE = Config(layout="clip_camera_projection", pose="polar", **SIZES)

Networks = dict[str, dict[str, Tensor]]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks this small only wait for each other's threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def networks() -> Networks:
    """Weights with which picture and pose matter; half precision holds them exactly."""
    torch.manual_seed(0)
    model = Zero123(TINY)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1 and "embedding" not in name:
                weight.mul_(4 if name.startswith("projection") else 2)
    return {
        name: {key: each.half().float() for key, each in part.state_dict().items()}
        for name, part in model.named_children()
    }


@pytest.fixture(scope="module")
def model(networks: Networks) -> Zero123:
    return build(TINY, networks.items(), "tiny", "cpu")


# Checkpoints ------------------------------------------------------------------------------------

OLD_NAMES = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value."}
OLD_NAMES |= {".to_out.0.": ".proj_attn."}


def write_ashawkey(folder: Path, networks: Networks) -> None:
    """Half-precision safetensors files, the projection called "proj" in clip_camera_projection/."""
    files = {
        "unet/diffusion_pytorch_model": networks["unet"],
        "vae/diffusion_pytorch_model": networks["vae"],
        "image_encoder/model": networks["image_encoder"],
        "clip_camera_projection/diffusion_pytorch_model": {
            f"proj.{name}": each for name, each in networks["projection"].items()
        },
    }
    for name, tensors in files.items():
        path = folder / f"{name}.fp16.safetensors"
        path.parent.mkdir(parents=True)
        save_file({key: each.half() for key, each in tensors.items()}, path)


def write_community(folder: Path, networks: Networks) -> None:
    """Pickles in the names of their time, the projection called "projection" in cc_projection/."""

    def old(name: str) -> str:
        for new, before in OLD_NAMES.items():
            name = name.replace(new, before)
        return name

    positions = {"vision_model.embeddings.position_ids": torch.arange(5)[None]}
    files = {
        "unet/diffusion_pytorch_model.bin": networks["unet"],
        "vae/diffusion_pytorch_model.bin": {old(n): t for n, t in networks["vae"].items()},
        "image_encoder/pytorch_model.bin": networks["image_encoder"] | positions,
        "cc_projection/diffusion_pytorch_model.bin": {
            f"projection.{name}": each for name, each in networks["projection"].items()
        },
    }
    for name, tensors in files.items():
        (folder / name).parent.mkdir(parents=True)
        torch.save(tensors, folder / name)


def list_checkpoint(store: Path, name: str, folder: str, config: dict[str, Any]) -> None:
    """Write an entry for the files of a folder of the store into the user's list."""
    if name != folder:
        (store / name).symlink_to(store / folder)
    paths = sorted(path for path in (store / folder).rglob("*") if path.is_file())
    files = ", ".join(
        f'{{ name = "{path.relative_to(store / folder).as_posix()}", '
        f'sha256 = "{hashlib.sha256(path.read_bytes()).hexdigest()}" }}'
        for path in paths
        if not path.name.startswith(".")
    )
    facts = ", ".join(f"{key} = {json.dumps(value)}" for key, value in config.items())
    with (store / "weights.lock").open("a") as lock:
        lock.write(
            f'[checkpoint."{name}"]\nfamily = "zero123"\nlicense = "MIT"\ncommercial = "yes"\n'
            f"files = [{files}]\nconfig = {{ {facts} }}\n"
        )


@pytest.fixture(scope="module", autouse=True)
def store(tmp_path_factory: pytest.TempPathFactory, networks: Networks) -> Iterator[Path]:
    """A store with the same weights three times: "tiny", "community", and "stable"."""
    store = tmp_path_factory.mktemp("weights")
    write_ashawkey(store / "tiny", networks)
    write_community(store / "community", networks)
    for name, folder, config in (
        ("tiny", "tiny", TINY),
        ("community", "community", COMMUNITY),
        ("stable", "tiny", STABLE),
    ):
        list_checkpoint(store, name, folder, config.model_dump(exclude_defaults=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISIONWEAVE_WEIGHTS", str(store))
        kept = [loaded("tiny"), loaded("stable")]  # so that others of them find their networks
        yield store
        del kept


def loaded(model: str = "tiny", precision: str = "fp32", **settings: Any) -> Views:
    """A node with few steps and three views, unless it is told otherwise."""
    node = Views(model, **{"steps": 3, "azimuths_deg": [30, 150, 270], **settings})
    node.ensure_loaded(Runtime.get("cpu", precision))
    return node


def run_all(
    node: vw.Node, items: Sequence[Cutout], batch: int | None = None, precision: str = "fp32"
) -> list[vw.Views]:
    pipeline = Pipeline(out=node(vw.Input("item", Cutout)))
    options: dict[str, Any] = {"batch": batch, "device": "cpu", "precision": precision}
    return [result["out"] for result in pipeline.map(items, **options)]


def cutout(number: int = 0, hw: tuple[int, int] = (20, 30)) -> Cutout:
    """An ellipse of smooth colours, object `number` of kitchen.jpg."""
    height, width = hw
    y, x = np.mgrid[:height, :width]
    inside = np.hypot((2 * x + 1) / width - 1, (2 * y + 1) / height - 1) <= 1
    phases = np.random.default_rng(number).uniform(0, 6, 3)
    rgb = 127 + 120 * np.sin(phases + 0.3 * (x + 2 * y)[:, :, None])
    box = (3.0, 4.0, 3.0 + width, 4.0 + height)
    origin = Origin("kitchen.jpg", number, "mug", 0.5, box)
    return Cutout(np.dstack([rgb, 255 * inside]).astype(np.uint8), box, origin)


def test_the_networks_have_the_published_numbers_of_parameters() -> None:
    with torch.device("meta"):
        published = Zero123(Config(layout="cc_projection", pose="radius"))
    sizes = {
        name: sum(each.numel() for each in part.parameters())
        for name, part in published.named_children()
    }
    assert sizes == {
        "unet": 859_532_484,
        "vae": 83_653_863,
        "image_encoder": 303_966_208,  # CLIP's ViT-L/14 with its projection
        "projection": 772 * 768 + 768,
    }


def test_both_published_layouts_are_read_and_give_the_same_views() -> None:
    tiny, community = (loaded(name)(cutout()) for name in ("tiny", "community"))
    assert tiny == community


@pytest.mark.parametrize("name", ["zero123-xl", "stable-zero123", "zero123-xl-community"])
def test_the_configs_of_the_listed_checkpoints_are_understood(name: str) -> None:
    config = read_config(checkpoint(name, "zero123"))
    assert config.pose == ("polar" if "stable" in name else "radius")
    assert config.latent_side == 32


def test_a_training_checkpoint_is_refused_before_anything_is_fetched() -> None:
    with pytest.raises(
        WeightsError,
        match=r"^zero123-165000-original is a training checkpoint, which zero123\.views does not "
        "read; take the same weights as folders for diffusers, such as zero123-xl",
    ):
        loaded("zero123-165000-original")


def test_a_missing_checkpoint_says_what_to_run() -> None:
    with pytest.raises(
        WeightsError, match=r"zero123-xl is not on this machine.*visionweave weights add zero123-xl"
    ):
        loaded("base")


def test_a_config_that_is_wrong_is_refused(store: Path) -> None:
    list_checkpoint(store, "wrong", "tiny", {"layout": "folder", "channels": 3})
    with pytest.raises(
        WeightsError,
        match=r"wrong: its config in weights\.lock is wrong: "
        r"layout: .*'cc_projection'.*; pose: Field required; channels: Extra inputs",
    ):
        loaded("wrong")


def test_a_layout_that_the_files_do_not_have_is_refused(store: Path) -> None:
    list_checkpoint(store, "other", "tiny", COMMUNITY.model_dump(exclude_defaults=True))
    with pytest.raises(
        WeightsError,
        match=r"other: expected one file of weights in the folder cc_projection/; got none",
    ):
        loaded("other")


def test_weights_of_another_size_are_refused(store: Path) -> None:
    config = TINY.model_copy(update={"width": 48}).model_dump(exclude_defaults=True)
    list_checkpoint(store, "large", "tiny", config)
    with pytest.raises(
        WeightsError, match=r"large: its file of unet does not fit its config: .*size mismatch"
    ):
        loaded("large")


def test_two_nodes_of_one_checkpoint_share_its_networks() -> None:
    assert loaded()._net is loaded(azimuths_deg=[5.0], guidance=1.0)._net


def test_without_diffusers_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(
        NodeError,
        match=r"^zero123\.views needs diffusers\. Install it with: "
        r"pip install 'visionweave\[zero123\]'$",
    ):
        loaded()


# The sampler ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "eta"), [*product([1, 7, 50, 75], [0.0, 0.3, 1.0]), (999, 1.0)])
def test_every_step_is_that_of_diffusers_ddim(count: int, eta: float) -> None:
    theirs = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        steps_offset=1,
        clip_sample=False,
        set_alpha_to_one=False,
    )
    theirs.set_timesteps(count)
    steps = ddim_steps(count, eta)
    assert [each.timestep for each in steps] == theirs.timesteps.tolist()
    generator = torch.Generator().manual_seed(0)
    for step in steps:
        latents, noise, fresh = torch.randn(3, 2, 4, 8, 8, generator=generator)
        expected = theirs.step(noise, step.timestep, latents, eta, variance_noise=fresh)
        got = step.apply(latents, noise, fresh)
        torch.testing.assert_close(got, expected.prev_sample, atol=1e-4, rtol=1e-4)


def test_999_steps_are_the_most() -> None:
    assert max(each.timestep for each in ddim_steps(MOST_STEPS, 0.0)) == 999
    with pytest.raises(PipelineError, match=r"'steps' .*\n.*999\n.*1000"):
        Views(steps=1000)


def cubic_weights(length: int, side: int) -> npt.NDArray[np.float64]:
    """(side, length): Keys' cubic convolution with a = -0.75, corners on corners, no antialias."""
    weights = np.zeros((side, length))
    for new in range(side):
        place = new * (length - 1) / (side - 1)
        for old in range(math.floor(place) - 1, math.floor(place) + 3):
            d, a = abs(place - old), -0.75
            near = (a + 2) * d**3 - (a + 3) * d**2 + 1
            far = a * (d**3 - 5 * d**2 + 8 * d - 4)
            weights[new, min(max(old, 0), length - 1)] += near if d <= 1 else far if d < 2 else 0
    return weights


def documented_view(
    model: Zero123,
    pixels: npt.NDArray[np.uint8],
    place: npt.NDArray[np.float32],
    draws: npt.NDArray[np.float32],
    guidance: float,
    eta: float,
) -> npt.NDArray[np.float64]:
    """One view by the documented equations, one network call for each branch, in numpy.

    `draws`: (1 + steps, 4, L, L), the first for the start. Returns (S, S, 3) in [0, 1].
    """
    image = pixels.transpose(2, 0, 1) / 127.5 - 1
    resize = cubic_weights(image.shape[1], 28)
    mean = np.array([0.48145466, 0.4578275, 0.40821073])[:, None, None]
    std = np.array([0.26862954, 0.26130258, 0.27577711])[:, None, None]
    clip = ((resize @ image @ resize.T + 1) / 2 - mean) / std
    e = model.image_encoder(torch.tensor(clip)[None].float()).image_embeds[0]
    seen = model.vae.encode(torch.tensor(image)[None].float()).latent_dist.mean[0]
    weight, bias = model.projection.weight, model.projection.bias
    c = weight @ torch.cat([e, torch.tensor(place)]) + bias

    def eps(z: npt.NDArray[np.float64], t: int, c: Tensor, seen: Tensor) -> Any:
        joined = torch.cat([torch.tensor(z).float(), seen])[None]
        return model.unet(joined, torch.tensor(t), c[None, None]).sample[0].double().numpy()

    count = len(draws) - 1
    beta = [(0.00085**0.5 + i * (0.012**0.5 - 0.00085**0.5) / 999) ** 2 for i in range(1000)]
    alpha_bar = np.cumprod(1 - np.array(beta))
    z = draws[0].astype(np.float64)
    for i in range(count):
        t = (1000 // count) * (count - 1 - i) + 1
        now, then = alpha_bar[t], alpha_bar[max(t - 1000 // count, 0)]
        eps_u = eps(z, t, torch.zeros_like(c), torch.zeros_like(seen))
        e_t = eps_u + guidance * (eps(z, t, c, seen) - eps_u)
        sigma = eta * ((1 - then) / (1 - now)) ** 0.5 * (1 - now / then) ** 0.5
        x0 = (z - (1 - now) ** 0.5 * e_t) / now**0.5
        z = then**0.5 * x0 + (1 - then - sigma**2) ** 0.5 * e_t + sigma * draws[1 + i]
    decoded = model.vae.decode(torch.tensor(z / 0.18215)[None].float()).sample[0]
    return np.clip(decoded.double().numpy().transpose(1, 2, 0) / 2 + 0.5, 0, 1)


@pytest.mark.parametrize(
    ("guidance", "eta", "config", "elevation"),
    [
        pytest.param(3.0, 0.0, TINY, 0.0, id="as in diffusers"),
        pytest.param(3.0, 1.0, TINY, 10.0, id="as in the demo"),
        pytest.param(1.0, 0.5, TINY, 0.0, id="without guidance"),
        pytest.param(3.0, 0.0, STABLE, 10.0, id="Stable Zero123"),
    ],
)
def test_views_follow_the_documented_equations(
    model: Zero123, guidance: float, eta: float, config: Config, elevation: float
) -> None:
    node = loaded(
        "tiny" if config is TINY else "stable",
        photo_elevation_deg=elevation,
        azimuths_deg=[30, 270],
        elevations_deg=[20, -30],
        guidance=guidance,
        eta=eta,
        seed=7,
    )
    got = node(cutout(2))
    for at, (azimuth, elevation_to) in enumerate([(30, 20), (270, -30)]):
        noise = np.random.default_rng((7, at))  # the seed, the view
        draws = [noise.standard_normal((4, 8, 8), np.float32) for _ in range(4)]
        place = pose(config.pose, azimuth, elevation_to, elevation, 0.0)
        with torch.no_grad():
            expected = documented_view(
                model, framed(cutout(2), 200 / 256, 16), place, np.array(draws), guidance, eta
            )
        assert expected.std() > 0.05
        np.testing.assert_allclose(got.images[at] / 255, expected, atol=0.5 / 255 + 1e-4)


# The object's picture and the cameras -----------------------------------------------------------


@pytest.mark.parametrize("hw", [(20, 30), (400, 100), (1, 5)], ids=["small", "large", "thin"])
def test_the_object_is_centred_on_white_at_200_of_256_pixels(hw: tuple[int, int]) -> None:
    rgba = np.zeros((hw[0] + 30, hw[1] + 50, 4), np.uint8)
    rgba[4 : 4 + hw[0], 9 : 9 + hw[1]] = (200, 60, 40, 255)
    picture = framed(Cutout(rgba, (0.0, 0.0, 9.0, 9.0)), 200 / 256, 256)
    height, width = (round(200 * each / max(hw)) for each in hw)
    top, left = (256 - height) // 2, (256 - width) // 2
    expected = np.full((256, 256, 3), 255, np.uint8)
    expected[top : top + height, left : left + width] = (200, 60, 40)
    np.testing.assert_array_equal(picture, expected)


def test_a_half_transparent_pixel_is_half_white() -> None:
    rgba = np.full((8, 8, 4), (0, 100, 200, 128), np.uint8)
    picture = framed(Cutout(rgba, (0.0, 0.0, 9.0, 9.0)), 0.5, 16)
    np.testing.assert_allclose(picture[8, 8], (127, 177, 227), atol=1)


def test_a_cutout_of_nothing_is_refused() -> None:
    nothing = Cutout(np.zeros((4, 4, 4), np.uint8), (0.0, 0.0, 4.0, 4.0))
    with pytest.raises(NodeFailed, match="the cutout is empty: every pixel of it is fully transp"):
        loaded()(nothing)


QUARTER = math.pi / 2


@pytest.mark.parametrize(
    ("fourth", "view", "expected"),
    [
        pytest.param("radius", (0, 0, 0, 0), (0, 0, 1, 0), id="the photo's own view"),
        pytest.param("radius", (0, 20, 20, 0), (0, 0, 1, 0), id="the same from above"),
        pytest.param("radius", (0, 90, 0, 0), (-QUARTER, 0, 1, 0), id="up is less polar angle"),
        pytest.param("radius", (0, -30, 60, 0), (QUARTER, 0, 1, 0), id="down is more"),
        pytest.param("radius", (90, 0, 0, 0), (0, -1, 0, 0), id="the object's right-hand side"),
        pytest.param("radius", (270, 0, 0, 0), (0, 1, 0, 0), id="its left-hand side"),
        pytest.param("radius", (-180, 0, 0, 0.5), (0, 0, -1, 0.5), id="behind and farther away"),
        pytest.param("polar", (0, 0, 0, 0), (0, 0, 1, QUARTER), id="Stable, level"),
        pytest.param("polar", (0, 0, 30, 0), (math.pi / 6, 0, 1, math.pi / 3), id="Stable, above"),
    ],
)
def test_poses(fourth: Any, view: tuple[float, ...], expected: tuple[float, ...]) -> None:
    np.testing.assert_allclose(pose(fourth, *view), expected, atol=1e-7)


@pytest.mark.parametrize(("azimuth", "elevation"), [*product([0, 30, 250], [-40, 70])])
def test_a_pose_is_that_of_the_camera_which_draws_a_mesh_from_there(
    azimuth: float, elevation: float
) -> None:
    """From the cameras' places, as Zero-1-to-3's data had them, with z up."""

    def spherical(azimuth: float, elevation: float) -> tuple[float, float]:
        x, y, z = Camera(azimuth, elevation, 1.0, 40.0).axes[2]  # from the middle to the camera
        x, y, z = x, -z, y  # glTF's frame, y up, to Blender's
        return math.atan2(math.hypot(x, y), z), math.atan2(y, x)

    (theta, phi), (theta_photo, phi_photo) = spherical(azimuth, elevation), spherical(0, 15)
    expected = (theta - theta_photo, math.sin(phi - phi_photo), math.cos(phi - phi_photo), 0.2)
    np.testing.assert_allclose(pose("radius", azimuth, elevation, 15, 0.2), expected, atol=1e-6)


def test_views_say_from_where_they_are_and_of_what() -> None:
    got = loaded(photo_elevation_deg=10, distance_change=-0.35)(cutout(3, (50, 7)))
    assert got.images.shape == (3, 16, 16, 3)
    assert got.azimuth_deg.tolist() == [30, 150, 270]
    assert got.elevation_deg.tolist() == [10, 10, 10]
    np.testing.assert_allclose(got.distance, CAMERA_DISTANCE - 0.35)
    assert got.fov_deg == pytest.approx(49.134, abs=1e-3)
    assert got.origin == cutout(3, (50, 7)).origin


@pytest.mark.parametrize(
    ("elevations", "expected"),
    [
        pytest.param(None, [5, 5, 5], id="the photo's"),
        pytest.param(-20, [-20, -20, -20], id="one for all"),
        pytest.param([1, 2, 3], [1, 2, 3], id="one for each"),
    ],
)
def test_elevations(elevations: Any, expected: list[float]) -> None:
    node = loaded(elevations_deg=elevations, photo_elevation_deg=5, steps=1)
    assert node(cutout()).elevation_deg.tolist() == expected


def test_elevations_must_be_one_for_each_view() -> None:
    with pytest.raises(
        PipelineError, match="one number, or one for each of the 6 azimuths_deg; got 2"
    ):
        Views(elevations_deg=[0, 10])


def test_stable_zero123_must_know_the_elevation_and_the_others_see_differences_alone() -> None:
    level, above = ({"photo_elevation_deg": each, "elevations_deg": each + 10} for each in (0, 30))
    tiny = [loaded("tiny", **each)(cutout()).images for each in (level, above)]
    stable = [loaded("stable", **each)(cutout()).images for each in (level, above)]
    np.testing.assert_array_equal(*tiny)
    assert (stable[0] != stable[1]).any()


def test_stable_zero123_cannot_change_the_distance() -> None:
    with pytest.raises(
        PipelineError, match=r"stable cannot change the camera's distance\n.*distance_change: 0\.2"
    ):
        loaded("stable", distance_change=0.2)


# Batches and noise ------------------------------------------------------------------------------


def test_views_depend_neither_on_the_batch_nor_on_the_neighbours() -> None:
    node, items = loaded(eta=1.0), [cutout(number) for number in range(3)]
    alone = [run_all(node, [item])[0] for item in items]
    assert len({each.images.tobytes() for each in alone}) == 3
    for batch in (2, None):
        for got, expected in zip(run_all(node, items, batch), alone, strict=True):
            difference = np.abs(got.images.astype(int) - expected.images)
            assert difference.max() <= 1
            assert (difference > 0).mean() < 0.01


def test_latents_depend_on_the_batch_by_less_than_a_ten_thousandth() -> None:
    node = loaded(eta=1.0)
    with node.forward_context():
        seen = node.see.forward([framed(cutout(number), 0.8, 16) for number in range(3)])
        asked = [
            Asked(each, pose("radius", 40 * at, 0, 0, 0), (0, at)) for at, each in enumerate(seen)
        ]
        together = torch.stack(list(node.sample.forward(asked)))
        alone = torch.cat([torch.stack(list(node.sample.forward([each]))) for each in asked])
    torch.testing.assert_close(together, alone, atol=1e-4 * float(alone.std()), rtol=0)


def test_a_view_changes_with_seed_and_place_in_the_list_but_not_with_views_after_it() -> None:
    item = cutout(0)

    def first(item: Cutout, azimuths_deg: list[float], seed: int = 0) -> npt.NDArray[np.uint8]:
        (views,) = run_all(loaded(azimuths_deg=azimuths_deg, seed=seed), [item], batch=1)
        return views.images[0]

    view = first(item, [30])
    np.testing.assert_array_equal(first(item, [30]), view)
    np.testing.assert_array_equal(first(item, [30, 80]), view)
    assert (first(item, [30], seed=1) != view).mean() > 0.5
    twice = loaded(azimuths_deg=[30, 30])(item).images
    assert (twice[0] != twice[1]).mean() > 0.5


def test_views_do_not_depend_on_whose_they_are() -> None:
    item = cutout(0)
    theirs = dataclasses.replace(item.origin, photo="renamed.jpg", object=5)
    other = dataclasses.replace(item, origin=theirs)
    assert fingerprint(other) == fingerprint(item)  # to the result cache they are one
    node = loaded(eta=1.0)
    np.testing.assert_array_equal(node(other).images, node(item).images)


@pytest.mark.parametrize(("guidance", "branches"), [(3.0, 2), (1.0, 1)])
def test_a_step_is_one_pass_for_all_views_of_all_objects_and_both_branches(
    guidance: float, branches: int
) -> None:
    node = loaded(guidance=guidance, azimuths_deg=[0, 90])
    passes: dict[str, list[int]] = {"unet": [], "image_encoder": []}
    hooks = [
        node._net.get_submodule(name).register_forward_pre_hook(
            lambda module, given, counts=counts: counts.append(len(given[0]))
        )
        for name, counts in passes.items()
    ]
    run_all(node, [cutout(0), cutout(1), cutout(2)])
    for hook in hooks:
        hook.remove()
    assert passes == {"unet": [6 * branches] * 3, "image_encoder": [3]}


def test_bf16_stays_within_the_stated_tolerance() -> None:
    items = [cutout(number) for number in range(2)]
    exact, low = (
        np.stack([each.images for each in run_all(loaded(steps=5), items, None, precision)])
        for precision in ("fp32", "bf16")
    )
    difference = np.abs(exact.astype(float) - low).mean() / 255
    assert 0 < difference <= Views.tolerance


def test_it_runs_in_a_pipeline_file() -> None:
    with replaced({"zero123.views": Views}):
        pipeline = Pipeline.from_yaml(
            "visionweave: 1\n"
            "inputs: {object: Cutout}\n"
            "steps:\n"
            "  views: {node: zero123.views, cutout: $object, model: tiny, azimuths_deg: [0, 90.5],"
            " elevations_deg: 20, steps: 2}\n"
            "outputs: [views]\n"
        )
        got = pipeline.run(object=cutout(), device="cpu", precision="fp32")["views"]
    assert got.azimuth_deg.tolist() == [0, 90.5]
    assert got.elevation_deg.tolist() == [20, 20]


@pytest.mark.slow
def test_the_published_size_runs_on_random_weights() -> None:
    torch.set_num_threads(os.cpu_count() or 1)
    config = Config(layout="cc_projection", pose="radius")
    with torch.device("meta"):
        parts = dict(Zero123(config).named_children())
    weights = {
        name: {key: 0.02 * torch.randn(each.shape) for key, each in part.state_dict().items()}
        for name, part in parts.items()
    }
    node = Views(steps=2, azimuths_deg=[30])
    node._net, node._device = build(config, weights.items(), "random", "cpu"), "cpu"
    node.runtime = Runtime.get("cpu", "fp32")
    del weights
    with node.forward_context():
        times = [time.monotonic()]
        (seen,) = node.see.forward([framed(cutout(), 0.8, 256)])
        times.append(time.monotonic())
        latents = node.sample.forward([Asked(seen, pose("radius", 30, 0, 0, 0), (0, 0))])
        times.append(time.monotonic())
        (view,) = node.decode.forward(list(latents))
        times.append(time.monotonic())
    assert view.shape == (256, 256, 3)
    assert np.isfinite(latents[0].numpy()).all()
    see, sample, decode = np.diff(times)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"see {see:.1f} s, {sample / 2:.1f} s a step, decode {decode:.1f} s, peak {peak:.1f} GB")
