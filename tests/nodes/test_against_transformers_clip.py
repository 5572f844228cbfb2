"""CLIP nodes against transformers used directly, and what its models are for: other languages.

Cosines agree within 1e-5 in fp32 on every photo and text below; nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
import transformers
from safetensors.torch import load_file, save
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from visionweave import Image, Input, Pipeline, Runtime, Text
from visionweave.errors import WeightsError
from visionweave.nodes.clip import ClipNode, Embed, Rank
from visionweave.nodes.clip.towers_open_clip import build
from visionweave.nodes.clip.towers_transformers import PUBLISHED, network
from visionweave.weights.lock import Checkpoint, shipped_lock

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
VISION = SMALL | {"image_size": 32, "patch_size": 8}
TEXT = SMALL | {"vocab_size": 49408, "max_position_embeddings": 40}
ROBERTA = SMALL | {"vocab_size": 60, "project_dim": 16, "type_vocab_size": 1, "pad_token_id": 1}
CONFIGS: dict[str, dict[str, Any]] = {
    "clip": {"projection_dim": 16, "text_config": TEXT},
    "siglip": {"text_config": SMALL | {"vocab_size": 60, "max_position_embeddings": 40}},
    "altclip": {
        "projection_dim": 16,
        "text_config": ROBERTA | {"max_position_embeddings": 90},
    },
    "chinese_clip": {
        "projection_dim": 16,
        "text_config": SMALL | {"vocab_size": 60, "max_position_embeddings": 60},
    },
}
PREPROCESSING: dict[str, dict[str, Any]] = {
    "clip": {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}},
    "siglip": {"size": {"height": 32, "width": 32}},
    "altclip": {"size": 32, "crop_size": 32, "do_center_crop": True},
    "chinese_clip": {"size": {"height": 32, "width": 32}, "do_center_crop": False},
}
for table in PREPROCESSING.values():
    table |= {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4], "resample": 3}
PREPROCESSING["siglip"]["resample"] = 2

SHAPES = [(32, 32), (48, 32), (31, 90), (200, 33), (20, 11), (333, 480)]
"""Height and width of the photos."""
TEXTS = ["a red apple", "", "Red, APPLE!", "一只红色的苹果", "unknown ☃ signs"]

LETTERS = list("一只红色的苹果蓝绿圆方abcdelnoprtukwns,!")


def vocabulary(kind: str) -> dict[str, bytes]:
    """A tokenizer of the kind that the published checkpoints have."""
    if kind == "clip":
        return {}
    if kind == "chinese_clip":
        names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *LETTERS, "##e", "##d", "##p", "##l"]
        return {"vocab.txt": "\n".join(names).encode()}
    if kind == "altclip":
        pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", *LETTERS, "▁red"]
        scored = [(piece, -float(index)) for index, piece in enumerate(pieces)]
        tokenizer = Tokenizer(models.Unigram(scored, unk_id=3))
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        ends = [("<s>", 0), ("</s>", 2)]
        tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", None, ends)
        tokenizer.add_special_tokens(["<s>", "<pad>", "</s>"])
    else:
        names = ["<pad>", "<eos>", "<bos>", "<unk>", "▁", *LETTERS]
        known = {name: index for index, name in enumerate(names)}
        tokenizer = Tokenizer(models.BPE(known, [], unk_token="<unk>", fuse_unk=True))
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Lowercase(), normalizers.Replace(" ", "▁")]
        )
        tokenizer.post_processor = processors.TemplateProcessing("$A <eos>", None, [("<eos>", 1)])
        tokenizer.add_special_tokens(["<pad>", "<eos>", "<bos>"])
    return {"tokenizer.json": tokenizer.to_str().encode()}


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {toml(each)}' for key, each in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VISIONWEAVE_WEIGHTS", str(tmp_path))
    return tmp_path


def listed(store: Path, files: dict[str, bytes], config: Any) -> str:
    """Put a checkpoint into the store, and return its name."""
    (store / "tiny").mkdir()
    entries = []
    for file, content in files.items():
        (store / "tiny" / file).write_bytes(content)
        entries.append({"name": file, "sha256": hashlib.sha256(content).hexdigest()})
    facts = {"family": "clip", "license": "MIT", "commercial": "yes"}
    facts |= {"files": entries, "config": {"image_size": 32} | config}
    lines = ['[checkpoint."tiny"]', *(f"{key} = {toml(each)}" for key, each in facts.items())]
    (store / "weights.lock").write_text("\n".join(lines))
    return "tiny"


def tiny(kind: str) -> Any:
    torch.manual_seed(0)
    cls, config = network({"model_type": kind, "vision_config": VISION} | CONFIGS[kind])
    return cls(config).eval()


def published(made: Any, kind: str, folder: Path) -> dict[str, bytes]:
    """The files of a checkpoint, the tensors in the names that published files have."""
    made.save_pretrained(folder)
    names = ("model.safetensors", "config.json")
    files = {name: (folder / name).read_bytes() for name in names}
    files["preprocessor_config.json"] = json.dumps(PREPROCESSING[kind]).encode()
    return files | vocabulary(kind)


def loaded(node: ClipNode) -> ClipNode:
    node.ensure_loaded(Runtime.get("cpu", "fp32"))
    return node


def processor(kind: str) -> Any:
    """Its own preprocessing, with Pillow: that with torch rounds differently."""
    if kind == "siglip":
        return transformers.SiglipImageProcessorPil(**PREPROCESSING[kind])
    table = {"do_center_crop": True} | PREPROCESSING[kind]
    if isinstance(table["size"], int):
        table["size"] = {"shortest_edge": table["size"]}
    return transformers.CLIPImageProcessorPil(**table)


@pytest.mark.parametrize("kind", CONFIGS)
def test_pictures_are_embedded_as_by_transformers(
    kind: str, store: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    made = tiny(kind)
    node = loaded(Embed(listed(store, published(made, kind, tmp_path_factory.mktemp("hub")), {})))
    own, random = processor(kind), np.random.default_rng(0)
    for hw in SHAPES:
        rgb = random.integers(0, 256, (*hw, 3), dtype=np.uint8)
        pixels = own(PIL.Image.fromarray(rgb), return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            features = made.get_image_features(pixel_values=pixels).pooler_output[0]
        expected = (features / features.norm()).numpy()
        assert node(Image.from_array(rgb)).vector @ expected > 1 - 1e-5


def own_tokens(kind: str, files: dict[str, bytes], folder: Path) -> Any:
    """The tokenizer that transformers makes of the same files."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    if kind == "chinese_clip":
        return transformers.BertTokenizer.from_pretrained(folder)
    end = {"pad_token": "<pad>", "eos_token": "<eos>" if kind == "siglip" else "</s>"}
    return transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), padding_side="right", **end
    )


