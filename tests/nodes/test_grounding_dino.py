"""Phrases are packed into prompts without loss, and every box gets its own phrase back."""

from __future__ import annotations

import hashlib
import io
import json
import re
import string
from collections.abc import Iterator
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import BertWordPieceTokenizer, Tokenizer

from visionweave import (
    Boxes,
    Image,
    NodeFailed,
    Observer,
    Pipeline,
    PipelineError,
    Runtime,
    Tags,
    Text,
    ValueTypeError,
    WeightsError,
    testing,
)
from visionweave.chain import Input
from visionweave.nodes.grounding_dino import Detect
from visionweave.nodes.grounding_dino.boxes import as_boxes, fitting, unrivalled
from visionweave.nodes.grounding_dino.net import normalised
from visionweave.nodes.grounding_dino.photos import Preparation, prepared, resized_hw
from visionweave.nodes.grounding_dino.prompts import Prompt, PromptWriter, Sentence
from visionweave.nodes.grounding_dino.weights import read_tokenizer

WORDS = ("red", "apple", "water", "melon", "watermelon", "dog", "cat", "on", "a", "the", "mat")
LETTERS = string.ascii_lowercase + string.digits
VOCABULARY = [
    *("[PAD]", "[UNK]", "[CLS]", "[MASK]", ".", "[SEP]", "?", ",", "-", "'", "!", "&"),
    *WORDS,
    *LETTERS,
    *(f"##{letter}" for letter in LETTERS),
    "##melon",
]
"""Not BERT's numbers: [CLS] is 2 here, not 101."""

TRICKY = (
    "watermelon",
    "melon",
    "water melon",
    "red apple",
    "red",
    "T-shirt",
    "dog's bed",
    "salt & pepper, ground",
    "4x4",
    "3.5 mm jack",
    "St. Bernard",
    "who?",
    "[SEP]",
    "café au lait",
    "Äpfel",
    "a 猫",
    "  padded  with   spaces ",
)


def a_tokenizer(tmp_path: Path) -> Tokenizer:
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join(VOCABULARY))
    return read_tokenizer({"vocab.txt": vocabulary})


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    return a_tokenizer(tmp_path)


@pytest.fixture
def writer(tokenizer: Tokenizer) -> PromptWriter:
    return PromptWriter(tokenizer, 64)


def tokens_of(tokenizer: Tokenizer, prompt: Prompt, owner: int) -> list[str]:
    """The tokens that belong to a phrase, in words."""
    pairs = zip(prompt.ids, prompt.owners, strict=True)
    return [tokenizer.id_to_token(token) for token, whose in pairs if whose == owner]


def test_a_prompt_is_what_the_tokenizer_makes_of_the_joined_phrases(
    tokenizer: Tokenizer, writer: PromptWriter
) -> None:
    (prompt,) = writer.phrases(["Red Apple", "watermelon", "t-shirt"]).prompts
    whole = tokenizer.encode("red apple . watermelon . t-shirt .").ids
    assert [tokenizer.id_to_token(token) for token in prompt.ids] == [
        *("[CLS]", "red", "apple", ".", "watermelon", ".", "t", "-", "s"),
        *("##h", "##i", "##r", "##t", ".", "[SEP]"),
    ]
    assert list(prompt.ids) == whole
    assert prompt.owners == (-1, 0, 0, -1, 1, -1, 2, 2, 2, 2, 2, 2, 2, -1, -1)
    assert prompt.places == (0, 0, 1, 2, 0, 1, 0, 1, 2, 3, 4, 5, 6, 7, 0)


def test_every_phrase_owns_all_its_tokens_and_no_others(
    tokenizer: Tokenizer, writer: PromptWriter
) -> None:
    asked = writer.phrases([phrase for phrase in TRICKY if phrase != "[SEP]"])
    for number, phrase in enumerate(asked.phrases):
        ids = tokenizer.encode(phrase.lower(), add_special_tokens=False).ids
        expected = [tokenizer.id_to_token(token) for token in ids]
        expected = [token for token in expected if token not in (".", "?", "[CLS]", "[SEP]")]
        owned = [tokens for p in asked.prompts if (tokens := tokens_of(tokenizer, p, number))]
        assert owned == [expected], phrase
        assert asked.label(number, {}) == phrase


