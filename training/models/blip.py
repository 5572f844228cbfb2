"""Trains mini-blip: captions that name things and say where they are."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.loop import Task
from training.models._blip_captions import LENGTH, captioned, named
from training.models._blip_network import Captioner, see
from training.models._vit_dense import choose, normalised, shares
from training.models._vit_pictures import SIDE, THINGS, Mix, labelled, pictures, unseen
from training.models._vit_words import BEGIN, END, PAD, tokenizer
from training.schedule import Schedule
from training.world import World
from training.world.captions import caption
from training.world.scenes import Scene
from training.world.words import write_tokenizer

__all__ = ["Training"]

_WRITES = 0.2  # of the run is over when the decoder joins: before, there is nothing to tell
_ALONE = 0.4  # of the run is over when there are several things: one fills the picture before
_WHOLE = 0.85  # of the run is over when all patches are looked at: before, half of them suffice
_KEPT = 32  # patches, until then
_ON = 0.15  # a patch belongs to a thing that covers so much of it


class Training(Task):
    """Captions of one, two or three things, in one canonical wording.

    The vision tower names the patches of one thing first (a linear head, dropped at the end, kept
    in all stages): a name is learnt from a thing that fills the picture several times faster. The
    decoder joins when it has begun to, and later the pictures of several things. Half of the
    patches are left out for most of the run, background rather than things, which halves the cost
    of a picture. The decoder's attention is guided: while it writes a thing's name it shall look at
    that thing, which a composed scene knows (after Liu et al. 2017, arXiv:1605.09553). Captions
    have one canonical order, so that one answer is right. A tenth of the pictures are cutouts on
    plain ground.
    """

    name = "blip"
    schedule = Schedule(images=440_000, batch=64, rate=1.2e-3, warmup=150, cooldown=0.3)
    entry: ClassVar[dict[str, Any]] = {"config": {"image_size": SIDE}, "tasks": ["blip.caption"]}
    limits = "Of two things in a picture it names both in every second; of three, seldom all."
    alone, mix = Mix(two=0.0, three=0.0, cutouts=0.15), Mix()

    @cached_property
    def world(self) -> World:
        """Where the pictures come from."""
        return World()

    def network(self) -> nn.Module:
        """Return a fresh network, with the head that names patches."""
        return Captioner()

    def batch(self, rng: np.random.Generator, progress: float) -> dict[str, Any]:
        """Return pictures with their patches' names and their captions."""
        mix = self.alone if progress < _ALONE else self.mix
        scenes = pictures(rng, self.world, self.schedule.batch, mix)
        return labelled(scenes) | captioned(scenes)

    def loss(self, network: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        """Return how wrong the names of patches, the captions and the looks are."""
        captioner = cast(Captioner, network)
        covered, kept = shares(batch["ids"], THINGS), None
        if progress < _WHOLE:
            kept = choose(covered, _KEPT)
            covered = covered.gather(1, kept[..., None].expand(-1, -1, covered.shape[2]))
        seen = see(captioner.blip.vision_model, normalised(batch["images"]), kept)
        patches = captioner.names.loss(seen[:, 1:], covered, batch["classes"])
        if progress < _WRITES:
            return {"patches": patches}
        written, looked = _caption_losses(captioner, batch, seen, covered)
        return {"patches": 0.5 * patches, "caption": written, "looks": 0.2 * looked}

    def measure(self, network: nn.Module, styles: tuple[str, ...], count: int) -> dict[str, float]:
        """Return the shares of things that are named, with one thing in a picture and with two."""
        captioner = cast(Captioner, network)
        found = {}
        for things in (1, 2):
            rng = np.random.default_rng((7, things))
            scenes = unseen(rng, styles, count, things)
            for name, value in measured(captioner, scenes).items():
                found[f"{name}_{things}"] = value
        return found

    def export(self, network: nn.Module, folder: Path) -> None:
        """Write model.safetensors in fp16, config.json and tokenizer.json."""
        from safetensors.torch import save_file

        blip = cast(Captioner, network).blip
        tied = ("cls.predictions.decoder.weight", "cls.predictions.decoder.bias")
        state = {
            name: tensor.detach().to("cpu", torch.float16).contiguous()
            for name, tensor in blip.state_dict().items()
            if not name.endswith(tied)
        }
        save_file(state, folder / "model.safetensors", {"format": "pt"})
        table = blip.config.to_dict() | {"architectures": [type(blip).__name__]}
        (folder / "config.json").write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
        write_tokenizer(folder)


def _caption_losses(
    captioner: Captioner, batch: dict[str, Any], seen: Tensor, covered: Tensor
) -> tuple[Tensor, Tensor]:
    """How wrong the next words are; and how little a word that names a thing looks at it."""
    tokens, things = batch["tokens"], batch["things"][:, 1:]
    logits, looks = captioner.write(tokens[:, :-1], seen)
    written = F.cross_entropy(
        logits.flatten(0, 1).float(), tokens[:, 1:].flatten(), ignore_index=PAD
    )
    on = F.one_hot(things, THINGS + 1).float() @ (covered > _ON).float().mT  # (B, L, T)
    mass = (looks[..., 1:].float() * on[:, None]).sum(dim=-1).clamp(min=1e-4)
    counted = ((things > 0) & (on.sum(dim=-1) > 0))[:, None].float()
    looked = -(mass.log() * counted).sum() / (counted.sum() * looks.shape[1]).clamp(min=1)
    return written, looked


def measured(captioner: Captioner, scenes: list[Scene]) -> dict[str, float]:
    """Return what greedy captions get right: the share of things named, all named, all the same."""
    texts = captions(captioner, scenes)
    hits = [
        [named(text, thing.name) for thing in scene.objects]
        for text, scene in zip(texts, scenes, strict=True)
    ]
    exact = [text == caption(scene) for text, scene in zip(texts, scenes, strict=True)]
    return {
        "named": float(np.mean([hit for row in hits for hit in row])),
        "all": float(np.mean([all(row) for row in hits])),
        "exact": float(np.mean(exact)),
    }


@torch.no_grad()
def captions(captioner: Captioner, scenes: list[Scene], at_once: int = 100) -> list[str]:
    """Write a caption for each scene, taking the likeliest word each time."""
    blip, texts = captioner.blip, []
    for start in range(0, len(scenes), at_once):
        images = np.stack([scene.image for scene in scenes[start : start + at_once]])
        seen = see(blip.vision_model, normalised(torch.from_numpy(images).to(blip.device)))
        written = blip.text_decoder.generate(
            input_ids=torch.full((len(images), 1), BEGIN, device=blip.device),
            encoder_hidden_states=seen,
            do_sample=False,
            num_beams=1,
            max_new_tokens=LENGTH,
            eos_token_id=END,
            pad_token_id=PAD,
        )
        texts += tokenizer().decode_batch(written.tolist(), skip_special_tokens=True)
    return [text.replace(" - ", "-") for text in texts]
