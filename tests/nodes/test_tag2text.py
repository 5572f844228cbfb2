"""The nodes of Tag2Text, RAM and RAM++, on tiny checkpoints: photos in, tags and captions out."""

from __future__ import annotations

import hashlib
import os
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
import torchvision.transforms as T
from safetensors.torch import save_file

from visionweave import (
    Cutout,
    Embedding,
    Image,
    Input,
    NodeFailed,
    Observer,
    Origin,
    Pipeline,
    PipelineError,
    Runtime,
    Tags,
    Text,
    WeightsError,
)
from visionweave.nodes.tag2text import Caption, FromCaption, OpenSet, Tag
from visionweave.nodes.tag2text.config import Config, read_config, read_vocabulary
from visionweave.nodes.tag2text.net import Writer, make_tagger
from visionweave.nodes.tag2text.words import Tokens
from visionweave.registry import replaced
from visionweave.testing import make_cutout, make_image
from visionweave.weights import Checkpoint

FACTS = Path(__file__).parents[3] / "shared" / "facts" / "ram"
CPU = Runtime.get("cpu", "fp32")
SIZES = {
    "image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [2, 2], "num_heads": [2, 4],
    "window_size": 4, "classes": 6, "descriptions": 3, "label_width": 12, "hidden": 24,
    "head_layers": 2, "head_heads": 3, "intermediate": 32, "text_layers": 2, "text_heads": 2,
    "text_tokens": 22, "text_positions": 64, "weights": "model.safetensors", "tags": "tags.txt",
    "tags_zh": "", "thresholds": "", "spaces": ["clip/tiny"], "threshold": 0.5, "raised": {},
    "deleted": [],
}  # fmt: skip
WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] | a picture of cat dog red apple table ##s on the . , two"
TAGS = ("apple", "cat", "dog", "red", "table", "two")
PROBABILITY = (0.9, 0.6, 0.7, 0.8, 0.4, 0.55)
"""The scores of the six tags, whatever the photo, in a checkpoint made with `fixed`."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """For tensors as small as these, several threads cost more than they do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


Make = Callable[..., Config]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Puts a tiny checkpoint into a store of its own: its name, its variant, changes of SIZES."""
    monkeypatch.setenv("VISIONWEAVE_WEIGHTS", str(tmp_path))

    def make(
        name: str,
        variant: str,
        files: Mapping[str, str] | None = None,
        scores: tuple[float, ...] | None = None,
        seed: int = 0,
        **changes: Any,
    ) -> Config:
        fields = {**SIZES, "variant": variant} | changes
        config = read_config(entry_of(fields))
        folder = tmp_path / name
        folder.mkdir()
        save_file(random_tensors(config, seed, scores), folder / "model.safetensors")
        texts = {"tags.txt": "\n".join(TAGS), "vocab.txt": "\n".join(WORDS.split())}
        for file, text in (texts | dict(files or {})).items():
            (folder / file).write_text(text, encoding="utf-8")
        with (tmp_path / "weights.lock").open("a", encoding="utf-8") as lock:
            lock.write(lock_entry(folder, fields))
        return config

    return make


def entry_of(config: Mapping[str, Any], name: str = "tiny") -> Checkpoint:
    return Checkpoint(
        name, "tag2text", "", "", (), "safetensors", "MIT", "yes", "", "", dict(config)
    )


def random_tensors(
    config: Config, seed: int, scores: tuple[float, ...] | None
) -> dict[str, torch.Tensor]:
    """Random weights; with `scores`, for Tag2Text: those, whatever the photo."""
    nets = [make_tagger(config)] + ([Writer(config)] if config.variant == "tag2text" else [])
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, old in (pair for each in nets for pair in each.state_dict().items()):
        noise = torch.randn(old.shape, generator=generator)
        size = 0.2 if old.ndim < 2 else 1.0 if "embeddings" in name else 1.4 / old.shape[1] ** 0.5
        is_norm = "norm" in name.lower() and name.endswith("weight")
        tensors[name] = 1 + size * noise if is_norm else size * noise
    if "label_embed" in tensors and config.variant != "tag2text":
        tensors["label_embed"] = torch.nn.functional.normalize(tensors["label_embed"], dim=1)
    if scores is not None:
        tensors["weight"].zero_()
        tensors["bias"] = torch.tensor(scores, dtype=torch.float64).logit().float()
    return tensors


def lock_entry(folder: Path, config: Mapping[str, Any]) -> str:
    files = ", ".join(
        f'{{ name = "{path.name}", sha256 = "{hashlib.sha256(path.read_bytes()).hexdigest()}" }}'
        for path in sorted(folder.iterdir())
    )
    return (
        f'[checkpoint."{folder.name}"]\nfamily = "tag2text"\nlicense = "MIT"\ncommercial = "yes"\n'
        f"files = [{files}]\nconfig = {toml(config)}\n"
    )


def toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{key} = {toml(each)}' for key, each in value.items())} }}"
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def run(node: Any, *values: Any) -> Any:
    node.ensure_loaded(CPU)
    return Pipeline(out=node(*(Input(f"i{n}", type(v)) for n, v in enumerate(values)))).run(
        device="cpu", precision="fp32", **{f"i{n}": v for n, v in enumerate(values)}
    )["out"]


class Batches(Observer):
    """Counts forward passes, and the photos in each."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []

    def batch_finished(self, step: Any, method: str, size: int, failed: bool) -> None:
        self.seen.append((method, size))