@pytest.mark.parametrize(
    ("phrase", "tokens"),
    [
        pytest.param("3.5 mm", ["3", "5", "m", "##m"], id="a point inside a number"),
        pytest.param("St. Bernard", ["s", "##t", "b"], id="a point after a word"),
        pytest.param("cat?", ["cat"], id="a question mark"),
        pytest.param("cat [SEP] dog", ["cat", "dog"], id="the end of a prompt, as text"),
        pytest.param("Äpfel", ["a", "##p", "##f", "##e", "##l"], id="a capital with dots"),
        pytest.param("red 猫", ["red", "[UNK]"], id="a word the model does not know"),
    ],
)
def test_what_separates_phrases_cannot_stand_inside_one(
    tokenizer: Tokenizer, writer: PromptWriter, phrase: str, tokens: list[str]
) -> None:
    asked = writer.phrases(["mat", phrase, "melon"])
    (prompt,) = asked.prompts
    assert tokens_of(tokenizer, prompt, 1)[: len(tokens)] == tokens
    assert tokens_of(tokenizer, prompt, 2) == ["melon"]
    assert [t for t in prompt.ids if t in writer.separators][1:-1] == [writer.separators[2]] * 3
    assert asked.label(1, {}) == phrase


def test_three_hundred_phrases_take_as_few_prompts_as_hold_them(tokenizer: Tokenizer) -> None:
    writer = PromptWriter(tokenizer, 256)
    rng = np.random.default_rng(0)
    phrases = [" ".join(rng.choice(WORDS, 1 + n % 4)) + f" {n}" for n in range(300)]
    asked = writer.phrases(phrases)
    parts = [len(tokenizer.encode(p, add_special_tokens=False).ids) + 1 for p in phrases]
    assert len(asked.prompts) == -(-sum(parts) // 254) > 3
    assert max(len(prompt.ids) for prompt in asked.prompts) <= 256
    owners = [list(dict.fromkeys(o for o in p.owners if o >= 0)) for p in asked.prompts]
    assert sorted(owner for each in owners for owner in each) == list(range(300))
    assert all(each == sorted(each) for each in owners)


def test_a_phrase_that_occurs_twice_is_asked_once(writer: PromptWriter) -> None:
    asked = writer.phrases(["Apple", "cat", "apple", "  APPLE ", "cat"])
    (prompt,) = asked.prompts
    assert prompt.owners == (-1, 0, -1, 1, -1, -1)
    assert asked.label(0, {}) == "Apple"


def test_no_phrases_are_no_prompts(writer: PromptWriter) -> None:
    assert writer.phrases([]).prompts == ()
    assert writer.sentence(" … !", 0.25).prompts == ()


def test_a_phrase_as_long_as_a_prompt_is_asked_and_a_longer_one_is_named(
    writer: PromptWriter,
) -> None:
    (prompt,) = writer.phrases([" ".join(["cat"] * 61)]).prompts
    assert len(prompt.ids) == 64
    with pytest.raises(ValueTypeError, match=r"the phrase 'cat cat .*' has 62 tokens, .* reads 61"):
        writer.phrases(["dog", " ".join(["cat"] * 62)])
    with pytest.raises(ValueTypeError, match=r"the sentence 'dog dog .*' has 62 tokens"):
        writer.sentence("A cat. " + " ".join(["dog"] * 62) + ".", 0.25)


@pytest.mark.parametrize("phrase", ["...", "?", "[SEP]", "猫", "猫. 犬"])
def test_a_phrase_without_a_known_word_is_named(writer: PromptWriter, phrase: str) -> None:
    said = f"the phrase {phrase!r} has no word that this model knows"
    with pytest.raises(ValueTypeError, match=re.escape(said)):
        writer.phrases(["cat", phrase])


def words_of(sentence: Sentence) -> list[str]:
    return [sentence.text[start:end] for start, end in sentence.words]


def test_a_text_is_cut_between_its_sentences_only(
    tokenizer: Tokenizer, writer: PromptWriter
) -> None:
    text = "A red apple, a CAT on the mat! The dog's T-shirt? " + "A melon on a mat. " * 12
    sentence = writer.sentence(text, 0.25)
    assert words_of(sentence)[:9] == ["A", "red", "apple", "a", "CAT", "on", "the", "mat", "The"]
    assert words_of(sentence)[9:11] == ["dog's", "T-shirt"]
    assert len(sentence.prompts) == 2
    assert tokens_of(tokenizer, sentence.prompts[0], 2) == ["apple"]
    assert tokens_of(tokenizer, sentence.prompts[0], 9) == ["dog", "'", "s"]
    owners = [o for prompt in sentence.prompts for o in prompt.owners if o >= 0]
    assert sorted(set(owners)) == list(range(len(sentence.words)))


@pytest.mark.parametrize(
    ("text", "scores", "label"),
    [
        pytest.param("a red apple", {0: 0.1, 1: 0.6, 2: 0.7}, "red apple", id="two words"),
        pytest.param("a Red  Apple", {0: 0.1, 1: 0.6, 2: 0.7}, "Red  Apple", id="as it is written"),
        pytest.param("red apple, cat", {0: 0.6, 1: 0.7, 2: 0.5}, "red apple", id="a comma ends it"),
        pytest.param("a cat. A dog", {1: 0.8, 2: 0.3, 3: 0.9}, "A dog", id="a point ends it"),
        pytest.param("cat on mat", {0: 0.8, 1: 0.1, 2: 0.7}, "cat", id="the best word's part only"),
        pytest.param("cat on mat", {0: 0.2, 1: 0.1, 2: 0.1}, "cat", id="no word passes"),
        pytest.param("the dog's T-shirt", {1: 0.5, 2: 0.4}, "dog's T-shirt", id="hyphens"),
        pytest.param("(cat) dog", {0: 0.9, 1: 0.9}, "cat", id="brackets"),
        pytest.param("cat/dog", {0: 0.8, 1: 0.9}, "dog", id="a stroke between two"),
        pytest.param("\u201ccat\u201d\u2014dog", {0: 0.9, 1: 0.8}, "cat", id="quotes and a dash"),
    ],
)
def test_a_text_labels_a_box_with_words_as_they_stand_in_it(
    writer: PromptWriter, text: str, scores: dict[int, float], label: str
) -> None:
    best = max(scores, key=scores.__getitem__)
    assert writer.sentence(text, 0.25).label(best, scores) == label


def test_scores_for_tokens_become_boxes_with_phrases(writer: PromptWriter) -> None:
    asked = writer.phrases(["Melon", "red apple"])
    (prompt,) = asked.prompts  # [CLS] melon . red apple . [SEP]
    scores = np.full((4, 7), 0.05, np.float32)
    scores[0, [1, 3]] = 0.6, 0.5  # a melon
    scores[1, [3, 4]] = 0.1, 0.9  # an apple, by its second token
    scores[2, [0, 2, 5, 6]] = 0.99  # only separators: nothing
    scores[3, 1] = 0.35  # not above the threshold
    places = np.array([[0.5, 0.5, 0.2, 0.4], [0.1, 0.5, 0.4, 0.2]] * 2, np.float32)
    image = testing.make_image((200, 100), "street/004.jpg")
    boxes = as_boxes(list(fitting(asked, prompt, scores, places, 0.35)), image)
    assert boxes.labels == ("red apple", "Melon")
    assert boxes.photo == "street/004.jpg"
    np.testing.assert_allclose(boxes.scores, [0.9, 0.6])
    np.testing.assert_allclose(boxes.xyxy, [[0, 40, 60, 60], [80, 30, 120, 70]], atol=1e-4)


def test_worse_boxes_of_one_label_go_where_they_overlap() -> None:
    xyxy = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [0, 1, 10, 10], [50, 0, 60, 10]], np.float32)
    boxes = Boxes(xyxy, (20, 80), ("cat", "cat", "dog", "cat"), np.float32([0.9, 0.8, 0.7, 0.6]))
    assert unrivalled(boxes, 0.5) == [0, 2, 3]
    assert unrivalled(boxes, 0.95) == [0, 1, 2, 3]
    assert unrivalled(boxes[:0], 0.5) == []


