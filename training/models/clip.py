"""Trains mini-clip: pictures beside what they are called, in English and in Chinese."""

from __future__ import annotations

import json
import math
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.loop import Task
from training.models._clip_network import Pair, clip_config, from_blip
from training.models._clip_texts import texts_of
from training.models._vit_dense import choose, normalised, shares
from training.models._vit_pictures import SIDE, THINGS, Mix, labelled, pictures, unseen
from training.models._vit_words import padded, tokenizer
from training.schedule import Schedule
from training.world import NAMES, NAMES_ZH, World
from training.world.words import write_tokenizer

__all__ = ["Training"]

_WHOLE = 0.75  # of the run is over when all patches are looked at
_KEPT = 36  # patches, until then
_STEEPEST = math.log(100)  # what cosines are multiplied by at most, as in the paper

_VIEW = {
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
    "interpolation": "bicubic",
    "resize_mode": "squash",
}


class Training(Task):
    """Pictures of one to three things against a phrase for every class, and their captions.

    Each step compares its pictures with one phrase for each of all names (the name in a template,
    alone, in Chinese, or a keyword), not only with the batch's own, and with the captions of
    pictures of several things; softmax both ways. A linear head names the patches meanwhile, and is
    dropped at the end. The vision tower begins as mini-blip's: `--start runs/blip/state.pt`.
    """

    name = "clip"
    schedule = Schedule(images=150_000, batch=64, rate=1e-3, warmup=150, cooldown=0.35)
    entry: ClassVar[dict[str, Any]] = {"config": {"image_size": SIDE, "languages": "en, zh"}}
    limits = "Of Chinese it knows the names alone; of sentences, what is left of or above what."
    mix = Mix(two=0.25, three=0.05, cutouts=0.12)

    @cached_property
    def world(self) -> World:
        """Where the pictures come from."""
        return World()

    def network(self) -> nn.Module:
        """Return a fresh network, with the head that names patches."""
        return Pair()

    def start(self, network: nn.Module, weights: dict[str, Tensor]) -> None:
        """Take over all of an own state, or the vision tower of mini-blip's."""
        if not any(name.startswith("blip.") for name in weights):
            network.load_state_dict(weights)
            return
        _, unexpected = network.load_state_dict(from_blip(weights), strict=False)
        if unexpected:
            raise ValueError(f"mini-blip has other sizes than mini-clip: {unexpected[:3]}")

    def parameters(self, network: nn.Module) -> list[dict[str, Any]]:
        """Return groups: the vision tower, which may be taught already, learns more slowly."""
        pair = cast(Pair, network)
        seeing = {id(weight) for weight in pair.clip.visual.parameters()} - {
            id(pair.clip.visual.proj)
        }
        groups = []
        for group in super().parameters(network):
            for factor, wanted in ((0.6, True), (1.0, False)):
                some = [each for each in group["params"] if (id(each) in seeing) is wanted]
                groups.append({**group, "params": some, "factor": factor})
        return groups

    def batch(self, rng: np.random.Generator, progress: float) -> dict[str, Any]:
        """Return pictures with their patches' names, texts, and which are right of which."""
        scenes = pictures(rng, self.world, self.schedule.batch, self.mix)
        return labelled(scenes) | texts_of(rng, scenes)

    def loss(self, network: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        """Return how wrong the texts of pictures, the pictures of texts and the patches are."""
        pair, covered, kept = cast(Pair, network), shares(batch["ids"], THINGS), None
        if progress < _WHOLE:
            # By chance alone: the mean over all patches is what an embedding is made of.
            kept = choose(torch.ones_like(covered), _KEPT)
            covered = covered.gather(1, kept[..., None].expand(-1, -1, covered.shape[2]))
        images, patches = pair.images(normalised(batch["images"]), kept)
        scale = pair.clip.logit_scale.clamp(max=_STEEPEST).exp()
        logits = scale * images.float() @ pair.texts(batch["tokens"]).float().T
        right = batch["right"]
        shown = right.sum(dim=0) > 0
        return {
            "texts": 0.7 * F.cross_entropy(logits, right),
            "images": 0.3 * F.cross_entropy(logits.T[shown], F.normalize(right.T[shown], p=1.0)),
            "patches": 0.5 * pair.names.loss(patches, covered, batch["classes"]),
        }

    def measure(self, network: nn.Module, styles: tuple[str, ...], count: int) -> dict[str, float]:
        """Return how often the right one of all names is first, and among the first five."""
        pair = cast(Pair, network)
        scenes = unseen(np.random.default_rng(7), styles, count, 1)
        on = pair.clip.logit_scale.device
        batch = {name: torch.from_numpy(array).to(on) for name, array in labelled(scenes).items()}
        images, _ = pair.images(normalised(batch["images"]))
        found = {}
        for ending, names, template in (("", NAMES, "a {}"), ("_zh", NAMES_ZH, "{}")):
            ids = [tokenizer().encode(template.format(name)).ids for name in names]
            texts = pair.texts(torch.from_numpy(padded(ids)).to(on))
            best = (images @ texts.T).topk(5, dim=1).indices == batch["classes"][:, :1]
            found[f"top1{ending}"] = float(best[:, 0].float().mean())
            found[f"top5{ending}"] = float(best.any(dim=1).float().mean())
        return found

    def export(self, network: nn.Module, folder: Path) -> None:
        """Write model.safetensors in fp16, open_clip_config.json and the tokenizer."""
        from safetensors.torch import save_file

        clip = cast(Pair, network).clip
        state = {
            name: tensor.detach().to("cpu", torch.float16).contiguous()
            for name, tensor in clip.state_dict().items()
        }
        state["logit_scale"] = state["logit_scale"].clamp(max=_STEEPEST)
        save_file(state, folder / "model.safetensors", {"format": "pt"})
        table = {"model_cfg": clip_config(), "preprocess_cfg": _VIEW}
        text = json.dumps(table, indent=2) + "\n"
        (folder / "open_clip_config.json").write_text(text, encoding="utf-8")
        write_tokenizer(folder)
