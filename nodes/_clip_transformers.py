"""CLIP models that transformers builds: OpenAI's layout there, SigLIP (2), AltCLIP, Chinese-CLIP.

The checkpoint's files say everything: config.json, preprocessor_config.json, and the tokenizer.
The entry's `config` in weights.lock may overrule: mean, std, interpolation, resize_mode,
context_length.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visionweave.errors import WeightsError
from visionweave.weights import Checkpoint

from ._clip_files import check_keys, read_state, read_table
from ._clip_tokens import CLIP_VOCABULARY, Tokens, bpe_tokens, file_tokens, has_tokenizer
from ._clip_view import View

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TransformersTowers"]

READ = {"clip": None, "siglip": None, "altclip": 77, "chinese_clip": 52}
"""The kinds of model, and how many tokens they were trained to read; None for all positions."""

MASKED = {"altclip", "chinese_clip"}
"""Those whose text tower looks both ways, and must be told where a text ends. SigLIP looks both
ways too, but was trained to see what fills the rest."""

RESAMPLE = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers."""


class TransformersTowers:
    """The two towers of a model that transformers built; see `_clip_model.Towers`."""

    def __init__(self, entry: Checkpoint, files: Mapping[str, Path]) -> None:
        table = read_table(entry.name, files, "config.json")
        self._kind = table.get("model_type")
        if self._kind not in READ:
            known = ", ".join(READ)
            raise WeightsError(
                f"{entry.name}: its config.json must say a model_type of {known}; "
                f"got {self._kind!r}"
            )
        self.module: Any = _build(table, read_state(entry.name, files), entry.name)
        side = self.module.config.vision_config.image_size
        shown = _preprocessing(read_table(entry.name, files, "preprocessor_config.json"))
        self.view = View.read(entry.name, side, shown, entry.config)
        self.tokens = self._tokens(entry, files)
        self.scale = float(self.module.logit_scale.exp())
        self.bias = float(self.module.logit_bias) if self._kind == "siglip" else None

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
        trained = READ[str(kind)] or text.max_position_embeddings
        length = int(entry.config.get("context_length", trained))
        if kind == "siglip":
            return file_tokens(entry.name, files, length, None, str.lower)
        if kind == "clip" and text.vocab_size == CLIP_VOCABULARY and not has_tokenizer(files):
            return bpe_tokens(length)
        pad = text.pad_token_id if kind in MASKED else 0
        return file_tokens(entry.name, files, length, pad, str)


def _build(table: Mapping[str, Any], state: dict[str, Any], name: str) -> Any:
    """Build the network and load its weights, also where the file has names of older versions."""
    import torch
    from transformers import AutoConfig, AutoModel
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    config = AutoConfig.for_model(**table)
    network = MODEL_MAPPING[type(config)]
    assert AutoModel is not None
    with _without_progress_bar():
        module, report = network.from_pretrained(
            None, config=config, state_dict=state, dtype=torch.float32, output_loading_info=True
        )
    check_keys(
        name,
        missing=report["missing_keys"],
        unexpected=report["unexpected_keys"],
        misshapen={key for key, *_ in report["mismatched_keys"]},
    )
    return module


@contextlib.contextmanager
def _without_progress_bar() -> Iterator[None]:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _preprocessing(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a preprocessor_config.json in the terms of a View.

    Without a crop the model takes the whole photo, whatever its shape: it is squashed.
    """
    size = table.get("size")
    crops = table.get("do_center_crop", isinstance(size, Mapping) and "shortest_edge" in size)
    renamed = {"mean": table.get("image_mean"), "std": table.get("image_std")}
    renamed["interpolation"] = RESAMPLE.get(table.get("resample", 3), table.get("resample"))
    renamed["resize_mode"] = "shortest" if crops else "squash"
    return {name: value for name, value in renamed.items() if value is not None}
