"""Building SAM's network from a checkpoint: the original, HQ-SAM, or MobileSAM.

Imported by `load` alone, because it needs torch.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from segment_anything.modeling import ImageEncoderViT, PromptEncoder, Sam, TwoWayTransformer
from segment_anything.modeling import MaskDecoder as SamDecoder
from torch import nn

from visionweave import WeightsError

from .hq_net import HqDecoder, HqNet
from .net import SamNet
from .shape import SamShape
from .tiny_net import TinyEncoder, renamed

__all__ = ["build", "empty_sam"]


def build(
    name: str, shape: SamShape, tensors: dict[str, Any], device: str, fast_attention: bool = True
) -> SamNet:
    """Return the network with the weights of the checkpoint called `name`, in fp32, ready to run.

    Raises:
        WeightsError: the tensors are not those of a SAM of this shape.
    """
    with torch.device("meta"):  # building it with random weights first would take seconds
        sam = empty_sam(shape)
    tensors = renamed(tensors) if shape.tiny else tensors
    extra = ("pixel_mean", "pixel_std")  # not of the model's state; some files hold them
    weights = {
        name: each.float() if each.is_floating_point() else each
        for name, each in tensors.items()
        if name not in extra
    }
    try:
        sam.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise WeightsError(f"{name} is not a SAM of the sizes in its config: {error}") from None
    sam.pixel_mean = torch.tensor(shape.pixel_mean).view(3, 1, 1)
    sam.pixel_std = torch.tensor(shape.pixel_std).view(3, 1, 1)
    sam.requires_grad_(False)
    net = HqNet if shape.hq else SamNet
    # TinyViT's attention is fused as it is.
    return net(sam.to(device), fast_attention and not shape.tiny).eval()


def empty_sam(shape: SamShape) -> Sam:
    """Return segment_anything's model in the sizes of `shape`, its weights as torch makes them."""
    cells = shape.image_size // shape.patch_size
    encoder = TinyEncoder(shape) if shape.tiny else _encoder(shape)
    prompts = PromptEncoder(
        embed_dim=shape.prompt_embed_dim,
        image_embedding_size=(cells, cells),
        input_image_size=(shape.image_size, shape.image_size),
        mask_in_chans=shape.mask_in_chans,
    )
    decoder_of = partial(HqDecoder, shape.encoder_embed_dim) if shape.hq else SamDecoder
    decoder = decoder_of(
        num_multimask_outputs=3,
        transformer_dim=shape.prompt_embed_dim,
        transformer=TwoWayTransformer(
            depth=shape.decoder_depth,
            embedding_dim=shape.prompt_embed_dim,
            mlp_dim=shape.decoder_mlp_dim,
            num_heads=shape.decoder_num_heads,
        ),
        iou_head_depth=shape.iou_head_depth,
        iou_head_hidden_dim=shape.iou_head_hidden_dim,
    )
    return Sam(encoder, prompts, decoder, list(shape.pixel_mean), list(shape.pixel_std))


def _encoder(shape: SamShape) -> ImageEncoderViT:
    return ImageEncoderViT(
        img_size=shape.image_size,
        patch_size=shape.patch_size,
        embed_dim=shape.encoder_embed_dim,
        depth=shape.encoder_depth,
        num_heads=shape.encoder_num_heads,
        mlp_ratio=shape.mlp_ratio,
        out_chans=shape.prompt_embed_dim,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=shape.use_rel_pos,
        window_size=shape.window_size,
        global_attn_indexes=shape.encoder_global_attn_indexes,
    )
