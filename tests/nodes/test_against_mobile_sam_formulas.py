"""MobileSAM: its encoder against the formulas of TinyViT, written out here, small and random.

The formulas (Wu et al. 2022, arXiv:2207.10666, section 3) read a state dict in the published names,
which the checkpoint of `sam.segment` is in too. They agree to 1e-5 of embeddings of size 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from segment_anything import SamPredictor
from torch import Tensor
from torch.nn import functional as F

import visionweave as vw
from visionweave import Input, Masks, Pipeline
from visionweave.errors import WeightsError
from visionweave.nodes.sam import Segment
from visionweave.nodes.sam.build_net import build, empty_sam
from visionweave.nodes.sam.shape import SamShape
from visionweave.nodes.sam.tiny_net import renamed
from visionweave.testing import make_boxes, make_image
from visionweave.weights.lock import shipped_lock

SIZES: dict[str, Any] = {
    "image_size": 128,
    "tiny_embed_dims": [8, 16, 24, 32],
    "tiny_depths": [1, 2, 2, 1],
    "tiny_num_heads": [1, 2, 3, 4],
    "tiny_window_sizes": [3, 3, 5, 8],
    "prompt_embed_dim": 32,
    "mask_in_chans": 8,
    "decoder_num_heads": 2,
    "decoder_mlp_dim": 32,
    "iou_head_hidden_dim": 32,
}
SHAPE = SamShape.from_config({"variant": "vit_t", **SIZES}, "tiny")

Tensors = dict[str, Tensor]
Sizes = Iterator[tuple[str, tuple[int, ...]]]


def conv_sizes(name: str, out: int, each: int, side: int) -> Sizes:
    """A convolution without bias, `each` channels in for one out, and the batch norm after it."""
    yield f"{name}.c.weight", (out, each, side, side)
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.bn.{part}", (out,)
    yield f"{name}.bn.num_batches_tracked", ()


def linear_sizes(name: str, out: int, into: int) -> Sizes:
    yield f"{name}.weight", (out, into)
    yield f"{name}.bias", (out,)


def norm_sizes(name: str, width: int) -> Sizes:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def published_sizes(shape: SamShape) -> Sizes:
    """The names and shapes of a published file's encoder."""
    dims, last = shape.tiny_embed_dims, shape.tiny_embed_dims[-1]
    yield from conv_sizes("patch_embed.seq.0", dims[0] // 2, 3, 3)
    yield from conv_sizes("patch_embed.seq.2", dims[0], dims[0] // 2, 3)
    for layer, (width, depth) in enumerate(zip(dims, shape.tiny_depths, strict=True)):
        for block in range(depth):
            name = f"layers.{layer}.blocks.{block}"
            if layer == 0:
                yield from conv_sizes(f"{name}.conv1", 4 * width, width, 1)
                yield from conv_sizes(f"{name}.conv2", 4 * width, 1, 3)
                yield from conv_sizes(f"{name}.conv3", width, 4 * width, 1)
                continue
            offsets = (shape.tiny_num_heads[layer], shape.tiny_window_sizes[layer] ** 2)
            yield f"{name}.attn.attention_biases", offsets
            yield from norm_sizes(f"{name}.attn.norm", width)
            yield from linear_sizes(f"{name}.attn.qkv", 3 * width, width)
            yield from linear_sizes(f"{name}.attn.proj", width, width)
            yield from norm_sizes(f"{name}.mlp.norm", width)
            yield from linear_sizes(f"{name}.mlp.fc1", 4 * width, width)
            yield from linear_sizes(f"{name}.mlp.fc2", width, 4 * width)
            yield from conv_sizes(f"{name}.local_conv", width, 1, 3)
        if layer < 3:
            name, wider = f"layers.{layer}.downsample", dims[layer + 1]
            yield from conv_sizes(f"{name}.conv1", wider, width, 1)
            yield from conv_sizes(f"{name}.conv2", wider, 1, 3)
            yield from conv_sizes(f"{name}.conv3", wider, wider, 1)
    yield from norm_sizes("norm_head", last)
    yield from linear_sizes("head", 1000, last)
    yield "neck.0.weight", (shape.prompt_embed_dim, last, 1, 1)
    yield from norm_sizes("neck.1", shape.prompt_embed_dim)
    yield "neck.2.weight", (shape.prompt_embed_dim, shape.prompt_embed_dim, 3, 3)
    yield from norm_sizes("neck.3", shape.prompt_embed_dim)


def conv(x: Tensor, of: Tensors, name: str, stride: int = 1) -> Tensor:
    weight = of[f"{name}.c.weight"]
    groups = x.shape[1] // weight.shape[1]
    x = F.conv2d(x, weight, stride=stride, padding=weight.shape[2] // 2, groups=groups)
    parts = (of[f"{name}.bn.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, *parts)


def linear(x: Tensor, of: Tensors, name: str) -> Tensor:
    return x @ of[f"{name}.weight"].T + of[f"{name}.bias"]


def norm(x: Tensor, of: Tensors, name: str, eps: float = 1e-5) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], of[f"{name}.weight"], of[f"{name}.bias"], eps)


def attention(cells: Tensor, of: Tensors, name: str, heads: int) -> Tensor:
    """Within one window, (s, s, width): q·k / √d, and a bias for each |dy|, |dx|."""
    side, _, width = cells.shape
    flat = norm(cells.reshape(side * side, width), of, f"{name}.norm")
    # Per head: its queries, its keys, its values.
    qkv = linear(flat, of, f"{name}.qkv").reshape(side * side, heads, 3, width // heads)
    query, key, value = qkv.permute(2, 1, 0, 3)
    y, x = np.divmod(np.arange(side * side), side)
    offset = np.abs(y[:, None] - y) * side + np.abs(x[:, None] - x)
    bias = of[f"{name}.attention_biases"][:, torch.from_numpy(offset)]
    weights = (query @ key.transpose(1, 2) / (width // heads) ** 0.5 + bias).softmax(dim=-1)
    mixed = (weights @ value).transpose(0, 1).reshape(side * side, width)
    return linear(mixed, of, f"{name}.proj").reshape(side, side, width)


def block(x: Tensor, of: Tensors, name: str, heads: int, window: int) -> Tensor:
    """Attend in windows, of which the last are filled up with zeros; mix locally; the MLP."""
    _, _, height, width = x.shape
    cells = F.pad(x[0].permute(1, 2, 0), (0, 0, 0, -width % window, 0, -height % window))
    seen = torch.zeros_like(cells)
    for top in range(0, height, window):
        for left in range(0, width, window):
            part = slice(top, top + window), slice(left, left + window)
            seen[part] = attention(cells[part], of, f"{name}.attn", heads)
    x = x + seen[:height, :width].permute(2, 0, 1)
    cells = conv(x, of, f"{name}.local_conv").permute(0, 2, 3, 1)
    inner = F.gelu(linear(norm(cells, of, f"{name}.mlp.norm"), of, f"{name}.mlp.fc1"))
    return (cells + linear(inner, of, f"{name}.mlp.fc2")).permute(0, 3, 1, 2)


def reference(x: Tensor, of: Tensors, shape: SamShape) -> Tensor:
    """The encoder: a square (1, 3, S, S) to (1, C, S / 16, S / 16)."""
    x = conv(F.gelu(conv(x, of, "patch_embed.seq.0", 2)), of, "patch_embed.seq.2", 2)
    for layer, depth in enumerate(shape.tiny_depths):
        for number in range(depth):
            name = f"layers.{layer}.blocks.{number}"
            if layer > 0:
                heads, window = shape.tiny_num_heads[layer], shape.tiny_window_sizes[layer]
                x = block(x, of, name, heads, window)
                continue
            inner = F.gelu(conv(F.gelu(conv(x, of, f"{name}.conv1")), of, f"{name}.conv2"))
            x = F.gelu(x + conv(inner, of, f"{name}.conv3"))
        if layer < 3:
            name, stride = f"layers.{layer}.downsample", 2 if layer < 2 else 1
            inner = F.gelu(conv(F.gelu(conv(x, of, f"{name}.conv1")), of, f"{name}.conv2", stride))
            x = conv(inner, of, f"{name}.conv3")
    x = F.conv2d(x, of["neck.0.weight"]).permute(0, 2, 3, 1)
    x = norm(x, of, "neck.1", 1e-6).permute(0, 3, 1, 2)
    x = F.conv2d(x, of["neck.2.weight"], padding=1).permute(0, 2, 3, 1)
    return norm(x, of, "neck.3", 1e-6).permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def encoder() -> Tensors:
    """A random encoder, in the published names."""
    torch.manual_seed(4)
    tensors = {}
    for name, size in published_sizes(SHAPE):
        noise = torch.randn(size) * (0.3 if len(size) > 1 else 0.1)
        is_scale = name.endswith(("norm.weight", "bn.weight", "running_var", "neck.1.weight"))
        tensors[name] = 1 + noise if is_scale else noise
        if name.endswith("num_batches_tracked"):
            tensors[name] = torch.tensor(7)
    return tensors


@pytest.fixture(scope="module")
def published(encoder: Tensors) -> Tensors:
    """The whole of a file: that encoder, and SAM's prompt encoder and decoder."""
    sam = empty_sam(SHAPE)
    for name, parameter in sam.named_parameters():
        if "norm" not in name:
            torch.nn.init.normal_(parameter, std=0.25)
    rest = {n: t for n, t in sam.state_dict().items() if not n.startswith("image_encoder.")}
    return {f"image_encoder.{name}": tensor for name, tensor in encoder.items()} | rest


@torch.inference_mode()
def test_the_encoder_is_what_the_formulas_say(encoder: Tensors, published: Tensors) -> None:
    net = build("tiny", SHAPE, dict(published), "cpu")
    squares = torch.randn(2, 3, 128, 128)
    expected = torch.cat([reference(square[None], encoder, SHAPE) for square in squares])
    assert expected.shape == (2, 32, 8, 8)
    found = net.sam.image_encoder(squares)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert 0.1 < expected.std() < 10


def run(*, precision: str = "fp32", **values: Any) -> tuple[Masks, Any]:
    node = Segment("tiny-mobile")
    pipeline = Pipeline(masks=node(**{name: Input(name, type(v)) for name, v in values.items()}))
    masks = pipeline.run(device="cpu", precision=precision, **values)["masks"]
    assert isinstance(masks, Masks)
    return masks, node._net


@pytest.fixture
def store(published: Tensors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of weights with the checkpoint "tiny-mobile"."""
    path = tmp_path / "tiny-mobile" / "model.safetensors"
    path.parent.mkdir()
    save_file(published, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    config = ", ".join(f"{name} = {size}" for name, size in SIZES.items())
    (tmp_path / "weights.lock").write_text(
        '[checkpoint.tiny-mobile]\nfamily = "sam"\nlicense = "Apache-2.0"\ncommercial = "yes"\n'
        f'files = [{{ name = "{path.name}", sha256 = "{digest}" }}]\n'
        f'config = {{ variant = "vit_t", naming = "original", {config} }}\n'
    )
    monkeypatch.setenv("VISIONWEAVE_WEIGHTS", str(tmp_path))
    return tmp_path


def test_masks_are_those_of_the_published_predictor(store: Path) -> None:
    image = make_image((200, 90))
    boxes = make_boxes(3, image.image_hw)
    masks, net = run(image=image, boxes=boxes)
    predictor = SamPredictor(net.sam)
    predictor.set_image(image.pixels)
    expected = [predictor.predict(box=b, multimask_output=False)[0][0] for b in boxes.xyxy]
    assert (masks.array() != np.stack(expected)).mean() < 1e-4
    assert 0.01 < masks.array().mean() < 0.99
    assert masks.boxes == boxes


def test_low_precision_stays_within_the_tolerance(store: Path) -> None:
    image = make_image((200, 90))
    boxes = make_boxes(6, image.image_hw)
    low, exact = (run(precision=p, image=image, boxes=boxes)[0].array() for p in ("bf16", "fp32"))
    shared, either = (low & exact).sum(axis=(1, 2)), (low | exact).sum(axis=(1, 2))
    assert Segment.tolerance is not None
    assert 0 < 1 - (shared[either > 0] / either[either > 0]).mean() < Segment.tolerance


def test_the_published_file_has_these_names_and_is_as_large() -> None:
    entry = shipped_lock().checkpoints["mobile-sam"]
    shape = SamShape.from_config(entry.config, entry.name)
    with torch.device("meta"):
        ours = empty_sam(shape).state_dict()
        file = {f"image_encoder.{name}": torch.empty(s) for name, s in published_sizes(shape)}
    file |= {name: t for name, t in ours.items() if not name.startswith("image_encoder.")}
    assert {n: t.shape for n, t in renamed(file).items()} == {n: t.shape for n, t in ours.items()}
    counters = sum(name.endswith("num_batches_tracked") for name in file)
    held = 4 * sum(tensor.numel() for tensor in file.values()) + 4 * counters
    (weights,) = entry.files
    assert weights.bytes is not None
    # Besides the numbers, a file has the name and the place of each tensor.
    assert held < weights.bytes < held + 500 * len(file)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        pytest.param(
            "efficient-sam-ti",
            "efficient-sam-ti is an EfficientSAM.*no rough masks and no negative points",
            id="EfficientSAM",
        ),
        pytest.param(
            "sam2.1-hiera-large",
            "in the names of its authors' code.*: sam2.1-hiera-tiny-hf, .*, sam2.1-hiera-large-hf$",
            id="SAM 2.1 in other names",
        ),
        pytest.param("mobile-sam", "visionweave weights pull mobile-sam", id="not here"),
        pytest.param("hq-sam-light", "got variant 'hq_vit_t'", id="HQ-SAM's tiny one"),
    ],
)
def test_relatives_that_cannot_be_loaded(store: Path, model: str, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        Segment(model).ensure_loaded(vw.Runtime.get("cpu", "fp32"))
