"""CLIP nodes on tiny random models: what they give, what they refuse, what they do only once."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors.torch import save

import visionweave as vw
from visionweave import Cutout, Embedding, Fit, Image, Origin, Pipeline, Runtime, Tags, Text
from visionweave.errors import NodeFailed, PipelineError, ValueTypeError, WeightsError
from visionweave.nodes.clip import Classify, ClipNode, Embed, Rank
from visionweave.nodes.clip import model as clip_model
from visionweave.nodes.clip.towers_open_clip import build
from visionweave.nodes.clip.view import View
from visionweave.registry import replaced

CONFIG = {
    "embed_dim": 32,
    "vision_cfg": {
        "image_size": 32,
        "layers": 2,
        "width": 64,
        "head_width": 32,
        "patch_size": 8,
    },
    "text_cfg": {
        "context_length": 20,
        "vocab_size": 49408,
        "width": 32,
        "heads": 2,
        "layers": 2,
    },
}
SIGMOID = CONFIG | {"init_logit_bias": -1.0, "init_logit_scale": 1.0}
FRUIT = ("apple", "pear", "plum", "cherry")


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {toml(each)}' for key, each in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value)


def list_checkpoint(store: Path, name: str, files: dict[str, bytes], config: Any) -> None:
    """Put a checkpoint into the store, and its entry into the user's list."""
    listed = []
    (store / name).mkdir()
    for file, content in files.items():
        (store / name / file).write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        listed.append({"name": file, "bytes": len(content), "sha256": sha256})
    facts = {"family": "clip", "license": "MIT", "commercial": "yes"}
    facts |= {"files": listed, "config": config}
    lines = [f'[checkpoint."{name}"]', *(f"{key} = {toml(each)}" for key, each in facts.items())]
    with (store / "weights.lock").open("a") as lock:
        lock.write("\n".join([*lines, ""]))


def random_model(config: Any, seed: int = 0) -> Any:
    """A network whose vectors differ well from each other, unlike those of a fresh one."""
    torch.manual_seed(seed)
    network = build(config).eval()
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.ndim > 1 and "embedding" not in name:
                weight.mul_(2)
    return network


@pytest.fixture(scope="module")
def weights() -> dict[str, bytes]:
    """Safetensors files by checkpoint."""
    configs = {"tiny": CONFIG, "sigmoid": SIGMOID}
    return {name: save(random_model(each).state_dict()) for name, each in configs.items()}


