"""CLIP models that transformers builds: OpenAI's layout there, SigLIP (2), AltCLIP, Chinese-CLIP.

What the entry's `config` in weights.lock may say, besides what `View.read` takes:

    architecture    a name in PUBLISHED, or the table that config.json would hold; not looked at
                    where the checkpoint's files hold a config.json
    context_length  how many tokens it was trained to read

A preprocessor_config.json among the files says how it sees pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visionweave.errors import WeightsError, did_you_mean
from visionweave.weights import Checkpoint

from .._transformers import with_weights
from .files import check_keys, read_state, read_table
from .tokens import CLIP_VOCABULARY, Tokens, bpe_tokens, file_tokens, has_tokenizer
from .view import View

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PUBLISHED", "TransformersTowers", "network"]

NETWORKS = {
    "clip": "CLIPModel",
    "siglip": "SiglipModel",
    "altclip": "AltCLIPModel",
    "chinese_clip": "ChineseCLIPModel",
}
"""The class of each kind of model."""

LENGTHS = {"altclip": 77, "chinese_clip": 52}
"""How many tokens these were trained to read, of the more that their positions allow."""

_L14 = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 14,
}
_ALTCLIP = {"model_type": "altclip", "projection_dim": 768, "vision_config": _L14}
PUBLISHED: dict[str, dict[str, Any]] = {
    "ViT-B-32-quickgelu": {"model_type": "clip"},
    "ViT-L-14-quickgelu": {
        "model_type": "clip",
        "projection_dim": 768,
        "text_config": {
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_attention_heads": 12,
        },
        "vision_config": _L14,
    },
    "ViT-B-16-SigLIP2": {"model_type": "siglip", "text_config": {"vocab_size": 256000}},
    "AltCLIP": _ALTCLIP,
    "AltCLIP-m9": _ALTCLIP,
    "chinese-clip-vit-base-patch16": {
        "model_type": "chinese_clip",
        "text_config": {"vocab_size": 21128},
        "vision_config": {"patch_size": 16},
    },
}
"""What the config.json of published checkpoints says and transformers does not assume."""

MASKED = {"altclip", "chinese_clip"}
"""Those whose text tower looks both ways, and must be told where a text ends. SigLIP looks both
ways too, but was trained to see what fills the rest."""

RESAMPLE = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers."""


class TransformersTowers:
    """The two towers of a model that transformers built; see `_clip_model.Towers`."""

    def __init__(self, entry: Checkpoint, files: Mapping[str, Path]) -> None:
        table = _architecture(entry, files)
        self._kind: str = table["model_type"]
        self.module: Any = _build(table, read_state(entry.name, files), entry.name)
        side, shown = self.module.config.vision_config.image_size, {}
        if "preprocessor_config.json" in files:
            shown = read_table(entry.name, files, "preprocessor_config.json")
            shown = _preprocessing(entry.name, shown)
        self.view = View.read(entry.name, side, shown, entry.config)
        self.tokens = self._tokens(entry, files)
        self.scale: float = self.module.logit_scale.detach().exp().item()
        self.bias: float | None = self.module.logit_bias.item() if self._kind == "siglip" else None

    def images(self, pixels: Tensor) -> Tensor:
        """Embed normalised pixels, (N, 3, S, S) float32; (N, D), of any length."""
        features: Tensor = self.module.get_image_features(pixel_values=pixels).pooler_output
        return features

    def texts(self, ids: Tensor) -> Tensor:
        """Embed token ids, (N, L) int64; (N, D), of any length."""
        mask = {"attention_mask": ids != self.tokens.pad} if self._kind in MASKED else {}
        features: Tensor = self.module.get_text_features(input_ids=ids, **mask).pooler_output
        return features

    def _tokens(self, entry: Checkpoint, files: Mapping[str, Path]) -> Tokens:
        text, kind = self.module.config.text_config, self._kind
        trained = LENGTHS.get(kind, text.max_position_embeddings)
        length = entry.config.get("context_length", trained)
        if kind == "siglip":
            return file_tokens(entry.name, files, length, None, str.lower)
        if kind == "clip" and text.vocab_size == CLIP_VOCABULARY and not has_tokenizer(files):
            return bpe_tokens(length)
        pad = text.pad_token_id if kind in MASKED else 0
        return file_tokens(entry.name, files, length, pad, str)


def _architecture(entry: Checkpoint, files: Mapping[str, Path]) -> Mapping[str, Any]:
    """Return the config of the model, as config.json holds it."""
    named = entry.config.get("architecture")
    if "config.json" in files or named is None:
        table: Mapping[str, Any] = read_table(entry.name, files, "config.json")
    elif isinstance(named, Mapping):
        table = named
    elif named in PUBLISHED:
        table = PUBLISHED[named]
    else:
        hint = did_you_mean(named, PUBLISHED) or f"known are {', '.join(PUBLISHED)}"
        raise WeightsError(f"{entry.name}: unknown architecture {named!r}; {hint}")
    if table.get("model_type") not in NETWORKS:
        known = ", ".join(NETWORKS)
        raise WeightsError(
            f"{entry.name}: its config must say a model_type of {known}; "
            f"got {table.get('model_type')!r}"
        )
    return table


def network(table: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the class of a model, and its config."""
    import transformers

    cls: Any = getattr(transformers, NETWORKS[table["model_type"]])
    return cls, cls.config_class.from_dict(dict(table))


def _build(table: Mapping[str, Any], state: dict[str, Any], name: str) -> Any:
    """Build the network and load its weights, also where the file has names of older versions."""
    module, report = with_weights(*network(table), state)
    check_keys(
        name,
        missing=report["missing_keys"],
        unexpected=report["unexpected_keys"],
        misshapen={key for key, *_ in report["mismatched_keys"]},
    )
    return module


def _preprocessing(name: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a preprocessor_config.json in the terms of a View.

    Without a crop the model takes the whole photo, whatever its shape: it is squashed.

    Raises:
        WeightsError: the photo would be resized to another size than it is cropped to.
    """
    size = table.get("size")
    crops = table.get("do_center_crop", isinstance(size, Mapping) and "shortest_edge" in size)
    asked = [size, table.get("crop_size") if crops else None]
    sides = {
        side
        for each in asked
        for side in (each.values() if isinstance(each, Mapping) else [each])
        if side is not None
    }
    if len(sides) > 1:
        text = ", ".join(map(str, sorted(sides)))
        raise WeightsError(f"{name}: expected photos of one size, resized and cropped; got {text}")
    resample = table.get("resample", 3)
    shown = {"mean": table.get("image_mean"), "std": table.get("image_std")}
    shown["interpolation"] = RESAMPLE.get(resample, resample)
    shown["resize_mode"] = "shortest" if crops else "squash"
    return {key: value for key, value in shown.items() if value is not None}
