"""CLIP nodes against open_clip used directly: the same pixels, tokens and embeddings.

Cosines agree within 1e-5 in fp32 on every photo and text below; nothing is downloaded.
"""

from __future__ import annotations

import copy
import hashlib
import json
import resource
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import PIL.Image
import pytest
import torch
from open_clip.tokenizer import HFTokenizer
from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict
from safetensors.torch import save
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from visionweave import Image, Runtime
from visionweave.nodes.clip import ClipNode, Embed, Rank, towers_open_clip
from visionweave.nodes.clip.tokens import file_tokens
from visionweave.nodes.clip.towers_open_clip import build

TEXT = {"context_length": 40, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
VISION = {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8}
CLIP = {"embed_dim": 32, "vision_cfg": VISION, "text_cfg": TEXT}
SIGLIP = {
    "embed_dim": 192,
    "init_logit_bias": -10.0,
    "custom_text": True,
    "vision_cfg": {
        "image_size": 224,
        "timm_model_name": "vit_tiny_patch16_224",
        "timm_pool": "avg",
        "timm_proj": "none",
    },
    "text_cfg": {
        "context_length": 16,
        "vocab_size": 300,
        "hf_tokenizer_name": "timm/ViT-B-16-SigLIP2",
        "tokenizer_kwargs": {"clean": "canonicalize"},
        "width": 32,
        "heads": 2,
        "layers": 2,
        "no_causal_mask": True,
        "proj_bias": True,
        "pool_type": "last",
    },
}
XLM_ROBERTA = {
    "model_type": "xlm-roberta",
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 40,
    "type_vocab_size": 1,
    "pad_token_id": 1,
}
MULTILINGUAL = {
    "embed_dim": 32,
    "vision_cfg": VISION,
    "text_cfg": {
        "hf_model_name": "xlm-roberta-base",
        "hf_tokenizer_name": "xlm-roberta-base",
        "hf_pooler_type": "mean_pooler",
        "hf_proj_type": "mlp",
        "context_length": 30,
    },
}

SHAPES = [(32, 32), (48, 32), (31, 90), (200, 33), (64, 65), (20, 11), (333, 480)]
"""Height and width of the photos."""

TEXTS = [
    "a photo of a cat",
    "",
    "TWO  red-apples, on a table!",
    "Schrödinger&#39;s café",
    "一只红色的苹果",
    "an emoji 🍎 and 1,234 other things",
]


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


def network(config: Any, text_model: Any = None) -> Any:
    """A random network, its batch norms as if they had seen pictures."""
    torch.manual_seed(0)
    made = build(config, text_model).eval()
    for name, buffer in made.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    return made


def weights(made: Any) -> dict[str, bytes]:
    return {"open_clip_model.safetensors": save(made.state_dict())}


def loaded(node: ClipNode) -> ClipNode:
    node.ensure_loaded(Runtime.get("cpu", "fp32"))
    return node


def photos() -> Iterable[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (*hw, 3), dtype=np.uint8) for hw in SHAPES]


def assert_same_pictures(node: ClipNode, made: Any, preprocess: dict[str, Any]) -> None:
    size = made.visual.image_size
    config = merge_preprocess_dict(PreprocessCfg(size=size), preprocess)
    transform = image_transform_v2(PreprocessCfg(**config), is_train=False)
    for rgb in photos():
        with torch.inference_mode():
            pixels = transform(PIL.Image.fromarray(rgb))[None]
            expected = made.encode_image(pixels, normalize=True)[0].numpy()
        found = node(Image.from_array(rgb)).vector
        assert found == pytest.approx(expected, abs=1e-6)
        assert found @ expected > 1 - 1e-5


def assert_same_texts(node: ClipNode, made: Any, tokenize: Any) -> None:
    found, expected = texts_of_both(node, made, tokenize)
    assert np.abs(found - expected).max() < 1e-6
    assert ((found * expected).sum(axis=1) > 1 - 1e-5).all()


def texts_of_both(node: ClipNode, made: Any, tokenize: Any) -> tuple[Any, Any]:
    """The embeddings of the texts by our node, and by open_clip."""
    with torch.inference_mode():
        expected = made.encode_text(tokenize(TEXTS), normalize=True).numpy()
    return node.clip.embed_texts(TEXTS), expected


INCEPTION = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
RESNET = CLIP | {"vision_cfg": VISION | {"layers": [1, 1, 1, 1], "width": 8, "head_width": 32}}


