"""BLIP's nodes on tiny random networks: what they give and refuse, what they do only once."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors.torch import save_file
from transformers import (
    BlipConfig,
    BlipForConditionalGeneration,
    BlipForImageTextRetrieval,
    BlipForQuestionAnswering,
)

from visionweave import Cutout, Fit, Image, Input, Origin, Pipeline, Runtime, Tags, Text
from visionweave.errors import NodeFailed, PipelineError, WeightsError
from visionweave.nodes.blip import Answer, BlipNode, Caption, Match
from visionweave.nodes.blip.files import read_config
from visionweave.nodes.blip.net import Recent, by_length
from visionweave.registry import replaced
from visionweave.weights import checkpoint
from visionweave.weights.adding import add_files

VOCABULARY = """
    [PAD] [UNK] [CLS] [SEP] [DEC] [ENC] a the picture of photo red green dog cat apple mug t shirt -
    ##s on in what is this how many two ? , .
"""
WORDS = VOCABULARY.split()
CONFIG = BlipConfig(
    text_config={
        "vocab_size": len(WORDS),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 40,
        "bos_token_id": WORDS.index("[DEC]"),
        "sep_token_id": WORDS.index("[SEP]"),
        "pad_token_id": 0,
    },
    vision_config={
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 48,
        "patch_size": 16,
    },
    image_text_hidden_size=16,
)
NETWORKS: dict[str, Any] = {
    "caption": BlipForConditionalGeneration,
    "vqa": BlipForQuestionAnswering,
    "itm": BlipForImageTextRetrieval,
}
PHRASES = ("a dog", "two red cats", "apple", "mug")
APPLE = Origin("a.jpg", 2, "apple", 0.5, (3, 4, 9, 9))


def write_files(folder: Path, kind: str) -> list[Path]:
    """Write a checkpoint of a random network that says something else of each picture."""
    network = NETWORKS[kind](CONFIG)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if "norm" not in name.lower():
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.3)
    folder.mkdir()
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    table = CONFIG.to_dict() | {"architectures": [type(network).__name__]}
    (folder / "config.json").write_text(json.dumps(table))
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return [folder / name for name in ("model.safetensors", "config.json", "vocab.txt")]


def add(name: str, files: Sequence[Path], **config: Any) -> None:
    facts = {"family": "blip", "license": "MIT", "commercial": "yes", "config": config}
    add_files(name, files, facts)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """The files of a checkpoint of each kind."""
    folder = tmp_path_factory.mktemp("made")
    return {kind: write_files(folder / kind, kind) for kind in NETWORKS}


@pytest.fixture(scope="module", autouse=True)
def kept(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, list[Path]]
) -> Iterator[dict[str, Any]]:
    """A store with checkpoints "caption", "vqa" and "itm", and a loaded node for each."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # networks as small as these lose time when several share them
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISIONWEAVE_WEIGHTS", str(tmp_path_factory.mktemp("store")))
        for kind, each in files.items():
            add(kind, each, image_size=48)
        nodes = {"caption": Caption("caption"), "vqa": Answer("vqa"), "itm": Match("itm")}
        for node in nodes.values():
            load(node)
        yield nodes
    torch.set_num_threads(threads)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store."""
    monkeypatch.setenv("VISIONWEAVE_WEIGHTS", str(tmp_path))
    return tmp_path


def load(node: Any) -> Any:
    node.ensure_loaded(Runtime.get("cpu", "fp32"))
    return node


def pixels(seed: int, height: int = 60, width: int = 80) -> np.ndarray:
    """A smooth colour picture, as photos are, and no noise."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return np.asarray(PIL.Image.fromarray(coarse).resize((width, height)))


def photo(seed: int) -> Image:
    return Image.from_array(pixels(seed), f"{seed}.png")


def cutout(seed: int, height: int = 60, width: int = 30) -> Cutout:
    """An object with a transparent top."""
    rgba = np.dstack([pixels(seed, height, width), np.full((height, width), 255, np.uint8)])
    rgba[:20] = 0
    return Cutout(rgba, (0, 0, width, height), APPLE)


