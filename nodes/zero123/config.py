"""What a Zero-1-to-3 checkpoint says of itself in weights.lock."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from visionweave import WeightsError
from visionweave.weights import Checkpoint

__all__ = ["Config", "read_config"]


class Config(BaseModel):
    """A checkpoint's own description of itself; the sizes default to those of all published ones.

    Attributes:
        layout: the folder that holds the projection of camera poses, as the two conversions for
            diffusers call it; "lightning" for the training checkpoint that they were made from.
        pose: the fourth number of a camera pose: "radius", the change of the camera's distance, or
            "polar", the polar angle of the photo's camera (Stable Zero123).
        image_size: S, the side of the pictures.
        unet_channels: the denoiser's, level by level; all but the last level attend.
        unet_heads: of each of its attentions.
        vae_channels: the autoencoder's, level by level; each level but the last halves the side.
        groups: over which both normalise.
        clip_size: the side of the picture that CLIP sees.
        clip_patch, clip_width, clip_layers, clip_heads, clip_mlp: CLIP's image transformer.
        width: D, of CLIP's embedding, and of what the denoiser attends to.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    layout: Literal["clip_camera_projection", "cc_projection", "lightning"]
    pose: Literal["radius", "polar"]
    image_size: PositiveInt = 256
    unet_channels: tuple[PositiveInt, ...] = (320, 640, 1280, 1280)
    unet_heads: PositiveInt = 8
    vae_channels: tuple[PositiveInt, ...] = (128, 256, 512, 512)
    groups: PositiveInt = 32
    clip_size: PositiveInt = 224
    clip_patch: PositiveInt = 14
    clip_width: PositiveInt = 1024
    clip_layers: PositiveInt = 24
    clip_heads: PositiveInt = 16
    clip_mlp: PositiveInt = 4096
    width: PositiveInt = 768

    @property
    def latent_side(self) -> int:
        """L, the side of a picture's latents."""
        return self.image_size // 2 ** (len(self.vae_channels) - 1)


def read_config(entry: Checkpoint) -> Config:
    """Read the config of a checkpoint.

    Raises:
        WeightsError: it lacks the layout or the pose, or says something that there is not; or it
            is that of a training checkpoint.
    """
    try:
        config = Config.model_validate(entry.config)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise WeightsError(f"{entry.name}: its config in weights.lock is wrong: {wrong}") from None
    if config.layout == "lightning":
        raise WeightsError(
            f"{entry.name} is a training checkpoint, which zero123.views does not read; take the "
            "same weights as folders for diffusers, such as zero123-xl, zero123-165000-community "
            "or stable-zero123: visionweave weights list"
        )
    return config
