"""RAM++, RAM and Tag2Text against their formulas, written down here a second time, and the names
and shapes of the published checkpoints against those that our networks are filled from.

The published weights are not at hand where this is tested. `published_shapes` says what such a file
holds; at full size it must agree with the key lists taken from the original code, at small size it
gives the random checkpoints on which the formulas are computed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from visionweave import Image, Runtime, WeightsError
from visionweave.nodes.tag2text import Tag, net
from visionweave.nodes.tag2text.config import Config, read_config
from visionweave.nodes.tag2text.weights import (
    UNUSED,
    build_tagger,
    build_writer,
    tagger_tensors,
    writer_tensors,
)
from visionweave.weights import Checkpoint

FACTS = Path(__file__).parents[3] / "shared" / "facts"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """For tensors as small as these, several threads cost more than they do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield
    torch.set_num_threads(threads)


VARIANTS = ("ram_plus", "ram", "tag2text")
TEXT_NETWORKS = ("tag_encoder.", "text_decoder.")

Published = dict[str, Tensor]


def config(variant: str, **sizes: Any) -> Config:
    """The published configuration, or one of other sizes."""
    backbone = "swin_b" if variant == "tag2text" else "swin_l"
    entry = {"variant": variant, "backbone": backbone} | sizes
    return read_config(
        Checkpoint("theirs", "tag2text", "", "", (), "pickle", "MIT", "yes", "", "", entry)
    )


def small(variant: str) -> Config:
    """A grid of 16 x 16, 8 x 8 and 4 x 4 tokens: windows in rows, four windows, one window."""
    return config(
        variant, image_size=64, patch_size=4, embed_dim=8, depths=(2, 3, 2), num_heads=(1, 2, 4),
        window_size=4, classes=11, descriptions=5, label_width=12, hidden=24, head_layers=2,
        head_heads=3, intermediate=40, text_layers=2, text_heads=2, text_tokens=60,
        text_positions=32, weights="w.pth", tags="tags.txt", tags_zh="", thresholds="",
        raised={}, deleted=(),
    )  # fmt: skip


# What a published file holds -----------------------------------------------------------------


def published_shapes(c: Config) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}

    def linear(name: str, out: int, into: int, bias: bool = True) -> None:
        shapes[f"{name}.weight"] = (out, into)
        if bias:
            shapes[f"{name}.bias"] = (out,)

    def norm(name: str, width: int) -> None:
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (width,)

    _swin_shapes(c, shapes, linear, norm)
    for index in range(c.head_layers):
        _cross_shapes(f"tagging_head.encoder.layer.{index}.", c, c.token_width, linear, norm)
    if c.variant == "tag2text":
        shapes["label_embed.weight"] = (c.classes, c.hidden)
        shapes["fc.W"], shapes["fc.b"] = (1, c.classes, c.hidden), (1, c.classes)
    else:
        each = c.descriptions if c.variant == "ram_plus" else 1
        shapes["label_embed"] = (c.classes * each, c.label_width)
        linear("image_proj", c.label_width, c.image_width)
        linear("wordvec_proj", c.hidden, c.label_width)
        linear("fc", 1, c.hidden)
    if c.variant == "ram_plus":
        shapes["reweight_scale"] = ()
    else:
        _bert_shapes("tag_encoder.", c, c.token_width, shapes, linear, norm)
        _bert_shapes("text_decoder.bert.", c, c.hidden, shapes, linear, norm)
        linear("text_decoder.cls.predictions.transform.dense", c.hidden, c.hidden)
        norm("text_decoder.cls.predictions.transform.LayerNorm", c.hidden)
        linear("text_decoder.cls.predictions.decoder", c.text_tokens, c.hidden)
        shapes["text_decoder.cls.predictions.bias"] = (c.text_tokens,)
    return shapes


