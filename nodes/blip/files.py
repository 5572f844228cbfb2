"""The files of a BLIP checkpoint: its configuration, its tokenizer and its weights.

The configuration is config.json as transformers writes it. Without that file, the entry's `config`
in weights.lock says all: `kind`, `size` and `image_size`. It may also name `enc_token_id`, the
[ENC] token with which BLIP was trained to open texts that look at a picture (30523 in what was
published; transformers takes [CLS] instead).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visionweave import WeightsError
from visionweave.weights import Checkpoint, read_tensors

from .._transformers import unfit, with_weights

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["build_network", "kind_of", "original_renamed", "read_config", "read_tokenizer"]

Files = Mapping[str, Path]
Tensors = dict[str, Any]

KINDS = {
    "caption": "BlipForConditionalGeneration",
    "vqa": "BlipForQuestionAnswering",
    "itm": "BlipForImageTextRetrieval",
    "blip2": "Blip2ForConditionalGeneration",
}
"""The kinds of checkpoints, and the class of transformers' for each."""

_VISION: dict[str, dict[str, Any]] = {
    "base": {},  # transformers' defaults
    "large": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
    },
}
_TEXT = {"num_attention_heads": 12}
"""The published sizes, where they differ from transformers' defaults. Of the heads, no shape of a
weight would tell: with the default of 8 all would load, and mean nothing."""

_WEIGHTS = (".safetensors", ".bin", ".pth", ".pt")

_ORIGINAL_NAMES = (
    (r"^visual_encoder\.blocks\.", "vision_model.encoder.layers."),
    (r"^visual_encoder\.patch_embed\.proj\.", "vision_model.embeddings.patch_embedding."),
    (r"^visual_encoder\.cls_token$", "vision_model.embeddings.class_embedding"),
    (r"^visual_encoder\.pos_embed$", "vision_model.embeddings.position_embedding"),
    (r"^visual_encoder\.norm\.", "vision_model.post_layernorm."),
    (r"(?<=\d)\.norm([12])\.", r".layer_norm\1."),
    (r"(?<=\d)\.attn\.qkv\.", ".self_attn.qkv."),
    (r"(?<=\d)\.attn\.proj\.", ".self_attn.projection."),
)
"""From the names of the original code to those of transformers; the text networks have the same."""

_TRAINING = re.compile(r"^\w+_m\.|^(image|text|idx|ptr)_queue$|^temp$|\.position_ids$")
"""What original checkpoints hold for training alone: averaged copies, queues, a temperature; and
the numbers 0, 1, 2, … as a tensor."""


def kind_of(entry: Checkpoint, table: Mapping[str, Any]) -> str:
    """Return the kind of a checkpoint: what `kind` says in weights.lock, else its config.json.

    Raises:
        WeightsError: neither says one that is known.
    """
    named = table.get("architectures") or [None]
    of_class = {cls: kind for kind, cls in KINDS.items()}
    kind = entry.config.get("kind", of_class.get(named[0]))
    if kind not in KINDS:
        raise WeightsError(
            f"{entry.name}: its config in weights.lock must say a kind of {', '.join(KINDS)}, or "
            f"the architectures in its config.json one of {', '.join(of_class)}; "
            f"got {entry.config.get('kind', named[0])!r}"
        )
    return str(kind)


def read_config(entry: Checkpoint, files: Files) -> dict[str, Any]:
    """Return what is said of the network, as in config.json.

    Raises:
        WeightsError: config.json is damaged, or there is none, and no published size is named.
    """
    if "config.json" in files:
        try:
            return dict(json.loads(files["config.json"].read_text(encoding="utf-8")))
        except (OSError, TypeError, ValueError) as error:
            raise WeightsError(f"{files['config.json']}: cannot read this table: {error}") from None
    size, kind = entry.config.get("size"), entry.config.get("kind")
    if size not in _VISION or kind == "blip2":
        raise WeightsError(
            f"{entry.name}: without a config.json, its config in weights.lock must say a size of "
            f"{', '.join(_VISION)}, of a BLIP of the first kind; got size {size!r}, kind {kind!r}; "
            "add config.json to its files"
        )
    vision = _VISION[size] | {"image_size": entry.config.get("image_size", 384)}
    if entry.config.get("naming") == "original":
        vision["layer_norm_eps"] = 1e-6  # transformers' configurations say 1e-5
    return {"vision_config": vision, "text_config": dict(_TEXT)}


def read_tokenizer(entry: Checkpoint, files: Files) -> Tokenizer:
    """Read the tokenizer in tokenizer.json, or BERT's in vocab.txt; it neither cuts nor pads.

    Raises:
        WeightsError: there is neither, or it is damaged.
    """
    from tokenizers import BertWordPieceTokenizer, Tokenizer

    try:
        if "tokenizer.json" in files:
            tokenizer = Tokenizer.from_file(str(files["tokenizer.json"]))
        elif "vocab.txt" in files:
            words = BertWordPieceTokenizer(str(files["vocab.txt"]), lowercase=True)
            tokenizer = Tokenizer.from_str(words.to_str())
        else:
            raise WeightsError(
                f"{entry.name}: its list of files holds no tokenizer; expected tokenizer.json or "
                f"vocab.txt, got {', '.join(files)}"
            )
    except WeightsError:
        raise
    except Exception as error:  # the library raises bare Exceptions
        raise WeightsError(f"{entry.name}: cannot read its tokenizer: {error}") from None
    tokenizer.no_truncation()  # some files ask for it, and it would be silent
    tokenizer.no_padding()
    return tokenizer


def build_network(entry: Checkpoint, files: Files, table: Mapping[str, Any], device: str) -> Any:
    """Return transformers' network with the checkpoint's weights, in fp32 on `device`.

    Raises:
        WeightsError: they are not exactly the weights that the configuration asks for.
    """
    import transformers

    cls: Any = getattr(transformers, KINDS[kind_of(entry, table)])
    config = cls.config_class.from_dict(dict(table))
    network, report = with_weights(cls, config, _read_weights(entry, files))
    if wrong := unfit(report):
        raise WeightsError(
            f"{entry.name}: these are not the weights of the {cls.__name__} that its configuration "
            f"describes: {wrong}"
        )
    return network.to(device)


def original_renamed(tensors: Tensors) -> Tensors:
    """Give the tensors of an original checkpoint the names that transformers has for them."""
    kept = {name: tensor for name, tensor in tensors.items() if not _TRAINING.search(name)}
    if not any(name.startswith("visual_encoder.") for name in kept):
        return kept
    return {_renamed(name): tensor for name, tensor in kept.items()}


def _renamed(name: str) -> str:
    for pattern, new in _ORIGINAL_NAMES:
        name = re.sub(pattern, new, name)
    return name


def _read_weights(entry: Checkpoint, files: Files) -> Tensors:
    """All tensors of all files of weights: large checkpoints come in parts."""
    paths = [path for name, path in files.items() if name.endswith(_WEIGHTS)]
    if not paths:
        raise WeightsError(
            f"{entry.name}: its list of files holds no weights; got {', '.join(files)}"
        )
    tensors: Tensors = {}
    for path in paths:
        table = read_tensors(path)
        tensors |= table["model"] if isinstance(table.get("model"), dict) else table
    return original_renamed(tensors)
