"""What the nodes of CLIP have in common: the loaded model, and its two encoders."""

from __future__ import annotations

import itertools
from typing import Annotated

from pydantic import Field

from visionweave import Cutout, Fit, Image, ModelNode, Runtime, WeightsError, batched
from visionweave.weights import checkpoint

from .._paint import parse_colour
from .model import Clip, Vector, Vectors, image_size, load_clip
from .view import Pixels

__all__ = ["LICENSE", "PAPER", "ClipNode", "Share"]

PAPER, LICENSE = "Radford et al. 2021, arXiv:2103.00020", "MIT"

Share = Annotated[float, Field(ge=0, le=1)]


class ClipNode(ModelNode):
    """What the nodes of this family have in common: the model, and its two encoders.

    `model` is a checkpoint's name or a profile's; `background` is what cutouts are laid on.
    """

    truncate = False

    def __init__(self, model: str, background: str) -> None:
        self.model = model
        self.background = parse_colour(background)

    def load(self, runtime: Runtime) -> None:
        """Load the checkpoint, once for all nodes that use it."""
        self.clip: Clip = load_clip(self.model, runtime)

    def unload(self) -> None:
        """Forget the model."""
        super().unload()
        vars(self).pop("clip", None)

    def fit(self) -> Fit | None:
        """The size of the model's input; None when the model is not listed, as `load` will say."""
        try:
            return Fit(short=image_size(checkpoint(self.model, family="clip")))
        except WeightsError:
            return None

    async def image_vector(self, content: Image | Cutout) -> Vector:
        """Embed a picture, (D,)."""
        view = self.clip.view
        if isinstance(content, Cutout):
            pixels = view.of_cutout(content, self.background)
        else:
            pixels = view.of(content.shrunk(view.fit), content.size_wh)
        return await self.encode_images(pixels)

    @batched(size=32)
    def encode_images(self, pixels: list[Pixels]) -> list[Vector]:
        """Run the image tower on (S, S, 3) uint8 pixels each; (D,) each."""
        return list(self.clip.embed_images(pixels))

    @batched(size=64)
    def encode_texts(self, lists: list[tuple[str, ...]]) -> list[Vectors]:
        """Embed lists of texts, each text once, however many photos ask for it; (N, D) each."""
        texts = list(dict.fromkeys(itertools.chain.from_iterable(lists)))
        vectors = self.clip.embed_texts(texts, self.truncate)
        places = {text: place for place, text in enumerate(texts)}
        found = {each: vectors[[places[text] for text in each]] for each in set(lists)}
        return [found[each] for each in lists]
