"""BLIP and BLIP-2 token by token against transformers, on small random networks."""

from __future__ import annotations

import itertools
import json
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    BertTokenizer,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipForImageTextRetrieval,
    BlipForQuestionAnswering,
    BlipProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from visionweave import Image, Input, Pipeline, Runtime, Tags, Text
from visionweave.errors import WeightsError
from visionweave.nodes.blip import Answer, BlipNode, Caption, Match
from visionweave.nodes.blip.files import original_renamed
from visionweave.weights.adding import add_files

FACTS = Path(__file__).parents[3] / "shared" / "facts"

VOCABULARY = """
    [PAD] [UNK] [CLS] [SEP] [DEC] [ENC] a the picture of photo red green dog cat apple mug t shirt -
    ##s on in what is this how many two ? , .
"""
WORDS = VOCABULARY.split()
ENC = WORDS.index("[ENC]")
SIDE = 48
BLIP: dict[str, Any] = {
    "text_config": {
        "vocab_size": len(WORDS),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 40,
        "bos_token_id": WORDS.index("[DEC]"),
        "sep_token_id": WORDS.index("[SEP]"),
        "pad_token_id": 0,
        "eos_token_id": 2,
    },
    "vision_config": {
        "hidden_size": 24,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": SIDE,
        "patch_size": 16,
    },
    "image_text_hidden_size": 16,
}
SAME_WIDTH = BLIP | {"vision_config": BLIP["vision_config"] | {"hidden_size": 32}}
"""transformers builds a decoder that looks at questions as one that looks at pictures."""

BLIP2: dict[str, Any] = {
    "text_config": {
        "model_type": "opt",
        "vocab_size": 260,
        "hidden_size": 32,
        "word_embed_proj_dim": 32,
        "ffn_dim": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "pad_token_id": 1,
        "dropout": 0.0,
    },
    "vision_config": BLIP["vision_config"],
    "qformer_config": {
        "hidden_size": 24,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    },
    "num_query_tokens": 5,
    "image_token_index": 259,
}
PROMPTS = (None, "a picture of", "red")
QUESTIONS = ("what is this?", "how many dogs?", "is this a red mug on a green t-shirt?")
PHRASES = ("a dog", "two red cats on a mug", "apple", "the green t-shirt, a photo")

Network = Any


def random_network(cls: Any, config: dict[str, Any], seed: int = 0) -> Network:
    """A network that says something else of each picture, unlike a fresh one."""
    network = cls(cls.config_class(**config)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if "norm" not in name.lower():
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.3)
    return network


def keep(network: Network, folder: Path, words: str, kind: str, **config: Any) -> str:
    """Add a network to the store, as transformers writes it, and return its name there."""
    name = folder.name
    network.save_pretrained(folder)
    files = [folder / "model.safetensors", folder / "config.json", folder / words]
    facts = {"family": "blip", "config": {"kind": kind, **config}}
    add_files(name, files, facts | {"license": "MIT", "commercial": "yes"})
    return name


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks as small as these lose time when several threads share them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder beside an empty store."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISIONWEAVE_WEIGHTS", str(tmp_path_factory.mktemp("store")))
        yield tmp_path_factory.mktemp("made")