def run(node: BlipNode, image: Any, *others: Any) -> Any:
    """What a node makes of a picture, through the engine, in fp32."""
    pipeline = Pipeline(out=node(Input("image", type(image)), *others))
    return pipeline.run(image=image, device="cpu", precision="fp32")["out"]


def run_all(node: BlipNode, items: Sequence[Any], batch: int | None = None) -> list[Any]:
    """What a node makes of many inputs, a dict each."""
    inputs = {name: Input(name, type(value)) for name, value in items[0].items()}
    pipeline = Pipeline(out=node(**inputs))
    found = pipeline.map(items, batch=batch, device="cpu", precision="fp32")
    return [result["out"] for result in found]


@pytest.fixture
def seen(kept: dict[str, Any]) -> Iterator[dict[str, int]]:
    """How many pictures went through each network's picture tower."""
    counts = dict.fromkeys(kept, 0)

    def counter(kind: str) -> Any:
        def count(module: Any, given: Any, out: torch.Tensor) -> None:
            counts[kind] += len(out)

        return count

    hooks = []
    for kind, node in kept.items():
        node._seer._pictures._kept = {}
        embeddings = node._seer.network.vision_model.embeddings
        hooks.append(embeddings.register_forward_hook(counter(kind)))
    yield counts
    for hook in hooks:
        hook.remove()


# Captions ---------------------------------------------------------------------------------------


def test_a_caption_knows_its_photo() -> None:
    found = run(Caption("caption"), photo(0))
    assert found.origin == Origin("0.png")
    assert found.text != run(Caption("caption"), photo(2)).text


def test_a_caption_of_a_cutout_knows_its_object() -> None:
    assert run(Caption("caption"), cutout(0)).origin == APPLE


def test_the_prompt_is_taken_off_unless_it_is_to_be_kept() -> None:
    kept = run(Caption("caption", keep_prompt=True), photo(0), "A Picture of")
    bare = run(Caption("caption"), photo(0), "A Picture of")
    assert kept.text == f"a picture of {bare.text}"


def test_a_blank_prompt_is_none() -> None:
    assert run(Caption("caption"), photo(2), "  ") == run(Caption("caption"), photo(2))


@pytest.mark.parametrize(("least", "most"), [(1, 1), (3, 3), (9, 9)])
def test_a_caption_is_as_long_as_it_is_told_whatever_its_prompt(least: int, most: int) -> None:
    node = load(Caption("caption", min_tokens=least, max_tokens=most))
    for prompt in ("", "a picture of"):
        tokens = node.see.forward([pixels(0, 48, 48)])
        (ids,) = node.write.forward([(tokens[0], node._seer.start(prompt, node._search))])
        assert len(ids) == most


def test_words_with_a_hyphen_are_written_in_one() -> None:
    words = load(Caption("caption"))._seer.words
    assert words.text([WORDS.index(word) for word in ("a", "t", "-", "shirt")]) == "a t-shirt"
    assert words.text([WORDS.index(word) for word in ("dog", "##s", ",", "-")]) == "dogs, -"


@pytest.mark.parametrize(
    ("settings", "colour"),
    [pytest.param({}, (255, 255, 255), id="white"), ({"background": "red"}, (255, 0, 0))],
)
def test_a_cutout_is_shown_in_the_middle_of_a_square_of_the_background(
    settings: dict[str, Any], colour: tuple[int, int, int]
) -> None:
    object = cutout(0, 60, 30)
    square = np.full((60, 60, 3), colour, np.uint8)
    square[20:, 15:45] = object.rgba[20:, :, :3]
    expected = run(Caption("caption"), Image.from_array(square))
    assert run(Caption("caption", **settings), object) == Text(expected.text, APPLE)


