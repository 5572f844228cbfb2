"""TripoSR's network against the list of its parameters, transformers' ViT and its formulas."""

from __future__ import annotations

import ast
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from visionweave.nodes.triposr.config import Config, current_name
from visionweave.nodes.triposr.net import TripoSR, build, interpolate_positions

FACTS = Path(__file__).parents[3] / "shared" / "facts"

TINY = Config(
    image_size=32,
    patch_size=8,
    position_side=3,  # of 4 patches: the positions are interpolated
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
)
CLOSE = {"rtol": 0.0, "atol": 1e-4}


def random_tensors(config: Config) -> dict[str, Tensor]:
    """Weights with which the picture matters, and outputs are of the size of 1."""
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        shapes = {name: each.shape for name, each in TripoSR(config).state_dict().items()}
    tensors = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        is_scale = "norm" in name and name.endswith("weight")
        fan_in = math.prod(shape[1:]) if name.endswith("weight") else 1
        gain = 3 if ".attn2." in name else 1  # where the picture comes in
        tensors[name] = 1 + 0.1 * noise if is_scale else gain * noise / math.sqrt(fan_in)
    tensors["post_processor.upsample.weight"] /= 10
    return tensors


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    return random_tensors(TINY)


@pytest.mark.skipif(not FACTS.exists(), reason="the list of TripoSR's parameters is not here")
def test_the_parameters_of_the_published_size_have_the_names_and_shapes_of_the_list() -> None:
    rows = [line.split("\t") for line in (FACTS / "keys_triposr.tsv").read_text().splitlines()]
    with torch.device("meta"):
        state = TripoSR(Config()).state_dict()
    assert {name: tuple(each.shape) for name, each in state.items()} == {
        name: ast.literal_eval(shape) for name, shape, _ in rows
    }
    assert sum(each.numel() for each in state.values()) == 419_275_628


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("encoder.layer.3.attention.attention.query.bias", "layers.3.attention.q_proj.bias"),
        ("encoder.layer.3.attention.attention.key.weight", "layers.3.attention.k_proj.weight"),
        ("encoder.layer.11.attention.attention.value.bias", "layers.11.attention.v_proj.bias"),
        ("encoder.layer.0.attention.output.dense.weight", "layers.0.attention.o_proj.weight"),
        ("encoder.layer.0.intermediate.dense.weight", "layers.0.mlp.fc1.weight"),
        ("encoder.layer.0.output.dense.bias", "layers.0.mlp.fc2.bias"),
        ("encoder.layer.0.layernorm_before.weight", "layers.0.layernorm_before.weight"),
        ("embeddings.cls_token", "embeddings.cls_token"),
        ("pooler.dense.weight", "pooler.dense.weight"),
    ],
)
def test_names_of_transformers_4_are_understood(old: str, new: str) -> None:
    prefix = "image_tokenizer.model."
    assert current_name(prefix + old) == prefix + new


def test_names_outside_of_the_image_transformer_stay_as_they_are(
    tensors: dict[str, Tensor],
) -> None:
    others = {name for name in tensors if not name.startswith("image_tokenizer.")}
    assert {current_name(name) for name in others} == others


def test_a_file_with_the_original_names_gives_the_same_model(tensors: dict[str, Tensor]) -> None:
    undo = {"q_proj": "attention.query", "k_proj": "attention.key", "v_proj": "attention.value"}
    undo |= {"o_proj": "output.dense", "mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense"}
    original = {}
    for name, tensor in tensors.items():
        if name.startswith("image_tokenizer."):
            for new, old in undo.items():
                name = name.replace(new, old)
            name = name.replace(".layers.", ".encoder.layer.")
        original[name] = tensor
    config = TINY.model_copy(update={"naming": "original"})
    state = build(config, original, "cpu").state_dict()
    assert state.keys() == tensors.keys()
    assert all(torch.equal(state[name], tensors[name]) for name in tensors)


def test_a_checkpoint_that_lacks_a_parameter_is_refused(tensors: dict[str, Tensor]) -> None:
    fewer = {name: each for name, each in tensors.items() if name != "backbone.proj_in.bias"}
    with pytest.raises(RuntimeError, match=r"Missing key.*backbone\.proj_in\.bias"):
        build(TINY, fewer, "cpu")