# Tags ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "settings", "expected"),
    [
        pytest.param({}, {}, "apple red dog cat two", id="above the threshold, best first"),
        pytest.param({"threshold": 0.68}, {}, "apple red dog", id="the checkpoint's threshold"),
        pytest.param({}, {"threshold": 0.75}, "apple red", id="your threshold"),
        pytest.param({}, {"threshold": 0.0}, "apple red dog cat two table", id="all"),
        pytest.param({}, {"threshold": 1.0}, "", id="none"),
        pytest.param({}, {"most": 2}, "apple red", id="the best two"),
        pytest.param({"raised": {"red": 0.8}}, {}, "apple dog cat two", id="one tag's threshold"),
        pytest.param({"deleted": ["two", "dog"]}, {}, "apple red cat", id="tags never reported"),
        pytest.param(
            {"deleted": ["two"]}, {"threshold": 0.5}, "apple red dog cat", id="nor below yours"
        ),
    ],
)
def test_tags(make: Make, config: Mapping[str, Any], settings: Any, expected: str) -> None:
    make("tiny", "tag2text", scores=PROBABILITY, **config)
    origin = Origin("street/004.jpg", 2, "stall", 0.5)
    tags = run(Tag(model="tiny", **settings), make_cutout(origin))
    names = expected.split()
    assert tags.phrases == tuple(names)
    known = dict(zip(TAGS, PROBABILITY, strict=True))
    np.testing.assert_allclose(tags.scores, [known[name] for name in names], atol=1e-6)
    assert tags.origin == origin


def test_each_tag_has_a_threshold_of_its_own_and_one_of_1_is_never_reached(make: Make) -> None:
    lines = "0.95\n0.5\n0.65\n1.0\n0.3\n0.55"
    certain = (0.9, 0.6, 0.7, 1.0, 0.4, 0.55 - 1e-4)
    make("tiny", "tag2text", {"limits.txt": lines}, certain, thresholds="limits.txt")
    assert run(Tag(model="tiny"), make_image()).phrases == ("dog", "cat", "table")


def test_chinese_names_and_equal_ones_once_with_the_best_score(make: Make) -> None:
    chinese = "苹果 \n猫\n狗\n苹果\n桌子\n二"
    make("tiny", "tag2text", {"zh.txt": chinese}, PROBABILITY, tags_zh="zh.txt")
    tags = run(Tag(model="tiny", language="zh"), make_image())
    assert tags.phrases == ("苹果", "狗", "猫", "二")
    np.testing.assert_allclose(tags.scores, [0.9, 0.7, 0.6, 0.55], atol=1e-6)


def test_a_photo_without_tags_has_none(make: Make) -> None:
    make("tiny", "tag2text", scores=(0.1,) * 6)
    image = make_image(photo="a.jpg")
    assert run(Tag(model="tiny"), image) == Tags((), origin=Origin("a.jpg"))


@pytest.mark.parametrize("variant", ["ram_plus", "ram", "tag2text"])
def test_each_photo_has_scores_of_its_own_whatever_its_neighbours(make: Make, variant: str) -> None:
    make("tiny", variant)
    photos = [make_image((40 + 9 * n, 50), f"{n}.jpg", seed=n) for n in range(5)]
    pipeline = Pipeline(tags=Tag(model="tiny", threshold=0.0)(Input("photo", Image)))
    together = [r["tags"] for r in pipeline.map(photos, device="cpu", precision="fp32")]
    alone = [pipeline.run(photo=each, device="cpu", precision="fp32")["tags"] for each in photos]
    for one, other, photo in zip(together, alone, photos, strict=True):
        assert one.phrases == other.phrases
        np.testing.assert_allclose(one.scores, other.scores, rtol=0, atol=1e-6)
        assert one.origin == Origin(photo.origin.photo)
    spread = np.std([scores_by_name(tags) for tags in alone], axis=0)
    assert spread.max() > 1e-3


