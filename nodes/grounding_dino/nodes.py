"""The node of Grounding DINO.

Letters: H W pixels of the resized photo · Q queries, the candidates for boxes · T tokens.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from visionweave import Boxes, Fit, Image, ModelNode, Runtime, Tags, Text, batched, node
from visionweave.weights import Checkpoint, checkpoint, verified_files

from .boxes import Floats, as_boxes, fitting, unrivalled
from .photos import Pixels, Preparation, by_size, prepared
from .prompts import Phrases, Prompt, PromptWriter, Sentence
from .weights import (
    build_network,
    read_config,
    read_preparation,
    read_tokenizer,
    read_weights,
)

if TYPE_CHECKING:
    from pathlib import Path

Backend = Literal["transformers", "original"]
Share = Annotated[float, Field(ge=0, le=1)]

BOX_THRESHOLD = 0.35
"""As published; a checkpoint whose `config` in weights.lock says `box_threshold` has its own."""


@node("grounding_dino.detect", paper="Liu et al. 2023, arXiv:2303.05499", license="Apache-2.0")
class Detect(ModelNode):
    """Find what phrases name: a box for each object, with its phrase and a score.

    Given Tags, a box is labelled with the phrase, as it was given, that has the token which fits
    it best; that token's score is the box's. The model reads 256 tokens at once: a longer list is
    put into as few prompts as hold it, and costs a pass each; a phrase that is too long by itself
    is an error. A phrase that occurs twice is looked for once.

    Given a Text, such as a caption, a box is labelled with the part of the text around its best
    word whose words all fit it.

    Boxes are in the photo, the best first. Low precision may change a score by `tolerance`.

    Settings:
        model: a checkpoint of weights.lock, or a profile.
        box_threshold: the score that a box must pass; null for the checkpoint's own, which is 0.35
            for the published ones.
        text_threshold: the score that each word of a label must pass; for a Text only.
        nms: overlap (intersection over union) above which the worse of two boxes of one label goes;
            null to keep all.
        most: at most this many boxes, the best by score; null for all.
        backend: "transformers", or "original" for the published code (an extra).
        fast: whether two of transformers' functions are replaced by faster ones, equal to 1e-5.
    """

    tolerance = 0.02

    def __init__(
        self,
        model: str = "mini",
        box_threshold: Share | None = None,
        text_threshold: Share = 0.25,
        nms: Share | None = None,
        most: Annotated[int, Field(ge=1)] | None = None,
        backend: Backend = "transformers",
        fast: bool = True,
    ) -> None:
        self.model, self.backend, self.fast = model, backend, fast
        self.box_threshold, self.text_threshold = box_threshold, text_threshold
        self.nms, self.most = nms, most
        self._model: _Model | None = None

    def fit(self) -> Fit:
        """The published size; a checkpoint that wants another is served from this one."""
        return Preparation().fit

    def load(self, runtime: Runtime) -> None:
        """Read the network, its tokenizer and how it wants its photos."""
        entry = checkpoint(self.model, family="grounding_dino")
        files = verified_files(entry)
        hashes = tuple(file.sha256 for file in entry.files)
        self._model = runtime.share(
            ("grounding_dino", entry.name, hashes, self.backend, self.fast),
            lambda: _Model(entry, files, runtime.device, self.backend, self.fast),
        )

    def unload(self) -> None:
        """Forget the network."""
        self._model = None
        super().unload()

    async def run(self, image: Image, phrases: Tags | Text) -> Boxes:
        """Return the boxes of what `phrases` name; none without a pass for no phrases."""
        model = self._loaded
        asked: Phrases | Sentence
        if isinstance(phrases, Tags):
            asked = model.phrases(phrases.phrases)
        else:
            asked = model.writer.sentence(phrases.text, self.text_threshold)
        if not asked.prompts:
            return Boxes.empty(image.image_hw, image.origin.photo)
        scene = await self.look(prepared(image, model.preparation))
        found = await self.detect.each([(scene, prompt) for prompt in asked.prompts])
        threshold = model.box_threshold if self.box_threshold is None else self.box_threshold
        candidates = [
            candidate
            for prompt, (scores, places) in zip(asked.prompts, found, strict=True)
            for candidate in fitting(asked, prompt, scores, places, threshold)
        ]
        boxes = as_boxes(candidates, image)
        if self.nms is not None:
            boxes = boxes[unrivalled(boxes, self.nms)]
        return boxes[: self.most].replace(ids=None)

    @batched(size=4)
    def look(self, photos: list[Pixels]) -> list[Any]:
        """The image backbone: (H, W, 3) uint8 photos to their feature maps."""
        import torch

        def forward(group: list[Pixels]) -> list[Any]:
            scenes: list[Any] = self._loaded.detector.look(torch.from_numpy(np.stack(group)))
            return scenes

        return by_size(photos, lambda photo: photo.shape, forward)

    @batched(size=4)
    def detect(self, pairs: list[tuple[Any, Prompt]]) -> list[tuple[Floats, Floats]]:
        """The rest: a photo's feature maps and a prompt to scores (Q, T) and boxes (Q, 4).

        Scores are in [0, 1]; boxes are centre x, centre y, width, height as parts of the photo.
        """
        model = self._loaded

        def forward(group: list[tuple[Any, Prompt]]) -> list[tuple[Floats, Floats]]:
            scenes, prompts = zip(*group, strict=True)
            logits, boxes = model.detector.detect(list(scenes), [model.read(p) for p in prompts])
            scores, places = logits.sigmoid().cpu().numpy(), boxes.cpu().numpy()
            lengths = [len(prompt.ids) for prompt in prompts]
            return [(s[:, :n], p) for s, p, n in zip(scores, places, lengths, strict=True)]

        return by_size(pairs, lambda pair: pair[0][0].shape, forward)

    @property
    def _loaded(self) -> _Model:
        assert self._model is not None, "the engine loads a node before it runs it"
        return self._model


class _Model:
    """What a loaded node holds: the network, and what goes before it."""

    def __init__(
        self,
        entry: Checkpoint,
        files: dict[str, Path],
        device: str,
        backend: Backend,
        fast: bool,
    ) -> None:
        config = read_config(entry, files)
        self.preparation = read_preparation(files)
        self.box_threshold: float = entry.config.get("box_threshold", BOX_THRESHOLD)
        self.writer = PromptWriter(read_tokenizer(files), config.max_text_len)
        self.detector = self._detector(config, read_weights(files), device, backend, fast)
        # Photos of a folder are mostly asked for the same phrases.
        self.phrases = functools.lru_cache(maxsize=64)(self.writer.phrases)
        self.read = functools.lru_cache(maxsize=64)(self.detector.read)

    def _detector(
        self, config: Any, tensors: dict[str, Any], device: str, backend: Backend, fast: bool
    ) -> Any:
        colours = self.preparation.mean, self.preparation.std
        if backend == "original":
            from .original import OriginalDetector, build_original

            network = build_original(config, tensors, self.writer.separators).to(device)
            return OriginalDetector(network, *colours)
        from .fast_net import quicken
        from .net import Detector

        network = build_network(config, tensors)
        if fast:
            quicken(network)
        return Detector(network.to(device), *colours)
