"""Networks of the published sizes with random weights, in a store of weights of their own.

Each is made once and kept in the folder, in the files that its own library reads, so that the plain
script and visionweave load the very same numbers.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from visionweave.weights.adding import add_files
from visionweave.weights.lock import read_lock

PHRASES = ("apple", "cat", "dog", "mug", "chair", "tree", "car", "lamp")
"""What the tagger says of every photo, and the detector looks for."""

WORDS = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1010: ","}
"""Where BERT's vocabulary has what matters; the rest of it is made up."""


def make_weights(*names: str) -> None:
    """Put checkpoints into the store of $VISIONWEAVE_WEIGHTS, those that are not there."""
    import torch

    known = read_lock().checkpoints
    for name in names:
        if name not in known:
            torch.manual_seed(0)
            MAKERS[name](name)


def made_in(name: str) -> Path:
    """The folder of the files of a checkpoint, as its library reads them."""
    folder = Path(os.environ["VISIONWEAVE_WEIGHTS"]).parent / "made" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def vocabulary(folder: Path) -> Path:
    """A vocabulary of BERT's size that can spell anything, and has some whole words."""
    words = {index: f"[unused{index}]" for index in range(30522)} | WORDS
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    pieces = [*letters, *(f"##{letter}" for letter in letters), *PHRASES, "a", "picture", "of"]
    words |= dict(enumerate(dict.fromkeys(pieces), 2000))
    path = folder / "vocab.txt"
    path.write_text("\n".join(words[index] for index in range(30522)) + "\n")
    return path


def _clip(name: str) -> None:
    import open_clip
    from safetensors.torch import save_file

    path = made_in(name) / "open_clip_model.safetensors"
    save_file(open_clip.create_model("ViT-B-32").state_dict(), path)
    _add(name, "clip", [path], {"architecture": "ViT-B-32", "image_size": 224})


def _blip(name: str) -> None:
    from transformers import BlipConfig, BlipForConditionalGeneration

    network = BlipForConditionalGeneration(BlipConfig(text_config={"num_attention_heads": 12}))
    _scatter(network, 3.0)  # or all photos would have the same caption
    network.save_pretrained(made_in(name))
    files = [made_in(name) / file for file in ("model.safetensors", "config.json")]
    facts = {"kind": "caption", "image_size": 384}
    _add(name, "blip", [*files, vocabulary(made_in(name))], facts)


def _tag2text(name: str) -> None:
    """The scores are in the bias alone, so that every photo has the same tags in any precision."""
    import torch
    from safetensors.torch import save_file

    from visionweave.nodes.tag2text.config import read_config
    from visionweave.nodes.tag2text.net import make_tagger
    from visionweave.weights import Checkpoint

    facts = {"variant": "tag2text", "backbone": "swin_b", "weights": "model.safetensors",
             "tags": "tags.txt", "deleted": [], "raised": {}}  # fmt: skip
    entry = Checkpoint(name, "tag2text", "", "", (), "safetensors", "", "yes", "", "", facts)
    config = read_config(entry)
    tensors = make_tagger(config).state_dict()
    tensors["weight"] = torch.zeros_like(tensors["weight"])
    tensors["bias"] = torch.full_like(tensors["bias"], -4.0)
    tensors["bias"][: len(PHRASES)] = torch.linspace(4, 3, len(PHRASES))
    tensors["label_embed"] = torch.randn_like(tensors["label_embed"]) * 0.04
    folder = made_in(name)
    save_file(
        {key: each.contiguous() for key, each in tensors.items()}, folder / "model.safetensors"
    )
    tags = [*PHRASES, *(f"tag {number}" for number in range(config.classes - len(PHRASES)))]
    (folder / "tags.txt").write_text("\n".join(tags))
    _add(name, "tag2text", [folder / "model.safetensors", folder / "tags.txt"], facts)


def _grounding_dino(name: str) -> None:
    import torch
    from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection

    network = GroundingDinoForObjectDetection(GroundingDinoConfig())
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.05 * torch.randn_like(weight)
        network.model.decoder.layer_norm.weight *= 0.15  # else all scores are 0 or 1
    folder = made_in(name)
    network.save_pretrained(folder)
    files = [folder / file for file in ("model.safetensors", "config.json")]
    _add(name, "grounding_dino", [*files, vocabulary(folder)], {})


def _sam(name: str) -> None:
    from safetensors.torch import save_file
    from segment_anything import build_sam_vit_b

    network = build_sam_vit_b()
    _scatter(network, 1.5)
    path = made_in(name) / "model.safetensors"
    save_file(network.state_dict(), path)
    _add(name, "sam", [path], {"variant": "vit_b"})


def _scatter(network: Any, factor: float) -> None:
    """Make the weights larger than a fresh network's, which says nearly the same of all photos."""
    import torch

    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.ndim > 1 and "norm" not in name:
                weight *= factor


def _add(name: str, family: str, files: list[Path], config: dict[str, Any]) -> None:
    facts = {"family": family, "license": "MIT", "commercial": "yes", "config": config}
    add_files(name, files, facts, link=True)


MAKERS: dict[str, Callable[[str], None]] = {
    "random-clip": _clip,
    "random-blip": _blip,
    "random-tag2text": _tag2text,
    "random-grounding-dino": _grounding_dino,
    "random-sam": _sam,
}
