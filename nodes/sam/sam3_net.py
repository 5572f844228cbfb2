"""SAM 3's network: transformers' modules, run on batches of photos and phrases.

Imported by `load` alone, because it needs torch. Shapes: S the side of the square; C h w a photo's
features; T tokens of a phrase; N objects; L the side of a low-resolution mask, 288 as published.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

from visionweave import ValueTypeError, WeightsError

from .._regions import Pixels
from .hub import HubShape, build_model, read_state
from .sam2_net import Sight

__all__ = ["Sam3Net", "build"]

Floats = npt.NDArray[np.float32]
Ids = tuple[int, ...]
Scene = tuple[Tensor, ...]
"""A photo's features, the finest first: (C, 4 h, 4 w), (C, 2 h, 2 w), (C, h, w)."""


class Reader:
    """SAM 3's reading of phrases.

    Args:
        model: transformers' Sam3Model.
        tokenizer: of its phrases, which neither cuts nor pads.
    """

    def __init__(self, model: Any, tokenizer: Tokenizer) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._length: int = model.config.text_config.max_position_embeddings

    def ids(self, phrase: str) -> Ids:
        """Return the tokens of a phrase, start and end included.

        Raises:
            ValueTypeError: the phrase is longer than the model reads.
        """
        ids = tuple(self._tokenizer.encode(phrase).ids)
        if len(ids) > self._length:
            shown = phrase if len(phrase) <= 60 else f"{phrase[:57]}..."
            raise ValueTypeError(
                f"the phrase {shown!r} has {len(ids)} tokens, and this model reads {self._length}; "
                "shorten it"
            )
        return ids

    def features(self, ids: Ids) -> Tensor:
        """Return the features of a phrase, (T, C), with what fills its place up."""
        filled = torch.tensor([ids + ids[-1:] * (self._length - len(ids))])
        features = self._model.get_text_features(
            input_ids=filled.to(self._model.device), attention_mask=self.mask(ids)[None]
        )
        result: Tensor = features.pooler_output[0]
        return result

    def mask(self, ids: Ids) -> Tensor:
        """(T,) int64: 1 where a token is, 0 where the place is filled up."""
        return (torch.arange(self._length, device=self._model.device) < len(ids)).long()


class Sam3Net(nn.Module):
    """SAM 3 in two parts: `look` for photos, `detect` for phrases.

    Args:
        model: transformers' Sam3Model.
        shape: its sizes.
        tokenizer: of its phrases, which neither cuts nor pads.
    """

    def __init__(self, model: Any, shape: HubShape, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.model, self.sight, self.reader = model, Sight(shape), Reader(model, tokenizer)
        # Photos of a folder are mostly asked for the same phrases.
        self.read = functools.lru_cache(maxsize=256)(self.reader.features)

    def look(self, photos: Sequence[Pixels]) -> list[Scene]:
        """Return the features of each photo.

        Args:
            photos: (S, S, 3) RGB, squashed to the square.
        """
        # The last, coarsest level is not used.
        *levels, _ = self.model.get_vision_features(self.sight(photos)).fpn_hidden_states
        return list(zip(*levels, strict=True))

    def detect(
        self, asked: Sequence[tuple[Scene, Ids]], threshold: float
    ) -> list[tuple[Floats, Floats, Floats]]:
        """Find all that a phrase names in a photo.

        Args:
            asked: pairs of a photo's features and a phrase's tokens.
            threshold: the score that an object must pass.

        Returns:
            For each pair the N objects': (N,) scores; (N, 4) boxes, x1, y1, x2, y2 as parts of the
            photo; (N, L, L) probabilities of its pixels.
        """
        scenes, phrases = zip(*asked, strict=True)
        words = [self.read(ids) for ids in phrases]
        found = self.model(
            vision_embeds=self._vision(scenes),
            text_embeds=BaseModelOutputWithPooling(pooler_output=torch.stack(words)),
            attention_mask=torch.stack([self.reader.mask(ids) for ids in phrases]),
        )
        scores = (found.pred_logits.sigmoid() * found.presence_logits.sigmoid()).float()
        results = []
        for score, boxes, masks in zip(scores, found.pred_boxes, found.pred_masks, strict=True):
            good = score > threshold
            parts = score[good], boxes[good].float(), masks[good].float().sigmoid()
            results.append(tuple(part.cpu().numpy() for part in parts))
        return results

    def _vision(self, scenes: Sequence[Scene]) -> Sam3VisionEncoderOutput:
        levels = [torch.stack(level) for level in zip(*scenes, strict=True)]
        encoding = self.model.vision_encoder.neck.position_encoding
        # In bf16, eight bits would be too few to count the cells of a row.
        places = [encoding(level.shape, level.device, torch.float32) for level in levels]
        return Sam3VisionEncoderOutput(
            fpn_hidden_states=(*levels, levels[-1]),  # of which the model leaves out the last
            fpn_position_encoding=(*places, places[-1]),
        )


def build(name: str, shape: HubShape, files: Mapping[str, Path], device: str) -> Sam3Net:
    """Return the network with the weights of the checkpoint called `name`, ready to run.

    Raises:
        WeightsError: its files are not those of a SAM 3 of this shape.
    """
    if "tokenizer.json" not in files:
        raise WeightsError(f"{name}: its list of files lacks tokenizer.json; add it")
    try:
        tokenizer = Tokenizer.from_file(str(files["tokenizer.json"]))
    except Exception as error:  # the library raises bare Exceptions
        raise WeightsError(f"{name}: cannot read its tokenizer: {error}") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    model = build_model(name, shape, read_state(files))
    return Sam3Net(model, shape, tokenizer).to(device).eval()