@pytest.mark.parametrize(
    ("kind", "length"), [("siglip", 40), ("altclip", 77), ("chinese_clip", 52)]
)
def test_texts_are_embedded_as_by_transformers(
    kind: str, length: int, store: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    made, folder = tiny(kind), tmp_path_factory.mktemp("hub")
    files = published(made, kind, folder)
    node = loaded(Embed(listed(store, files, {})))
    asked = own_tokens(kind, vocabulary(kind), folder)(
        TEXTS, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    )
    tokens = node.clip._towers.tokens
    assert [tokens(text).tolist() for text in TEXTS] == asked["input_ids"].tolist()
    if kind == "siglip":
        del asked["attention_mask"]
    asked.pop("token_type_ids", None)
    with torch.inference_mode():
        features = made.get_text_features(**asked).pooler_output
    expected = (features / features.norm(dim=1, keepdim=True)).numpy()
    found = node.clip.embed_texts(TEXTS)
    assert np.abs(found - expected).max() < 1e-6
    long = "red apple " * 40
    cut = asked["input_ids"].new_tensor(
        own_tokens(kind, vocabulary(kind), folder)(long, max_length=length, truncation=True)[
            "input_ids"
        ]
    )
    assert tokens(long, truncate=True).tolist() == cut.tolist()


def test_a_clip_may_have_words_of_its_own(
    store: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A small WordPiece vocabulary, as our mini models have: texts end in [SEP]."""
    torch.manual_seed(0)
    text = TEXT | {"vocab_size": 60, "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    table = {"model_type": "clip", "projection_dim": 16, "text_config": text}
    cls, config = network(table | {"vision_config": VISION})
    made, folder = cls(config).eval(), tmp_path_factory.mktemp("hub")
    words = vocabulary("chinese_clip")
    node = loaded(Embed(listed(store, published(made, "clip", folder) | words, {})))
    asked = own_tokens("chinese_clip", words, folder)(TEXTS, padding=True, return_tensors="pt")
    del asked["token_type_ids"]
    with torch.inference_mode():
        features = made.get_text_features(**asked).pooler_output
    expected = (features / features.norm(dim=1, keepdim=True)).numpy()
    assert np.abs(node.clip.embed_texts(TEXTS) - expected).max() < 1e-6


def test_the_two_libraries_agree_on_one_clip(
    store: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The same weights in both layouts: QuickGELU, heads and pooling are all that can differ."""
    made = tiny("clip")
    node = loaded(Embed(listed(store, published(made, "clip", tmp_path_factory.mktemp("h")), {})))
    shape = {"width": 32, "layers": 2, "mlp_ratio": 2.0}
    other = build(
        {
            "embed_dim": 16,
            "quick_gelu": True,
            "vision_cfg": shape | {"image_size": 32, "patch_size": 8, "head_width": 16},
            "text_cfg": shape | {"context_length": 40, "vocab_size": 49408, "heads": 2},
        }
    ).eval()
    other.load_state_dict(as_open_clip(made.state_dict()))
    import open_clip

    with torch.inference_mode():
        ids = open_clip.tokenize(TEXTS, context_length=40)
        texts = other.encode_text(ids, normalize=True).numpy()
        pixels = torch.rand(2, 3, 32, 32)
        images = [
            torch.nn.functional.normalize(features, dim=-1)
            for features in (other.encode_image(pixels), node.clip._towers.images(pixels))
        ]
    assert np.abs(node.clip.embed_texts(TEXTS) - texts).max() < 1e-6
    assert (images[0] - images[1]).abs().max() < 1e-6


def as_open_clip(state: dict[str, Any]) -> dict[str, Any]:
    """Rename the tensors of transformers' CLIP to open_clip's, in this test only."""
    renamed: dict[str, Any] = {"logit_scale": state["logit_scale"]}
    for tower, prefix in (("text_model", ""), ("vision_model", "visual.")):
        for index in range(2):
            old = f"{tower}.encoder.layers.{index}."
            new = f"{prefix}transformer.resblocks.{index}."
            for kind in ("weight", "bias"):
                parts = [state[f"{old}self_attn.{each}_proj.{kind}"] for each in "qkv"]
                renamed[f"{new}attn.in_proj_{kind}"] = torch.cat(parts)
                for a, b in (
                    ("self_attn.out_proj", "attn.out_proj"),
                    ("layer_norm1", "ln_1"),
                    ("layer_norm2", "ln_2"),
                    ("mlp.fc1", "mlp.c_fc"),
                    ("mlp.fc2", "mlp.c_proj"),
                ):
                    renamed[f"{new}{b}.{kind}"] = state[f"{old}{a}.{kind}"]
    text, vision = "text_model.", "vision_model."
    for kind in ("weight", "bias"):
        renamed[f"ln_final.{kind}"] = state[f"{text}final_layer_norm.{kind}"]
        renamed[f"visual.ln_pre.{kind}"] = state[f"{vision}pre_layrnorm.{kind}"]
        renamed[f"visual.ln_post.{kind}"] = state[f"{vision}post_layernorm.{kind}"]
    renamed["token_embedding.weight"] = state[f"{text}embeddings.token_embedding.weight"]
    renamed["positional_embedding"] = state[f"{text}embeddings.position_embedding.weight"]
    renamed["text_projection"] = state["text_projection.weight"].T
    renamed["visual.class_embedding"] = state[f"{vision}embeddings.class_embedding"]
    renamed["visual.conv1.weight"] = state[f"{vision}embeddings.patch_embedding.weight"]
    position = f"{vision}embeddings.position_embedding.weight"
    renamed["visual.positional_embedding"] = state[position]
    renamed["visual.proj"] = state["visual_projection.weight"].T
    return renamed


def test_siglip_scores_are_its_own_probabilities(
    store: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    made = tiny("siglip")
    torch.nn.init.constant_(made.logit_bias, -1.0)
    torch.nn.init.constant_(made.logit_scale, 1.5)
    files = published(made, "siglip", tmp_path_factory.mktemp("hub"))
    rank = loaded(Rank(listed(store, files, {}), template="{}"))
    rgb = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    pixels = processor("siglip")(PIL.Image.fromarray(rgb), return_tensors="pt")["pixel_values"]
    ids = torch.tensor(np.stack([rank.clip._towers.tokens(text) for text in ("red", "apple")]))
    with torch.inference_mode():
        logits = made(input_ids=ids, pixel_values=pixels).logits_per_image[0]
    ranked = rank(Image.from_array(rgb), ["red", "apple"])
    found = dict(zip(ranked.phrases, ranked.scores.tolist(), strict=True))
    assert [found["red"], found["apple"]] == pytest.approx(logits.sigmoid().tolist(), abs=1e-5)


# A Chinese query finds the picture ------------------------------------------------------------

COLOURS = {"红色的圆": (230, 30, 30), "绿色的圆": (30, 200, 60), "蓝色的圆": (40, 60, 230)}


def disc(colour: tuple[int, int, int]) -> Image:
    rows, columns = np.ogrid[:32, :32]
    rgb = np.full((32, 32, 3), 255, np.uint8)
    rgb[(rows - 16) ** 2 + (columns - 16) ** 2 < 100] = colour
    return Image.from_array(rgb, f"{colour}.png")


def teach(made: Any, node: ClipNode) -> None:
    """Train a tiny model on three discs and their names, until it tells them apart."""
    views = [node.clip.view.of(disc(colour).pixels) for colour in COLOURS.values()]
    pixels = torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2) / 255
    pixels = (pixels - node.clip._mean) / node.clip._std
    ids = torch.from_numpy(np.stack([node.clip._towers.tokens(name) for name in COLOURS]))
    batch = {"input_ids": ids, "pixel_values": pixels}
    batch["attention_mask"] = ids != node.clip._towers.tokens.pad
    optimiser = torch.optim.AdamW(made.parameters(), 3e-3)
    for _ in range(60):
        logits = made(**batch).logits_per_image
        loss = torch.nn.functional.cross_entropy(logits, torch.arange(3))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


@pytest.mark.parametrize("kind", ["chinese_clip", "altclip"])
def test_a_chinese_query_finds_the_picture(
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    made = tiny(kind)
    for store in ("untaught", "taught"):
        (tmp_path / store).mkdir()
        monkeypatch.setenv("VISIONWEAVE_WEIGHTS", str(tmp_path / store))
        files = published(made, kind, tmp_path_factory.mktemp("hub"))
        node = Embed(listed(tmp_path / store, files, {}))
        if store == "untaught":
            teach(made, loaded(node))
    photos = [disc(colour) for colour in COLOURS.values()]
    points = [each["out"] for each in Pipeline(out=node(Input("photo", Image))).map(photos)]
    for index, name in enumerate(COLOURS):
        near = [node(Text(name)).similarity(point) for point in points]
        assert int(np.argmax(near)) == index
        ranked = Rank("tiny", template="{}")(photos[index], list(COLOURS))
        assert ranked.phrases[0] == name
        assert ranked.scores[0] > 0.9


# Published checkpoints ------------------------------------------------------------------------


def listed_checkpoints() -> list[Checkpoint]:
    """The published checkpoints for CLIP whose size is known, and whose format is read."""
    return [
        entry
        for entry in shipped_lock().checkpoints.values()
        if entry.family == "clip"
        and not entry.shipped
        and entry.format != "torchscript"
        and entry.files[0].bytes
    ]


@pytest.mark.parametrize("entry", listed_checkpoints(), ids=lambda entry: entry.name)
def test_a_published_checkpoint_is_as_large_as_its_network(entry: Checkpoint) -> None:
    """Four bytes for each number, and less than a thousandth of the file for their names."""
    import open_clip

    architecture = entry.config["architecture"]
    with torch.device("meta"):
        if entry.config["library"] == "open_clip":
            made = build(open_clip.get_model_config(architecture))
        else:
            cls, config = network(PUBLISHED[architecture])
            made = cls(config)
    numbers = 4 * sum(weight.numel() for weight in made.parameters())
    assert numbers <= entry.files[0].bytes < 1.001 * numbers


@pytest.mark.parametrize("name", ["AltCLIP", "AltCLIP-m9"])
def test_altclip_is_built_at_full_size(name: str) -> None:
    """XLM-R large (560 million numbers) and the picture tower of ViT-L/14 (304 million)."""
    cls, config = network(PUBLISHED[name])
    with torch.device("meta"):
        made = cls(config)
    assert sum(weight.numel() for weight in made.parameters()) / 1e6 == pytest.approx(864, abs=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param("missing", r"1 missing \(logit_scale\)", id="missing"),
        pytest.param("unexpected", r"1 unexpected \(extra\.weight\)", id="unexpected"),
        pytest.param("misshapen", r"1 misshapen \(text_projection\.weight\)", id="misshapen"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    change: str, message: str, store: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("hub")
    files = published(tiny("clip"), "clip", folder)
    tensors = load_file(folder / "model.safetensors")
    if change == "missing":
        del tensors["logit_scale"]
    elif change == "unexpected":
        tensors["extra.weight"] = torch.zeros(3)
    else:
        tensors["text_projection.weight"] = torch.zeros(3, 3)
    name = listed(store, files | {"model.safetensors": save(tensors)}, {})
    with pytest.raises(WeightsError, match=f"tiny: these are not the weights .*{message}"):
        loaded(Embed(name))


def test_half_precision_weights_are_computed_in_fp32(
    store: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    made = tiny("clip").half()
    node = loaded(Embed(listed(store, published(made, "clip", tmp_path_factory.mktemp("h")), {})))
    dtypes = {weight.dtype for weight in node.clip._towers.module.parameters()}
    assert dtypes == {torch.float32}


def test_a_crop_of_another_size_is_refused(
    store: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    files = published(tiny("clip"), "clip", tmp_path_factory.mktemp("hub"))
    table = PREPROCESSING["clip"] | {"size": {"shortest_edge": 36}}
    files["preprocessor_config.json"] = json.dumps(table).encode()
    with pytest.raises(WeightsError, match="photos of one size, resized and cropped; got 32, 36"):
        loaded(Embed(listed(store, files, {})))
