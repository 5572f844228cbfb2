"""SAM 2 and SAM 3 as transformers builds them: their sizes, and their weights.

What the entry's `config` in weights.lock may say:

    variant         one of `HIERAS`, for SAM 2; what it leaves open is as published
    image_size      the side of the square that photos are squashed to
    mean, std       of RGB from 0 to 1
    vision_config … any table of transformers' own configuration

A config.json among the checkpoint's files is read first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from visionweave import WeightsError
from visionweave.weights import Checkpoint, read_tensors

from .._transformers import unfit, with_weights
from .frame import Squashed

__all__ = ["HIERAS", "HubShape", "build_model", "read_state"]

Table = dict[str, Any]

HIERAS: dict[str, Table] = {
    "hiera_tiny": {},
    "hiera_small": {"blocks_per_stage": [1, 2, 11, 2], "global_attention_blocks": [7, 10, 13]},
    "hiera_base_plus": {
        "hidden_size": 112,
        "num_attention_heads": 2,
        "blocks_per_stage": [2, 3, 16, 3],
        "embed_dim_per_stage": [112, 224, 448, 896],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "global_attention_blocks": [12, 16, 20],
        "window_positional_embedding_background_size": [14, 14],
    },
    "hiera_large": {
        "hidden_size": 144,
        "num_attention_heads": 2,
        "blocks_per_stage": [2, 6, 36, 4],
        "embed_dim_per_stage": [144, 288, 576, 1152],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "window_size_per_stage": [8, 4, 16, 8],
        "global_attention_blocks": [23, 33, 43],
    },
}
"""SAM 2's published encoders, by what they differ in from the tiny one, transformers' default."""

DEFAULTS: dict[str, Table] = {
    "sam2": {"image_size": 1024, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    "sam3": {"image_size": 1008, "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)},
}
"""How the published models see photos."""

NETWORKS = {"sam2": "Sam2Model", "sam3": "Sam3Model"}
"""transformers' classes. The published files hold a model of videos, which these are a part of."""

_FIRST = "shared_image_embedding.positional_embedding"
_SECOND = "prompt_encoder.shared_embedding.positional_embedding"


@dataclass(frozen=True, slots=True)
class HubShape:
    """The sizes of a SAM 2 or SAM 3.

    Attributes:
        kind: "sam2" or "sam3".
        fields: of transformers' configuration, the tables within it by name.
        image_size: the side of the square that photos are squashed to.
        mean, std: of RGB from 0 to 1.
    """

    kind: str
    fields: Table
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def read(cls, entry: Checkpoint, kind: str, files: Mapping[str, Path] | None) -> Self:
        """Return the sizes that a checkpoint's entry and files give.

        Raises:
            WeightsError: there is no such variant, or config.json cannot be read.
        """
        said = dict(entry.config)
        fields = _variant(said.pop("variant", None), entry.name) if kind == "sam2" else {}
        fields |= _config_file(files)
        sight = {name: said.pop(name, value) for name, value in DEFAULTS[kind].items()}
        fields |= {name: value for name, value in said.items() if name.endswith("_config")}
        mean, std = tuple(sight["mean"]), tuple(sight["std"])
        return cls(kind, fields, int(sight["image_size"]), mean, std)

    def frame(self, image_hw: tuple[int, int]) -> Squashed:
        """Where a photo, or a crop of one, lies in the model's square."""
        return Squashed(image_hw, self.image_size, self.image_size // 4)


def _variant(name: Any, checkpoint: str) -> Table:
    if name is None:
        return {}
    if name not in HIERAS:
        known = ", ".join(HIERAS)
        raise WeightsError(
            f"{checkpoint}: its config in weights.lock should give a variant of SAM 2 ({known}); "
            f"got {name!r}"
        )
    backbone = {"model_type": "sam2_hiera_det_model"} | HIERAS[name]
    channels = backbone.get("embed_dim_per_stage", [96, 192, 384, 768])
    vision = {"backbone_config": backbone, "backbone_channel_list": channels[::-1]}
    return {"vision_config": vision}


def _config_file(files: Mapping[str, Path] | None) -> Table:
    path = (files or {}).get("config.json")
    if path is None:
        return {}
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot read this table: {error}") from None
    if not isinstance(table, dict):
        raise WeightsError(f"{path}: expected a JSON table; got a {type(table).__name__}")
    found: Table = table.get("detector_config", table)  # of SAM 3, beside that of its tracker
    return {name: value for name, value in found.items() if name.endswith("_config")}


def read_state(files: Mapping[str, Path]) -> Table:
    """Return the tensors of a checkpoint's only file of weights, by name.

    Raises:
        WeightsError: there is not just one, or it cannot be read.
    """
    found = [path for name, path in files.items() if name.endswith((".safetensors", ".bin"))]
    if len(found) != 1:
        raise WeightsError(f"expected one file of weights; got {', '.join(files)}")
    return read_tensors(found[0])


def build_model(name: str, shape: HubShape, tensors: Table) -> Any:
    """Return transformers' model with the weights of the checkpoint called `name`, in fp32.

    Raises:
        WeightsError: the tensors are not those of a model of these sizes.
    """
    import transformers

    for mine, other in ((_FIRST, _SECOND), (_SECOND, _FIRST)):  # one matrix: files may hold it once
        if shape.kind == "sam2" and other in tensors:
            tensors = {mine: tensors[other]} | tensors
    cls = getattr(transformers, NETWORKS[shape.kind])
    model, report = with_weights(cls, cls.config_class(**shape.fields), tensors)
    if wrong := unfit(report):
        raise WeightsError(f"{name} is not a {NETWORKS[shape.kind]} of the sizes given: {wrong}")
    return model.requires_grad_(False).eval()