@pytest.fixture(scope="module", autouse=True)
def kept(
    tmp_path_factory: pytest.TempPathFactory, weights: dict[str, bytes]
) -> Iterator[dict[str, ClipNode]]:
    """A store with two checkpoints, "tiny" and "sigmoid", and a node for each that keeps it loaded.

    "tiny" scores by softmax, "sigmoid" by a sigmoid.
    """
    store = tmp_path_factory.mktemp("weights")
    for name, config in (("tiny", CONFIG), ("sigmoid", SIGMOID)):
        facts = {"architecture": config, "image_size": 32}
        list_checkpoint(store, name, {"model.safetensors": weights[name]}, facts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISIONWEAVE_WEIGHTS", str(store))
        yield {name: loaded(Embed(name)) for name in ("tiny", "sigmoid")}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store."""
    monkeypatch.setenv("VISIONWEAVE_WEIGHTS", str(tmp_path))
    return tmp_path


def loaded(node: ClipNode, precision: str = "fp32") -> ClipNode:
    node.ensure_loaded(Runtime.get("cpu", precision))
    return node


def pixels(seed: int, height: int = 40, width: int = 56) -> np.ndarray:
    """A smooth colour picture, as photos are, and no noise."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return np.asarray(PIL.Image.fromarray(coarse).resize((width, height)))


def photo(seed: int) -> Image:
    return Image.from_array(pixels(seed), f"{seed}.png")


def run_all(node: vw.Node, items: Sequence[Any], batch: int | None = None) -> list[Any]:
    """Run a node of one input on many items, in fp32, in batches of at most `batch`."""
    kind = Text if isinstance(items[0], Text) else Image
    pipeline = Pipeline(out=node(vw.Input("item", kind)))
    options = {"batch": batch, "device": "cpu", "precision": "fp32"}
    return [result["out"] for result in pipeline.map(items, **options)]


class Rows:
    """Counts what goes through a loaded model's towers."""

    def __init__(self, node: ClipNode) -> None:
        self.images = self.texts = 0
        network = node.clip._towers.module
        network.visual.register_forward_hook(self._image)
        network.token_embedding.register_forward_hook(self._text)

    def _image(self, module: Any, given: Any, out: torch.Tensor) -> None:
        self.images += len(out)

    def _text(self, module: Any, given: Any, out: torch.Tensor) -> None:
        self.texts += len(out)


# Embedding ------------------------------------------------------------------------------------


def test_a_photo_becomes_a_point_in_the_space_of_its_checkpoint() -> None:
    embedding = Embed("tiny")(photo(0))
    assert embedding.space == "clip/tiny"
    assert embedding.origin == Origin("0.png")
    assert embedding.vector.shape == (32,)
    assert np.linalg.norm(embedding.vector) == pytest.approx(1)


def test_pictures_and_texts_of_one_checkpoint_can_be_compared() -> None:
    embed = Embed("tiny")
    text = embed(Text("a red apple", Origin("0.png")))
    assert text.origin == Origin("0.png")
    assert -1 <= text.similarity(embed(photo(0))) < 0.999
    with pytest.raises(ValueTypeError, match="of two spaces: 'clip/tiny' and 'clip/sigmoid'"):
        text.similarity(Embed("sigmoid")(photo(0)))


def cutout(rgba: np.ndarray) -> Cutout:
    height, width = rgba.shape[:2]
    return Cutout(rgba, (0, 0, width, height), Origin("a.jpg", 2, "apple", 0.5, (0, 0, 9, 9)))


def test_a_cutout_is_seen_on_a_square_of_the_background() -> None:
    rgba = np.dstack([pixels(0, 40, 24), np.full((40, 24), 255, np.uint8)])
    rgba[:10, :, 3] = 0
    square = np.full((40, 40, 3), (255, 0, 0), np.uint8)
    square[10:, 8:32] = rgba[10:, :, :3]
    found = Embed("tiny", background="red")(cutout(rgba))
    assert found == Embedding(
        Embed("tiny")(Image.from_array(square)).vector, "clip/tiny", cutout(rgba).origin
    )


def test_the_ends_of_a_tall_cutout_are_seen() -> None:
    rgba = np.dstack([pixels(0, 90, 20), np.full((90, 20), 255, np.uint8)])
    other = rgba.copy()
    other[:20, :, :3] = 0
    embed = Embed("tiny")
    crops = [embed(Image.from_array(each[:, :, :3])) for each in (rgba, other)]
    assert crops[0] == crops[1]  # of a photo the middle is seen, as the model was trained
    assert embed(cutout(rgba)).similarity(embed(cutout(other))) < 0.999


def test_a_transparent_photo_and_a_square_cutout_look_the_same() -> None:
    rgba = np.dstack([pixels(0, 40, 40), np.full((40, 40), 90, np.uint8)])
    embed = Embed("tiny")
    assert np.array_equal(embed(Image.from_array(rgba)).vector, embed(cutout(rgba)).vector)


def test_a_long_text_is_refused_and_names_the_limit() -> None:
    with pytest.raises(NodeFailed, match=r"32 tokens long, and the model reads 20: 'word word"):
        Embed("tiny")(Text("word " * 30))


def test_a_long_text_is_cut_short_where_that_is_asked() -> None:
    cut = Embed("tiny", truncate=True)
    # A start and an end token leave 18.
    assert cut(Text("word " * 30)).similarity(cut(Text("word " * 18))) == pytest.approx(1)
    with pytest.raises(NodeFailed, match="the model reads 20"):  # though it is remembered by now
        Embed("tiny")(Text("word " * 30))


def test_a_long_text_fails_alone() -> None:
    texts = [Text("apple"), Text("word " * 30), Text("pear")]
    pipeline = Pipeline(out=Embed("tiny")(vw.Input("text", Text)))
    assert [result.ok for result in pipeline.map(texts, device="cpu")] == [True, False, True]


# Ranking --------------------------------------------------------------------------------------


def cosines(model: str, image: Image, texts: Sequence[str]) -> np.ndarray:
    embed = Embed(model)
    picture = embed(image)
    return np.array([picture.similarity(embed(Text(text))) for text in texts], np.float64)


def test_softmax_shares_one_among_the_phrases() -> None:
    logits = cosines("tiny", photo(0), [f"a photo of a {fruit}" for fruit in FRUIT]) / 0.07
    shares = np.exp(logits) / np.exp(logits).sum()
    order = np.argsort(-shares)
    ranked = Rank("tiny")(photo(0), FRUIT)
    assert ranked.phrases == tuple(FRUIT[index] for index in order)
    assert ranked.scores == pytest.approx(shares[order], abs=1e-5)
    assert ranked.origin == Origin("0.png")
    assert Rank("tiny")(photo(0), ["apple"]).scores == pytest.approx([1])


def test_a_sigmoid_scores_each_phrase_for_itself() -> None:
    logits = np.e * cosines("sigmoid", photo(0), FRUIT) - 1
    ranked = Rank("sigmoid", template="{}")(photo(0), FRUIT)
    assert ranked.scores == pytest.approx(np.sort(1 / (1 + np.exp(-logits)))[::-1], abs=1e-5)
    few = Rank("sigmoid", template="{}", most=2)(photo(0), FRUIT)
    assert few == ranked[:2]
    alone = Rank("sigmoid", template="{}")(photo(0), [ranked.phrases[2]])
    assert alone.scores == pytest.approx([ranked.scores[2]], abs=1e-6)


def test_the_mean_of_several_templates_counts() -> None:
    templates = ("a {}", "{} on a table", "no {} at all")
    embed = Embed("tiny")
    vectors = [[embed(Text(t.replace("{}", f))).vector for t in templates] for f in FRUIT]
    means = np.mean(vectors, axis=1)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    logits = means @ embed(photo(0)).vector / 0.07
    ranked = Rank("tiny", template=templates)(photo(0), FRUIT)
    shares = np.exp(logits) / np.exp(logits).sum()
    assert ranked.scores == pytest.approx(np.sort(shares)[::-1], abs=1e-5)


def test_equal_phrases_score_equally_and_stay_in_their_order() -> None:
    ranked = Rank("tiny")(photo(0), Tags(("pear", "apple", "pear"), [0.1, 0.2, 0.3]))
    both = [score for p, score in zip(*(ranked.phrases, ranked.scores), strict=True) if p == "pear"]
    assert len(both) == 2
    assert both[0] == both[1]


def test_braces_in_a_phrase_are_its_own() -> None:
    assert set(Rank("tiny")(photo(0), ["a {} b", "{"]).phrases) == {"a {} b", "{"}


def test_no_phrases_are_an_answer_without_a_forward_pass() -> None:
    rank = loaded(Rank("tiny"))
    rows = Rows(rank)
    assert run_all_ranked(rank, [photo(0)], []) == [Tags((), origin=Origin("0.png"))]
    assert (rows.images, rows.texts) == (0, 0)


def run_all_ranked(rank: vw.Node, photos: list[Image], phrases: Any) -> list[Any]:
    pipeline = Pipeline(out=rank(vw.Input("photo", Image), Tags.coerce(phrases)))
    return [r["out"] for r in pipeline.map(photos, device="cpu", precision="fp32")]


def test_a_photo_is_encoded_once_and_a_text_once() -> None:
    # With templates of its own: what other tests asked the same model, it remembers.
    rank = loaded(Rank("tiny", template=["only {}", "just {}"]))
    rows = Rows(rank)
    ranked = run_all_ranked(rank, [photo(seed) for seed in range(40)], FRUIT)
    assert len(ranked) == 40
    assert (rows.images, rows.texts) == (40, 2 * len(FRUIT))
    run_all_ranked(rank, [photo(0)], ["pear", "fig"])
    assert (rows.images, rows.texts) == (41, 2 * len(FRUIT) + 2)


def test_no_more_texts_are_remembered_than_the_bound(
    monkeypatch: pytest.MonkeyPatch, kept: dict[str, ClipNode]
) -> None:
    monkeypatch.setattr(clip_model, "REMEMBERED", 3)
    clip = kept["tiny"].clip
    few = clip.embed_texts(["one", "two", "three"])
    clip.embed_texts(["one"])  # asked for again, so "two" is the oldest
    clip.embed_texts(["four"])
    assert [key[0] for key in clip._known] == ["three", "one", "four"]
    many = clip.embed_texts(["four", "three", "two", "one"])
    assert np.abs(many[::-1][:3] - few).max() < 1e-6


# Classification -------------------------------------------------------------------------------


def test_labels_score_as_phrases_do() -> None:
    ranked = Rank("tiny")(photo(0), FRUIT)
    classified = Classify(FRUIT, "tiny", most=None)(photo(0))
    assert classified.phrases == ranked.phrases
    assert classified.scores == pytest.approx(ranked.scores, abs=1e-6)
    assert Classify(FRUIT, "tiny")(photo(0)) == classified[:1]
    threshold = float(classified.scores[1])
    assert Classify(FRUIT, "tiny", most=9, min_score=threshold)(photo(0)) == classified[:2]
    assert Classify(FRUIT, "tiny", min_score=1)(photo(0)) == Tags((), origin=Origin("0.png"))


def test_labels_are_embedded_when_the_model_is_loaded() -> None:
    classify = loaded(Classify(FRUIT, "tiny"))
    rows = Rows(classify)
    run_all(classify, [photo(seed) for seed in range(3)])
    assert (rows.images, rows.texts) == (3, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"labels": []}, "'labels' is out of range", id="no label"),
        pytest.param({"labels": ["a", ""]}, "'labels' is out of range", id="an empty label"),
        pytest.param({"labels": ["a", "b", "a"]}, "twice: a", id="a label twice"),
        pytest.param({"template": "photo"}, r'holds "\{\}" once.*\'photo\'', id="no place"),
        pytest.param({"template": ["{}", "{} {}"]}, r"got '\{\} \{\}'", id="two places"),
        pytest.param({"template": []}, "at least one template", id="no template"),
        pytest.param({"most": 0}, "'most' is out of range", id="none at most"),
        pytest.param({"background": "none"}, "'background' is refused", id="no colour"),
    ],
)
def test_settings_that_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        Classify(**{"labels": ["a"]} | settings)