def scores_by_name(tags: Tags) -> list[float]:
    known = dict(zip(tags.phrases, tags.scores.tolist(), strict=True))
    return [known[name] for name in TAGS]


def test_no_objects_have_no_tags_and_no_forward_pass(make: Make) -> None:
    make("tiny", "ram")
    batches = Batches()
    pipeline = Pipeline(tags=Tag(model="tiny")(Input("cutouts", list[Cutout])))
    (result,) = pipeline.map([{"cutouts": []}], observers=[batches])
    assert result["tags"] == []
    assert batches.seen == []


def test_low_precision_keeps_the_stated_tolerance(make: Make) -> None:
    make("tiny", "ram_plus", image_size=64, embed_dim=32, hidden=96, label_width=64)
    pipeline = Pipeline(tags=Tag(model="tiny", threshold=0.0)(Input("photo", Image)))
    errors = []
    for seed in range(4):
        image = make_image(seed=seed)
        low, full = (
            scores_by_name(pipeline.run(photo=image, device="cpu", precision=precision)["tags"])
            for precision in ("bf16", "fp32")
        )
        errors.append(np.abs(np.subtract(low, full)).max())
    assert 0 < max(errors) < Tag.tolerance == OpenSet.tolerance


def test_tags_in_a_pipeline_file(make: Make) -> None:
    make("tiny", "tag2text", scores=PROBABILITY)
    text = """
visionweave: 1
inputs: {photo: Image}
steps:
  tags: {node: tag2text.tag, image: $photo, model: tiny, most: 2}
  caption: {node: tag2text.caption, image: $photo, tags: $tags, model: tiny, max_length: 12}
  said: {node: tag2text.from_caption, caption: $caption, model: tiny}
outputs: [tags, said]
"""
    nodes = {cls.spec.id: cls for cls in (Tag, Caption, FromCaption)}
    with replaced(nodes):
        result = Pipeline.from_yaml(text).run(photo=make_image(photo="a.jpg"))
    assert result["tags"].phrases == ("apple", "red")
    assert result["said"].origin == Origin("a.jpg")


# What the network sees -----------------------------------------------------------------------


