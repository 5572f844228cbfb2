"""Where the training of TripoSR's network begins: knowing which pixel lies on which ray.

With plain random weights the first thousands of pictures teach nothing but where things are. Here
the positions of the image's patches and of the planes' cells are written as sines and cosines of
one frame, and attention from planes to image begins by looking for what lies at the same place: a
cell of the plane yz sees its own patch, one of the planes xy or xz its column or row of patches.
All of these are ordinary weights and are trained.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from training.models._triposr_inflate import HALF_SIDE
from visionweave.nodes.triposr.config import Config
from visionweave.nodes.triposr.net import TripoSR

__all__ = ["begin"]

SHARPNESS = 1.6
"""The gain of the first queries and keys: how much more like places attract."""


@torch.no_grad()
def begin(config: Config) -> TripoSR:
    """Return a network to be trained.

    Raises:
        ValueError: image and planes differ in width, so that positions cannot be shared.
    """
    if config.image_width != config.width:
        raise ValueError(f"image_width {config.image_width} must be the width, {config.width}")
    network = TripoSR(config)
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    _start_image(network, config)
    _start_planes(network, config)
    _start_field(network)
    return network


def _start_image(network: TripoSR, config: Config) -> None:
    model = network.image_tokenizer["model"]
    patches = model.embeddings["patch_embeddings"]["projection"]
    nn.init.orthogonal_(patches.weight.view(len(patches.weight), -1), gain=0.4)
    nn.init.zeros_(patches.bias)
    nn.init.zeros_(model.embeddings.cls_token)
    side = config.image_size // config.patch_size
    axis = _axis(side, HALF_SIDE)
    z, y = torch.meshgrid(-axis, axis, indexing="ij")  # rows run down, and z runs up
    code = torch.cat([_code(y, config), _code(z, config), torch.zeros_like(_code(y, config))], -1)
    nothing = torch.zeros(1, 1, config.image_width)
    model.embeddings.position_embeddings.copy_(
        torch.cat([nothing, code.reshape(1, side * side, -1)], dim=1)
    )
    for layer in model.layers:
        layer.attention["o_proj"].weight.mul_(0.3)
        layer.mlp["fc2"].weight.mul_(0.3)


def _start_planes(network: TripoSR, config: Config) -> None:
    axis = _axis(config.plane_side, config.radius)
    # A point's first coordinate runs along the width of its plane, the second along the height.
    second, first = torch.meshgrid(axis, axis, indexing="ij")
    a, b = _code(first, config), _code(second, config)
    nothing = torch.zeros_like(a)
    xy, xz, yz = (
        torch.cat(parts, dim=-1) for parts in ((b, nothing, a), (nothing, b, a), (a, b, nothing))
    )
    embeddings = torch.stack([xy, xz, yz]).permute(0, 3, 1, 2)
    network.tokenizer["embeddings"].copy_(embeddings)
    backbone = network.backbone
    nn.init.eye_(backbone.proj_in.weight)
    for block in backbone.transformer_blocks:
        nn.init.orthogonal_(block.attn2.to_q.weight, gain=SHARPNESS)
        block.attn2.to_k.weight.copy_(block.attn2.to_q.weight)
        for attention, share in ((block.attn1, 0.3), (block.attn2, 1.0)):
            attention.to_out[0].weight.mul_(share)
        block.ff["net"]["2"].weight.mul_(0.3)
    upsample = network.post_processor["upsample"]
    nn.init.normal_(upsample.weight, std=1 / math.sqrt(config.width))
    nn.init.zeros_(upsample.bias)


def _start_field(network: TripoSR) -> None:
    linear = [layer for layer in network.decoder.layers if isinstance(layer, nn.Linear)]
    for layer in linear[:-1]:
        nn.init.kaiming_normal_(layer.weight)
    nn.init.normal_(linear[-1].weight, std=0.02)


def _axis(side: int, reach: float) -> Tensor:
    """The middles of `side` cells from -reach to +reach."""
    return ((torch.arange(side) + 0.5) / side * 2 - 1) * reach


def _code(places: Tensor, config: Config) -> Tensor:
    """Sines and cosines of places (A, B) in a third of the channels: (A, B, width / 3)."""
    count = config.width // 6
    longest, shortest = 4 * config.radius, 4 * config.radius / config.plane_side
    waves = longest * (shortest / longest) ** (torch.arange(count) / (count - 1))
    angles = 2 * math.pi * places[..., None] / waves
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