# Batches, precision, loading ------------------------------------------------------------------


def test_results_do_not_depend_on_the_batch() -> None:
    """A matrix product of another size may round differently; 1e-6 is a few units in the last."""
    photos = [photo(seed) for seed in range(9)]
    alone, together = (run_all(Embed("tiny"), photos, batch) for batch in (1, 7))
    for one, many in zip(alone, together, strict=True):
        assert np.abs(one.vector - many.vector).max() < 1e-6
    texts = [Text(" ".join(FRUIT[: n % 4])) for n in range(9)]
    alone, together = (run_all(Embed("tiny"), texts, batch) for batch in (1, 7))
    for one, many in zip(alone, together, strict=True):
        assert np.abs(one.vector - many.vector).max() < 1e-6


def vectors(node: ClipNode) -> np.ndarray:
    texts = node.clip.embed_texts(["a photo of a cat", "apple", ""])
    prepared = [node.clip.view.of(pixels(seed)) for seed in range(5)]
    return np.concatenate([node.clip.embed_images(prepared), texts])


def test_bf16_stays_within_the_tolerance() -> None:
    exact, low = (vectors(loaded(Embed("tiny"), precision)) for precision in ("fp32", "bf16"))
    distance = 1 - (exact * low).sum(axis=1)
    assert 0 < distance.max() < Embed.tolerance
    image, texts = exact[0], exact[5:]
    scores = [
        loaded(Rank("tiny"), precision).clip.scores(rows[0], rows[5:])
        for precision, rows in (("fp32", exact), ("bf16", low))
    ]
    assert np.abs(scores[0] - scores[1]).max() < Rank.tolerance == Classify.tolerance
    assert len(texts @ image) == 3


