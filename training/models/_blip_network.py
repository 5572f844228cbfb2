"""The network of mini-blip: transformers' BLIP at a small size, with a head for patches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import BlipConfig, BlipForConditionalGeneration

from training.models._blip_captions import LENGTH
from training.models._vit_dense import PATCH, PatchNames
from training.models._vit_pictures import SIDE
from training.models._vit_words import BEGIN, END, PAD
from training.world import VOCABULARY_SIZE

__all__ = ["HEADS", "LAYERS", "WIDTH", "Captioner", "blip_config", "see"]

WIDTH, LAYERS, HEADS, RATIO = 192, 4, 4, 2
_TEXT_WIDTH = 128


def blip_config() -> BlipConfig:
    """Return the configuration of mini-blip."""
    return BlipConfig(
        vision_config={
            "hidden_size": WIDTH,
            "intermediate_size": RATIO * WIDTH,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS,
            "image_size": SIDE,
            "patch_size": PATCH,
        },
        text_config={
            "vocab_size": VOCABULARY_SIZE,
            "hidden_size": _TEXT_WIDTH,
            "intermediate_size": 2 * _TEXT_WIDTH,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 2 * LENGTH,
            "bos_token_id": BEGIN,
            "eos_token_id": END,
            "sep_token_id": END,
            "pad_token_id": PAD,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
        },
    )


class Captioner(nn.Module):
    """BLIP, and what helps it to learn.

    Attributes:
        blip: what is exported.
        names: names the patches.
    """

    def __init__(self) -> None:
        super().__init__()
        self.blip: Any = BlipForConditionalGeneration(blip_config())
        self.names = PatchNames(WIDTH)
        _initialise(self.blip)

    def write(self, tokens: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Read captions and say how they go on.

        Args:
            tokens: (B, L) int64.
            seen: (B, T, W) picture tokens.

        Returns:
            Logits (B, L, words); and where each token looks, (B, layers, L, T): the mean of the
            heads' attention.
        """
        told = self.blip.text_decoder(
            input_ids=tokens, encoder_hidden_states=seen, output_attentions=True
        )
        looks = torch.stack([each.mean(dim=1) for each in told.cross_attentions], dim=1)
        return told.logits, looks


def see(vision: Any, pixels: Tensor, kept: Tensor | None = None) -> Tensor:
    """Normalised pixels (B, 3, S, S) -> picture tokens (B, 1 + T, W), of the `kept` patches.

    Without `kept` that is what `BlipVisionModel` gives.
    """
    tokens = vision.embeddings(pixels)
    if kept is not None:
        places = torch.cat([torch.zeros_like(kept[:, :1]), kept + 1], dim=1)
        tokens = tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[2]))
    seen: Tensor = vision.post_layernorm(vision.encoder(inputs_embeds=tokens).last_hidden_state)
    return seen


@torch.no_grad()
def _initialise(blip: Any) -> None:
    """Begin so that it learns: with BLIP's 0.02 everywhere the layers are nearly silent."""
    vision = blip.vision_model
    for layer in vision.encoder.layers:
        for part in layer.self_attn.qkv.weight.chunk(3):
            nn.init.xavier_uniform_(part)
        for linear in (layer.self_attn.projection, layer.mlp.fc1, layer.mlp.fc2):
            nn.init.xavier_uniform_(linear.weight)
    nn.init.kaiming_normal_(vision.embeddings.patch_embedding.weight, nonlinearity="linear")
    nn.init.normal_(vision.embeddings.position_embedding, std=0.2)
    for name, weight in blip.text_decoder.named_parameters():
        if "crossattention" in name and weight.ndim == 2:
            nn.init.xavier_uniform_(weight)