def test_a_photo_is_squeezed_and_normalised_as_torchvision_does(make: Make) -> None:
    config = make("tiny", "ram")
    image = make_image((97, 61), seed=4)
    published = T.Compose(
        [
            T.Resize((32, 32)),
            T.ToTensor(),
            T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    tagger = make_tagger(config)
    seen: list[torch.Tensor] = []
    tagger.visual_encoder.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    node = Tag(model="tiny")
    node.ensure_loaded(CPU)
    with torch.inference_mode():
        tagger.encode(torch.tensor(node._prepare(image)[None]))
    torch.testing.assert_close(seen[0][0], published(image.to_pil()), rtol=0, atol=1e-6)


def test_what_is_transparent_is_white(make: Make) -> None:
    make("tiny", "ram")
    cutout = make_cutout()
    flat = Image.from_array(cutout.over((255, 255, 255)), origin=cutout.origin)
    sheer = Image.from_array(cutout.rgba, origin=cutout.origin)
    node = Tag(model="tiny", threshold=0.0)
    assert run(node, cutout) == run(node, flat) == run(node, sheer)


def test_a_large_jpeg_is_decoded_small_and_tagged_alike(make: Make, tmp_path: Path) -> None:
    make("tiny", "ram")
    path = tmp_path / "large.jpg"
    make_image((1600, 1600), seed=3).to_pil().save(path, quality=95)
    node = Tag(model="tiny", threshold=0.0)
    image = Image.open(path, fits=[node.fit()])
    assert image.shrunk(node.fit()).shape == (800, 800, 3)
    small, large = run(node, image), run(node, Image.open(path))
    np.testing.assert_allclose(scores_by_name(small), scores_by_name(large), atol=5e-3)


def test_a_checkpoint_that_sees_more_has_the_photo_decoded_larger(
    make: Make, tmp_path: Path
) -> None:
    make("tiny", "ram", image_size=1024, patch_size=128)
    path = tmp_path / "large.jpg"
    make_image((1600, 1600), seed=3).to_pil().save(path)
    node = Tag(model="tiny")
    node.ensure_loaded(CPU)
    seen = node._prepare(Image.open(path, fits=[node.fit()]))
    exact = PIL.Image.open(path).resize((1024, 1024), PIL.Image.Resampling.BILINEAR)
    assert np.abs(seen.astype(int) - np.asarray(exact)).max() <= 2


# One load ------------------------------------------------------------------------------------


def test_nodes_of_one_checkpoint_share_one_tagger(make: Make) -> None:
    make("tiny", "tag2text")
    make("other", "tag2text")
    first, second, third = Tag(model="tiny"), Tag(model="tiny", most=3), Tag(model="other")
    caption = Caption(model="tiny")
    for node in (first, second, third, caption):
        node.ensure_loaded(CPU)
    assert first._tagger is second._tagger is caption._tagger
    assert first._tagger is not third._tagger


def test_a_node_that_is_unloaded_can_be_loaded_again(make: Make) -> None:
    make("tiny", "tag2text", scores=PROBABILITY)
    node = Caption(model="tiny")
    before = run(node, make_image())
    node.unload()
    assert node.runtime is None
    assert run(node, make_image()) == before


# Phrases of one's own ------------------------------------------------------------------------


def embeddings_of(folder: Path, space: str = "clip/tiny", every: int = 1) -> list[Embedding]:
    """The embeddings that a tiny checkpoint knows its own tags by."""
    from safetensors.numpy import load_file

    rows = load_file(folder / "model.safetensors")["label_embed"][::every]
    return [Embedding.normalised(row, space) for row in rows]


def ask(node: OpenSet, image: Image, phrases: list[str], embeddings: list[Embedding]) -> Tags:
    inputs = Input("image", Image), Input("phrases", list[Text]), Input("known", list[Embedding])
    texts = [Text(phrase) for phrase in phrases]
    pipeline = Pipeline(tags=node(*inputs))
    result = pipeline.run(
        image=image, phrases=texts, known=embeddings, device="cpu", precision="fp32"
    )
    return result["tags"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(("variant", "descriptions"), [("ram", 3), ("ram_plus", 1)])
def test_the_embedding_of_a_tag_is_as_good_as_the_tag(
    make: Make, tmp_path: Path, variant: str, descriptions: int
) -> None:
    make("tiny", variant, descriptions=descriptions)
    image = make_image(photo="a.jpg")
    own = run(Tag(model="tiny", threshold=0.0), image)
    embeddings = embeddings_of(tmp_path / "tiny")
    order = [4, 0, 5, 2]
    phrases = [f"my {TAGS[index]}" for index in order]
    node = OpenSet(model="tiny", threshold=0.0)
    tags = ask(node, image, phrases, [embeddings[index] for index in order])
    known = dict(zip(own.phrases, own.scores.tolist(), strict=True))
    expected = sorted(((known[TAGS[index]], f"my {TAGS[index]}") for index in order), reverse=True)
    assert tags.phrases == tuple(phrase for _, phrase in expected)
    np.testing.assert_allclose(tags.scores, [score for score, _ in expected], atol=1e-6)
    assert tags.origin == Origin("a.jpg")


def test_a_phrase_stands_for_all_descriptions_of_ram_plus(make: Make, tmp_path: Path) -> None:
    make("tiny", "ram_plus")
    (embedding,) = embeddings_of(tmp_path / "tiny", every=18)
    node = OpenSet(model="tiny", threshold=0.0)
    image = make_image()
    tags = ask(node, image, ["thing"], [embedding])
    with torch.inference_mode():
        tokens = node._tagger.encode(torch.tensor(node._prepare(image)[None]))
        rows = torch.from_numpy(np.array(embedding.vector)).expand(1, 51, -1)
        expected = node._tagger.score(tokens, rows)
    np.testing.assert_allclose(tags.scores, expected[0], atol=1e-6)


def test_phrases_below_the_threshold_are_left_out(make: Make, tmp_path: Path) -> None:
    make("tiny", "ram")
    image, embeddings = make_image(), embeddings_of(tmp_path / "tiny")
    every = ask(OpenSet(model="tiny", threshold=0.0), image, list(TAGS), embeddings)
    middle = float(every.scores[2]) + 1e-5
    some = ask(OpenSet(model="tiny", threshold=middle), image, list(TAGS), embeddings)
    assert some.phrases == every.phrases[:2]
    best = ask(OpenSet(model="tiny", threshold=0.0, most=1), image, list(TAGS), embeddings)
    assert best.phrases == every.phrases[:1]


def test_photos_in_a_batch_are_asked_for_the_same_phrases(make: Make, tmp_path: Path) -> None:
    make("tiny", "ram_plus")
    embeddings = embeddings_of(tmp_path / "tiny", every=3)
    texts = [Text(tag) for tag in TAGS]
    node = OpenSet(model="tiny", threshold=0.0)
    inputs = Input("image", Image), Input("phrases", list[Text]), Input("known", list[Embedding])
    pipeline = Pipeline(tags=node(*inputs))
    batches = Batches()
    items = [
        {"image": make_image(seed=seed), "phrases": texts[:count], "known": embeddings[:count]}
        for seed, count in enumerate((6, 2, 0, 4))
    ]
    results = pipeline.map(items, device="cpu", precision="fp32", observers=[batches])
    for item, result in zip(items, results, strict=True):
        alone = pipeline.run(**item, device="cpu", precision="fp32")["tags"]
        assert result["tags"].phrases == alone.phrases
        assert len(alone) == len(item["phrases"])
        np.testing.assert_allclose(result["tags"].scores, alone.scores, atol=1e-6)
    assert batches.seen == [("recognise", 3)]  # nothing was asked of the third


@pytest.mark.parametrize(
    ("phrases", "space", "message"),
    [
        pytest.param(
            ["cat", "dog"],
            "clip/tiny",
            "expected one embedding for each phrase; got 2 phrases and 1 embeddings",
            id="fewer embeddings",
        ),
        pytest.param(
            ["cat"],
            "clip/other",
            "embedding of 'cat' must be of space 'clip/tiny' with 12 numbers; got 'clip/other' "
            r"with 12\. Embed the phrases with the CLIP model",
            id="another space",
        ),
    ],
)
def test_embeddings_that_do_not_fit_are_refused(
    make: Make, tmp_path: Path, phrases: list[str], space: str, message: str
) -> None:
    make("tiny", "ram")
    embeddings = embeddings_of(tmp_path / "tiny", space)[:1]
    with pytest.raises(NodeFailed, match=message):
        ask(OpenSet(model="tiny"), make_image(), phrases, embeddings)


# Captions ------------------------------------------------------------------------------------


def test_a_caption_is_guided_by_the_tags_that_were_found_or_by_yours(make: Make) -> None:
    make("tiny", "tag2text", scores=PROBABILITY, seed=3)
    image = make_image(photo="a.jpg")
    node = Caption(model="tiny", max_length=16, tag_tokens=12)
    own = run(node, image)
    found = Tags(("apple", "cat", "dog", "red", "two"), [0.9, 0.6, 0.7, 0.8, 0.55])
    assert run(node, image, found) == own
    assert own.origin == Origin("a.jpg")
    guided = [run(node, image, tags).text for tags in (Tags(("table",)), Tags(()))]
    assert len({own.text, *guided}) == 3


@pytest.mark.parametrize(
    ("first", "second", "settings", "expected"),
    [
        pytest.param("cat", "dog", {"max_length": 8}, "cat cat cat cat", id="until max_length"),
        pytest.param("[SEP]", "dog", {"min_length": 7}, "dog dog dog", id="not before min_length"),
        pytest.param("[SEP]", "dog", {"min_length": 0}, "", id="nothing to say"),
        pytest.param("[SEP]", "dog", {"max_length": 5}, "", id="of the shortest kind"),
    ],
)
def test_how_long_captions_are(
    make: Make, tmp_path: Path, first: str, second: str, settings: Any, expected: str
) -> None:
    make("tiny", "tag2text")
    path = tmp_path / "tiny" / "model.safetensors"
    rewrite(path, favour(first, second))
    (tmp_path / "weights.lock").write_text(
        lock_entry(tmp_path / "tiny", SIZES | {"variant": "tag2text"})
    )
    text = run(Caption(model="tiny", beams=1, **({"min_length": 0} | settings)), make_image())
    assert text.text == expected


@pytest.mark.parametrize(
    ("ports", "passes"),
    [
        pytest.param({}, ["look", "recognise", "write"], id="its own tags"),
        pytest.param({"tags": Tags(("cat",))}, ["look", "write"], id="yours"),
    ],
)
def test_a_photo_is_encoded_once_for_its_tags_and_its_caption(
    make: Make, ports: Mapping[str, Tags], passes: list[str]
) -> None:
    make("tiny", "tag2text")
    batches = Batches()
    node = Caption(model="tiny", beams=1, max_length=12, tag_tokens=8)
    pipeline = Pipeline(text=node(Input("photo", Image), **ports))
    photos = [make_image(seed=seed) for seed in range(3)]
    assert len(list(pipeline.map(photos, observers=[batches]))) == 3
    assert batches.seen == [(name, 3) for name in passes]


def favour(first: str, second: str) -> Callable[[dict[str, torch.Tensor]], None]:
    """Make a decoder say one word always, and another where the one is not allowed."""

    def change(tensors: dict[str, torch.Tensor]) -> None:
        words = WORDS.split()
        tensors["text_decoder.cls.predictions.decoder.weight"].zero_()
        bias = tensors["text_decoder.cls.predictions.decoder.bias"].zero_()
        bias[words.index(first)], bias[words.index(second)] = 9.0, 5.0

    return change


def rewrite(path: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    from safetensors.torch import load_file

    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    change(tensors)
    save_file(tensors, path)


def test_captions_in_a_batch_are_those_of_the_photos_alone(make: Make) -> None:
    make("tiny", "tag2text", seed=3)
    photos = [make_image(seed=seed) for seed in range(4)]
    node = Caption(model="tiny", max_length=16, tag_tokens=8)
    pipeline = Pipeline(text=node(Input("photo", Image)))
    together = [r["text"] for r in pipeline.map(photos, device="cpu", precision="fp32")]
    alone = [pipeline.run(photo=each, device="cpu", precision="fp32")["text"] for each in photos]
    assert together == alone
    assert len({caption.text for caption in alone}) > 1


GUIDES = [
    pytest.param([], [], 6, "[ENC] [SEP]", id="none"),
    pytest.param(["cat"], [1.0], 6, "[ENC] cat [SEP]", id="one"),
    pytest.param(["cat", "red dogs"], [0.1, 0.9], 9, "[ENC] cat | red dog ##s [SEP]", id="all fit"),
    pytest.param(["cat", "dog", "red"], [0.5, 0.9, 0.8], 5, "[ENC] dog | red [SEP]", id="best fit"),
    pytest.param(["red dogs"], [0.9], 4, "[ENC] [SEP]", id="none in half"),
    pytest.param(["cat", "red dogs"], [0.1, 0.9], 4, "[ENC] cat [SEP]", id="best too long"),
    pytest.param(
        ["cat", "red dogs", "red"], [0.1, 0.8, 0.9], 6, "[ENC] cat | red [SEP]", id="one too long"
    ),
    pytest.param(["cat", "dog"], [0.5, 0.5], 4, "[ENC] cat [SEP]", id="of equal ones the first"),
]


@pytest.mark.parametrize(("phrases", "scores", "length", "expected"), GUIDES)
def test_how_tags_are_written_for_the_encoder(
    tmp_path: Path, phrases: list[str], scores: list[float], length: int, expected: str
) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS.split()))
    tokens = Tokens(tmp_path / "vocab.txt", 22)
    guide = tokens.guide(Tags(tuple(phrases), np.array(scores, np.float32)), length)
    words = [*WORDS.split(), "[DEC]", "[ENC]"]
    said = expected.split()
    padding = length - len(said)
    assert [words[index] for index in guide.ids] == said + ["[PAD]"] * padding
    assert guide.known.tolist() == [True] * len(said) + [False] * padding
    assert [words[index] for index in tokens.prompt] == ["[DEC]", "a", "picture", "of"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        pytest.param("[DEC] a picture of two dog ##s [SEP] [PAD] [PAD]", "two dogs", id="pieces"),
        pytest.param("[DEC] a picture of a dog , a cat .", "a dog, a cat.", id="punctuation"),
        pytest.param("[DEC] a picture of [SEP]", "", id="nothing"),
        pytest.param("[DEC] a picture of a picture of a cat", "a picture of a cat", id="once"),
        pytest.param("[DEC] a picture of [ENC] a [UNK] cat", "a cat", id="no special tokens"),
    ],
)
def test_how_captions_are_read(tmp_path: Path, written: str, expected: str) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS.split()))
    words = [*WORDS.split(), "[DEC]", "[ENC]"]
    ids = np.array([words.index(word) for word in written.split()])
    assert Tokens(tmp_path / "vocab.txt", 22).caption(ids) == expected


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        pytest.param(["cat", "dog"], "expected BERT's list of tokens", id="no special tokens"),
        pytest.param(
            WORDS.split()[:-1], "expected 20 tokens, one on every line; got 19", id="too few"
        ),
    ],
)
def test_a_file_that_is_no_list_of_tokens_is_refused(
    make: Make, lines: list[str], message: str
) -> None:
    make("tiny", "tag2text", {"vocab.txt": "\n".join(lines)})
    with pytest.raises(WeightsError, match=rf"vocab\.txt: {message}"):
        Caption(model="tiny").ensure_loaded(CPU)