def test_nodes_of_one_checkpoint_share_one_model() -> None:
    nodes = [Embed("tiny"), Rank("tiny"), Classify(FRUIT, "tiny")]
    first, *others = [loaded(node).clip for node in nodes]
    assert all(each is first for each in others)
    assert loaded(Embed("sigmoid")).clip is not first
    assert loaded(Embed("tiny"), "bf16").clip is not first


def test_unloading_forgets_the_model() -> None:
    node = loaded(Embed("tiny"))
    node.unload()
    assert not hasattr(node, "clip")
    assert node(photo(0)).space == "clip/tiny"


@pytest.mark.parametrize("size_wh", [(704, 512), (700, 512), (513, 1027)])
def test_a_reduced_decode_changes_little(tmp_path: Path, size_wh: tuple[int, int]) -> None:
    """A JPEG of 16 times the model's size is decoded at 1/8: no pixel then differs by more than 3
    of 255, and the cosine, 4e-5 to 8e-5 away here on random weights, by less than 3e-4.
    """
    path = tmp_path / "large.jpg"
    PIL.Image.fromarray(pixels(0, *size_wh[::-1])).save(path, quality=95)
    embed, full = Embed("tiny"), Image.open(path)
    assert embed.fit() == Fit(short=32)
    reduced = Image.open(path, fits=[Fit(short=32)])
    views = [View(32).of(each.shrunk(Fit(short=32)), size_wh) for each in (reduced, full)]
    assert reduced.shrunk(Fit(short=32)).shape[0] < 200
    assert np.abs(views[0].astype(int) - views[1]).max() <= 3
    (small,) = run_all(embed, [Image.open(path)])
    (exact,) = run_all(embed, [Image.from_array(full.pixels)])
    assert 0 < 1 - small.similarity(exact) < 3e-4