def test_every_cutout_of_a_photo_gets_a_caption_of_its_own() -> None:
    text = """
visionweave: 1
inputs: {cutouts: "list[Cutout]"}
steps:
  captions: {node: blip.caption, image: $cutouts, prompt: a picture of, model: caption}
outputs: [captions]
"""
    with replaced({"blip.caption": Caption}):
        pipeline = Pipeline.from_yaml(text)
        objects = [cutout(seed) for seed in range(3)]
        found = pipeline.run(cutouts=objects, device="cpu", precision="fp32")["captions"]
        assert found == [run(Caption("caption"), each, "a picture of") for each in objects]
        assert pipeline.run(cutouts=[])["captions"] == []


@pytest.mark.parametrize("batch", [1, 3, None])
def test_the_batch_changes_no_caption(batch: int | None) -> None:
    prompts = ["", "a picture of", "red"]
    items = [{"image": photo(s), "prompt": Text(prompts[s % 3])} for s in range(5)]
    alone = [run(Caption("caption"), each["image"], each["prompt"]) for each in items]
    assert run_all(Caption("caption"), items, batch) == alone


# Answers ----------------------------------------------------------------------------------------


def test_an_answer_knows_its_photo_and_hears_the_question() -> None:
    asked = ("what is this?", "how many dogs?")
    found = [run(Answer("vqa", beams=1), photo(1), question) for question in asked]
    assert [each.origin for each in found] == [Origin("1.png")] * 2
    assert found[0].text != found[1].text


@pytest.mark.parametrize("batch", [1, 2, None])
def test_the_batch_changes_no_answer(batch: int | None) -> None:
    asked = ("what is this?", "how many dogs?", "is this a red mug on a green t-shirt?")
    items = [{"image": photo(s), "question": Text(asked[s % 3])} for s in range(5)]
    alone = [run(Answer("vqa"), each["image"], each["question"]) for each in items]
    assert run_all(Answer("vqa"), items, batch) == alone


# Matching ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", ["itm", "itc"])
def test_phrases_come_best_first_and_with_the_photo(head: Any) -> None:
    found = run(Match("itm", head=head), photo(0), Tags(PHRASES))
    assert sorted(found.phrases) == sorted(PHRASES)
    assert (np.diff(found.scores) <= 0).all()
    assert len(set(found.scores.tolist())) == 4
    assert found.origin == Origin("0.png")


@pytest.mark.parametrize("head", ["itm", "itc"])
def test_a_score_does_not_depend_on_the_other_phrases(head: Any) -> None:
    node = Match("itm", head=head)
    found = run(node, photo(0), Tags(PHRASES))
    alone = [run(node, photo(0), Text(phrase)).scores[0] for phrase in found.phrases]
    np.testing.assert_allclose(found.scores, alone, atol=1e-6)


def test_a_sentence_is_one_phrase_and_a_phrase_may_come_twice() -> None:
    sentence = run(Match("itm"), photo(0), Text("a dog, a cat"))
    assert sentence.phrases == ("a dog, a cat",)
    twice = run(Match("itm"), photo(0), Tags(["mug", "mug"]))
    assert twice.phrases == ("mug", "mug")
    assert twice.scores[0] == twice.scores[1]


@pytest.mark.parametrize("head", ["itm", "itc"])
def test_no_phrases_match_nothing_and_no_network_runs(seen: dict[str, int], head: Any) -> None:
    found = run(Match("itm", head=head), cutout(0), Tags([]))
    assert found == Tags([], origin=APPLE)
    assert seen["itm"] == 0


@pytest.mark.parametrize("head", ["itm", "itc"])
@pytest.mark.parametrize("batch", [1, 3, None])
def test_the_batch_changes_no_score(head: Any, batch: int | None) -> None:
    items = [{"image": photo(s), "phrases": Tags(PHRASES[: s + 1])} for s in range(4)]
    for found, item in zip(run_all(Match("itm", head=head), items, batch), items, strict=True):
        alone = run(Match("itm", head=head), item["image"], item["phrases"])
        assert found.phrases == alone.phrases
        np.testing.assert_allclose(found.scores, alone.scores, atol=1e-6)


# Once -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", ["itm", "itc"])
def test_a_photo_is_seen_once_whatever_the_number_of_phrases(
    seen: dict[str, int], head: Any
) -> None:
    run(Match("itm", head=head), photo(0), Tags([*PHRASES, *(f"{n} dogs" for n in range(80))]))
    assert seen["itm"] == 1


