"""One checkpoint under its published names: the same boxes through both implementations."""

from __future__ import annotations

import hashlib
import json
import resource
import string
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from visionweave import (
    Boxes,
    Image,
    NodeError,
    Pipeline,
    Runtime,
    Tags,
    Text,
    WeightsError,
    testing,
)
from visionweave.chain import Input
from visionweave.nodes.grounding_dino import Detect, original
from visionweave.nodes.grounding_dino.fast_net import quicken
from visionweave.nodes.grounding_dino.names import UNUSED, renamed
from visionweave.nodes.grounding_dino.net import Detector, normalised
from visionweave.nodes.grounding_dino.photos import Preparation, prepared
from visionweave.nodes.grounding_dino.prompts import Prompt
from visionweave.nodes.grounding_dino.weights import build_network, read_config
from visionweave.weights import Checkpoint

pytest.importorskip("groundingdino")

pytestmark = [  # groundingdino-py calls torch and timm by names that they will drop
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", ".", "?", "red", "apple", "cat", "mat"]
VOCABULARY += [*string.ascii_lowercase, *(f"##{letter}" for letter in string.ascii_lowercase)]
SIZES: dict[str, Any] = {
    "backbone_config": {
        "model_type": "swin",
        "out_indices": [2, 3, 4],
        "embed_dim": 8,
        "depths": [1, 1, 2, 1],
        "num_heads": [1, 2, 2, 4],
        "window_size": 4,
    },
    "text_config": {
        "model_type": "bert",
        "vocab_size": len(VOCABULARY),
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    },
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "num_queries": 30,
}
"""As small as groundingdino-py allows: its width is 256 in several places of its code."""


def an_entry(config: dict[str, Any]) -> Checkpoint:
    facts = dict.fromkeys(("source", "revision", "format", "license", "terms", "paper"), "")
    return Checkpoint("any", "grounding_dino", files=(), commercial="yes", config=config, **facts)


def random_weights(config: Any) -> dict[str, Any]:
    """The tensors of a published file, with random numbers."""
    torch.manual_seed(0)
    network = original._empty(config, (2, 3, 4, 5))
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.05 * torch.randn_like(weight)
        network.transformer.decoder.norm.weight *= 0.15
    tensors: dict[str, Any] = network.state_dict()
    # What training needed lies in the published files as well.
    tensors["label_enc.weight"] = torch.zeros(2001, config.d_model)
    tensors["bert.embeddings.position_ids"] = torch.arange(512)[None]
    return tensors


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one published file of random weights."""
    store = tmp_path_factory.mktemp("weights")
    folder = store / "tiny"
    folder.mkdir()
    tensors = random_weights(read_config(an_entry(SIZES), {}))
    torch.save({"model": {f"module.{k}": v for k, v in tensors.items()}}, folder / "tiny.pth")
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY))
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "size": {"shortest_edge": 64, "longest_edge": 107},
                "image_mean": [0.485, 0.456, 0.406],
                "image_std": [0.229, 0.224, 0.225],
            }
        )
    )
    (folder / "config.json").write_text(json.dumps(SIZES))
    files = ", ".join(
        f'{{ name = "{path.name}", sha256 = "{hashlib.sha256(path.read_bytes()).hexdigest()}" }}'
        for path in sorted(folder.iterdir())
    )
    entry = f'family = "grounding_dino"\nfiles = [{files}]\nlicense = "MIT"\ncommercial = "yes"\n'
    (store / "weights.lock").write_text(f"[checkpoint.tiny]\n{entry}")
    return folder


@pytest.fixture(autouse=True)
def store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISIONWEAVE_WEIGHTS", str(folder.parent))


def loaded(**settings: Any) -> Detect:
    node = Detect("tiny", **settings)
    node.ensure_loaded(Runtime.get("cpu", "fp32"))
    return node


def detect(image: Image, phrases: Tags | Text, **settings: Any) -> Boxes:
    photo, asked = Input("photo", Image), Input("phrases", Tags | Text)
    pipeline = Pipeline(boxes=Detect("tiny", **settings)(photo, asked))
    result = pipeline.run(photo=image, phrases=phrases, device="cpu", precision="fp32")
    boxes: Boxes = result["boxes"]
    return boxes


@pytest.mark.parametrize("fast", [True, False], ids=["our functions", "the library's functions"])
@pytest.mark.parametrize("size_wh", [(130, 97), (97, 130), (200, 64)], ids=str)
def test_logits_and_boxes_are_those_of_the_published_code(
    size_wh: tuple[int, int], fast: bool
) -> None:
    photo = testing.make_image(size_wh)
    answers = []
    for node in (loaded(fast=fast), loaded(backend="original")):
        model = node._loaded
        (prompt,) = model.phrases(("red apple", "cat", "t-shirt", "mat")).prompts
        with node.forward_context():
            (scene,) = node.look.forward([prepared(photo, model.preparation)])
            answers.append(model.detector.detect([scene], [model.read(prompt)]))
    (logits, boxes), (their_logits, their_boxes) = answers
    assert logits.shape == their_logits.shape == (1, 30, len(prompt.ids))
    assert their_logits.std() > 0.5
    assert their_boxes.std(dim=1).min() > 0.02
    torch.testing.assert_close(logits, their_logits, atol=1e-3, rtol=0)
    torch.testing.assert_close(boxes, their_boxes, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    "phrases",
    [
        pytest.param(Tags(("Red apple", "cat", "T-shirt")), id="tags"),
        pytest.param(Text("A red apple, a cat on a mat. Red shirts?"), id="a text"),
        pytest.param(Tags(tuple(f"{a}{b}" for a in "abcdefghij" for b in "klmnopqrst")), id="many"),
    ],
)
def test_both_backends_find_the_same(phrases: Tags | Text) -> None:
    photo = testing.make_image((130, 97), "street/004.jpg")
    settings: dict[str, Any] = {"box_threshold": 0.4, "nms": 0.9}
    ours = detect(photo, phrases, **settings)
    theirs = detect(photo, phrases, backend="original", **settings)
    assert len(ours) > 3
    assert ours.labels == theirs.labels
    np.testing.assert_allclose(ours.xyxy, theirs.xyxy, atol=0.13)
    np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-3)


def test_photos_are_prepared_as_the_published_code_does() -> None:
    from groundingdino.datasets import transforms

    preparation = Preparation()
    photo = testing.make_image((640, 480))
    steps = [
        transforms.RandomResize([preparation.short], max_size=preparation.long),
        transforms.ToTensor(),
        transforms.Normalize(preparation.mean, preparation.std),
    ]
    theirs, _ = transforms.Compose(steps)(photo.to_pil(), None)
    ours = torch.from_numpy(prepared(photo, preparation).copy())[None]
    ours = normalised(ours, preparation.mean, preparation.std)
    torch.testing.assert_close(ours[0], theirs, atol=1e-6, rtol=0)


def test_every_published_tensor_has_its_place() -> None:
    config = read_config(an_entry(SIZES), {})
    tensors = random_weights(config)
    names = renamed(tensors)
    assert len(names) > 300
    assert not any(name.startswith(("transformer.", "backbone.", "bert.")) for name in names)
    assert sum(UNUSED.match(name) is not None for name in tensors) == 4 + 5
    build_network(config, tensors)  # says what is missing, left over or of another shape
    del tensors["transformer.decoder.layers.1.norm3.bias"]
    with pytest.raises(WeightsError, match=r"missing keys: .*layers.1.final_layer_norm.bias"):
        build_network(config, tensors)


def test_the_published_code_reads_published_files_only() -> None:
    config = read_config(an_entry(SIZES), {})
    tensors = random_weights(config)
    with pytest.raises(WeightsError, match=r"transformers' names; use backend 'transformers'"):
        original.build_original(config, renamed(tensors), (2, 3, 4, 5))
    del tensors["feat_map.bias"]
    with pytest.raises(WeightsError, match=r"not the weights of .* Missing key.*feat_map.bias"):
        original.build_original(config, tensors, (2, 3, 4, 5))


def test_without_the_package_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "groundingdino.models.GroundingDINO", None)
    with pytest.raises(NodeError, match=r"pip install 'visionweave\[original\]'"):
        original._library()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "tensors", "numbers"),
    [
        pytest.param("swin_t", 940, 174_839_994, id="swin-t"),
        pytest.param("swin_b", 1108, None, id="swin-b"),
    ],
)
def test_the_published_sizes(
    variant: str, tensors: int, numbers: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """The published files have so many tensors; each finds its place, and a photo is searched."""
    config = read_config(an_entry({"variant": variant, "naming": "original"}), {})
    weights = random_weights(config)
    assert len(weights) == tensors
    assert numbers in (None, sum(weight.numel() for weight in weights.values()))
    network = build_network(config, weights)
    del weights
    preparation = Preparation()
    photo = prepared(testing.make_image((1280, 960)), preparation)
    ids = (101, *(number for word in range(2000, 2080) for number in (word, 1012)), 102)
    prompt = Prompt(ids, (0, *(0, 1) * 80, 0), (-1, *(0, -1) * 80, -1))
    detector = Detector(network, preparation.mean, preparation.std)
    answers = []
    for title in ("the library's functions", "our functions"):
        if title == "our functions":
            quicken(network)
        started = time.perf_counter()
        with Runtime.get("cpu", "fp32").forward():
            (scene,) = detector.look(torch.from_numpy(photo.copy())[None])
            looked = time.perf_counter()
            answers.append(detector.detect([scene], [detector.read(prompt)]))
        ended = time.perf_counter()
        with capsys.disabled():
            print(
                f"\n{variant} in fp32, {title}: {ended - started:.1f} s, of which the backbone "
                f"{looked - started:.1f} s; peak memory "
                f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB"
            )
    # Two candidates that score nearly alike may have changed places.
    (logits, boxes), (our_logits, our_boxes) = answers
    assert ((logits - our_logits).abs().amax(2) < 1e-2).float().mean() > 0.98
    assert ((boxes - our_boxes).abs().amax(2) < 1e-3).float().mean() > 0.98