@pytest.mark.parametrize(
    ("config", "preprocess"),
    [
        pytest.param(CLIP, {}, id="shortest side and crop"),
        pytest.param(CLIP | {"quick_gelu": True}, {}, id="QuickGELU"),
        pytest.param(CLIP | {"custom_text": True}, INCEPTION, id="mean and std of LAION's L/14"),
        pytest.param(RESNET, {"interpolation": "bilinear"}, id="ResNet, bilinear"),
        pytest.param(CLIP, INCEPTION | {"resize_mode": "squash"}, id="squashed"),
    ],
)
def test_embeddings_are_those_of_open_clip(
    store: Path, config: dict[str, Any], preprocess: dict[str, Any]
) -> None:
    made = network(config)
    facts = {"architecture": config} | preprocess
    if "resize_mode" in facts:
        facts["resize"] = facts.pop("resize_mode")
    node = loaded(Embed(listed(store, weights(made), facts)))
    assert_same_pictures(node, made, preprocess)
    assert_same_texts(node, made, open_clip.SimpleTokenizer(context_length=40))


def test_quick_gelu_is_not_gelu(store: Path) -> None:
    """So that the test above would notice the one in the place of the other."""
    made = network(CLIP)
    config = {"architecture": CLIP | {"quick_gelu": True}}
    node = loaded(Embed(listed(store, weights(made), config)))
    tokenize = open_clip.SimpleTokenizer(context_length=40)
    found, expected = texts_of_both(node, made, tokenize)
    assert np.abs(found - expected).max() > 1e-5  # ten times what the test above lets pass


def test_a_long_text_is_cut_as_open_clip_cuts_it(store: Path) -> None:
    made = network(CLIP)
    node = loaded(Embed(listed(store, weights(made), {"architecture": CLIP})))
    text = "one two three four five six seven eight nine ten " * 6
    with torch.inference_mode():
        ids = open_clip.tokenize([text], context_length=40)
        expected = made.encode_text(ids, normalize=True)[0].numpy()
    found = node.clip.embed_texts([text], truncate=True)[0]
    assert found == pytest.approx(expected, abs=1e-6)


def test_a_hub_repository_brings_its_own_config(store: Path) -> None:
    made = network(CLIP)
    preprocess = INCEPTION | {"interpolation": "bilinear", "resize_mode": "shortest"}
    table = {"model_cfg": CLIP, "preprocess_cfg": preprocess | {"size": [32, 32], "mode": "RGB"}}
    files = weights(made) | {"open_clip_config.json": json.dumps(table).encode()}
    node = loaded(Embed(listed(store, files, {})))
    assert_same_pictures(node, made, preprocess)


def test_the_first_naming_of_text_towers_is_read(store: Path) -> None:
    old, new = network(CLIP), network(CLIP | {"custom_text": True})
    files = weights(old) | {}
    node = loaded(Embed(listed(store, files, {"architecture": CLIP | {"custom_text": True}})))
    assert {name for name in old.state_dict() if name.startswith("text.")} == set()
    assert node.clip._towers.module.state_dict().keys() == new.state_dict().keys()
    assert_same_texts(node, old, open_clip.SimpleTokenizer(context_length=40))


def test_a_tag_brings_its_preprocessing_and_activation(monkeypatch: pytest.MonkeyPatch) -> None:
    """The traps of the published weights: QuickGELU, LAION's L/14, SigLIP's squash, MobileCLIP."""

    def known(architecture: str, tag: str) -> tuple[Any, Any]:
        config = {"architecture": architecture, "pretrained": tag}
        return towers_open_clip._architecture(_entry(config), {})

    openai, shown = known("ViT-B-32", "openai")
    assert openai["quick_gelu"] is True
    assert shown["mean"] == (0.48145466, 0.4578275, 0.40821073)
    laion, shown = known("ViT-L-14", "laion2b_s32b_b82k")
    assert "quick_gelu" not in laion
    assert shown["mean"] == shown["std"] == (0.5, 0.5, 0.5)
    assert known("ViT-B-16-SigLIP2", "webli")[1]["resize_mode"] == "squash"
    shown = known("MobileCLIP2-S0", "dfndr2b")[1]
    assert (shown["mean"], shown["std"]) == ((0, 0, 0), (1, 1, 1))
    assert shown["interpolation"] == "bilinear"


def _entry(config: dict[str, Any]) -> Any:
    from visionweave.weights.lock import parse_lock

    facts = {"family": "clip", "files": [{"name": "a.pt"}], "license": "MIT", "commercial": "yes"}
    lines = ["[checkpoint.a]", *(f"{key} = {toml(value)}" for key, value in facts.items())]
    return parse_lock("\n".join([*lines, f"config = {toml(config)}"]), "test").checkpoints["a"]