@pytest.mark.parametrize("image_hw", [(480, 640), (1000, 2000), (2000, 1000), (37, 411), (800, 99)])
def test_photos_are_resized_as_transformers_does(image_hw: tuple[int, int]) -> None:
    from transformers.image_transforms import get_size_with_aspect_ratio

    assert resized_hw(image_hw, 800, 1333) == get_size_with_aspect_ratio(image_hw, 800, 1333)


def test_a_photo_of_one_line_keeps_a_line() -> None:
    assert resized_hw((1, 9000), 800, 1333) == (1, 1333)


def test_pixels_are_those_of_the_librarys_processor() -> None:
    from transformers import GroundingDinoImageProcessorPil

    image, preparation = testing.make_image((130, 97)), Preparation(64, 107)
    size = {"shortest_edge": 64, "longest_edge": 107}
    theirs = GroundingDinoImageProcessorPil(size=size)(image.to_pil(), return_tensors="pt")
    ours = torch.from_numpy(prepared(image, preparation).copy())[None]
    ours = normalised(ours, preparation.mean, preparation.std)
    torch.testing.assert_close(ours, theirs["pixel_values"], atol=1e-5, rtol=0)


# A tiny network of random weights


def a_network(*, mm: bool = False, alike: bool = False, **fields: Any) -> Any:
    """A Grounding DINO with random weights, whose scores are neither all 0 nor all 1."""
    import transformers

    torch.manual_seed(0)
    swin = {"embed_dim": 8, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 2, 4], "window_size": 4}
    bert = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    kind = "MMGroundingDino" if mm else "GroundingDino"
    config = getattr(transformers, f"{kind}Config")(
        **{
            "backbone_config": {"model_type": "swin", "out_indices": [2, 3, 4], **swin},
            "text_config": {"intermediate_size": 32, "vocab_size": len(VOCABULARY), **bert},
            **dict.fromkeys(("encoder_layers", "decoder_layers"), 2),
            **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
            **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 64),
            "d_model": 64,
            "num_queries": 20,
            "max_text_len": 40,
            **fields,
        }
    )
    network = getattr(transformers, f"{kind}ForObjectDetection")(config).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.1 * torch.randn_like(weight)
        network.model.decoder.layer_norm.weight *= 0.25
        queries = network.model.query_position_embeddings.weight
        queries[:] = 0.5 if alike else 30 * torch.randn_like(queries)
        prompt = torch.arange(12, 24)[None]
        common = network(torch.randn(1, 3, 64, 86), prompt).last_hidden_state.mean((0, 1))
        network.model.decoder.layer_norm.bias -= common  # so that queries differ in what they fit
    return network