def test_the_image_tokens_are_those_of_transformers() -> None:
    from transformers import ViTConfig, ViTModel

    sizes = TINY.model_copy(
        update={"position_side": 4}
    )  # so that transformers interpolates nothing
    weights = random_tensors(sizes)
    theirs = ViTModel(
        ViTConfig(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            image_size=32,
            patch_size=8,
            layer_norm_eps=1e-12,
        )
    ).eval()
    prefix = "image_tokenizer.model."
    theirs.load_state_dict(
        {n.removeprefix(prefix): t for n, t in weights.items() if n.startswith(prefix)}
    )
    images = torch.rand(2, 3, 32, 32)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normalised = (images - mean[:, None, None]) / std[:, None, None]
    ours = build(sizes, weights, "cpu").image_tokenizer["model"]
    with torch.inference_mode():
        expected = theirs(normalised).last_hidden_state
        torch.testing.assert_close(ours(images), expected, rtol=0, atol=2e-5)


def test_positions_are_interpolated_as_when_the_published_model_was_trained() -> None:
    positions = torch.randn(1, 1 + 14 * 14, 6)
    found = interpolate_positions(positions, 32)
    scale = (32 + 0.1) / 14
    grid = positions[0, 1:].reshape(14, 14, 6).numpy().astype(float)
    expected = cubic(cubic(grid, scale).transpose(1, 0, 2), scale).transpose(1, 0, 2)
    assert found.shape == (1, 1 + 32 * 32, 6)
    assert torch.equal(found[:, 0], positions[:, 0])
    np.testing.assert_allclose(found[0, 1:].reshape(32, 32, 6).numpy(), expected, atol=1e-4)


def cubic(rows: npt.NDArray[Any], scale: float) -> npt.NDArray[Any]:
    """Stretch the first axis: cubic convolution with a = -0.75, borders repeated."""
    count = len(rows)

    def kernel(t: float) -> float:
        t, a = abs(t), -0.75
        if t <= 1:
            return (a + 2) * t**3 - (a + 3) * t**2 + 1
        return a * (t**3 - 5 * t**2 + 8 * t - 4) if t < 2 else 0.0

    stretched = []
    for index in range(int(count * scale)):
        place = (index + 0.5) / scale - 0.5
        taps = range(math.floor(place) - 1, math.floor(place) + 3)
        stretched.append(sum(kernel(place - k) * rows[min(max(k, 0), count - 1)] for k in taps))
    return np.stack(stretched)


# The formulas of the facts, written down once more without modules -------------------------------


