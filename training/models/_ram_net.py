"""RAM with two more heads, which name what every part of a picture shows; they are not shipped.

A tag says only that a thing is somewhere. Saying where teaches its name from far fewer pictures,
and the Swin that learnt it is a good beginning for Grounding DINO's, whose keys are the same.

Letters: B photos, S side, T tokens of the last stage, C classes, E width of a label embedding.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from visionweave.nodes.tag2text.config import Config
from visionweave.nodes.tag2text.net import Ram

__all__ = ["FINE", "Seen", "Student", "student"]

FINE = 16
"""Pixels of a side of the finer cells, those of the last stage but one; the last has 32."""

_RARE = -3.5
"""The logit of a tag before anything is learnt: of a hundred things a scene has three."""


class Seen(NamedTuple):
    """What the network says of a batch.

    Attributes:
        tags: (B, C) in [0, 1], as the node gives them.
        fine: (B, cells, C + 1) logits of names and, last, background, for cells of `FINE` pixels.
        coarse: (B, T, C + 1) the same for the tokens of the last stage.
    """

    tags: Tensor
    fine: Tensor
    coarse: Tensor


class Student(Ram):
    """RAM as the node has it, and the two heads, whose keys all begin with "dense"."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config = config
        self.side = config.image_size
        middle = config.image_width // 2
        self.dense_norm = nn.LayerNorm(middle)
        self.dense_fine = nn.Linear(middle, config.classes + 1)
        self.dense_background = nn.Linear(config.label_width, 1)
        # Faster than the fused attention here: the windows have but 25 tokens.
        self.visual_encoder.set_attn_implementation("eager")
        self.initialise()

    def forward(self, pixels: Tensor) -> Seen:
        """(B, S, S, 3) uint8 -> tags and cells."""
        seen = self.visual_encoder(
            self.normalised(pixels),
            output_hidden_states=True,
            output_hidden_states_before_downsampling=True,
        )
        tokens = self.image_proj(
            torch.cat([seen.pooler_output[:, None], seen.last_hidden_state], 1)
        )
        middle = seen.reshaped_hidden_states[-2].flatten(2).transpose(1, 2)
        fine = self.dense_fine(self.dense_norm(middle))
        return Seen(self.score(tokens), fine, self._named(tokens[:, 1:]))

    def shipped(self) -> dict[str, Tensor]:
        """The tensors of the checkpoint: all but those of the two heads."""
        kept = self.state_dict().items()
        return {name: tensor for name, tensor in kept if not name.startswith("dense")}

    @torch.no_grad()
    def initialise(self) -> None:
        """Fill in random weights, such that the tagging head finds its way soon."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.label_embed)
        nn.init.constant_(self.fc.bias, _RARE)
        # Half of a random ReLU feature of a label, times the same feature of a token without the
        # ReLU, is their likeness: so each label begins by looking at the tokens that resemble it.
        first = self.head[0]
        nn.init.orthogonal_(first.query.weight)
        first.key.weight.copy_(first.query.weight @ self.wordvec_proj.weight)

    def _named(self, tokens: Tensor) -> Tensor:
        """(B, T, E) -> (B, T, C + 1): likeness to the label embeddings themselves.

        So the tokens move towards the labels of what they show, as in RAM towards CLIP's.
        """
        names = tokens @ self.label_embed.T / self.label_embed.shape[1] ** 0.5
        return torch.cat([names, self.dense_background(tokens)], 2)


def student(classes: int) -> Student:
    """Return a fresh network: a Swin for 160 pixels, 5 x 5 tokens in its last stage."""
    return Student(
        Config(
            variant="ram",
            image_size=160,
            patch_size=8,
            embed_dim=64,
            depths=(1, 2, 2),
            num_heads=(4, 8, 8),
            window_size=5,
            classes=classes,
            label_width=64,
            hidden=128,
            head_layers=2,
            head_heads=4,
            intermediate=128,
            spaces=("tag2text/mini-ram",),
            weights="model.safetensors",
            tags="tags.txt",
            tags_zh="tags_zh.txt",
            thresholds="thresholds.txt",
        )
    )