def test_a_pipeline_file_names_the_nodes() -> None:
    text = """
        visionweave: 1
        inputs: {photo: Image}
        steps:
          point: {node: clip.embed, content: $photo, model: tiny}
          tags: {node: clip.rank, content: $photo, phrases: [apple, pear], model: tiny, most: 1}
          label: {node: clip.classify, content: $photo, labels: [apple, pear], model: tiny}
        outputs: [point, tags, label]
    """
    nodes = {"clip.embed": Embed, "clip.rank": Rank, "clip.classify": Classify}
    with replaced(nodes):
        result = Pipeline.from_yaml(text).run(photo=photo(0), device="cpu", precision="fp32")
    assert result["point"] == Embed("tiny")(photo(0))
    assert result["tags"].phrases == result["label"].phrases


# What a view and a checkpoint may be -----------------------------------------------------------


def test_a_thin_line_is_cut_before_it_is_enlarged() -> None:
    line = np.zeros((1, 30_001, 3), np.uint8)
    line[:, 14_990:15_010] = 255
    assert np.array_equal(View(size=16).of(line), np.full((16, 16, 3), 255, np.uint8))
    assert np.array_equal(View(size=16).of(line.transpose(1, 0, 2)), View(size=16).of(line))


def broken(weights: bytes) -> dict[str, bytes]:
    """The same weights, one of them renamed and one of another shape."""
    from safetensors.torch import load

    tensors = load(weights)
    tensors["visual.projection"] = tensors.pop("visual.proj")
    tensors["ln_final.weight"] = torch.zeros(7)
    return {"model.safetensors": save(tensors)}


