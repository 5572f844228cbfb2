"""What a TripoSR checkpoint says of itself in weights.lock, and the names in its file."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt, ValidationError

from visionweave import WeightsError
from visionweave.weights import Checkpoint

__all__ = ["Config", "current_name", "read_config"]


class Config(BaseModel):
    """A checkpoint's own description of itself; the defaults are those of the published model.

    Attributes:
        naming: "original" where the image transformer's parameters are called as in transformers 4
            (as in the published file), "current" where as in transformers 5.
        image_size: the side of the square image that it sees.
        patch_size, position_side: the image transformer's patches, and the side of the grid of
            positions that it stores (interpolated where the image has another).
        image_width, image_layers, image_heads, image_mlp: the image transformer.
        plane_side, width, layers, heads, mlp: the plane transformer, `plane_side` tokens on a side
            of each plane.
        features: the channels of a plane, which is twice as fine.
        field_width, field_layers: the hidden layers of the field.
        radius: half the side of the cube.
        density_bias: added to the field's first output before its exponential.
        resolution: the grid for which its planes are fine enough.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    naming: Literal["original", "current"] = "current"
    image_size: PositiveInt = 512
    patch_size: PositiveInt = 16
    position_side: PositiveInt = 14
    image_width: PositiveInt = 768
    image_layers: PositiveInt = 12
    image_heads: PositiveInt = 12
    image_mlp: PositiveInt = 3072
    plane_side: PositiveInt = 32
    width: PositiveInt = 1024
    layers: PositiveInt = 16
    heads: PositiveInt = 16
    mlp: PositiveInt = 4096
    features: PositiveInt = 40
    field_width: PositiveInt = 64
    field_layers: PositiveInt = 9
    radius: PositiveFloat = 0.87
    density_bias: float = -1.0
    resolution: PositiveInt = 256


def read_config(entry: Checkpoint) -> Config:
    """Read the config of a checkpoint.

    Raises:
        WeightsError: it names a size that there is not, or one that is no number.
    """
    try:
        return Config.model_validate(entry.config)
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        what = f"weights.lock: the config of {entry.name} does not fit family triposr"
        raise WeightsError("\n".join([what, *lines])) from None


def current_name(name: str) -> str:
    """The name in transformers 5 of a parameter called as in transformers 4."""
    if name.startswith("image_tokenizer."):
        for old, new in _RENAMED:
            name = name.replace(old, new)
    return name


_RENAMED = (
    (".encoder.layer.", ".layers."),
    (".attention.attention.query.", ".attention.q_proj."),
    (".attention.attention.key.", ".attention.k_proj."),
    (".attention.attention.value.", ".attention.v_proj."),
    (".attention.output.dense.", ".attention.o_proj."),
    (".intermediate.dense.", ".mlp.fc1."),
    (".output.dense.", ".mlp.fc2."),
)
"""In this order: the attention's own output comes before the layer's."""
