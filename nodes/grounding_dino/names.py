"""The names of Grounding DINO's tensors: from the published files to transformers' files.

The names are those that transformers writes to disk, which outlive its modules' own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["is_original", "renamed"]

UNUSED = re.compile(
    r"bert\.pooler\.|bert\.embeddings\.position_ids$|label_enc\.|.*\.relative_position_index$"
)
"""What the published files hold besides: counts, and heads that were of use in training."""

SWIN = "model.backbone.conv_encoder.model."
SCOPES: tuple[tuple[str, str, dict[str, str]], ...] = (
    (r"backbone\.0\.patch_embed\.", f"{SWIN}embeddings.", {"proj": "patch_embeddings.projection"}),
    (
        r"backbone\.0\.layers\.(\d+)\.blocks\.",
        rf"{SWIN}encoder.layers.\1.blocks.",
        {
            "norm1": "layernorm_before",
            "norm2": "layernorm_after",
            "attn.proj": "attention.output.dense",
            "attn.": "attention.self.",
            "mlp.fc1": "intermediate.dense",
            "mlp.fc2": "output.dense",
        },
    ),
    (r"backbone\.0\.layers\.", f"{SWIN}encoder.layers.", {}),
    (r"backbone\.0\.norm1\.", f"{SWIN}hidden_states_norms.stage2.", {}),
    (r"backbone\.0\.norm2\.", f"{SWIN}hidden_states_norms.stage3.", {}),
    (r"backbone\.0\.norm3\.", f"{SWIN}hidden_states_norms.stage4.", {}),
    (r"input_proj\.", "model.input_proj_vision.", {}),
    (r"bert\.", "model.text_backbone.", {}),
    (r"feat_map\.", "model.text_projection.", {}),
    (
        r"transformer\.encoder\.fusion_layers\.(\d+)\.",
        r"model.encoder.layers.\1.fusion_layer.",
        {
            "gamma_v": "vision_param",
            "gamma_l": "text_param",
            "norm_v": "norm_vision",
            "norm_l": "norm_text",
            "v_proj": "vision_proj",
            "l_proj": "text_proj",
        },
    ),
    (
        r"transformer\.encoder\.text_layers\.(\d+)\.",
        r"model.encoder.layers.\1.text_enhancer_layer.",
        {"norm1": "layer_norm_before", "norm2": "layer_norm_after", "linear": "fc"},
    ),
    (
        r"transformer\.encoder\.layers\.(\d+)\.",
        r"model.encoder.layers.\1.deformable_layer.",
        {"norm1": "self_attn_layer_norm", "norm2": "final_layer_norm", "linear": "fc"},
    ),
    (
        r"transformer\.decoder\.layers\.(\d+)\.",
        r"model.decoder.layers.\1.",
        {
            "norm1": "encoder_attn_layer_norm",
            "norm2": "self_attn_layer_norm",
            "norm3": "final_layer_norm",
            "catext_norm": "encoder_attn_text_layer_norm",
            "cross_attn": "encoder_attn",
            "ca_text": "encoder_attn_text",
            "linear": "fc",
        },
    ),
    (
        r"transformer\.decoder\.",
        "model.decoder.",
        {"norm.": "layer_norm.", "ref_point_head": "reference_points_head"},
    ),
    (
        r"transformer\.",
        "model.",
        {
            "tgt_embed": "query_position_embeddings",
            "enc_out_bbox_embed": "encoder_output_bbox_embed",
        },
    ),
)
"""For the names that begin so: what that becomes, and what changes in the rest."""


def is_original(tensors: dict[str, Tensor]) -> bool:
    """Whether tensors bear the names of the published files."""
    return "transformer.level_embed" in tensors


def renamed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a published file under the names of transformers' files.

    Attention's joint projections, (3C, C), become one each for queries, keys and values.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not UNUSED.match(name):
            found |= {_rename(part): piece for part, piece in _split(name, tensor)}
    return found


def _split(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    joint = re.fullmatch(r"(.+\.)(?:in_proj_|qkv\.)(weight|bias)", name)
    if joint is None:
        yield name, tensor
        return
    for part, piece in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
        yield f"{joint[1]}{part}.{joint[2]}", piece


def _rename(name: str) -> str:
    for start, becomes, changes in SCOPES:
        scope = re.match(start, name)
        if scope is not None:
            rest = name[scope.end() :]
            for old, new in changes.items():
                if old in rest:
                    rest = rest.replace(old, new)
                    break
            return scope.expand(becomes) + rest
    return name
