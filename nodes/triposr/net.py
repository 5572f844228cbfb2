"""TripoSR's network: from an image to three planes of features, and the field that they hold.

Modules and parameters carry the checkpoint's names. Letters: B images, N image tokens, T = 3 P P
plane tokens of width C on three P x P grids, F features of a plane of Q = 2 P cells a side.
The model's frame: +x towards the photo's camera, +y to the photo's right, +z up; its cube reaches
from -radius to +radius on each axis.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import Config, current_name

__all__ = ["TripoSR", "build"]


class TripoSR(nn.Module):
    """Image to planes (`forward`), planes to density and colour (`field`, `densities`)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.image_tokenizer = nn.ModuleDict({"model": ImageTokens(config)})
        plane_tokens = torch.empty(3, config.width, config.plane_side, config.plane_side)
        self.tokenizer = nn.ParameterDict({"embeddings": nn.Parameter(plane_tokens)})
        self.backbone = Backbone(config)
        upsample = nn.ConvTranspose2d(config.width, config.features, kernel_size=2, stride=2)
        self.post_processor = nn.ModuleDict({"upsample": upsample})
        self.decoder = Field(config)

    def forward(self, images: Tensor) -> Tensor:
        """(B, image_size, image_size, 3) RGB in [0, 1] to planes (B, 3, F, Q, Q)."""
        context = self.image_tokenizer["model"](images.permute(0, 3, 1, 2))
        embeddings = self.tokenizer["embeddings"]
        # The same for all images, until they meet the image's tokens: computed once for all.
        tokens = self.backbone(embeddings.transpose(0, 1).flatten(1)[None], context)  # B C T
        grids = tokens.unflatten(2, embeddings.shape[:1] + embeddings.shape[2:])  # B C 3 P P
        planes = self.post_processor["upsample"](grids.transpose(1, 2).flatten(0, 1))
        return planes.unflatten(0, (-1, 3)).float()

    def field(self, planes: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """What is at some points.

        Args:
            planes: (B, 3, F, Q, Q).
            points: (B, M, 3) xyz in the model's frame.

        Returns:
            (B, M) log densities, and (B, M, 3) RGB in [0, 1].
        """
        with _full_precision(planes):
            found = self.decoder(planes, points / self.config.radius)
            return found[..., 0] + self.config.density_bias, found[..., 1:].sigmoid()

    def densities(self, planes: Tensor, resolution: int) -> Tensor:
        """(3, F, Q, Q) to densities (R, R, R), axes x, y, z, from corner to corner of the cube."""
        with _full_precision(planes):
            return (self.decoder.grid(planes, resolution) + self.config.density_bias).exp()


class ImageTokens(nn.Module):
    """A ViT with DINO's settings (Caron et al. 2021, arXiv:2104.14294): an image to its tokens."""

    MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

    def __init__(self, config: Config) -> None:
        super().__init__()
        patches = nn.Conv2d(3, config.image_width, config.patch_size, config.patch_size)
        self.embeddings = nn.ModuleDict(
            {"patch_embeddings": nn.ModuleDict({"projection": patches})}
        )
        cls_token = nn.Parameter(torch.empty(1, 1, config.image_width))
        self.embeddings.register_parameter("cls_token", cls_token)
        positions = nn.Parameter(torch.empty(1, 1 + config.position_side**2, config.image_width))
        self.embeddings.register_parameter("position_embeddings", positions)
        self.layers = nn.ModuleList(ImageLayer(config) for _ in range(config.image_layers))
        self.layernorm = nn.LayerNorm(config.image_width, eps=1e-12)
        # In the checkpoint, though nothing reads it.
        self.pooler = nn.ModuleDict({"dense": nn.Linear(config.image_width, config.image_width)})

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in [0, 1] to (B, N, width), the class token first."""
        mean, std = (images.new_tensor(each)[:, None, None] for each in (self.MEAN, self.STD))
        grid = self.embeddings["patch_embeddings"]["projection"]((images - mean) / std)
        cls_token = self.embeddings.cls_token.expand(len(images), -1, -1)
        tokens = torch.cat([cls_token, grid.flatten(2).transpose(1, 2)], dim=1)
        tokens = tokens + interpolate_positions(self.embeddings.position_embeddings, grid.shape[-1])
        for layer in self.layers:
            tokens = layer(tokens)
        return self.layernorm(tokens)


class ImageLayer(nn.Module):
    """One layer of the image transformer, normalised before each part."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width, self.heads = config.image_width, config.image_heads
        names = ("q_proj", "k_proj", "v_proj", "o_proj")
        self.attention = nn.ModuleDict({name: nn.Linear(width, width) for name in names})
        self.layernorm_before = nn.LayerNorm(width, eps=1e-12)
        self.layernorm_after = nn.LayerNorm(width, eps=1e-12)
        mlp = {"fc1": nn.Linear(width, config.image_mlp), "fc2": nn.Linear(config.image_mlp, width)}
        self.mlp = nn.ModuleDict(mlp)

    def forward(self, tokens: Tensor) -> Tensor:
        part, x = self.attention, self.layernorm_before(tokens)
        seen = attend(part["q_proj"](x), part["k_proj"](x), part["v_proj"](x), self.heads)
        tokens = tokens + part["o_proj"](seen)
        x = self.layernorm_after(tokens)
        return tokens + self.mlp["fc2"](F.gelu(self.mlp["fc1"](x)))


class Backbone(nn.Module):
    """The plane transformer: plane tokens attend to each other and to the image's tokens."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(32, config.width, eps=1e-6)
        self.proj_in = nn.Linear(config.width, config.width)
        self.transformer_blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.proj_out = nn.Linear(config.width, config.width)

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        """(1 or B, C, T) and (B, N, width) to (B, C, T)."""
        hidden = self.proj_in(self.norm(tokens).transpose(1, 2)).float()
        for block in self.transformer_blocks:
            hidden = block(hidden, context)
        return self.proj_out(hidden).transpose(1, 2) + tokens


class Block(nn.Module):
    """Self-attention, attention to the image, and a gated MLP, each added to what came in."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(config.width) for _ in range(3))
        self.attn1 = Attention(config.width, config.width, config.heads)
        self.attn2 = Attention(config.width, config.image_width, config.heads)
        gate = nn.ModuleDict({"proj": nn.Linear(config.width, 2 * config.mlp)})
        net = nn.ModuleDict({"0": gate, "2": nn.Linear(config.mlp, config.width)})
        self.ff = nn.ModuleDict({"net": net})

    def forward(self, hidden: Tensor, context: Tensor) -> Tensor:
        x = self.norm1(hidden)
        hidden = hidden + self.attn1(x, x)
        hidden = hidden + self.attn2(self.norm2(hidden), context)
        net = self.ff["net"]
        value, gate = net["0"]["proj"](self.norm3(hidden)).chunk(2, dim=-1)
        return hidden + net["2"](value * F.gelu(gate))


class Attention(nn.Module):
    """Attention of (1 or B, T, C) tokens to (B, N, context) ones."""

    def __init__(self, width: int, context: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context, width, bias=False)
        self.to_v = nn.Linear(context, width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        seen = attend(self.to_q(x), self.to_k(context), self.to_v(context), self.heads)
        return self.to_out[0](seen)


class Field(nn.Module):
    """An MLP over the features that a point finds on the planes xy, xz and yz."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        widths = [3 * config.features, *[config.field_width] * config.field_layers]
        pairs = itertools.pairwise(widths)
        hidden = [layer for a, b in pairs for layer in (nn.Linear(a, b), nn.SiLU())]
        self.layers = nn.Sequential(*hidden, nn.Linear(widths[-1], 4))

    def forward(self, planes: Tensor, points: Tensor) -> Tensor:
        """(B, 3, F, Q, Q) planes and (B, M, 3) points in [-1, 1] to (B, M, 4) raw outputs."""
        pairs = torch.stack([points[..., [0, 1]], points[..., [0, 2]], points[..., [1, 2]]], dim=1)
        found = _sample(planes.flatten(0, 1), pairs.flatten(0, 1)[:, :, None])  # 3B F M 1
        return self.layers(found[..., 0].unflatten(0, (-1, 3)).flatten(1, 2).transpose(1, 2))

    def grid(self, planes: Tensor, resolution: int) -> Tensor:
        """The first raw output on a grid of R x R x R points; the same as `forward`, cheaper.

        The first layer is linear, and each plane knows two axes only: its share of that layer is a
        map of R x R, and the layer at a point is the sum of three maps.
        """
        first, others, last = self.layers[0], self.layers[1:-1], self.layers[-1]
        axis = torch.linspace(-1, 1, resolution, device=planes.device)
        cells = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1)
        found = _sample(planes, cells.expand(3, -1, -1, -1))  # 3 F R R
        weight = first.weight.unflatten(1, (3, -1))
        xy, xz, yz = torch.einsum("pfab,kpf->pabk", found, weight)  # each R R k
        yz = yz + first.bias
        raw = planes.new_empty(resolution, resolution, resolution)
        for x in range(resolution):
            hidden = others(xy[x][:, None] + xz[x] + yz)
            raw[x] = F.linear(hidden, last.weight[:1], last.bias[:1])[..., 0]
        return raw


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Attention in `heads` parts: (1 or B, T, C), (B, N, C), (B, N, C) to (B, T, C)."""
    query = query.expand(len(key), -1, -1)
    parts = (each.unflatten(2, (heads, -1)).transpose(1, 2) for each in (query, key, value))
    return F.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)


def interpolate_positions(positions: Tensor, side: int) -> Tensor:
    """Stretch the positions of a square grid of patches to another: (1, 1 + n n, C) bicubic.

    TripoSR was trained with the scale (side + 0.1) / n, as transformers computed it until 4.35.
    Later versions scale by side / n, which gives other positions.
    """
    old = round((positions.shape[1] - 1) ** 0.5)
    if old == side:
        return positions
    grid = positions[:, 1:].transpose(1, 2).unflatten(2, (old, old))
    scale = (side + 0.1) / old
    grid = F.interpolate(grid, scale_factor=scale, mode="bicubic", align_corners=False)
    return torch.cat([positions[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)


def _sample(planes: Tensor, places: Tensor) -> Tensor:
    """Bilinear; the first coordinate of a place runs along a plane's width, outside is zero."""
    return F.grid_sample(planes, places, mode="bilinear", align_corners=False)


def _full_precision(like: Tensor) -> torch.autocast:
    """No autocast: half precision would roughen the surface, and the field is a small part."""
    return torch.autocast(like.device.type, enabled=False)


def build(config: Config, tensors: Mapping[str, Tensor], device: str) -> TripoSR:
    """Return a model with a checkpoint's weights, in fp32, ready to infer.

    Raises:
        RuntimeError: the names or shapes of the tensors are not those of such a model.
    """
    with torch.device("meta"):
        model = TripoSR(config)
    rename = current_name if config.naming == "original" else str
    model.load_state_dict({rename(n): t.float() for n, t in tensors.items()}, assign=True)
    return model.to(device).eval().requires_grad_(False)