class Formulas:
    """TripoSR from its image tokens on, for one image, from a table of weights."""

    def __init__(self, weights: dict[str, Tensor], config: Config) -> None:
        self.w, self.c = weights, config

    def linear(self, name: str, x: Tensor) -> Tensor:
        bias = self.w.get(f"{name}.bias")
        return x @ self.w[f"{name}.weight"].T + (0 if bias is None else bias)

    def norm(self, name: str, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        deviation = (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return centred / deviation * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def attention(self, name: str, x: Tensor, context: Tensor) -> Tensor:
        q, k, v = (
            self.linear(f"{name}.to_{letter}", each).reshape(len(each), self.c.heads, -1)
            for letter, each in (("q", x), ("k", context), ("v", context))
        )
        scores = torch.einsum("thd,nhd->htn", q, k) / math.sqrt(q.shape[-1])
        seen = torch.einsum("htn,nhd->thd", scores.softmax(-1), v).flatten(1)
        return self.linear(f"{name}.to_out.0", seen)

    def planes(self, context: Tensor) -> Tensor:
        t0 = self.w["tokenizer.embeddings"].permute(1, 0, 2, 3).reshape(self.c.width, -1)
        groups = t0.reshape(32, -1)
        groups = (groups - groups.mean(1, keepdim=True)) / (
            groups.var(1, unbiased=False, keepdim=True) + 1e-6
        ).sqrt()
        scale, shift = self.w["backbone.norm.weight"], self.w["backbone.norm.bias"]
        normal = groups.reshape(t0.shape) * scale[:, None] + shift[:, None]
        h = self.linear("backbone.proj_in", normal.T)
        for layer in range(self.c.layers):
            block = f"backbone.transformer_blocks.{layer}"
            x = self.norm(f"{block}.norm1", h)
            h = h + self.attention(f"{block}.attn1", x, x)
            h = h + self.attention(f"{block}.attn2", self.norm(f"{block}.norm2", h), context)
            both = self.linear(f"{block}.ff.net.0.proj", self.norm(f"{block}.norm3", h))
            u, g = both[:, : self.c.mlp], both[:, self.c.mlp :]
            gelu = 0.5 * g * (1 + torch.erf(g / math.sqrt(2)))
            h = h + self.linear(f"{block}.ff.net.2", u * gelu)
        side = self.c.plane_side
        o = (self.linear("backbone.proj_out", h).T + t0).reshape(self.c.width, 3, side, side)
        # A transposed convolution of stride 2 and kernel 2 turns each cell into 2 x 2.
        kernel = self.w["post_processor.upsample.weight"]
        cells = torch.einsum("cpij,cfkl->pfikjl", o, kernel)
        bias = self.w["post_processor.upsample.bias"][:, None, None]
        return cells.reshape(3, self.c.features, 2 * side, 2 * side) + bias

    def field(self, planes: Tensor, point: Tensor) -> tuple[Tensor, Tensor]:
        """One point (3,), to its density and colour."""
        x, y, z = point / self.c.radius
        places = ((0, x, y), (1, x, z), (2, y, z))
        h = torch.cat([self.bilinear(planes[p], first, second) for p, first, second in places])
        for layer in range(self.c.field_layers):
            h = self.linear(f"decoder.layers.{2 * layer}", h)
            h = h * torch.sigmoid(h)
        out = self.linear(f"decoder.layers.{2 * self.c.field_layers}", h)
        return torch.exp(out[0] - 1.0), torch.sigmoid(out[1:])

    @staticmethod
    def bilinear(plane: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """The first coordinate runs along the width, the second along the height."""
        size = plane.shape[-1]
        column, row = (float((each + 1) * size / 2 - 0.5) for each in (first, second))
        found = torch.zeros(len(plane))
        for i in (math.floor(row), math.floor(row) + 1):
            for j in (math.floor(column), math.floor(column) + 1):
                if 0 <= i < size and 0 <= j < size:
                    found += (1 - abs(row - i)) * (1 - abs(column - j)) * plane[:, i, j]
        return found


def test_planes_and_field_follow_the_documented_formulas(tensors: dict[str, Tensor]) -> None:
    model, formulas = build(TINY, tensors, "cpu"), Formulas(tensors, TINY)
    images = torch.rand(2, 32, 32, 3, generator=torch.Generator().manual_seed(1))
    points = torch.rand(1, 200, 3, generator=torch.Generator().manual_seed(2)) * 1.74 - 0.87
    with torch.inference_mode():
        planes = model(images)
        context = model.image_tokenizer["model"](images.permute(0, 3, 1, 2))
        expected = torch.stack([formulas.planes(each) for each in context])
        assert float((expected[0] - expected[1]).abs().max()) > 0.1  # the picture matters
        torch.testing.assert_close(planes, expected, rtol=1e-4, atol=1e-4)
        log_density, rgb = model.field(planes[:1], points)
        found = [formulas.field(planes[0], point) for point in points[0]]
        densities = torch.stack([density for density, _ in found])
        torch.testing.assert_close(log_density[0].exp(), densities, rtol=1e-4, atol=0)
        torch.testing.assert_close(rgb[0], torch.stack([each for _, each in found]), **CLOSE)


def test_the_grid_holds_the_densities_of_its_points(tensors: dict[str, Tensor]) -> None:
    model = build(TINY, tensors, "cpu")
    planes = torch.randn(3, 8, 8, 8, generator=torch.Generator().manual_seed(3))
    axis = torch.linspace(-0.87, 0.87, 9)
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
    with torch.inference_mode():
        expected = model.field(planes[None], points.reshape(1, -1, 3))[0].reshape(9, 9, 9)
        torch.testing.assert_close(model.densities(planes, 9).log(), expected, rtol=0, atol=1e-5)