def test_a_photo_is_seen_once_whatever_the_number_of_questions(seen: dict[str, int]) -> None:
    pipeline = Pipeline(out=Answer("vqa")(Input("image", Image), Input("asked", list[Text])))
    asked = [Text(f"how many {word}s?") for word in WORDS[6:]]  # more than a batch
    found = pipeline.run(image=photo(0), asked=asked, device="cpu", precision="fp32")["out"]
    assert len(found) == len(asked) > 16
    assert seen["vqa"] == 1


def test_a_photo_is_seen_once_by_several_steps_of_one_checkpoint(seen: dict[str, int]) -> None:
    image = Input("image", Image)
    prompts = ("red", "a picture of")
    steps = {
        p.replace(" ", "_"): Caption("caption", beams=b)(image, p) for b, p in enumerate(prompts, 1)
    }
    Pipeline(**steps).run(image=photo(0), device="cpu", precision="fp32")
    assert seen["caption"] == 1


def test_a_phrase_is_read_once_whatever_the_number_of_photos(kept: dict[str, Any]) -> None:
    lengths = []
    embeddings = kept["itm"]._seer.network.text_encoder.embeddings
    hook = embeddings.register_forward_hook(lambda module, given, out: lengths.append(len(out)))
    kept["itm"]._seer._texts._kept = {}
    phrases = Tags(["one dog", "two dogs", "one dog"])
    run_all(Match("itm", head="itc"), [{"image": photo(s), "phrases": phrases} for s in range(5)])
    hook.remove()
    assert lengths == [2]


def test_a_checkpoint_is_loaded_once_for_all_its_nodes(kept: dict[str, Any]) -> None:
    others = [load(Caption("caption", beams=beams)) for beams in (1, 5)]
    assert all(node._seer is kept["caption"]._seer for node in others)
    others[0].unload()
    assert others[0]._seer is None


def test_what_was_computed_last_is_known_and_the_oldest_is_forgotten() -> None:
    asked: list[list[str]] = []

    def shout(words: list[str]) -> list[str]:
        asked.append(words)
        return [word.upper() for word in words]

    recent: Recent[str] = Recent(2)
    assert recent.each("aba", "aba", shout) == ["A", "B", "A"]
    assert recent.each("a", "a", shout) == ["A"]  # b is now the older one
    assert recent.each("c", "c", shout) == ["C"]
    assert recent.each("ab", "ab", shout) == ["A", "B"]
    assert recent.each("abcde", "abcde", shout) == list("ABCDE")  # more than there is room for
    assert asked == [["a", "b"], ["c"], ["b"], ["c", "d", "e"]]


def test_what_is_of_one_length_is_written_together_and_given_back_in_order() -> None:
    asked: Any = [(0, [1, 2]), (1, [3]), (2, [4, 5]), (3, [6])]
    batches: list[Any] = []

    def write(alike: Any) -> list[list[int]]:
        batches.append([place for place, _ in alike])
        return [[place] for place, _ in alike]

    assert by_length(asked, write) == [[0], [1], [2], [3]]
    assert batches == [[0, 2], [1, 3]]


# Refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "given"),
    [
        pytest.param(Caption("caption"), "a dog " * 10, id="a prompt with the caption"),
        pytest.param(Answer("vqa"), "a dog " * 20, id="a question"),
        pytest.param(Match("itm"), Text("a dog " * 20), id="a phrase"),
        pytest.param(Match("itm", head="itc"), Text("a dog " * 20), id="a phrase alone"),
    ],
)
def test_a_text_that_is_too_long_fails_and_is_not_cut(node: BlipNode, given: Any) -> None:
    with pytest.raises(NodeFailed, match=r"it takes 4[12] places, .* has 40; shorten it: 'a dog"):
        run(node, photo(0), given)


