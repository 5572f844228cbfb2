"""Zero-1-to-3's networks: diffusers' denoiser and autoencoder, CLIP's image encoder, one layer.

Imported by `load` alone, because it needs torch. Shapes: B pictures or views, S the side of a
picture, L that of its latents, D the width of CLIP's embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from visionweave import WeightsError

from .config import Config
from .ddim import Step
from .weights import Tensors

__all__ = ["LATENTS", "POSE", "Zero123", "build"]

LATENTS, POSE = 4, 4
"""The channels of latents, and the numbers of a pose."""

LATENT_SCALE = 0.18215
"""What makes latents about as wide as the noise; those that the denoiser sees are not scaled."""

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def build(
    config: Config, networks: Iterable[tuple[str, Tensors]], name: str, device: str
) -> Zero123:
    """Return the networks with the weights of the checkpoint `name`, in fp32, ready to run.

    Raises:
        WeightsError: the tensors are not those of networks of this config.
    """
    with torch.device("meta"):  # building them with random weights first would take long
        model = Zero123(config)
    for part, tensors in networks:
        weights = {key: tensor.float() for key, tensor in tensors.items()}
        try:
            model.get_submodule(part).load_state_dict(weights, assign=True)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise WeightsError(
                f"{name}: its file of {part} does not fit its config: {reason}"
            ) from None
    embeddings = model.image_encoder.vision_model.embeddings
    embeddings.position_ids = torch.arange(embeddings.num_positions)[None]  # in no checkpoint
    return model.to(device).requires_grad_(False).eval()


class Zero123(nn.Module):
    """A picture to what the denoiser sees of it (`see`), to views' latents (`sample`), to views."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.unet = _denoiser(config)
        self.vae = _autoencoder(config)
        self.image_encoder = _image_encoder(config)
        self.projection = nn.Linear(config.width + POSE, config.width)

    def see(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) RGB in [-1, 1] to CLIP embeddings (B, D) and latents (B, 4, L, L)."""
        size = (self.config.clip_size, self.config.clip_size)
        small = F.interpolate(pictures, size, mode="bicubic", align_corners=True)
        mean, std = (pictures.new_tensor(each)[:, None, None] for each in (CLIP_MEAN, CLIP_STD))
        embeddings = self.image_encoder(((small + 1) / 2 - mean) / std).image_embeds
        latents = self.vae.encode(pictures).latent_dist.mode()
        return embeddings.float(), latents.float()

    def sample(
        self,
        embeddings: Tensor,
        seen: Tensor,
        poses: Tensor,
        steps: Sequence[Step],
        guidance: float,
        draw: Callable[[], Tensor],
    ) -> Tensor:
        """Make views, all of them at once.

        Args:
            embeddings: (B, D), of each view's picture.
            seen: (B, 4, L, L), the latents of each view's picture.
            poses: (B, 4), where each view's camera stands.
            steps: of the sampler.
            guidance: the scale of classifier-free guidance; 1 for none.
            draw: returns standard normal noise (B, 4, L, L), anew each time.

        Returns:
            (B, 4, L, L) latents.
        """
        context = self.projection(torch.cat([embeddings, poses], dim=1))[:, None]
        latents = draw()
        for step in steps:
            noise = self.noise(latents, step.timestep, context, seen, guidance)
            latents = step.apply(latents, noise, draw() if step.sigma > 0 else 0.0)
        return latents

    def noise(
        self, latents: Tensor, timestep: int, context: Tensor, seen: Tensor, guidance: float
    ) -> Tensor:
        """The noise in latents (B, 4, L, L), for context (B, 1, D); of that shape.

        Both branches of the guidance (Ho and Salimans 2022, arXiv:2207.12598) are one pass. What
        the unguided one sees of the object is zeros, after the projection.
        """
        if guidance != 1:
            latents = torch.cat([latents, latents])
            context = torch.cat([torch.zeros_like(context), context])
            seen = torch.cat([torch.zeros_like(seen), seen])
        joined = torch.cat([latents, seen], dim=1)
        found: Tensor = self.unet(joined, timestep, context).sample.float()
        if guidance == 1:
            return found
        unseen, guided = found.chunk(2)
        return unseen + guidance * (guided - unseen)

    def pictures(self, latents: Tensor) -> Tensor:
        """(B, 4, L, L) latents of the sampler to (B, 3, S, S) RGB in about [-1, 1]."""
        decoded: Tensor = self.vae.decode(latents / LATENT_SCALE).sample
        return decoded.float()


def _denoiser(config: Config) -> UNet2DConditionModel:
    """Stable Diffusion 1's, with the picture's latents as four more channels."""
    attending = len(config.unet_channels) - 1
    return UNet2DConditionModel(
        sample_size=config.latent_side,
        in_channels=2 * LATENTS,
        out_channels=LATENTS,
        down_block_types=("CrossAttnDownBlock2D",) * attending + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * attending,
        block_out_channels=config.unet_channels,
        norm_num_groups=config.groups,
        cross_attention_dim=config.width,
        attention_head_dim=config.unet_heads,  # diffusers' name for their number
    )


def _autoencoder(config: Config) -> AutoencoderKL:
    levels = len(config.vae_channels)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=config.vae_channels,
        layers_per_block=2,
        latent_channels=LATENTS,
        norm_num_groups=config.groups,
        sample_size=config.image_size,
    )


def _image_encoder(config: Config) -> CLIPVisionModelWithProjection:
    """OpenAI's ViT-L/14, with QuickGELU."""
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=config.clip_width,
            intermediate_size=config.clip_mlp,
            num_hidden_layers=config.clip_layers,
            num_attention_heads=config.clip_heads,
            image_size=config.clip_size,
            patch_size=config.clip_patch,
            projection_dim=config.width,
            hidden_act="quick_gelu",
        )
    )