def gemma(template: str = "$A <eos>") -> bytes:
    """A small tokenizer.json of Gemma's kind, as SigLIP 2 has it: it closes texts with <eos>."""
    letters = [chr(code) for code in range(33, 127)] + ["▁", "é", "一", "只", "红", "色", "的"]
    names = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *letters, "th", "ph", "▁a"]
    merges = [("t", "h"), ("p", "h"), ("▁", "a")]
    vocabulary = {name: index for index, name in enumerate(names)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Replace("▁", " ")
    tokenizer.add_special_tokens(["<pad>", "<eos>", "<bos>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        template, None, [("<eos>", 1), ("<bos>", 2)]
    )
    tokenizer.enable_truncation(8)  # as in published files; nothing may be cut silently
    return tokenizer.to_str().encode()


def siglip_tokenizer(folder: Path) -> HFTokenizer:
    """open_clip's own reader, told what the published tokenizer_config.json says."""
    told = {"tokenizer_class": "GemmaTokenizer", "padding_side": "right", "pad_token": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    return HFTokenizer(str(folder), context_length=16, clean="canonicalize")


def test_siglip_reads_lower_case_closed_and_filled(store: Path) -> None:
    made = network(SIGLIP)
    config = {"architecture": SIGLIP, "image_size": 224, "resize": "squash"} | INCEPTION
    name = listed(store, weights(made) | {"tokenizer.json": gemma()}, config)
    node = loaded(Embed(name))
    texts = ["A Cat!", "the photo", "", "一只红色的"]
    ids = siglip_tokenizer(store / "tiny")(texts)
    assert ids[0].tolist() == [69, 99, 71, 69, 88, 1, *[0] * 10]  # a▁cat<eos><pad>…
    tokens = node.clip._towers.tokens
    assert [tokens(text).tolist() for text in texts] == ids.tolist()
    with torch.inference_mode():
        expected = made.encode_text(ids, normalize=True).numpy()
    assert np.abs(node.clip.embed_texts(texts) - expected).max() < 1e-6
    assert_same_pictures(node, made, INCEPTION | {"resize_mode": "squash"})


def test_siglip_opens_no_text_whatever_its_tokenizer_does(tmp_path: Path) -> None:
    """Gemma's own file opens each text with <bos> and closes none; SigLIP was trained otherwise."""
    found = []
    for template in ("$A <eos>", "<bos> $A"):
        path = tmp_path / "tokenizer.json"
        path.write_bytes(gemma(template))
        found.append(file_tokens("a", {path.name: path}, 16, None, str.lower)("A cat").tolist())
    assert found[0] == found[1] == [69, 99, 71, 69, 88, 1, *[0] * 10]


def test_siglip_scores_are_its_own_probabilities(store: Path) -> None:
    made = network(SIGLIP)
    torch.nn.init.constant_(made.logit_bias, -1.0)
    config = {"architecture": SIGLIP, "image_size": 224, "resize": "squash"} | INCEPTION
    name = listed(store, weights(made) | {"tokenizer.json": gemma()}, config)
    rank, rgb = loaded(Rank(name, template="{}")), photos()[0]
    transform = image_transform_v2(
        PreprocessCfg(size=224, resize_mode="squash", mean=(0.5,) * 3, std=(0.5,) * 3), False
    )
    with torch.inference_mode():
        ids = siglip_tokenizer(store / "tiny")(["a cat", "the hat"])
        logits = made.get_logits(transform(PIL.Image.fromarray(rgb))[None], ids)[0][0]
    ranked = rank(Image.from_array(rgb), ["a cat", "the hat"])
    found = dict(zip(ranked.phrases, ranked.scores.tolist(), strict=True))
    assert [found["a cat"], found["the hat"]] == pytest.approx(logits.sigmoid().tolist(), abs=1e-5)


def xlm_roberta() -> bytes:
    """A small tokenizer.json of XLM-R's kind, with Chinese characters in it."""
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁a", "▁red", "▁apple", *"一只红色的苹果abcdet"]
    scored = [(piece, -float(index)) for index, piece in enumerate(pieces)]
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        "<s> $A </s>", None, [("<s>", 0), ("</s>", 2)]
    )
    return tokenizer.to_str().encode()


def test_a_text_tower_of_transformers_is_built_without_a_download(store: Path) -> None:
    made = network(MULTILINGUAL, XLM_ROBERTA)
    files = weights(made) | {"tokenizer.json": xlm_roberta()}
    config = {"architecture": MULTILINGUAL, "text_model": XLM_ROBERTA}
    node = loaded(Embed(listed(store, files, config)))
    told = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>"}
    (store / "tiny" / "tokenizer_config.json").write_text(json.dumps(told))
    assert_same_texts(node, made, HFTokenizer(str(store / "tiny"), context_length=30))
    assert_same_pictures(node, made, {})


def test_mobileclip_is_merged_and_gives_the_same(store: Path) -> None:
    config = open_clip.get_model_config("MobileCLIP2-S0")
    config["text_cfg"] = TEXT | {"no_causal_mask": True}
    config["vision_cfg"] |= {"image_size": 64}
    made = network(config)
    preprocess = {"mean": [0, 0, 0], "std": [1, 1, 1], "interpolation": "bilinear"}
    kept = {key: value for key, value in config.items() if value is not None}
    kept["vision_cfg"] = {k: v for k, v in config["vision_cfg"].items() if v is not None}
    kept["vision_cfg"]["timm_proj"] = ""
    facts = {"architecture": kept, "image_size": 64, "reparameterize": True} | preprocess
    node = loaded(Embed(listed(store, weights(made), facts)))
    merged = node.clip._towers.module
    assert len(list(merged.modules())) < 0.7 * len(list(made.modules()))
    assert_same_pictures(node, made, preprocess)


@pytest.mark.parametrize(
    ("architecture", "millions", "names"),
    [
        pytest.param(
            "ViT-B-32",
            151.277,
            {
                "visual.conv1.weight": (768, 3, 32, 32),
                "visual.transformer.resblocks.11.attn.in_proj_weight": (2304, 768),
                "token_embedding.weight": (49408, 512),
                "positional_embedding": (77, 512),
                "text_projection": (512, 512),
            },
            id="ViT-B-32",
        ),
        pytest.param("ViT-L-14", 427.617, {"visual.proj": (1024, 768)}, id="ViT-L-14"),
        pytest.param("ViT-H-14", 986.110, {"visual.proj": (1280, 1024)}, id="ViT-H-14"),
        pytest.param(
            "ViT-B-16-SigLIP2",
            375.188,  # a quarter of its file's bytes, in millions
            {"visual.trunk.attn_pool.latent": (1, 1, 768), "logit_bias": ()},
            id="SigLIP 2",
        ),
        pytest.param(
            "EVA02-B-16", 149.690, {"visual.trunk.cls_token": (1, 1, 768)}, id="EVA-02 B/16"
        ),
        pytest.param("EVA02-L-14", 427.757, {"text.text_projection": (768, 768)}, id="EVA-02 L/14"),
        pytest.param(
            "MobileCLIP2-S0", 74.835, {"text.text_projection": (512, 512)}, id="MobileCLIP 2"
        ),
    ],
)
def test_published_models_are_built_at_full_size(
    architecture: str, millions: float, names: dict[str, tuple[int, ...]]
) -> None:
    with torch.device("meta"):
        made = build(open_clip.get_model_config(architecture))
    state = made.state_dict()
    assert {name: tuple(state[name].shape) for name in names} == names
    count = sum(weight.numel() for weight in made.parameters()) / 1e6
    assert count == pytest.approx(millions, abs=0.01)


def test_xlm_roberta_is_built_at_full_size() -> None:
    with torch.device("meta"):
        made = build(open_clip.get_model_config("xlm-roberta-base-ViT-B-32"))
    state = made.state_dict()
    embeddings = state["text.transformer.embeddings.word_embeddings.weight"]
    assert embeddings.shape == (250002, 768)
    assert state["text.proj.2.weight"].shape == (512, 640)


def test_a_config_is_not_changed_by_building() -> None:
    config = copy.deepcopy(MULTILINGUAL)
    build(config, XLM_ROBERTA)
    assert config == MULTILINGUAL


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["ViT-B-32", "ViT-L-14"])
def test_at_full_size(architecture: str, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Random weights of a published model: bf16 stays within the tolerance; prints what it took."""
    made = network(open_clip.get_model_config(architecture))
    name = listed(store, weights(made), {"architecture": architecture, "image_size": 224})
    started = time.perf_counter()
    exact, low = Embed(name), Embed(name)
    loaded(exact)
    took = {"load": time.perf_counter() - started}
    low.ensure_loaded(Runtime.get("cpu", "bf16"))
    views = [exact.clip.view.of(rgb) for rgb in photos()]
    found = {}
    for label, node in (("fp32", exact), ("bf16", low)):
        started = time.perf_counter()
        found[label] = node.clip.embed_images(views)
        took[f"{len(views)} photos in {label}"] = time.perf_counter() - started
    started = time.perf_counter()
    texts = {n: node.clip.embed_texts(TEXTS * 4) for n, node in (("fp32", exact), ("bf16", low))}
    took["texts"] = time.perf_counter() - started
    transform = image_transform_v2(PreprocessCfg(), is_train=False)
    with torch.inference_mode():
        pixels = torch.stack([transform(PIL.Image.fromarray(rgb)) for rgb in photos()])
        expected = made.encode_image(pixels, normalize=True).numpy()
    assert ((found["fp32"] * expected).sum(axis=1) > 1 - 1e-5).all()
    distance = [1 - (each["fp32"] * each["bf16"]).sum(axis=1).min() for each in (found, texts)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    with capsys.disabled():
        times = ", ".join(f"{what} {seconds:.1f} s" for what, seconds in took.items())
        print(f"\n{architecture}: {times}; peak {peak:.1f} GiB; 1 - cosine in bf16 {distance}")
    assert max(distance) < Embed.tolerance
