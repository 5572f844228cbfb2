"""BLIP-2's captions: a language model continues what a Q-Former makes of a picture.

Letters as in `_blip_net`; here T are the Q-Former's queries, and W is the language model's width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from visionweave import WeightsError

from .net import Ids, Seer, by_length
from .words import Search

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["Captioner2"]


class Captioner2(Seer):
    """Writes captions as `Captioner` does, by a decoder-only language model, such as OPT.

    Raises:
        WeightsError: the language model has an encoder (Flan-T5), which is not wrapped here.
    """

    def __init__(self, network: Any, tokenizer: Tokenizer, enc: int | None = None) -> None:
        if network.language_model.config.is_encoder_decoder:
            kind = network.language_model.config.model_type
            raise WeightsError(
                f"captions need a BLIP-2 with a decoder-only language model, such as OPT; this one "
                f"has {kind}, which has an encoder too: choose another checkpoint"
            )
        super().__init__(network, tokenizer, enc)

    def start(self, prompt: str, search: Search) -> list[int]:
        """The ids between the picture and the caption; see `Words.start`."""
        return self.words.start(prompt, search, before=self.network.config.num_query_tokens)

    def caption(self, asked: list[tuple[Tensor, Ids]], search: Search) -> list[list[int]]:
        """Picture tokens and the ids that come next -> the ids that follow."""
        return by_length(asked, lambda alike: self._continue(alike, search))

    def _encode(self, batch: Tensor) -> Tensor:
        tokens: Tensor = self.network.get_image_features(batch).pooler_output
        return tokens

    def _continue(self, asked: list[tuple[Tensor, Ids]], search: Search) -> list[list[int]]:
        ids = torch.tensor([ids for _, ids in asked], device=self.network.device)
        pictures = torch.stack([tokens for tokens, _ in asked])
        known = torch.cat([pictures, self.network.get_input_embeddings()(ids)], dim=1)
        sequences = self.network.language_model.generate(
            inputs_embeds=known,
            attention_mask=torch.ones(known.shape[:2], dtype=torch.long, device=known.device),
            **self.words.arguments(search),
        )
        return [self.words.until_end(row) for row in sequences.tolist()]
