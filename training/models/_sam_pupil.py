"""The network that learns to be mini-sam: the node's own, and a layer that helps it learn."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from visionweave.nodes.sam.build_net import empty_sam
from visionweave.nodes.sam.net import SamNet
from visionweave.nodes.sam.shape import SamShape

from ._sam_losses import rough_logits

__all__ = ["CONFIG", "SHAPE", "Pupil"]

CONFIG: dict[str, Any] = {
    "image_size": 128,
    "patch_size": 8,
    "encoder_embed_dim": 128,
    "encoder_depth": 4,
    "encoder_num_heads": 4,
    "encoder_global_attn_indexes": [1, 3],
    "window_size": 8,
    "mlp_ratio": 2.0,
    "use_rel_pos": False,
    "prompt_embed_dim": 128,
    "mask_in_chans": 16,
    "decoder_depth": 2,
    "decoder_num_heads": 4,
    "decoder_mlp_dim": 256,
    "iou_head_hidden_dim": 128,
}
SHAPE = SamShape.from_config(CONFIG, "mini-sam")


class Pupil(nn.Module):
    """The network that the node runs, and the layer that helps it learn.

    Attributes:
        net: what is shipped.
        dense: what every cell should know, from its embedding; see `dense_losses`.
    """

    def __init__(self) -> None:
        super().__init__()
        sam = empty_sam(SHAPE)
        _settle_places(sam)
        self.net = SamNet(sam, fast_attention=True)
        self.dense = nn.Conv2d(SHAPE.prompt_embed_dim, 16 + 4, 1)

    def embed(self, images: Tensor) -> Tensor:
        """Return the embeddings (B, C, h, h) of images (B, S, S, 3), uint8."""
        sam = self.net.sam
        embeddings: Tensor = sam.image_encoder(
            (images.permute(0, 3, 1, 2) - sam.pixel_mean) / sam.pixel_std
        )
        return embeddings

    def answer(self, embeddings: Tensor, said: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the logits (B, 4, L, L) and predicted IoU (B, 4) for one prompt about each."""
        points = (said["xy"], said["positive"].int()) if "xy" in said else None
        rough = rough_logits(said["rough"], SHAPE.low_size) if "rough" in said else None
        # Eight bits, which bf16 has, are too few for a place.
        with torch.autocast(embeddings.device.type, enabled=False):
            sparse, dense = self.net.sam.prompt_encoder(points, said.get("box"), rough)
        return self.net.predict(list(embeddings), sparse, dense)


def _settle_places(sam: Any) -> None:
    """Make the code of places the same in every network, and tell it to the encoder's cells.

    It is drawn by chance but never learnt, and `SamNet` computes with it when it is built. Cells
    that carry the places in the prompts' own code are found by the prompts sooner.
    """
    layer = sam.prompt_encoder.pe_layer
    code = layer.positional_encoding_gaussian_matrix
    chance = torch.Generator().manual_seed(0)
    code.copy_(torch.randn(code.shape, generator=chance).half())  # exact when shipped in halves
    with torch.no_grad():
        sam.image_encoder.pos_embed.copy_(sam.prompt_encoder.get_dense_pe().permute(0, 2, 3, 1) / 2)
