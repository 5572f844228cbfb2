"""Phrases are packed into prompts without loss, and every box gets its own phrase back."""

from __future__ import annotations

import hashlib
import io
import json
import string
from collections.abc import Iterator
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow
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
from visionweave.nodes._grounding_dino_boxes import as_boxes, fitting, unrivalled
from visionweave.nodes._grounding_dino_photos import Preparation, prepared, resized_hw
from visionweave.nodes._grounding_dino_prompts import Prompt, PromptWriter, Sentence
from visionweave.nodes._grounding_dino_weights import read_tokenizer
from visionweave.nodes.grounding_dino import Detect

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
    "猫",
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
    whole = tokenizer.encode("[CLS] red apple . watermelon . t-shirt . [SEP]").ids
    assert [tokenizer.id_to_token(token) for token in prompt.ids] == [
        *("[CLS]", "red", "apple", ".", "watermelon", ".", "t", "-", "s"),
        *("##h", "##i", "##r", "##t", ".", "[SEP]"),
    ]
    assert [token for token in whole if token != tokenizer.token_to_id("[UNK]")] == [
        token for token in whole
    ]
    assert prompt.owners == (-1, 0, 0, -1, 1, -1, 2, 2, 2, 2, 2, 2, 2, -1, -1)
    assert prompt.places == (0, 0, 1, 2, 0, 1, 0, 1, 2, 3, 4, 5, 6, 7, 0)


def test_every_phrase_owns_all_its_tokens_and_no_others(
    tokenizer: Tokenizer, writer: PromptWriter
) -> None:
    asked = writer.phrases(TRICKY[:-6] + TRICKY[-4:])
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
        pytest.param("猫", ["[UNK]"], id="a word the model does not know"),
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
    assert sorted(sum(owners, [])) == list(range(300))
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


def test_a_phrase_without_words_is_named(writer: PromptWriter) -> None:
    with pytest.raises(ValueTypeError, match=r"the phrase '\.\.\.' has no words to look for"):
        writer.phrases(["cat", "..."])


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
    import torch
    from transformers import GroundingDinoImageProcessorPil

    from visionweave.nodes._grounding_dino_net import normalised

    image, preparation = testing.make_image((130, 97)), Preparation(64, 107)
    size = {"shortest_edge": 64, "longest_edge": 107}
    theirs = GroundingDinoImageProcessorPil(size=size)(image.to_pil(), return_tensors="pt")
    ours = torch.from_numpy(prepared(image, preparation).copy())[None]
    ours = normalised(ours, preparation.mean, preparation.std)
    torch.testing.assert_close(ours, theirs["pixel_values"], atol=1e-5, rtol=0)


# A tiny network of random weights


def a_network(*, mm: bool = False, alike: bool = False, **fields: Any) -> Any:
    """A Grounding DINO with random weights, whose scores are neither all 0 nor all 1."""
    import torch
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
            **{"d_model": 32, "num_queries": 20, "max_text_len": 40},
            **fields,
        }
    )
    network = getattr(transformers, f"{kind}ForObjectDetection")(config).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.1 * torch.randn_like(weight)
        network.model.decoder.layer_norm.weight *= 0.25
        if alike:
            network.model.query_position_embeddings.weight[:] = 0.5
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


@pytest.fixture(scope="module")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("weights")
    write_checkpoint(store, a_network())
    return store


@pytest.fixture
def store(tiny_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VISIONWEAVE_WEIGHTS", str(tiny_store))
    return tiny_store


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


def a_pipeline(**settings: Any) -> Pipeline:
    photo, phrases = Input("photo", Image), Input("phrases", Tags | Text)
    return Pipeline(boxes=Detect(model="tiny", **settings)(photo, phrases))


def detect(image: Image, phrases: Any, observer: Observer | None = None, **settings: Any) -> Boxes:
    settings = {"box_threshold": 0.2} | settings
    result = a_pipeline(**settings).run(
        photo=image,
        phrases=phrases,
        device="cpu",
        precision="fp32",
        observers=[] if observer is None else [observer],
    )
    boxes: Boxes = result["boxes"]
    return boxes
