"""SAM's network: segment_anything's modules, run on batches of several photos and their prompts.

Imported by `load` alone, because it needs torch. Shapes: B photos, N prompts, C channels,
h w cells of the photo's embedding, K masks a prompt, n heads, d channels a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from segment_anything.modeling import Sam
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

from .._regions import Pixels
from .prompts import Answer, Asked, answered

__all__ = ["FoldedAttention", "FusedAttention", "SamNet", "painted", "points_of", "stacked"]


class SamNet(nn.Module):
    """SAM in two parts: `encode` for photos, `decode` for prompts.

    Args:
        sam: segment_anything's model.
        fast_attention: whether its encoder's attention is replaced by `FoldedAttention`, or by
            `FusedAttention` where there are no relative positions.
    """

    def __init__(self, sam: Sam, fast_attention: bool) -> None:
        super().__init__()
        self.sam = sam
        self.side: int = sam.image_encoder.img_size
        self.register_buffer("places", sam.prompt_encoder.get_dense_pe(), persistent=False)
        for block in sam.image_encoder.blocks if fast_attention else ():
            faster = FoldedAttention if block.attn.use_rel_pos else FusedAttention
            block.attn = faster(block.attn)

    def encode(self, photos: Sequence[Pixels]) -> list[Tensor]:
        """Return the embedding of each photo, (C, h, w).

        Args:
            photos: (height, width, 3) RGB, scaled to the square but not padded.
        """
        embeddings: Tensor = self.sam.image_encoder(torch.stack([self.square(p) for p in photos]))
        return list(embeddings)

    def square(self, pixels: Pixels) -> Tensor:
        """Normalise a photo, then pad it: the padding is zeros to the encoder, not black."""
        sam = self.sam
        chw = torch.tensor(pixels, device=sam.device).permute(2, 0, 1)
        chw = (chw - sam.pixel_mean) / sam.pixel_std
        return pad(chw, (0, self.side - chw.shape[2], 0, self.side - chw.shape[1]))

    def decode(self, asked: Sequence[Asked], multimask: bool) -> list[Answer]:
        """Answer prompts, each about its own photo: with three masks, or with one."""
        return answered(asked, lambda same: self._answer(same, multimask))

    def _answer(self, asked: list[Asked], multimask: bool) -> list[Answer]:
        device = self.sam.device
        # In bf16 a point would lie a pixel or more off: eight bits are too few for its place.
        with torch.autocast(device.type, enabled=False):
            sparse, dense = self.sam.prompt_encoder(
                points=points_of(asked, device),
                boxes=stacked([each.box for each in asked], device),
                masks=stacked([each.logits for each in asked], device),
            )
        logits, iou = self.predict([each.embedding for each in asked], sparse, dense)
        chosen = slice(1, None) if multimask else slice(0, 1)
        pairs = zip(logits[:, chosen].float().cpu(), iou[:, chosen].float().cpu(), strict=True)
        return [(masks.numpy(), scores.numpy()) for masks, scores in pairs]

    def predict(
        self, embeddings: Sequence[Any], sparse: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The mask decoder, for prompts about different photos: its own `forward` takes one photo.

        Args:
            embeddings: of each prompt's photo, N of what `encode` returns.
            sparse: (N, T, C) tokens of points and boxes.
            dense: (N, C, h, w) of rough masks.

        Returns:
            (N, 4, low, low) logits, and (N, 4) predicted IoU: of the single mask, then of three.
        """
        decoder = self.sam.mask_decoder
        own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        tokens, fine = self.transform(own, torch.stack(list(embeddings)), sparse, dense)
        heads = enumerate(decoder.output_hypernetworks_mlps, start=1)
        kernels = torch.stack([head(tokens[:, place]) for place, head in heads], dim=1)
        return painted(kernels, fine), decoder.iou_prediction_head(tokens[:, 0])

    def transform(
        self, own: Tensor, embeddings: Tensor, sparse: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Let the decoder's own tokens (O, C) and the prompts' attend to the photos, and they back.

        Returns:
            (N, O + T, C) tokens, and (N, C / 8, low, low) features of the photos.
        """
        decoder, count = self.sam.mask_decoder, len(sparse)
        tokens = torch.cat([own.expand(count, -1, -1), sparse], dim=1)
        cells = embeddings + dense
        places = self.places.expand(count, -1, -1, -1)
        tokens, flat = decoder.transformer(cells, places, tokens)
        return tokens, decoder.output_upscaling(flat.transpose(1, 2).reshape(cells.shape))


def painted(kernels: Tensor, fine: Tensor) -> Tensor:
    """Return the masks that kernels (N, K, c) make of features (N, c, low, low)."""
    return (kernels @ fine.flatten(2)).unflatten(2, fine.shape[2:])


def points_of(asked: list[Asked], device: torch.device) -> tuple[Tensor, Tensor] | None:
    """Return the points of N prompts, (N, P, 2), and their signs, (N, P); None without any."""
    if len(asked[0].xy) == 0:
        return None
    labels = torch.tensor(np.stack([each.positive for each in asked]), dtype=torch.int)
    return torch.tensor(np.stack([each.xy for each in asked])).to(device), labels.to(device)


def stacked(parts: list[Any], device: torch.device) -> Tensor | None:
    """Return the boxes, or the rough masks, of N prompts, (N, …); None where they have none."""
    return None if parts[0] is None else torch.tensor(np.stack(parts)).to(device)


class FusedAttention(nn.Module):
    """The encoder's attention without relative positions, by the fused kernel.

    Args:
        attention: segment_anything's, whose weights are shared.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.qkv, self.proj, self.heads = attention.qkv, attention.proj, attention.num_heads

    def forward(self, cells: Tensor) -> Tensor:
        """Attend within each of (B, h, w, C)."""
        qkv = self.qkv(cells).flatten(1, 2).unflatten(2, (3, self.heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # (B, n, h w, d) each
        mixed = scaled_dot_product_attention(query, key, value)
        result: Tensor = self.proj(mixed.transpose(1, 2).reshape(cells.shape))
        return result


class FoldedAttention(nn.Module):
    """The encoder's attention with its relative positions folded into queries and keys.

    The published one adds q·R_h and q·R_w to the logits of every pair of cells, a table of
    (h w) x (h w) a head. Here q·R_h and q·R_w are appended to the queries, and to each key the
    one-hot row and column of its cell, so that the same sum is one product, and the fused kernel
    never writes the table. Equal to the original but for rounding.

    Args:
        attention: segment_anything's, whose weights are shared.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.qkv, self.proj = attention.qkv, attention.proj
        self.heads, self.scale = attention.num_heads, attention.scale
        rows, columns = _offsets(attention.rel_pos_h), _offsets(attention.rel_pos_w)
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", columns, persistent=False)
        height, width = len(rows), len(columns)
        place_rows = torch.eye(height).repeat_interleave(width, dim=0)
        place_columns = torch.eye(width).repeat(height, 1)
        places = torch.cat([place_rows, place_columns], dim=1).to(rows)
        self.register_buffer("places", places, persistent=False)

    def forward(self, cells: Tensor) -> Tensor:
        """Attend within each of (B, h, w, C)."""
        batch, height, width, _ = cells.shape
        qkv = self.qkv(cells).reshape(batch, height * width, 3, self.heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # (B, n, h w, d) each
        by_cell = query.unflatten(2, (height, width))
        rows = torch.einsum("bnhwd,hkd->bnhwk", by_cell, self.rows).flatten(2, 3)
        columns = torch.einsum("bnhwd,wkd->bnhwk", by_cell, self.columns).flatten(2, 3)
        query = torch.cat([query * self.scale, rows, columns], dim=3)
        key = torch.cat([key, self.places.to(key).expand(batch, self.heads, -1, -1)], dim=3)
        channels = value.shape[3]
        # The fused kernels want values as wide as the keys.
        value = pad(value, (0, key.shape[3] - channels))
        mixed = scaled_dot_product_attention(query, key, value, scale=1.0)[..., :channels]
        result: Tensor = self.proj(mixed.transpose(1, 2).reshape(cells.shape))
        return result


def _offsets(table: Tensor) -> Tensor:
    """Return (L, L, d): for each pair of rows (or columns) the vector of the distance between."""
    length = (len(table) + 1) // 2
    place = torch.arange(length, device=table.device)
    return table[place[:, None] - place[None, :] + length - 1]