@pytest.mark.parametrize(
    ("files", "config", "message"),
    [
        pytest.param(
            {},
            {"architecture": "ViT-B-33"},
            r"new: open_clip knows no architecture 'ViT-B-33'; did you mean ViT-B-32\?",
            id="unknown architecture",
        ),
        pytest.param(
            {},
            {"architecture": "ViT-B-32", "pretrained": "laion"},
            "open_clip knows no ViT-B-32 'laion'; it has .*openai",
            id="unknown tag",
        ),
        pytest.param(
            "broken",
            {"architecture": CONFIG},
            r"1 missing \(visual.proj\); 1 unexpected \(visual.projection\); "
            r"1 misshapen \(ln_final.weight\)",
            id="other weights",
        ),
        pytest.param(
            {"a.bin": b"", "b.pt": b""},
            {"architecture": CONFIG},
            r"expected one file of weights in its list; got a\.bin, b\.pt",
            id="two files of weights",
        ),
        pytest.param(
            {}, {}, "its list of files lacks open_clip_config.json", id="nothing says how"
        ),
        pytest.param(
            {"config.json": b'{"model_type": "siglip2"}'},
            {},
            "model_type of clip, siglip, altclip, chinese_clip; got 'siglip2'",
            id="another kind of model",
        ),
        pytest.param({"config.json": b"{"}, {}, "config.json: cannot read", id="no JSON"),
        pytest.param({"config.json": b"[]"}, {}, "got a list", id="no table"),
        pytest.param(
            {},
            {"architecture": CONFIG, "image_size": 48},
            "says image_size 48 .*; its network takes 32",
            id="another size",
        ),
        pytest.param(
            {},
            {"architecture": CONFIG, "resise": "squash", "means": 0},
            "says means, resise, which nothing reads",
            id="unknown words",
        ),
        pytest.param(
            {},
            {"architecture": CONFIG, "library": "timm"},
            "says library 'timm'; expected open_clip or transformers",
            id="unknown library",
        ),
        pytest.param(
            {},
            {"architecture": "AltCLIP-m10", "library": "transformers"},
            "unknown architecture 'AltCLIP-m10'; did you mean AltCLIP-m",
            id="unknown architecture of transformers",
        ),
        pytest.param(
            {},
            {"architecture": CONFIG, "resize": "longest"},
            "resize must be one of shortest, squash; got 'longest'",
            id="unknown resizing",
        ),
        pytest.param(
            {},
            {"architecture": CONFIG | {"text_cfg": {"hf_model_name": "m2m"}}},
            "its text tower is m2m of transformers; give that tower's config",
            id="a text tower without its config",
        ),
        pytest.param(
            {},
            {
                "architecture": CONFIG
                | {"text_cfg": CONFIG["text_cfg"] | {"hf_tokenizer_name": "gemma"}}
            },
            "its list of files holds no tokenizer",
            id="no tokenizer",
        ),
        pytest.param(
            {},
            {
                "architecture": CONFIG
                | {"text_cfg": CONFIG["text_cfg"] | {"tokenizer_kwargs": {"strip_sep_token": True}}}
            },
            "its tokenizer asks for strip_sep_token, which is not supported",
            id="a tokenizer that does more",
        ),
        pytest.param(
            {"tokenizer.json": b"{}"},
            {"architecture": CONFIG},
            "new: cannot read its tokenizer",
            id="a broken tokenizer",
        ),
    ],
)
def test_checkpoints_that_are_refused(
    store: Path, weights: dict[str, bytes], files: Any, config: Any, message: str
) -> None:
    own = broken(weights["tiny"]) if files == "broken" else files
    if not any(name.endswith((".bin", ".safetensors")) for name in own):
        own = {"model.safetensors": weights["tiny"], **own}
    list_checkpoint(store, "new", own, config)
    with pytest.raises(WeightsError, match=message):
        loaded(Embed("new"))


def test_weights_from_training_are_unwrapped(
    store: Path, weights: dict[str, bytes], kept: dict[str, ClipNode]
) -> None:
    from safetensors.torch import load

    state = {f"module.{name}": tensor for name, tensor in load(weights["tiny"]).items()}
    buffer, facts = io.BytesIO(), {"architecture": CONFIG, "image_size": 32}
    torch.save({"epoch": 3, "state_dict": state}, buffer)
    list_checkpoint(store, "trained", {"epoch_3.pt": buffer.getvalue()}, facts)
    expected = kept["tiny"].clip.embed_texts(["apple"])
    assert np.array_equal(loaded(Embed("trained")).clip.embed_texts(["apple"]), expected)