def _swin_shapes(
    c: Config,
    shapes: dict[str, tuple[int, ...]],
    linear: Callable[..., None],
    norm: Callable[..., None],
) -> None:
    v, window = "visual_encoder.", c.window_size**2
    shapes[f"{v}patch_embed.proj.weight"] = (c.embed_dim, 3, c.patch_size, c.patch_size)
    shapes[f"{v}patch_embed.proj.bias"] = (c.embed_dim,)
    norm(f"{v}patch_embed.norm", c.embed_dim)
    for stage, (depth, heads) in enumerate(zip(c.depths, c.num_heads, strict=True)):
        width = c.embed_dim * 2**stage
        windows = (c.image_size // c.patch_size // 2**stage // c.window_size) ** 2
        for index in range(depth):
            b = f"{v}layers.{stage}.blocks.{index}."
            norm(f"{b}norm1", width)
            shapes[f"{b}attn.relative_position_bias_table"] = ((2 * c.window_size - 1) ** 2, heads)
            shapes[f"{b}attn.relative_position_index"] = (window, window)
            linear(f"{b}attn.qkv", 3 * width, width)
            linear(f"{b}attn.proj", width, width)
            norm(f"{b}norm2", width)
            linear(f"{b}mlp.fc1", 4 * width, width)
            linear(f"{b}mlp.fc2", width, 4 * width)
            if index % 2 and windows > 1:
                shapes[f"{b}attn_mask"] = (windows, window, window)
        if stage < len(c.depths) - 1:
            linear(f"{v}layers.{stage}.downsample.reduction", 2 * width, 4 * width, bias=False)
            norm(f"{v}layers.{stage}.downsample.norm", 4 * width)
    norm(f"{v}norm", c.image_width)


def _cross_shapes(
    p: str, c: Config, seen: int, linear: Callable[..., None], norm: Callable[..., None]
) -> None:
    linear(f"{p}crossattention.self.query", c.hidden, c.hidden)
    linear(f"{p}crossattention.self.key", c.hidden, seen)
    linear(f"{p}crossattention.self.value", c.hidden, seen)
    linear(f"{p}crossattention.output.dense", c.hidden, c.hidden)
    norm(f"{p}crossattention.output.LayerNorm", c.hidden)
    linear(f"{p}intermediate.dense", c.intermediate, c.hidden)
    linear(f"{p}output.dense", c.hidden, c.intermediate)
    norm(f"{p}output.LayerNorm", c.hidden)


def _bert_shapes(
    p: str,
    c: Config,
    seen: int,
    shapes: dict[str, tuple[int, ...]],
    linear: Callable[..., None],
    norm: Callable[..., None],
) -> None:
    shapes[f"{p}embeddings.position_ids"] = (1, c.text_positions)
    shapes[f"{p}embeddings.word_embeddings.weight"] = (c.text_tokens, c.hidden)
    shapes[f"{p}embeddings.position_embeddings.weight"] = (c.text_positions, c.hidden)
    norm(f"{p}embeddings.LayerNorm", c.hidden)
    for index in range(c.text_layers):
        layer = f"{p}encoder.layer.{index}."
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            linear(f"{layer}attention.{part}", c.hidden, c.hidden)
        norm(f"{layer}attention.output.LayerNorm", c.hidden)
        _cross_shapes(layer, c, seen, linear, norm)


def key_list(variant: str) -> dict[str, tuple[int, ...]]:
    path = FACTS / f"keys_{variant}.tsv"
    if not path.is_file():
        pytest.skip("the key lists of the published checkpoints are not beside this repository")
    rows = (line.split("\t") for line in path.read_text().splitlines())
    return {
        name: tuple(int(n) for n in shape.strip("()").split(",") if n) for name, shape, _ in rows
    }


def random_published(c: Config, seed: int = 0) -> Published:
    """A file of random weights, in which every part is felt: no weight is 0, no norm is 1."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in published_shapes(c).items():
        noise = torch.randn(shape, generator=generator)
        if name.endswith(("norm.weight", "norm1.weight", "norm2.weight", "LayerNorm.weight")):
            noise = 1 + 0.2 * noise
        elif name.endswith(("relative_position_index", "position_ids")):
            noise = torch.zeros(shape, dtype=torch.long)
        elif len(shape) > 1 and "embed" not in name and name != "fc.W":
            noise = noise * 1.4 / math.sqrt(math.prod(shape[1:]))
        elif len(shape) < 2:
            noise = 0.2 * noise
        tensors[name] = noise
    if c.variant == "ram_plus":
        tensors["reweight_scale"] = torch.tensor(math.log(1 / 0.07))
    if c.variant != "tag2text":
        tensors["label_embed"] = F.normalize(tensors["label_embed"], dim=1)
        tensors["wordvec_proj.weight"] *= 4
    if "text_decoder.cls.predictions.bias" in tensors:  # one tensor under two names
        twin = "text_decoder.cls.predictions.decoder.bias"
        tensors["text_decoder.cls.predictions.bias"] = tensors[twin]
    return tensors


def random_pixels(c: Config, count: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    shape = (count, c.image_size, c.image_size, 3)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


# The names -----------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_a_published_file_holds_is_what_the_key_list_says(variant: str) -> None:
    assert published_shapes(config(variant)) == key_list(variant)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_published_tensor_is_read_or_known_to_be_unused_and_every_weight_is_filled(
    variant: str,
) -> None:
    keys = key_list(variant)
    with torch.device("meta"):
        tagger = net.make_tagger(config(variant))
        given = {name: torch.empty(shape) for name, shape in keys.items()}
    ours = tagger_tensors(given)
    assert shapes_of(ours) == shapes_of(tagger.state_dict())
    read = [name for name in keys if not UNUSED.match(name)]
    qkv = sum(".qkv." in name for name in read)
    assert len(ours) == len(read) + 2 * qkv  # each is read into a place of its own
    unused = {name.split(".")[-1] for name in keys if UNUSED.match(name)}
    networks = {name for name in keys if name.startswith(TEXT_NETWORKS)}
    assert unused - {name.split(".")[-1] for name in networks} == {
        "relative_position_index",
        "attn_mask",
    }
    assert bool(networks) == (variant != "ram_plus")


def test_the_rest_of_tag2texts_file_fills_the_caption_half() -> None:
    keys = key_list("tag2text")
    with torch.device("meta"):
        writer = net.Writer(config("tag2text"))
        given = {name: torch.empty(shape) for name, shape in keys.items()}
    ours = writer_tensors(given)
    assert shapes_of(ours) == shapes_of(writer.state_dict())
    unread = {name for name in keys if name.startswith(TEXT_NETWORKS)} - ours.keys()
    assert unread == {
        "tag_encoder.embeddings.position_ids",
        "text_decoder.bert.embeddings.position_ids",
    }


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_checkpoint_of_our_own_names_loads_as_it_is(variant: str) -> None:
    c = small(variant)
    first = build_tagger(c, random_published(c), "cpu", "w.pth")
    again = build_tagger(c, first.state_dict(), "cpu", "w.pth")
    tokens = first.encode(random_pixels(c))
    assert torch.equal(again.encode(random_pixels(c)), tokens)
    assert torch.equal(again.score(tokens), first.score(tokens))


def test_half_precision_weights_are_computed_with_in_full_precision() -> None:
    c = small("ram")
    half = {name: tensor.half() for name, tensor in random_published(c).items()}
    tagger = build_tagger(c, half, "cpu", "w.pth")
    assert {p.dtype for p in tagger.parameters()} == {torch.float32}
    assert not any(p.requires_grad for p in tagger.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            lambda t: t.pop("fc.weight"),
            r"(?s)^w\.pth: these weights do not fit.*\n  fc\.weight is missing\n  fix: correct",
            id="one is missing",
        ),
        pytest.param(
            lambda t: t.update({"extra.weight": torch.zeros(1)}),
            r"(?s)\n  extra\.weight has no place\n  fix",
            id="one too many",
        ),
        pytest.param(
            lambda t: t.update({"fc.weight": torch.zeros(1, 5)}),
            r"(?s)\n  fc\.weight must have shape \(1, 24\); got \(1, 5\)\n  fix",
            id="another shape",
        ),
        pytest.param(
            lambda t: [t.pop(n) for n in list(t) if "tagging_head" in n],
            r"(?s)\n  head\.0\.down\.bias is missing\n.*… and 27 more\n  fix",
            id="a whole part is missing",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    change: Callable[[Published], None], message: str
) -> None:
    c = small("ram")
    tensors = random_published(c)
    change(tensors)
    with pytest.raises(WeightsError, match=message):
        build_tagger(c, tensors, "cpu", "w.pth")


# The formulas --------------------------------------------------------------------------------


def affine(t: Published, name: str, x: Tensor) -> Tensor:
    y = torch.einsum("oi,...i->...o", t[f"{name}.weight"], x)
    return y + t[f"{name}.bias"] if f"{name}.bias" in t else y


def layer_norm(t: Published, name: str, x: Tensor, eps: float) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    spread = (centred.square().mean(-1, keepdim=True) + eps).sqrt()
    return centred / spread * t[f"{name}.weight"] + t[f"{name}.bias"]


def gelu(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def attention(q: Tensor, k: Tensor, v: Tensor, heads: int, bias: Tensor | None = None) -> Tensor:
    """q (B, N, H), k and v (B, M, H), bias broadcast to (B, heads, N, M)."""
    q, k, v = (x.unflatten(-1, (heads, -1)) for x in (q, k, v))
    scores = torch.einsum("bnhd,bmhd->bhnm", q, k) / math.sqrt(q.shape[-1])
    weights = torch.softmax(scores if bias is None else scores + bias, -1)
    return torch.einsum("bhnm,bmhd->bnhd", weights, v).flatten(2)


def swin(t: Published, c: Config, pixels: Tensor) -> Tensor:
    """(B, S, S, 3) uint8 -> the average token and the tokens, (B, 1 + T, W)."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    p = c.patch_size
    x = (pixels / 255 - mean) / std
    x = x.unflatten(2, (-1, p)).unflatten(1, (-1, p))  # (B, rows, p, columns, p, 3)
    x = torch.einsum("brycxi,eiyx->brce", x, t["visual_encoder.patch_embed.proj.weight"])
    x = x + t["visual_encoder.patch_embed.proj.bias"]
    x = layer_norm(t, "visual_encoder.patch_embed.norm", x, 1e-5)
    for stage, depth in enumerate(c.depths):
        for index in range(depth):
            x = swin_block(t, c, stage, index, x)
        if stage < len(c.depths) - 1:
            corners = [x[:, row::2, column::2] for column, row in product((0, 1), (0, 1))]
            name = f"visual_encoder.layers.{stage}.downsample"
            x = affine(
                t, f"{name}.reduction", layer_norm(t, f"{name}.norm", torch.cat(corners, 3), 1e-5)
            )
    x = layer_norm(t, "visual_encoder.norm", x, 1e-5).flatten(1, 2)
    return torch.cat([x.mean(1, keepdim=True), x], 1)


def swin_block(t: Published, c: Config, stage: int, index: int, x: Tensor) -> Tensor:
    name, w, side = f"visual_encoder.layers.{stage}.blocks.{index}", c.window_size, x.shape[1]
    shift = w // 2 if index % 2 and side > w else 0
    y = layer_norm(t, f"{name}.norm1", x, 1e-5).roll((-shift, -shift), (1, 2))
    seen = torch.zeros_like(y)
    for top, left in product(range(0, side, w), range(0, side, w)):
        part = y[:, top : top + w, left : left + w].flatten(1, 2)
        q, k, v = affine(t, f"{name}.attn.qkv", part).chunk(3, -1)
        bias = window_bias(t[f"{name}.attn.relative_position_bias_table"], w)
        bias = bias + wrapped_mask(top, left, side, w, shift)
        out = affine(t, f"{name}.attn.proj", attention(q, k, v, c.num_heads[stage], bias))
        seen[:, top : top + w, left : left + w] = out.unflatten(1, (w, w))
    x = x + seen.roll((shift, shift), (1, 2))
    inner = affine(t, f"{name}.mlp.fc1", layer_norm(t, f"{name}.norm2", x, 1e-5))
    return x + affine(t, f"{name}.mlp.fc2", gelu(inner))


def window_bias(table: Tensor, w: int) -> Tensor:
    """(heads, w * w, w * w): by how far below and right of a query's place the key's is not."""
    places = list(product(range(w), range(w)))
    rows = [[(y - v + w - 1) * (2 * w - 1) + x - u + w - 1 for v, u in places] for y, x in places]
    return table[torch.tensor(rows)].permute(2, 0, 1)


def wrapped_mask(top: int, left: int, side: int, w: int, shift: int) -> Tensor:
    """(w * w, w * w): -100 between places that only the roll brought into one window."""
    places = product(range(top, top + w), range(left, left + w))
    wrapped = torch.tensor([[y >= side - shift, x >= side - shift] for y, x in places])
    return -100.0 * (wrapped[:, None] != wrapped[None]).any(2)


def cross_layer(t: Published, p: str, x: Tensor, seen: Tensor, heads: int) -> Tensor:
    a = f"{p}crossattention."
    q, k, v = (
        affine(t, f"{a}self.{part}", each)
        for part, each in (("query", x), ("key", seen), ("value", seen))
    )
    x = layer_norm(
        t,
        f"{a}output.LayerNorm",
        x + affine(t, f"{a}output.dense", attention(q, k, v, heads)),
        1e-12,
    )
    inner = affine(t, f"{p}output.dense", gelu(affine(t, f"{p}intermediate.dense", x)))
    return layer_norm(t, f"{p}output.LayerNorm", x + inner, 1e-12)


def tagging_logits(t: Published, c: Config, tokens: Tensor) -> Tensor:
    """The backbone's tokens (B, 1 + T, W) -> (B, C)."""
    count = len(tokens)
    if c.variant == "tag2text":
        x = t["label_embed.weight"].expand(count, -1, -1)
    else:
        tokens = affine(t, "image_proj", tokens)
        labels = t["label_embed"].expand(count, -1, -1)
        if c.variant == "ram_plus":
            photo = tokens[:, 0] / tokens[:, 0].norm(dim=1, keepdim=True)
            alike = t["reweight_scale"].exp() * torch.einsum("be,bne->bn", photo, labels)
            weights = alike.view(count, c.classes, c.descriptions).softmax(2)
            rows = labels.view(count, c.classes, c.descriptions, -1)
            labels = (weights[..., None] * rows).sum(2)
        x = affine(t, "wordvec_proj", labels).clamp(min=0)
    for index in range(c.head_layers):
        x = cross_layer(t, f"tagging_head.encoder.layer.{index}.", x, tokens, c.head_heads)
    if c.variant == "tag2text":
        return (t["fc.W"] * x).sum(2) + t["fc.b"]
    return affine(t, "fc", x)[..., 0]


@pytest.mark.parametrize("variant", VARIANTS)
def test_image_tokens_follow_the_formulas(variant: str) -> None:
    c = small(variant)
    t, pixels = random_published(c), random_pixels(c)
    ours = build_tagger(c, t, "cpu", "w.pth").encode(pixels)
    expected = swin(t, c, pixels)
    if variant != "tag2text":
        expected = affine(t, "image_proj", expected)
    assert expected.std() > 0.5
    torch.testing.assert_close(ours, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_scores_follow_the_formulas(variant: str) -> None:
    c = small(variant)
    t, pixels = random_published(c), random_pixels(c)
    tagger = build_tagger(c, t, "cpu", "w.pth")
    logits = tagging_logits(t, c, swin(t, c, pixels))
    assert logits.std(0).min() > 0.02  # photos differ
    assert logits.std(1).min() > 0.02  # and so do classes
    expected = 1 / (1 + torch.exp(-logits))
    torch.testing.assert_close(tagger.score(tagger.encode(pixels)), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_classes_in_chunks_of_any_size_have_the_same_scores(
    variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    c = small(variant)
    tagger = build_tagger(c, random_published(c), "cpu", "w.pth")
    tokens = tagger.encode(random_pixels(c))
    whole = tagger.score(tokens)
    for chunk in (1, 4, 10):
        monkeypatch.setattr(net, "CHUNK", chunk)
        torch.testing.assert_close(tagger.score(tokens), whole, rtol=0, atol=1e-6)


def test_one_description_of_a_class_is_as_good_as_51_equal_ones() -> None:
    c = small("ram_plus")
    t = random_published(c)
    t["label_embed"] = t["label_embed"][:: c.descriptions].repeat_interleave(c.descriptions, 0)
    tagger = build_tagger(c, t, "cpu", "w.pth")
    tokens = tagger.encode(random_pixels(c))
    one = t["label_embed"][:: c.descriptions, None]
    torch.testing.assert_close(tagger.score(tokens, one), tagger.score(tokens), rtol=0, atol=1e-6)


# The caption half ----------------------------------------------------------------------------


def bert(t: Published, p: str, c: Config, ids: Tensor, seen: Tensor, allowed: Tensor) -> Tensor:
    """BERT with cross-attention. `allowed` (B, L, L): which place may see which."""
    words = t[f"{p}embeddings.word_embeddings.weight"][ids]
    places = t[f"{p}embeddings.position_embeddings.weight"][: ids.shape[1]]
    x = layer_norm(t, f"{p}embeddings.LayerNorm", words + places, 1e-12)
    bias = torch.where(allowed, 0.0, float("-inf"))[:, None]
    for index in range(c.text_layers):
        layer = f"{p}encoder.layer.{index}."
        a = f"{layer}attention."
        q, k, v = (affine(t, f"{a}self.{part}", x) for part in ("query", "key", "value"))
        out = affine(t, f"{a}output.dense", attention(q, k, v, c.text_heads, bias))
        x = layer_norm(t, f"{a}output.LayerNorm", x + out, 1e-12)
        x = cross_layer(t, layer, x, seen, c.text_heads)
    return x


def next_word_logits(t: Published, c: Config, ids: Tensor, seen: Tensor) -> Tensor:
    """(B, L) ids so far -> (B, L, tokens)."""
    causal = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool).tril()
    x = bert(t, "text_decoder.bert.", c, ids, seen, causal.expand(len(ids), -1, -1))
    head = "text_decoder.cls.predictions."
    x = gelu(affine(t, f"{head}transform.dense", x))
    x = layer_norm(t, f"{head}transform.LayerNorm", x, 1e-12)
    return affine(t, f"{head}decoder", x)


class Captions:
    """A small random caption half, two photos, and their tags: of one length and of another."""

    def __init__(self) -> None:
        self.config = small("tag2text")
        self.published = random_published(self.config, seed=3)
        self.writer = build_writer(self.config, self.published, "cpu", "w.pth")
        self.tokens = swin(self.published, self.config, random_pixels(self.config, 2))
        self.ids = torch.tensor([[59, 7, 9, 11, 30, 2], [59, 8, 2, 0, 0, 0]])
        self.known = self.ids != 0
        self.prompt = torch.tensor([58, 12, 13])

    @property
    def states(self) -> Tensor:
        allowed = self.known[:, None].expand(-1, self.ids.shape[1], -1)
        t, c = self.published, self.config
        return bert(t, "tag_encoder.", c, self.ids, self.tokens, allowed)

    def write(self, **search: Any) -> Tensor:
        search = {"max_length": 12, "min_length": 6, "eos_token_id": 2, "pad_token_id": 0} | search
        return self.writer(self.tokens, self.ids, self.known, self.prompt, **search)

    def likelihood(self, row: int, ids: list[int]) -> float:
        """The mean logarithm of the probabilities of what was written, [SEP] included."""
        written = torch.tensor([ids])
        logits = next_word_logits(self.published, self.config, written, self.states[row][None])
        logs = logits[0, :-1].log_softmax(1)
        chosen = logs[torch.arange(len(ids) - 1), written[0, 1:]][len(self.prompt) - 1 :]
        return float(chosen.sum()) / len(chosen)


def test_tags_are_read_by_the_formulas() -> None:
    it = Captions()
    read = it.writer.read_tags(it.tokens, it.ids, it.known)
    torch.testing.assert_close(read, it.states, rtol=0, atol=2e-5)


def test_without_beams_the_likeliest_word_follows() -> None:
    it = Captions()
    written = it.write(num_beams=1)
    for row, states in enumerate(it.states):
        ids = it.prompt.tolist()
        while len(ids) < 12 and ids[-1] != 2:
            logits = next_word_logits(it.published, it.config, torch.tensor([ids]), states[None])
            if len(ids) < 6:
                logits[0, -1, 2] = -math.inf  # too short to end
            ids.append(int(logits[0, -1].argmax()))
        assert written[row].tolist()[: len(ids)] == ids
        assert not written[row, len(ids) :].any()


def test_beams_find_a_caption_that_is_at_least_as_likely() -> None:
    it = Captions()
    greedy, best = it.write(num_beams=1), it.write(num_beams=3)
    gains = []
    for row in range(2):
        one, other = ([i for i in ids.tolist() if i != 0] for ids in (greedy[row], best[row]))
        gains.append(it.likelihood(row, other) - it.likelihood(row, one))
    assert min(gains) > -1e-5
    assert max(gains) > 1e-3


def test_a_caption_depends_on_its_own_photo_and_tags_alone() -> None:
    it = Captions()
    together = it.write(num_beams=3)
    for row in range(2):
        one = slice(row, row + 1)
        alone = it.writer(
            it.tokens[one], it.ids[one], it.known[one], it.prompt,
            num_beams=3, max_length=12, min_length=6, eos_token_id=2, pad_token_id=0,
        )  # fmt: skip
        length = alone.shape[1]
        assert together[row].tolist()[:length] == alone[0].tolist()
        assert not together[row, length:].any()
    assert together[0].tolist() != together[1].tolist()


# Through the node ----------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_published_file_gives_the_tags_of_the_formulas(
    variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISIONWEAVE_WEIGHTS", str(tmp_path))
    c = small(variant)
    t = random_published(c)
    folder = tmp_path / "theirs"
    folder.mkdir()
    torch.save({"model": t, "optimizer": {"state": {}}, "epoch": 5}, folder / "w.pth")
    names = [f"tag {index}" for index in range(c.classes)]
    (folder / "tags.txt").write_text("\n".join(names))
    pixels = random_pixels(c, 1)
    scores = tagging_logits(t, c, swin(t, c, pixels)).sigmoid()[0].numpy()
    limit = float(np.median(scores)) + 1e-4
    write_lock(folder, c.model_dump(exclude={"raised"}) | {"threshold": limit, "raised": {}})
    node = Tag(model="theirs")
    node.ensure_loaded(Runtime.get("cpu", "fp32"))
    tags = node(Image.from_array(pixels[0].numpy()))
    order = [index for index in np.argsort(-scores) if scores[index] > limit]
    assert len(order) == c.classes // 2
    assert tags.phrases == tuple(names[index] for index in order)
    np.testing.assert_allclose(tags.scores, scores[order], atol=1e-5)


def write_lock(folder: Path, config: Mapping[str, Any]) -> None:
    files = ", ".join(
        f'{{ name = "{path.name}", sha256 = "{hashlib.sha256(path.read_bytes()).hexdigest()}" }}'
        for path in sorted(folder.iterdir())
    )
    fields = ", ".join(f"{name} = {_toml(value)}" for name, value in config.items())
    (folder.parent / "weights.lock").write_text(
        f'[checkpoint.{folder.name}]\nfamily = "tag2text"\nlicense = "MIT"\ncommercial = "yes"\n'
        f"files = [{files}]\nconfig = {{ {fields} }}\n"
    )


def _toml(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return "{}"
    return f'"{value}"' if isinstance(value, str) else str(value)