def words_in(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "vocab.txt"
    path.write_text("\n".join(WORDS) + "\n")
    return path


@pytest.fixture(scope="module")
def processor(folder: Path) -> Any:
    """transformers' own preparation of pictures and texts."""
    size = {"height": SIDE, "width": SIDE}
    tokenizer = BertTokenizer(vocab=str(words_in(folder)))
    return BlipProcessor(BlipImageProcessorPil(size=size), tokenizer)


@pytest.fixture(scope="module")
def captioner(folder: Path) -> Network:
    network = random_network(BlipForConditionalGeneration, BLIP)
    words_in(folder / "captioner")
    keep(network, folder / "captioner", "vocab.txt", "caption")
    return network


@pytest.fixture(scope="module")
def answerer(folder: Path) -> Network:
    """In the store twice: "answerer" opens questions with [CLS], "trained" with [ENC]."""
    network = random_network(BlipForQuestionAnswering, SAME_WIDTH)
    for name, enc in (("answerer", WORDS.index("[CLS]")), ("trained", ENC)):
        words_in(folder / name)
        keep(network, folder / name, "vocab.txt", "vqa", enc_token_id=enc)
    return network


@pytest.fixture(scope="module")
def matcher(folder: Path) -> Network:
    """Its tokenizer has an [ENC]; nothing else says which token that is."""
    network = random_network(BlipForImageTextRetrieval, BLIP)
    words_in(folder / "matcher")
    keep(network, folder / "matcher", "vocab.txt", "itm")
    return network


@pytest.fixture(scope="module")
def captioner2(folder: Path) -> Network:
    network = random_network(Blip2ForConditionalGeneration, BLIP2)
    made = folder / "captioner2"
    made.mkdir()
    # Every byte is a token, as in a byte pair encoding that has merged nothing.
    bytes_of = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["<unk>", "<pad>", "</s>", "<end>", *bytes_of][:259]
    tokenizer = Tokenizer(models.BPE({token: id for id, token in enumerate(tokens)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<pad>", "</s>", "<end>"])
    tokenizer.save(str(made / "tokenizer.json"))
    keep(network, made, "tokenizer.json", "blip2")
    return network


def picture(seed: int) -> PIL.Image.Image:
    """A smooth colour picture, each of another size."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return PIL.Image.fromarray(coarse).resize((60 + 7 * seed, 90 - 9 * seed))


def photo(seed: int) -> Image:
    return Image.from_pil(picture(seed), f"{seed}.png")


def loaded(node: BlipNode, precision: str = "fp32") -> Any:
    node.ensure_loaded(Runtime.get("cpu", precision))
    return node


def run(method: Any, payloads: list[Any]) -> list[Any]:
    """Run a batched method of a node as the engine does."""
    with method.node.forward_context():
        return list(method.forward(payloads))


def outcome(node: BlipNode, image: Image, *others: Any, precision: str = "fp32") -> Any:
    """What a node makes of a photo, through the engine."""
    pipeline = Pipeline(out=node(Input("image", Image), *others))
    return pipeline.run(image=image, device="cpu", precision=precision)["out"]


def written(node: Any, seeds: list[int], prompts: list[str | None]) -> list[list[int]]:
    """The ids of captions, each with what it begins with, from one batch."""
    seen = run(node.see, [node._shown(photo(seed)) for seed in seeds])
    starts = [node._seer.start(prompt or "", node._search) for prompt in prompts]
    ids = run(node.write, list(zip(seen, starts, strict=True)))
    return [[*start, *each] for start, each in zip(starts, ids, strict=True)]


def told(node: Any, seeds: list[int], questions: list[str]) -> list[list[int]]:
    """The ids of answers, from one batch."""
    seen = run(node.see, [node._shown(photo(seed)) for seed in seeds])
    ids = [node._seer.question(question) for question in questions]
    return run(node.reply, list(zip(seen, ids, strict=True)))


def until(ids: torch.Tensor, end: int) -> list[int]:
    """Ids before the first `end`."""
    return list(itertools.takewhile(lambda each: each != end, ids.tolist()))


def arguments(beams: int) -> dict[str, Any]:
    return {"num_beams": beams, "max_new_tokens": 12, "min_new_tokens": 1, "do_sample": False}


SEP = WORDS.index("[SEP]")

# Pictures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_pictures_are_prepared_as_by_transformers(captioner: Network, seed: int) -> None:
    node = loaded(Caption("captioner"))
    given: list[torch.Tensor] = []
    hook = node._seer.network.vision_model.register_forward_pre_hook(
        lambda module, args, kwargs: given.append(kwargs["pixel_values"]), with_kwargs=True
    )
    run(node.see, [node._shown(photo(seed))])
    hook.remove()
    size = {"height": SIDE, "width": SIDE}
    expected = BlipImageProcessorPil(size=size)(picture(seed), return_tensors="pt").pixel_values
    torch.testing.assert_close(given, [expected], atol=1e-6, rtol=0)


# Captions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("seed", range(2))
def test_a_caption_is_that_of_transformers_token_by_token(
    captioner: Network, processor: Any, seed: int, prompt: str | None, beams: int
) -> None:
    inputs = processor(images=picture(seed), text=prompt, return_tensors="pt")
    with torch.inference_mode():
        (expected,) = captioner.generate(**inputs, **arguments(beams))
    node = loaded(Caption("captioner", beams=beams, max_tokens=12, keep_prompt=True))
    assert written(node, [seed], [prompt]) == [until(expected, SEP)]


@pytest.mark.parametrize("beams", [1, 3])
def test_a_batch_of_photos_and_prompts_of_any_size_changes_no_token(
    captioner: Network, beams: int
) -> None:
    node = loaded(Caption("captioner", beams=beams, max_tokens=12))
    seeds, prompts = zip(*itertools.product(range(4), PROMPTS), strict=True)
    alone = [
        ids
        for seed, prompt in zip(seeds, prompts, strict=True)
        for ids in written(node, [seed], [prompt])
    ]
    assert written(node, list(seeds), list(prompts)) == alone
    assert len({tuple(ids) for ids in alone}) > 9  # it is not one caption for all


def test_the_text_is_that_of_transformers(captioner: Network, processor: Any) -> None:
    inputs = processor(images=picture(2), text="a picture of", return_tensors="pt")
    with torch.inference_mode():
        (ids,) = captioner.generate(**inputs, **arguments(1))
    expected = processor.decode(ids, skip_special_tokens=True).removeprefix("[DEC] ")
    node = Caption("captioner", beams=1, max_tokens=12, keep_prompt=True)
    assert outcome(node, photo(2), "A Picture of") == Text(expected, photo(2).origin)


def test_greedy_words_are_the_likeliest_after_all_before_them(captioner: Network) -> None:
    """Step by step and without a cache, by the networks alone."""
    node = loaded(Caption("captioner", beams=1, max_tokens=12))
    (ids,) = written(node, [0], ["a picture of"])
    (tokens,) = run(node.see, [node._shown(photo(0))])
    known = ids[:4]
    with torch.inference_mode():
        for _ in range(12):
            decoder = captioner.text_decoder(
                input_ids=torch.tensor([known]), encoder_hidden_states=tokens[None]
            )
            known = [*known, int(decoder.logits[0, -1].argmax())]
    assert known == ids


# Answers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize(("name", "first"), [("answerer", 2), ("trained", ENC)])
def test_an_answer_is_that_of_transformers_token_by_token(
    answerer: Network, processor: Any, name: str, first: int, question: str, beams: int
) -> None:
    inputs = processor(images=picture(1), text=question, return_tensors="pt")
    inputs["input_ids"][:, 0] = first
    with torch.inference_mode():
        (expected,) = answerer.generate(**inputs, **arguments(beams))
    node = loaded(Answer(name, beams=beams, max_tokens=12))
    assert told(node, [1], [question]) == [until(expected[1:], SEP)]


@pytest.mark.parametrize("beams", [1, 3])
def test_longer_questions_in_the_batch_change_no_token(answerer: Network, beams: int) -> None:
    node = loaded(Answer("trained", beams=beams, max_tokens=12))
    seeds, asked = zip(*itertools.product(range(3), QUESTIONS), strict=True)
    alone = [ids for s, q in zip(seeds, asked, strict=True) for ids in told(node, [s], [q])]
    assert told(node, list(seeds), list(asked)) == alone
    assert len({tuple(ids) for ids in alone}) > 6


# Matching ---------------------------------------------------------------------------------------


def test_the_probability_of_a_match_is_that_of_transformers(
    matcher: Network, processor: Any
) -> None:
    expected = {}
    for phrase in PHRASES:
        inputs = processor(images=picture(0), text=phrase, return_tensors="pt")
        inputs["input_ids"][:, 0] = ENC
        with torch.inference_mode():
            expected[phrase] = matcher(**inputs).itm_score.softmax(dim=-1)[0, 1].item()
    found = outcome(Match("matcher"), photo(0), Tags(PHRASES))
    assert found.phrases == tuple(sorted(PHRASES, key=lambda each: -expected[each]))
    scores = dict(zip(found.phrases, found.scores.tolist(), strict=True))
    assert scores == pytest.approx(expected, abs=1e-5)


def test_the_cosine_of_a_match_is_that_of_transformers(matcher: Network, processor: Any) -> None:
    expected = {}
    for phrase in PHRASES:
        inputs = processor(images=picture(0), text=phrase, return_tensors="pt")
        with torch.inference_mode():
            cosine = matcher(**inputs, use_itm_head=False).itm_score.item()
        expected[phrase] = (1 + cosine) / 2
    found = outcome(Match("matcher", head="itc"), photo(0), Tags(PHRASES))
    scores = dict(zip(found.phrases, found.scores.tolist(), strict=True))
    assert scores == pytest.approx(expected, abs=1e-5)
    assert found.phrases == tuple(sorted(PHRASES, key=lambda each: -expected[each]))


# BLIP-2 -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def processor2(captioner2: Network, folder: Path) -> Any:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "captioner2" / "tokenizer.json"),
        bos_token="</s>",
        eos_token="<end>",
        pad_token="<pad>",
    )
    size = {"height": SIDE, "width": SIDE}
    made = Blip2Processor(BlipImageProcessorPil(size=size), tokenizer, num_query_tokens=5)
    assert tokenizer.convert_tokens_to_ids("<image>") == 259
    return made


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("prompt", ["", "a photo of", "Question: what? Answer:"])
def test_a_caption_of_blip2_is_that_of_transformers_token_by_token(
    captioner2: Network, processor2: Any, prompt: str, beams: int
) -> None:
    inputs = processor2(images=picture(0), text="</s>" + prompt, return_tensors="pt")
    with torch.inference_mode():
        (expected,) = captioner2.generate(**inputs, **arguments(beams))
    node = loaded(Caption("captioner2", beams=beams, max_tokens=12))
    (found,) = written(node, [0], [prompt])
    assert found == until(expected[5:], 3)  # behind the places of the picture


@pytest.mark.parametrize("beams", [1, 3])
def test_a_batch_of_blip2_changes_no_token(captioner2: Network, beams: int) -> None:
    node = loaded(Caption("captioner2", beams=beams, max_tokens=12))
    prompts = ["", "a photo of", "", "a", "a photo of"]
    alone = [ids for s, p in enumerate(prompts) for ids in written(node, [s], [p])]
    assert written(node, list(range(5)), list(prompts)) == alone


def test_blip2_with_an_encoder_in_its_language_model_is_refused(folder: Path) -> None:
    text = {"model_type": "t5", "vocab_size": 40, "d_model": 16, "d_kv": 8, "d_ff": 16}
    config = BLIP2 | {"text_config": text | {"num_layers": 1, "num_heads": 2}}
    words_in(folder / "flan")
    network = random_network(Blip2ForConditionalGeneration, config)
    keep(network, folder / "flan", "vocab.txt", "blip2")
    with pytest.raises(WeightsError, match="this one has t5, which has an encoder too"):
        loaded(Caption("flan"))


# Files ------------------------------------------------------------------------------------------

OLD_NAMES = (
    ("vision_model.encoder.layers.", "visual_encoder.blocks."),
    ("vision_model.embeddings.patch_embedding.", "visual_encoder.patch_embed.proj."),
    ("vision_model.embeddings.class_embedding", "visual_encoder.cls_token"),
    ("vision_model.embeddings.position_embedding", "visual_encoder.pos_embed"),
    ("vision_model.post_layernorm.", "visual_encoder.norm."),
    (".self_attn.projection.", ".attn.proj."),
    (".self_attn.qkv.", ".attn.qkv."),
    (".layer_norm1.", ".norm1."),
    (".layer_norm2.", ".norm2."),
)


def as_original(network: Network) -> dict[str, Any]:
    """The tensors under the names of the original code, with what it keeps for training."""
    tensors = {}
    for name, tensor in network.state_dict().items():
        for new, old in OLD_NAMES:
            name = name.replace(new, old)
        tensors[name] = tensor.clone()
    averaged = {
        f"{name.partition('.')[0]}_m.{name.partition('.')[2]}": tensor
        for name, tensor in tensors.items()
    }
    numbers = {"text_encoder.embeddings.position_ids": torch.arange(40)[None]}
    return tensors | averaged | numbers | {"temp": torch.ones([]), "image_queue": torch.ones(2, 3)}


def write_weights(network: Network, form: str, made: Path) -> list[Path]:
    """Write the weights in one of the forms in which they are published."""
    state = network.state_dict()
    if form == "original":
        torch.save({"model": as_original(network)}, made / "model.pth")
        return [made / "model.pth"]
    if form == "pickle of an older version":  # which kept tied weights twice
        numbers = {"text_decoder.bert.embeddings.position_ids": torch.arange(40)[None]}
        torch.save(state | numbers, made / "pytorch_model.bin")
        return [made / "pytorch_model.bin"]
    if form == "half precision":
        state = {name: tensor.half().float() for name, tensor in state.items()}
        network.load_state_dict(state)
        save_file({name: t.half().clone() for name, t in state.items()}, made / "half.safetensors")
        return [made / "half.safetensors"]
    for part in range(2):
        names = sorted(state)[part::2]
        save_file({name: state[name].clone() for name in names}, made / f"{part}.safetensors")
    return [made / "0.safetensors", made / "1.safetensors"]


@pytest.mark.parametrize(
    "form", ["original", "pickle of an older version", "half precision", "two parts"]
)
def test_weights_load_as_they_are_published(folder: Path, processor: Any, form: str) -> None:
    network = random_network(BlipForConditionalGeneration, BLIP, seed=3)
    made = folder / form.replace(" ", "-")
    words = words_in(made)
    network.config.save_pretrained(made)
    paths = [*write_weights(network, form, made), made / "config.json", words]
    add_files(made.name, paths, {"family": "blip", "config": {"kind": "caption"}})
    inputs = processor(images=picture(0), return_tensors="pt")
    with torch.inference_mode():
        (expected,) = network.generate(**inputs, **arguments(3))
    node = loaded(Caption(made.name, max_tokens=12))
    assert written(node, [0], [None]) == [until(expected, SEP)]
    assert {weight.dtype for weight in node._seer.network.parameters()} == {torch.float32}


def test_a_configuration_of_an_older_version_is_read(folder: Path, captioner: Network) -> None:
    table = json.loads((folder / "captioner" / "config.json").read_text())
    generation = {"max_length": 20, "min_length": 0, "num_beams": 1, "repetition_penalty": 9.0}
    table["text_config"] |= generation | {"torch_dtype": None, "use_bfloat16": False}
    made = folder / "older"
    words = words_in(made)
    (made / "config.json").write_text(json.dumps(table))
    weights = folder / "captioner" / "model.safetensors"
    add_files("older", [weights, made / "config.json", words], {"family": "blip"})
    older, newer = (loaded(Caption(name, max_tokens=12)) for name in ("older", "captioner"))
    assert written(older, [0], [None]) == written(newer, [0], [None])


def published(cls: Any, **config: Any) -> Network:
    """A network of published size without weights."""
    with torch.device("meta"):
        return cls(BlipConfig(**config))


@pytest.mark.parametrize(
    "cls", [BlipForConditionalGeneration, BlipForQuestionAnswering, BlipForImageTextRetrieval]
)
def test_every_original_name_is_one_of_transformers(cls: Any) -> None:
    network = published(cls)
    renamed = original_renamed(as_original(network))
    assert renamed.keys() == network.state_dict().keys()


@pytest.mark.skipif(not FACTS.exists(), reason="the lists of published names are not here")
def test_the_published_text_decoder_has_the_names_and_shapes_of_transformers() -> None:
    """Tag2Text's decoder is BLIP's, and its list is of a published file."""
    lines = (FACTS / "keys_tag2text.tsv").read_text().splitlines()
    shapes = {line.split("\t")[0]: line.split("\t")[1] for line in lines}
    listed = {name: shape for name, shape in shapes.items() if name.startswith("text_decoder.")}
    network = published(BlipForConditionalGeneration)
    state = network.text_decoder.state_dict(prefix="text_decoder.")
    expected = {name: str(tuple(tensor.shape)) for name, tensor in state.items()}
    assert original_renamed(listed) == expected


# Low precision ----------------------------------------------------------------------------------


def first_words(node: Any, ids: list[int]) -> torch.Tensor:
    """Probabilities of the first word that is written of each of eight photos, (8, words)."""
    seen = run(node.see, [node._shown(photo(seed)) for seed in range(8)])
    network, states = node._seer.network, torch.stack(seen)
    starts = torch.tensor([ids] * 8)
    with node.forward_context():
        if isinstance(node, Answer):
            states = network.text_encoder(starts, encoder_hidden_states=states).last_hidden_state
            starts = torch.full((8, 1), node._seer.words.bos)
        logits = network.text_decoder(starts, encoder_hidden_states=states).logits
    return logits[:, -1].float().softmax(dim=-1)


def test_bf16_moves_the_first_word_of_a_caption_by_less_than_the_tolerance(
    captioner: Network,
) -> None:
    nodes = [loaded(Caption("captioner"), precision) for precision in ("fp32", "bf16")]
    exact, rough = (first_words(node, node._seer.start("a", node._search)) for node in nodes)
    assert 0 < (rough - exact).abs().max() < Caption.tolerance


def test_bf16_moves_the_first_word_of_an_answer_by_less_than_the_tolerance(
    answerer: Network,
) -> None:
    nodes = [loaded(Answer("trained"), precision) for precision in ("fp32", "bf16")]
    exact, rough = (first_words(node, node._seer.question(QUESTIONS[0])) for node in nodes)
    assert 0 < (rough - exact).abs().max() < Answer.tolerance


@pytest.mark.parametrize("head", ["itm", "itc"])
def test_bf16_moves_the_score_of_a_match_by_less_than_the_tolerance(
    matcher: Network, head: Any
) -> None:
    found = []
    for precision in ("fp32", "bf16"):
        node = Match("matcher", head=head)
        tags = [outcome(node, photo(s), Tags(PHRASES), precision=precision) for s in range(8)]
        found.append([dict(zip(t.phrases, t.scores.tolist(), strict=True)) for t in tags])
    moved = [abs(a[p] - b[p]) for a, b in zip(*found, strict=True) for p in PHRASES]
    assert 0 < max(moved) < Match.tolerance


@pytest.mark.parametrize("name", ["captioner", "captioner2"])
def test_low_precision_writes_captions_too(
    captioner: Network, captioner2: Network, name: str
) -> None:
    found = outcome(Caption(name, beams=2, min_tokens=9), photo(0), "a red", precision="bf16")
    assert found.text
    assert found.origin == photo(0).origin


# Full size --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_blip_base_captions_at_full_size(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Random weights; 20 tokens each for a batch of four photos; time and memory are printed."""
    torch.manual_seed(0)
    made = folder / "full"
    words = words_in(made)
    network = BlipForConditionalGeneration(BlipConfig(text_config={"num_attention_heads": 12}))
    state = network.text_decoder.state_dict()
    weights = network.state_dict() | {f"text_decoder.{name}": t for name, t in state.items()}
    torch.save(weights, made / "pytorch_model.bin")
    facts = {"kind": "caption", "size": "base", "image_size": 384}
    add_files("full", [made / "pytorch_model.bin", words], {"family": "blip", "config": facts})
    count = sum(weight.numel() for weight in network.parameters())
    del network, state, weights
    started = time.perf_counter()
    node = loaded(Caption("full", max_tokens=20, min_tokens=20))
    ready = time.perf_counter()
    ids = written(node, [0, 1, 2, 3], ["a picture of"] * 4)
    done = time.perf_counter()
    assert [len(each) for each in ids] == [24] * 4
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    with capsys.disabled():
        print(
            f"\nBLIP base, {count / 1e6:.0f} M parameters, fp32: loaded in {ready - started:.1f} s;"
            f" 4 captions of 20 tokens, 3 beams, in {done - ready:.1f} s; peak {peak:.1f} GiB"
        )