# Tags from a caption -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a man on a bicycle", "man|bicycle", id="whole words"),
        pytest.param("a manned bicycler", "", id="not parts of words"),
        pytest.param("A Man. A DOG!", "man|dog", id="any case"),
        pytest.param("dogs and buses and houses", "dog|bus|house", id="plurals"),
        pytest.param("two women with cherries", "woman|cherry", id="irregular plurals"),
        pytest.param("glasses on a glass", "glasses", id="a plural that is a thing of its own"),
        pytest.param("a park bench by a bench", "park bench|bench", id="the longest first"),
        pytest.param("park benches", "park bench", id="a plural of two words"),
        pytest.param("a park, bench", "park|bench", id="not over a comma"),
        pytest.param("a t - shirt", "t-shirt", id="as BERT writes hyphens"),
        pytest.param("a rubik ' s cube", "rubik's cube", id="as BERT writes apostrophes"),
        pytest.param("a dog and a dog and a man", "dog|man", id="once, where it first appears"),
        pytest.param("", "", id="nothing said"),
    ],
)
def test_tags_from_a_caption(text: str, expected: str) -> None:
    known = (
        "man", "woman", "bicycle", "dog", "bus", "house", "cherry", "glasses", "bench",
        "park", "park bench", "t-shirt", "rubik's cube",
    )  # fmt: skip
    origin = Origin("a.jpg")
    tags = run(FromCaption(vocabulary=known), Text(text, origin))
    assert tags == Tags(tuple(filter(None, expected.split("|"))), origin=origin)


