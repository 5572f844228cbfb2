"""Grounding DINO's checkpoints: the published `.pth` and transformers' files, read into one model.

A checkpoint's folder holds the weights; `tokenizer.json` or `vocab.txt`; and, in transformers'
form, `config.json` and `preprocessor_config.json`. What a folder does not say itself stands under
`config` in weights.lock: the backbone's `variant`, and fields of transformers' configuration that
differ from the published ones, which are its defaults.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visionweave import WeightsError
from visionweave.weights import Checkpoint, read_tensors

from .._transformers import unfit, with_weights
from .names import is_original, renamed
from .photos import Preparation

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Tensors = dict[str, Any]


SWINS: dict[str, dict[str, Any]] = {
    "swin_t": {},
    "swin_b": {
        "embed_dim": 128,
        "depths": [2, 2, 18, 2],
        "num_heads": [4, 8, 16, 32],
        "window_size": 12,
        "image_size": 384,
    },
}
"""The backbones of the published files, where they differ from transformers' Swin-T."""


_NOT_SIZES = ("naming", "box_threshold")  # what an entry says beside fields of transformers'

NETWORKS = {
    "grounding-dino": "GroundingDinoForObjectDetection",
    "mm-grounding-dino": "MMGroundingDinoForObjectDetection",  # Zhao et al. 2024, arXiv:2401.02361
}
"""transformers' classes by the `model_type` of their configurations."""


def read_preparation(files: Mapping[str, Path]) -> Preparation:
    """Read how photos are prepared; as published where the folder does not say."""
    if "preprocessor_config.json" not in files:
        return Preparation()
    said = json.loads(files["preprocessor_config.json"].read_text())
    size = said["size"]
    mean, std = tuple(said["image_mean"]), tuple(said["image_std"])
    step = said.get("size_divisor", 1)
    return Preparation(size["shortest_edge"], size["longest_edge"], mean, std, step)


def read_tokenizer(files: Mapping[str, Path]) -> Tokenizer:
    """Read the tokenizer; it neither cuts nor pads, and puts all in lower case.

    Raises:
        WeightsError: the folder has none, or it lacks the marks that separate phrases.
    """
    from tokenizers import BertWordPieceTokenizer, Tokenizer
    from tokenizers.normalizers import Lowercase, Sequence

    if "tokenizer.json" in files:
        tokenizer = Tokenizer.from_file(str(files["tokenizer.json"]))
    elif "vocab.txt" in files:
        tokenizer = Tokenizer.from_str(BertWordPieceTokenizer(str(files["vocab.txt"])).to_str())
    else:
        raise WeightsError(
            f"a Grounding DINO checkpoint needs tokenizer.json or vocab.txt; got {', '.join(files)}"
        )
    lacking = [mark for mark in ("[CLS]", "[SEP]", ".") if tokenizer.token_to_id(mark) is None]
    if lacking:
        raise WeightsError(
            f"Grounding DINO's tokenizer must know [CLS], [SEP] and '.'; it lacks {lacking}"
        )
    steps = [Lowercase(), *([tokenizer.normalizer] if tokenizer.normalizer is not None else [])]
    tokenizer.normalizer = Sequence(steps)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def read_config(entry: Checkpoint, files: Mapping[str, Path]) -> Any:
    """Read the sizes of the network, a transformers configuration.

    Raises:
        WeightsError: the network is of a kind that this family does not have.
    """
    from transformers import AutoConfig

    fields: dict[str, Any] = {"model_type": "grounding-dino"}
    if "config.json" in files:
        fields |= json.loads(files["config.json"].read_text())
    fields |= {name: value for name, value in entry.config.items() if name not in _NOT_SIZES}
    variant = fields.pop("variant", "swin_t")
    for what, given, known in (
        ("model_type", fields["model_type"], NETWORKS),
        ("variant", variant, SWINS),
    ):
        if given not in known:
            raise WeightsError(
                f"{entry.name}: expected a Grounding DINO with a {what} of {', '.join(known)}; "
                f"got {given!r}"
            )
    swin = {"model_type": "swin", "out_indices": [2, 3, 4], **SWINS[variant]}
    return AutoConfig.for_model(**{"backbone_config": swin, **fields})


def read_weights(files: Mapping[str, Path]) -> Tensors:
    """Read the tensors under the names that their file gives them.

    Raises:
        WeightsError: there is not just one file of weights, or it cannot be read.
    """
    suffixes = (".safetensors", ".pth", ".bin", ".pt")
    found = [path for name, path in files.items() if name.endswith(suffixes)]
    if len(found) != 1:
        raise WeightsError(f"expected one file of weights; got {', '.join(files)}")
    tensors = read_tensors(found[0])
    tensors = tensors.get("model", tensors)
    return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}


def build_network(config: Any, tensors: Tensors) -> Any:
    """Return transformers' model of this configuration with these weights, in fp32.

    Raises:
        WeightsError: they are not the weights of such a model.
    """
    import transformers

    if is_original(tensors):
        tensors = renamed(tensors)
    cls = getattr(transformers, NETWORKS[config.model_type])
    network, report = with_weights(cls, config, tensors)
    if wrong := unfit(report):
        raise WeightsError(
            "these are not the weights of the Grounding DINO that the configuration describes: "
            f"{wrong}"
        )
    return network
