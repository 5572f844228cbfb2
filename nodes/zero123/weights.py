"""The files of a Zero-1-to-3 checkpoint: a folder for each network, as diffusers writes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from visionweave import WeightsError
from visionweave.weights import read_tensors

from .config import Config

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Tensors", "read_networks"]

Tensors = dict[str, "Tensor"]

PROJECTIONS = {"cc_projection": "projection.", "clip_camera_projection": "proj."}
"""What the names in the projection's file begin with, by its folder."""

OLD_ATTENTION = {
    ".query.": ".to_q.",
    ".key.": ".to_k.",
    ".value.": ".to_v.",
    ".proj_attn.": ".to_out.0.",
}
"""What older files of diffusers call the parts of the autoencoder's attention."""

OLD_BUFFER = "vision_model.embeddings.position_ids"
"""In older files of transformers: the numbers from 0 up."""


def read_networks(
    name: str, files: Mapping[str, Path], config: Config
) -> Iterator[tuple[str, Tensors]]:
    """Read the tensors of "unet", "vae", "image_encoder" and "projection", named as of today.

    One after the other, because together they are large.

    Args:
        name: the checkpoint's.
        files: its files.
        config: its config.

    Raises:
        WeightsError: a file is damaged, or a folder holds none or several.
    """
    yield "unet", _read(name, files, "unet")
    vae = _read(name, files, "vae")
    yield "vae", {_current_name(key): tensor for key, tensor in vae.items()}
    image_encoder = _read(name, files, "image_encoder")
    image_encoder.pop(OLD_BUFFER, None)
    yield "image_encoder", image_encoder
    prefix, projection = PROJECTIONS[config.layout], _read(name, files, config.layout)
    yield "projection", {key.removeprefix(prefix): tensor for key, tensor in projection.items()}


def _read(name: str, files: Mapping[str, Path], folder: str) -> Tensors:
    suffixes = (".safetensors", ".bin")
    found = [each for each in files if each.startswith(f"{folder}/") and each.endswith(suffixes)]
    if len(found) != 1:
        listed = ", ".join(found) or "none"
        raise WeightsError(
            f"{name}: expected one file of weights in the folder {folder}/; got {listed}. "
            "Correct its list of files, or its layout"
        )
    return read_tensors(files[found[0]])


def _current_name(name: str) -> str:
    for old, new in OLD_ATTENTION.items():
        name = name.replace(old, new)
    return name