def test_the_checkpoints_own_tags_are_found_in_a_caption(make: Make) -> None:
    make("tiny", "tag2text", deleted=["two"])
    tags = run(FromCaption(model="tiny"), Text("two red apples on a table"))
    assert tags.phrases == ("red", "apple", "table")


def test_no_vocabulary_finds_nothing() -> None:
    assert run(FromCaption(vocabulary=()), Text("a cat")) == Tags(())


# What is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variant", "node", "message"),
    [
        pytest.param(
            "ram_plus",
            Tag(model="tiny", language="zh"),
            r"(?s)tag2text\.tag: this checkpoint has no Chinese names.*got: +tiny \(tiny, variant "
            r"ram_plus\).*fix: +language: en, or model: a checkpoint of RAM",
            id="no Chinese names",
        ),
        pytest.param(
            "tag2text",
            OpenSet(model="tiny"),
            r"(?s)tag2text\.open_set: Tag2Text's tags are fixed.*fix: +model: a checkpoint of RAM",
            id="an open set of Tag2Text",
        ),
        pytest.param(
            "ram",
            Caption(model="tiny"),
            r"(?s)tag2text\.caption: only Tag2Text writes captions.*fix: +model: a checkpoint of "
            "Tag2Text",
            id="a caption by RAM",
        ),
        pytest.param(
            "tag2text",
            Caption(model="tiny", tag_tokens=65),
            r"(?s)tag2text\.caption: this checkpoint reads and writes fewer tokens.*fix: "
            "+max_length and tag_tokens: at most 64",
            id="more tokens than it has places for",
        ),
    ],
)
def test_what_a_checkpoint_cannot_do_is_refused_before_its_weights_are_read(
    make: Make, tmp_path: Path, variant: str, node: Any, message: str
) -> None:
    make("tiny", variant)
    (tmp_path / "tiny" / "model.safetensors").unlink()
    with pytest.raises(PipelineError, match=message):
        node.ensure_loaded(CPU)