def write_checkpoint(store: Path, network: Any, name: str = "tiny", short: int = 64) -> Path:
    """Put a network into the store, and list it."""
    folder = store / name
    with redirect_stderr(io.StringIO()):  # a progress bar
        network.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY))
    size = {"shortest_edge": short, "longest_edge": short * 5 // 3}
    colours = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": size, **colours}))
    list_checkpoint(folder)
    return folder


def list_checkpoint(folder: Path, config: str = "{}") -> None:
    """List all files of a folder in the store's weights.lock, beside what it lists already."""
    files = ", ".join(
        f'{{ name = "{path.name}", sha256 = "{hashlib.sha256(path.read_bytes()).hexdigest()}" }}'
        for path in sorted(folder.iterdir())
        if not path.name.startswith(".")
    )
    entry = f'[checkpoint."{folder.name}"]\nfamily = "grounding_dino"\nfiles = [{files}]\n'
    entry += f'license = "MIT"\ncommercial = "yes"\nconfig = {config}\n'
    with (folder.parent / "weights.lock").open("a") as lock:
        lock.write(entry)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks as small as these are slowed down by more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store with the network "tiny", which stays loaded, with our functions and without."""
    store = tmp_path_factory.mktemp("weights")
    write_checkpoint(store, a_network())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISIONWEAVE_WEIGHTS", str(store))
        nodes = [Detect("tiny"), Detect("tiny", fast=False)]
        for node in nodes:
            node.ensure_loaded(Runtime.get("cpu", "fp32"))
    yield store
    for node in nodes:
        node.unload()


@pytest.fixture
def store(loaded: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VISIONWEAVE_WEIGHTS", str(loaded))
    return loaded


@pytest.fixture
def empty_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VISIONWEAVE_WEIGHTS", str(tmp_path / "weights"))
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


class Passes(Observer):
    """Notes the forward passes."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []

    def batch_finished(self, step: Any, method: str, size: int, failed: bool) -> None:
        self.seen.append((method, size))


def detect_all(
    items: list[tuple[Image, Tags | Text]],
    *,
    batch: int | None = None,
    precision: str = "fp32",
    observer: Observer | None = None,
    **settings: Any,
) -> list[Boxes]:
    """Run the node on several photos, through the engine."""
    settings = {"model": "tiny", "box_threshold": 0.2} | settings
    photo, phrases = Input("photo", Image), Input("phrases", Tags | Text)
    results = Pipeline(boxes=Detect(**settings)(photo, phrases)).map(
        [{"photo": image, "phrases": asked} for image, asked in items],
        batch=batch,
        device="cpu",
        precision=precision,
        observers=[] if observer is None else [observer],
    )
    found = []
    for result in results:
        for failure in result.missing.values():
            raise failure
        found.append(result["boxes"])
    return found


def detect(image: Image, phrases: Tags | Text, **settings: Any) -> Boxes:
    (boxes,) = detect_all([(image, phrases)], **settings)
    return boxes


PHOTO = testing.make_image((130, 97), "street/004.jpg")
SOME = Tags(("Red Apple", "cat", "watermelon"))


def assert_near(one: Boxes, other: Boxes, pixels: float, score: float) -> None:
    """The same boxes in the same order, up to small differences in numbers."""
    assert (one.labels, one.ids.tolist()) == (other.labels, other.ids.tolist())
    np.testing.assert_allclose(one.xyxy, other.xyxy, atol=pixels, rtol=0)
    np.testing.assert_allclose(one.scores, other.scores, atol=score, rtol=0)


@pytest.mark.usefixtures("store")
def test_boxes_carry_phrases_as_given_and_the_best_comes_first() -> None:
    phrases = ("Red Apple", "CAT", "watermelon", "Dog", "mat", "on a mat", "Water-melon")
    boxes = detect(PHOTO, Tags(phrases))
    assert set(boxes.labels) <= set(phrases)
    assert len(set(boxes.labels)) > 2
    assert boxes.image_hw == (97, 130)
    assert boxes.photo == "street/004.jpg"
    assert boxes.ids.tolist() == list(range(len(boxes)))
    assert (np.diff(boxes.scores) <= 0).all()
    assert boxes == boxes.clip()


@pytest.mark.usefixtures("store")
def test_a_text_gives_labels_that_stand_in_it() -> None:
    text = "A Red Apple, the dog\u2019s mat and a water-melon. " * 3
    boxes = detect(PHOTO, Text(text))
    assert len(boxes) > 5
    assert all(label in text and label.strip(" .,") == label for label in boxes.labels)


@pytest.mark.usefixtures("store")
def test_thresholds_and_limits_keep_the_best() -> None:
    boxes = detect(PHOTO, SOME)
    middle = float(np.sort(boxes.scores)[len(boxes) // 2])
    assert detect(PHOTO, SOME, box_threshold=middle) == boxes[boxes.scores > middle]
    assert detect(PHOTO, SOME, most=3) == boxes[:3]
    assert len(detect(PHOTO, SOME, box_threshold=1.0)) == 0
    fewer = detect(PHOTO, SOME, nms=0.0)
    assert 0 < len(fewer) < len(boxes)
    assert fewer == boxes[unrivalled(boxes, 0.0)].replace(ids=None)


@pytest.mark.parametrize("nothing", [Tags(()), Text(""), Text(" ... ")], ids=repr)
@pytest.mark.usefixtures("store")
def test_nothing_to_look_for_is_no_boxes_without_a_pass(nothing: Tags | Text) -> None:
    passes = Passes()
    assert detect(PHOTO, nothing, observer=passes) == Boxes.empty((97, 130), "street/004.jpg")
    assert passes.seen == []


@pytest.mark.usefixtures("store")
def test_the_backbone_runs_once_per_photo_and_the_rest_once_per_prompt(
    tokenizer: Tokenizer,
) -> None:
    many = Tags(tuple(f"{word} {n}" for n in range(4) for word in WORDS))
    passes = Passes()
    photos = [testing.make_image((130, 97), f"{n}.jpg", n) for n in range(3)]
    found = detect_all([(photo, many) for photo in photos], observer=passes, box_threshold=0.05)
    prompts = PromptWriter(tokenizer, 40).phrases(many.phrases).prompts
    assert len(prompts) > 2
    assert sum(size for method, size in passes.seen if method == "detect") == 3 * len(prompts)
    assert [size for method, size in passes.seen if method == "look"] == [3]
    assert all(set(boxes.labels) <= set(many.phrases) for boxes in found)
    assert len({label for boxes in found for label in boxes.labels}) > 8


@pytest.mark.usefixtures("store")
def test_a_prompt_is_read_once_for_all_photos() -> None:
    node = Detect(model="tiny")
    node.ensure_loaded(Runtime.get("cpu", "fp32"))
    reads: list[Any] = []
    encoder = node._loaded.detector.network.model.text_backbone
    hook = encoder.register_forward_hook(lambda *call: reads.append(call))
    photos = [testing.make_image((130, 97), f"{n}.jpg", n) for n in range(6)]
    detect_all([(photo, Tags(("melon", "mat"))) for photo in photos])
    hook.remove()
    assert len(reads) == 1


@pytest.mark.parametrize("fast", [True, False], ids=["our functions", "the library's functions"])
@pytest.mark.usefixtures("store")
def test_neighbours_in_a_batch_change_nothing(fast: bool) -> None:
    sizes = [(130, 97), (97, 130), (130, 97), (64, 64), (300, 60), (130, 97), (60, 300)]
    asked = [SOME, Tags(("dog",)), Text("a cat on a mat. A dog."), SOME, Tags(WORDS), SOME, SOME]
    items = [
        (testing.make_image(size, f"{n}.jpg", n), what)
        for n, (size, what) in enumerate(zip(sizes, asked, strict=True))
    ]
    together = detect_all(items, fast=fast)
    alone = detect_all(items, batch=1, fast=fast)
    for (image, _), one, other in zip(items, together, alone, strict=True):
        assert len(one) > 0
        assert_near(one, other, pixels=1e-4 * max(image.size_wh), score=1e-4)


@pytest.mark.usefixtures("store")
def test_our_functions_give_the_librarys_boxes() -> None:
    for size in ((130, 97), (40, 400)):
        photo = testing.make_image(size)
        assert_near(detect(photo, SOME), detect(photo, SOME, fast=False), pixels=0.01, score=1e-4)


@pytest.mark.parametrize("size_wh", [(1280, 640), (500, 1500)], ids=["wide", "tall"])
@pytest.mark.usefixtures("store")
def test_a_photo_decoded_at_a_reduced_scale_gives_boxes_in_full_pixels(
    size_wh: tuple[int, int], tmp_path: Path
) -> None:
    path = tmp_path / "photo.jpg"
    testing.make_image(size_wh).to_pil().save(path, quality=95)
    reduced = Image.open(path, fits=[Preparation(64, 107).fit])
    small, full = detect(reduced, SOME), detect(Image.open(path), SOME)
    assert reduced.shrunk(Preparation(64, 107).fit).shape[1] < size_wh[0]
    assert small.image_hw == full.image_hw == size_wh[::-1]
    assert full.xyxy[:, 2].max() > size_wh[0] / 2
    assert full.xyxy[:, 3].max() > size_wh[1] / 2
    best = full.iou(small).max(axis=1)
    assert best[:5].min() > 0.9


@pytest.mark.usefixtures("store")
def test_a_photo_smaller_than_the_number_of_queries_is_searched() -> None:
    assert detect(testing.make_image((900, 2)), SOME).image_hw == (2, 900)


@pytest.mark.usefixtures("store")
def test_a_phrase_too_long_for_the_model_fails_its_photo_and_is_named() -> None:
    with pytest.raises(
        NodeFailed, match=r"street/004.jpg: .*the phrase 'cat cat .*' has 38 tokens"
    ):
        detect(PHOTO, Tags(("dog", " ".join(["cat"] * 38))))


def test_settings_are_checked() -> None:
    with pytest.raises(PipelineError, match=r"setting 'box_threshold' is out of range"):
        Detect(box_threshold=1.5)
    with pytest.raises(PipelineError, match=r"setting 'backend' does not fit"):
        Detect(backend="onnx")


def test_bf16_keeps_scores_within_the_tolerance(empty_store: Path) -> None:
    # All queries alike, and as many as cells: which of nearly equal ones comes first is a toss-up.
    write_checkpoint(empty_store, a_network(alike=True, num_queries=120))
    apple = Tags(("red apple",))
    items = [(testing.make_image((130, 97), f"{n}.jpg", n), apple) for n in range(4)]
    assert Detect.tolerance is not None
    differences = []
    for exact, low in zip(
        detect_all(items), detect_all(items, precision="bf16", box_threshold=0.0), strict=True
    ):
        overlap = exact[:20].iou(low)
        assert overlap.max(axis=1).min() > 0.8
        differences.append(np.abs(exact.scores[:20] - low.scores[overlap.argmax(axis=1)]))
    assert 0 < np.max(differences) < Detect.tolerance


# Checkpoints


def test_a_tokenizer_file_is_read_like_its_vocabulary(tmp_path: Path) -> None:
    plain = a_tokenizer(tmp_path)
    whole = BertWordPieceTokenizer(str(tmp_path / "vocab.txt"), lowercase=True)
    whole.enable_truncation(4)
    whole.enable_padding(length=9)
    whole.save(str(tmp_path / "tokenizer.json"))
    read = read_tokenizer({"tokenizer.json": tmp_path / "tokenizer.json"})
    for phrase in TRICKY:
        assert read.encode(phrase).ids == plain.encode(phrase).ids


def test_a_cased_tokenizer_is_given_lower_case(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY))
    cased = BertWordPieceTokenizer(str(tmp_path / "vocab.txt"), lowercase=False)
    cased.save(str(tmp_path / "tokenizer.json"))
    read = read_tokenizer({"tokenizer.json": tmp_path / "tokenizer.json"})
    found = read.encode("A RED Apple", add_special_tokens=False)
    assert found.tokens == ["a", "red", "apple"]
    assert found.offsets == [(0, 1), (2, 5), (6, 11)]


def test_the_forward_pass_is_the_librarys(store: Path) -> None:
    """Also with separators of other numbers than BERT's, which the library has fixed."""
    node = Detect(model="tiny", fast=False)
    node.ensure_loaded(Runtime.get("cpu", "fp32"))
    model = node._loaded
    (prompt,) = model.phrases(SOME.phrases).prompts
    pixels = prepared(PHOTO, model.preparation)
    with node.forward_context():
        (scene,) = node.look.forward([pixels])
        logits, boxes = model.detector.detect([scene], [model.read(prompt)])
        network = model.detector.network
        network.model.special_tokens = torch.tensor(model.writer.separators)
        photo = torch.from_numpy(pixels.copy())[None]
        theirs = network(
            pixel_values=normalised(photo, model.preparation.mean, model.preparation.std),
            input_ids=torch.tensor([prompt.ids]),
        )
    torch.testing.assert_close(logits, theirs.logits[:, :, : len(prompt.ids)])
    torch.testing.assert_close(boxes, theirs.pred_boxes)


def test_our_sampling_is_the_librarys() -> None:
    from transformers.models.grounding_dino import modeling_grounding_dino as library

    from visionweave.nodes.grounding_dino.fast_net import Sampling

    torch.manual_seed(0)
    shapes = [(7, 5), (4, 3), (1, 2)]
    sizes = torch.tensor(shapes)
    starts = sizes.prod(1).cumsum(0) - sizes.prod(1)
    value = torch.randn(2, 49, 4, 8)
    points = torch.rand(2, 3000, 4, 3, 2, 2) * 1.6 - 0.3  # also beside the maps
    points[0, :3] = torch.tensor([[0.0, 1.0], [1.0, 0.0], [-5.0, 9.0]])[:, None, None, None]
    weights = torch.rand(2, 3000, 4, 3, 2)
    arguments = (value, sizes, shapes, starts, points, weights, 64)
    expected = library.MultiScaleDeformableAttention()(*arguments)
    torch.testing.assert_close(Sampling()(*arguments), expected, atol=1e-5, rtol=0)


def test_our_fusion_is_the_librarys() -> None:
    from visionweave.nodes.grounding_dino.fast_net import Fusion

    network = a_network()
    library = network.model.encoder.layers[0].fusion_layer.attn
    vision, text = torch.randn(2, 50, 64), torch.randn(2, 9, 64)
    masks = (
        torch.arange(50) >= torch.tensor([[50], [31]]),
        torch.arange(9) >= torch.tensor([[9], [4]]),
    )
    with torch.inference_mode():
        for given in ((None, None), masks):
            (to_vision, _), (to_text, _) = library(vision, text, *given)
            (ours_vision, _), (ours_text, _) = Fusion(library)(vision, text, *given)
            torch.testing.assert_close(ours_vision, to_vision, atol=1e-5, rtol=0)
            torch.testing.assert_close(ours_text, to_text, atol=1e-5, rtol=0)


def test_mm_grounding_dino_is_read_and_runs(empty_store: Path) -> None:
    write_checkpoint(empty_store, a_network(mm=True))
    boxes = detect(PHOTO, SOME, box_threshold=0.0)
    assert len(boxes) == 20
    assert set(boxes.labels) <= set(SOME.phrases)


def test_two_nodes_share_one_network(store: Path) -> None:
    runtime = Runtime.get("cpu", "fp32")
    one, other, slow = Detect("tiny"), Detect("tiny", box_threshold=0.5), Detect("tiny", fast=False)
    for node in (one, other, slow):
        node.ensure_loaded(runtime)
    assert one._loaded is other._loaded
    assert one._loaded is not slow._loaded
    one.unload()
    with pytest.raises(AssertionError, match="loads a node before it runs it"):
        one.fit(), one._loaded


def test_weights_of_another_shape_are_refused(empty_store: Path) -> None:
    folder = write_checkpoint(empty_store, a_network(), "other")
    config = json.loads((folder / "config.json").read_text())
    config["num_queries"] = 21
    config["decoder_layers"] = 3
    (folder / "config.json").write_text(json.dumps(config))
    (empty_store / "weights.lock").unlink()
    list_checkpoint(folder)
    with pytest.raises(
        WeightsError,
        match=r"not the weights of the Grounding DINO .* missing keys: .* and \d+ more",
    ):
        detect(PHOTO, SOME, model="other")


def test_a_folder_without_tokenizer_or_with_two_files_of_weights_is_refused(
    empty_store: Path,
) -> None:
    folder = write_checkpoint(empty_store, a_network(), "odd")
    (folder / "more.pth").write_bytes(b"")
    (empty_store / "weights.lock").unlink()
    list_checkpoint(folder)
    with pytest.raises(WeightsError, match=r"expected one file of weights; got .*more.pth"):
        detect(PHOTO, SOME, model="odd")
    (folder / "vocab.txt").unlink()
    (empty_store / "weights.lock").unlink()
    list_checkpoint(folder)
    with pytest.raises(WeightsError, match=r"needs tokenizer.json or vocab.txt; got config.json"):
        detect(PHOTO, SOME, model="odd")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        pytest.param(
            '{ variant = "swin_l" }', "a variant of swin_t, swin_b; got 'swin_l'", id="backbone"
        ),
        pytest.param(
            '{ model_type = "detr" }',
            "a model_type of grounding-dino, mm-grounding-dino; got 'detr'",
            id="network",
        ),
    ],
)
def test_a_network_of_another_kind_is_refused(empty_store: Path, config: str, message: str) -> None:
    folder = empty_store / "odd"
    folder.mkdir()
    (folder / "vocab.txt").write_text("cat")
    list_checkpoint(folder, config)
    with pytest.raises(WeightsError, match=re.escape(message)):
        detect(PHOTO, SOME, model="odd")


def test_a_tokenizer_that_cannot_separate_phrases_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(w for w in VOCABULARY if w != "."))
    with pytest.raises(
        WeightsError, match=r"must know \[CLS\], \[SEP\] and '.'; it lacks \['\.'\]"
    ):
        read_tokenizer({"vocab.txt": tmp_path / "vocab.txt"})