def test_a_caption_cannot_be_shorter_than_it_must_be_long() -> None:
    with pytest.raises(PipelineError, match="min_tokens 9 is above max_tokens 5"):
        Caption(min_tokens=9, max_tokens=5)
    with pytest.raises(PipelineError, match="min_tokens 9 is above max_tokens 5"):
        Answer(min_tokens=9, max_tokens=5)


def test_a_checkpoint_of_another_kind_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"vqa is a checkpoint of kind vqa; blip.caption needs"):
        load(Caption("vqa"))
    with pytest.raises(WeightsError, match=r"blip.match needs one of kind itm: choose another"):
        load(Match("caption"))


def test_a_checkpoint_that_is_not_here_says_what_to_run(store: Path) -> None:
    with pytest.raises(WeightsError, match="visionweave weights pull blip-caption-base"):
        load(Caption("base"))
    with pytest.raises(WeightsError, match="visionweave weights pull blip-vqa-base"):
        load(Answer("base"))


def test_weights_of_another_network_are_refused(files: dict[str, list[Path]], store: Path) -> None:
    add("mixed", [files["itm"][0], *files["caption"][1:]])
    with pytest.raises(
        WeightsError,
        match=r"mixed: these are not the weights of the BlipForConditionalGeneration .*"
        r"missing keys: text_decoder.* and \d+ more; unexpected keys: itm_head.bias",
    ):
        load(Caption("mixed"))


def test_weights_of_another_size_are_refused(
    files: dict[str, list[Path]], store: Path, tmp_path: Path
) -> None:
    table = json.loads(files["caption"][1].read_text())
    table["vision_config"]["intermediate_size"] = 64
    (tmp_path / "config.json").write_text(json.dumps(table))
    weights, _, words = files["caption"]
    add("wide", [weights, tmp_path / "config.json", words])
    with pytest.raises(WeightsError, match=r"mismatched keys: vision_model\.encoder\.layers\.0"):
        load(Caption("wide"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("config.json", "{", "cannot read this table", id="no table"),
        pytest.param("config.json", "{}", "must say a kind of caption, vqa", id="no kind"),
        pytest.param("tokenizer.json", "{}", "cannot read its tokenizer", id="no tokenizer"),
        pytest.param("notes.txt", "", "expected tokenizer.json or vocab.txt", id="no words"),
    ],
)
def test_damaged_and_missing_files_are_named(
    files: dict[str, list[Path]], store: Path, name: str, content: str, message: str
) -> None:
    (store / name).write_text(content)
    others = [each for each in files["caption"][:2] if each.name != name]
    add("damaged", [*others, store / name])
    with pytest.raises(WeightsError, match=message):
        load(Caption("damaged"))


def test_without_a_config_a_published_size_must_be_named(
    files: dict[str, list[Path]], store: Path
) -> None:
    weights, _, words = files["caption"]
    add("huge", [weights, words], kind="caption", size="huge")
    with pytest.raises(WeightsError, match=r"a size of base, large, .* got size 'huge'"):
        load(Caption("huge"))
    add("weightless", [words], kind="caption", size="base")
    with pytest.raises(WeightsError, match=r"holds no weights; got vocab\.txt"):
        load(Caption("weightless"))


def test_published_sizes_are_known_without_a_config() -> None:
    entry = checkpoint("blip-caption-large", family="blip.caption")
    config = BlipConfig.from_dict(read_config(entry, {}))
    vision, text = config.vision_config, config.text_config
    assert (vision.hidden_size, vision.num_hidden_layers, vision.image_size) == (1024, 24, 384)
    assert (vision.num_attention_heads, text.num_attention_heads) == (16, 12)
    assert (text.hidden_size, text.encoder_hidden_size, text.vocab_size) == (768, 1024, 30524)
    original = dataclasses.replace(entry, config=entry.config | {"naming": "original"})
    assert read_config(original, {})["vision_config"]["layer_norm_eps"] == 1e-6


def test_photos_are_decoded_for_the_side_that_the_list_of_weights_names(store: Path) -> None:
    assert Caption("blip2-opt-2.7b").fit() == Fit(short=224)
    assert Answer().fit() == Fit(short=384)
    assert Match("unheard-of").fit() == Fit(short=384)
