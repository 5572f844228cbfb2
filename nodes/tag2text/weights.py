"""From the tensors of a published file to our networks: the map of names, and the filling in.

A name that is ours already stays, so that a checkpoint of our own loads through the same map.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from visionweave import WeightsError

from .config import Config

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .net import Tagger, Writer

M = TypeVar("M", bound="nn.Module")

__all__ = ["build_tagger", "build_writer", "tagger_tensors", "writer_tensors"]

UNUSED = re.compile(
    # What follows from the sizes …
    r"visual_encoder\..*(relative_position_index|attn_mask)$|.*\.position_ids$"
    # … and the text networks of RAM, which serve its training alone.
    r"|(tag_encoder|text_decoder)\."
)
"""What a tagger leaves unread in a published file."""

_SWIN = (
    (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
    (r"^patch_embed\.norm\.", "embeddings.norm."),
    (r"^norm\.", "layernorm."),
    (r"^layers\.", "encoder.layers."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.attn\.proj\.", ".attention.o_proj."),
    (r"\.attn\.(?=relative)", ".attention.relative_position_bias."),
)
_HEAD = (
    (r"^tagging_head\.encoder\.layer\.(\d+)\.", r"head.\1."),
    (r"\.crossattention\.self\.", "."),
    (r"\.crossattention\.output\.dense\.", ".out."),
    (r"\.crossattention\.output\.LayerNorm\.", ".norm1."),
    (r"\.intermediate\.dense\.", ".up."),
    (r"\.output\.dense\.", ".down."),
    (r"\.output\.LayerNorm\.", ".norm2."),
    (r"^label_embed\.weight$", "label_embed"),
    (r"^fc\.W$", "weight"),
    (r"^fc\.b$", "bias"),
)
_BACKBONE = "visual_encoder."


def tagger_tensors(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of the tagger, by our names, from a published state dict."""
    found: dict[str, Tensor] = {}
    for name, tensor in published.items():
        if UNUSED.match(name):
            continue
        if not name.startswith(_BACKBONE):
            # Tag2Text's linear output of each class has a first axis of length 1.
            found[_renamed(name, _HEAD)] = tensor[0] if name in ("fc.W", "fc.b") else tensor
        elif ".attn.qkv." in name:
            for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                ours = name.replace(".attn.qkv.", f".attention.{letter}_proj.")
                found[_BACKBONE + _renamed(ours.removeprefix(_BACKBONE), _SWIN)] = part
        else:
            found[_BACKBONE + _renamed(name.removeprefix(_BACKBONE), _SWIN)] = tensor
    return found


def writer_tensors(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of Tag2Text's caption half; their names are ours."""
    return {
        name: tensor
        for name, tensor in published.items()
        if name.startswith(("tag_encoder.", "text_decoder.")) and not name.endswith("position_ids")
    }


def _renamed(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, ours in rules:
        name = re.sub(pattern, ours, name)
    return name


def build_tagger(config: Config, content: Mapping[str, Any], device: str, where: str) -> Tagger:
    """Build the tagger of a checkpoint on a device, in float32, ready for inference.

    Args:
        config: the checkpoint's.
        content: what its file holds: a state dict, or one under "model".
        device: where to put it.
        where: the file, for messages.

    Raises:
        WeightsError: the file lacks tensors, or has others than the config says.
    """
    from .net import make_tagger

    tensors = tagger_tensors(_unwrapped(content))
    return _filled(lambda: make_tagger(config), tensors, device, where)


def build_writer(config: Config, content: Mapping[str, Any], device: str, where: str) -> Writer:
    """Build Tag2Text's caption half as `build_tagger` does the tagger."""
    from .net import Writer

    tensors = writer_tensors(_unwrapped(content))
    return _filled(lambda: Writer(config), tensors, device, where)


def _unwrapped(content: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """The state dict of a file: the published ones hold an optimizer beside it."""
    model: Mapping[str, Tensor] = content.get("model", content)
    return model


def _filled(make: Callable[[], M], tensors: Mapping[str, Tensor], device: str, where: str) -> M:
    from transformers.initialization import no_init_weights

    with no_init_weights():  # random numbers that are thrown away take seconds and a gigabyte
        net = make()
    wrong = _differences(net.state_dict(), tensors)
    if wrong:
        shown = [*wrong[:5], f"… and {len(wrong) - 5} more"] if len(wrong) > 6 else wrong
        lines = "\n".join(f"  {line}" for line in shown)
        raise WeightsError(
            f"{where}: these weights do not fit the checkpoint's config\n{lines}\n"
            "  fix: correct `config` of this checkpoint in weights.lock, or its file"
        )
    # Assigned, not copied: a file that is mapped into memory stays mapped.
    net.load_state_dict({name: each.float() for name, each in tensors.items()}, assign=True)
    return net.eval().requires_grad_(False).to(device)


def _differences(ours: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    """What does not fit, a line each; the names are ours."""
    missing = [f"{name} is missing" for name in ours.keys() - given.keys()]
    surplus = [f"{name} has no place" for name in given.keys() - ours.keys()]
    shapes = [
        f"{name} must have shape {tuple(ours[name].shape)}; got {tuple(given[name].shape)}"
        for name in ours.keys() & given.keys()
        if ours[name].shape != given[name].shape
    ]
    return sorted(missing) + sorted(surplus) + sorted(shapes)