def test_lengths_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(PipelineError, match="min_length 20 is above max_length 10"):
        Caption(min_length=20, max_length=10)


def test_weights_that_are_not_here_say_what_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISIONWEAVE_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match="visionweave weights pull ram-plus"):
        Tag("base").ensure_loaded(CPU)


@pytest.mark.parametrize(
    ("files", "config", "message"),
    [
        pytest.param(
            {"tags.txt": "a\nb\n\nd\ne\nf"},
            {},
            r"tags\.txt: expected 6 lines, one for each class and none empty; got 6, 1 of them",
            id="an empty line",
        ),
        pytest.param(
            {"limits.txt": "0.5\n0.5"},
            {"thresholds": "limits.txt"},
            r"limits\.txt: expected 6 lines.* got 2, 0 of them empty",
            id="too few thresholds",
        ),
        pytest.param(
            {"limits.txt": "0.5\nhigh\n0\n0\n0\n0"},
            {"thresholds": "limits.txt"},
            r"limits\.txt: expected a number on every line: .*'high'",
            id="a threshold that is no number",
        ),
        pytest.param(
            {},
            {"deleted": ["unicorn"]},
            r"tags\.txt: the checkpoint's config speaks of tag 'unicorn'; not in here",
            id="a tag that is not in the list",
        ),
        pytest.param(
            {},
            {"thresholds": "limits.txt"},
            r"weights\.lock lists no file 'limits\.txt'; it lists model\.safetensors, tags\.txt",
            id="a file that is not listed",
        ),
    ],
)
def test_lists_that_do_not_fit_are_refused(
    make: Make, files: Mapping[str, str], config: Mapping[str, Any], message: str
) -> None:
    make("tiny", "tag2text", files, **config)
    with pytest.raises(WeightsError, match=message):
        Tag(model="tiny").ensure_loaded(CPU)


