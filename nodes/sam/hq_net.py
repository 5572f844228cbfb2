"""HQ-SAM's network: SAM with one more token, which draws finer masks from earlier features.

Paper: Ke et al. 2023, "Segment Anything in High Quality", arXiv:2306.01567. Code: Apache-2.0; this
is visionweave's own, with the modules named as in the published checkpoints.
Shapes as in `_sam_net`; V channels of the encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from segment_anything.modeling import MaskDecoder
from segment_anything.modeling.common import LayerNorm2d
from segment_anything.modeling.mask_decoder import MLP
from torch import Tensor, nn

from .._regions import Pixels
from .net import SamNet, painted

__all__ = ["HqDecoder", "HqNet"]


class HqDecoder(MaskDecoder):  # type: ignore[misc]
    """SAM's mask decoder and what HQ-SAM adds to it.

    Args:
        encoder_dim: V.
        transformer_dim: C.
        settings: of MaskDecoder.
    """

    def __init__(self, encoder_dim: int, *, transformer_dim: int, **settings: Any) -> None:
        super().__init__(transformer_dim=transformer_dim, **settings)
        half, quarter = transformer_dim // 4, transformer_dim // 8
        self.hf_token = nn.Embedding(1, transformer_dim)
        self.hf_mlp = MLP(transformer_dim, transformer_dim, quarter, 3)
        self.compress_vit_feat = _upscaling(encoder_dim, transformer_dim, quarter)
        self.embedding_encoder = _upscaling(transformer_dim, half, quarter)
        self.embedding_maskfeature = nn.Sequential(
            nn.Conv2d(quarter, half, 3, padding=1),
            LayerNorm2d(half),
            nn.GELU(),
            nn.Conv2d(half, quarter, 3, padding=1),
        )


def _upscaling(channels: int, middle: int, out: int) -> nn.Sequential:
    """From h x w cells to low x low."""
    return nn.Sequential(
        nn.ConvTranspose2d(channels, middle, 2, stride=2),
        LayerNorm2d(middle),
        nn.GELU(),
        nn.ConvTranspose2d(middle, out, 2, stride=2),
    )


class HqNet(SamNet):
    """HQ-SAM in two parts, as SamNet; a photo's embedding comes with its fine features."""

    def encode(self, photos: Sequence[Pixels]) -> list[Any]:
        """Return for each photo its embedding (C, h, w) and its fine features (C / 8, low, low)."""
        encoder, decoder = self.sam.image_encoder, self.sam.mask_decoder
        cells = encoder.patch_embed(torch.stack([self.square(photo) for photo in photos]))
        if encoder.pos_embed is not None:
            cells = cells + encoder.pos_embed
        early: Tensor | None = None
        for block in encoder.blocks:
            cells = block(cells)
            if early is None and block.window_size == 0:  # the first that sees the whole photo
                early = cells.permute(0, 3, 1, 2)
        embeddings = encoder.neck(cells.permute(0, 3, 1, 2))
        fine = decoder.embedding_encoder(embeddings) + decoder.compress_vit_feat(early)
        return list(zip(embeddings, fine, strict=True))

    def predict(
        self, embeddings: Sequence[Any], sparse: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The mask decoder; to each of SAM's masks the logits of the finer one are added."""
        decoder = self.sam.mask_decoder
        tokens_of = (decoder.iou_token, decoder.mask_tokens, decoder.hf_token)
        own = torch.cat([each.weight for each in tokens_of])
        coarse = torch.stack([embedding for embedding, _ in embeddings])
        tokens, features = self.transform(own, coarse, sparse, dense)
        heads = enumerate(decoder.output_hypernetworks_mlps, start=1)
        kernels = torch.stack([head(tokens[:, place]) for place, head in heads], dim=1)
        early = torch.stack([fine for _, fine in embeddings])
        finer = decoder.embedding_maskfeature(features) + early
        finest = decoder.hf_mlp(tokens[:, len(own) - 1])[:, None]
        logits = painted(kernels, features) + painted(finest, finer)
        return logits, decoder.iou_prediction_head(tokens[:, 0])