def test_a_config_that_does_not_fit_says_all_that_is_wrong() -> None:
    message = (
        r"(?s)weights\.lock: the config of odd does not fit family tag2text.*\n  variant: Input "
        r"should be.*\n  windows: Extra inputs are not permitted"
    )
    with pytest.raises(WeightsError, match=message):
        read_config(entry_of(SIZES | {"variant": "ram3", "windows": 7}, "odd"))


# The published lists -------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["ram_plus", "ram", "tag2text"])
def test_the_published_lists_are_read(variant: str) -> None:
    if not FACTS.is_dir():
        pytest.skip("the published lists are not beside this repository")
    backbone = "swin_b" if variant == "tag2text" else "swin_l"
    config = read_config(entry_of({"variant": variant, "backbone": backbone}))
    words = read_vocabulary(config, {path.name: path for path in FACTS.iterdir()})
    if variant == "tag2text":
        assert words.chinese is None
        special = {place: 0.7 for place in (1167, 2701, 2828)}  # woman, person, man
        assert np.flatnonzero(words.thresholds != np.float32(0.68)).tolist() == list(special)
        assert np.flatnonzero(~words.reported).tolist() == [127, 2961, 3265, 3338, 3351, 3355, 3359]
        return
    assert words.chinese is not None
    assert (words.english[0], words.chinese[0]) == ("3D CG rendering", "三维CG渲染")
    assert (words.english[-1], len(words.chinese)) == ("zoo", 4585)
    assert (words.thresholds == np.float32(0.65)).sum() == 3414
    never = [words.english[place] for place in np.flatnonzero(words.thresholds == 1)]
    assert "body" in never
    certain = words.found(np.ones(4585, np.float32))
    assert len(certain) == 4585 - len(never)


# At full size --------------------------------------------------------------------------------


@pytest.fixture
def all_threads(one_thread: None) -> None:
    """Full size is where threads pay."""
    torch.set_num_threads(os.cpu_count() or 1)


def report(capsys: pytest.CaptureFixture[str], line: str) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    with capsys.disabled():
        print(f"\n{line}; at most {peak:.1f} GB so far")


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["ram_plus", "ram", "tag2text"])
def test_a_tagger_of_the_published_size_runs(
    variant: str, all_threads: None, capsys: pytest.CaptureFixture[str]
) -> None:
    backbone = "swin_b" if variant == "tag2text" else "swin_l"
    config = read_config(entry_of({"variant": variant, "backbone": backbone}))
    tagger = make_tagger(config).eval()
    for name, tensor in tagger.named_parameters():
        if name in ("label_embed", "weight", "bias", "reweight_scale"):
            torch.nn.init.normal_(tensor, std=0.04)
    pixels = torch.randint(0, 256, (1, 384, 384, 3), dtype=torch.uint8)
    scores, times = {}, []
    for precision in ("fp32", "bf16"):
        started = time.perf_counter()
        with Runtime.get("cpu", precision).forward():
            scores[precision] = tagger.score(tagger.encode(pixels))
        times.append(f"{precision} {time.perf_counter() - started:.1f} s")
    error = float((scores["fp32"] - scores["bf16"]).abs().max())
    report(capsys, f"{variant}: {', '.join(times)} for a photo; bf16 differs by {error:.1e}")
    assert scores["fp32"].shape == (1, config.classes)
    assert error < Tag.tolerance


@pytest.mark.slow
def test_the_caption_half_of_the_published_size_runs(
    all_threads: None, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = Writer(read_config(entry_of({"variant": "tag2text", "backbone": "swin_b"}))).eval()
    ids = torch.randint(1000, 30000, (1, 40))
    known, prompt = torch.ones_like(ids, dtype=torch.bool), torch.tensor([30522, 1037, 3861, 1997])
    search = {"num_beams": 3, "max_length": 50, "eos_token_id": 102, "pad_token_id": 0}
    started = time.perf_counter()
    with Runtime.get("cpu", "fp32").forward():
        written = writer(torch.randn(1, 145, 1024), ids, known, prompt, **search)
    report(capsys, f"caption: {time.perf_counter() - started:.1f} s for {written.shape[1]} tokens")
    assert written.shape == (1, 50)
