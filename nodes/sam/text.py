"""Masks of what phrases name, by SAM 3, which reads them itself.

Paper: Carion et al. 2025, "SAM 3: Segment Anything with Concepts", arXiv:2511.16719. Code:
transformers, Apache-2.0; the weights are under the SAM License.
Checkpoints in weights.lock: sam3.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from visionweave import (
    Boxes,
    Fit,
    Image,
    Masks,
    ModelNode,
    Runtime,
    Tags,
    WeightsError,
    batched,
    node,
)
from visionweave.weights import checkpoint, verified_files

from .._regions import Mask, Pixels
from .frame import tight
from .hub import HubShape
from .kinds import text_shape_of

__all__ = ["Text"]

Floats = npt.NDArray[np.float32]
Found = tuple[Floats, Floats, Floats]
"""Of N objects: (N,) scores; (N, 4) boxes as parts of the photo; (N, L, L) probabilities."""

Share = Annotated[float, Field(ge=0, le=1)]


@node("sam.text", paper="Carion et al. 2025, arXiv:2511.16719", license="Apache-2.0")
class Text(ModelNode):
    """Masks of all that phrases name: every instance of each, with its phrase and a score.

    Phrases are short and name things: "yellow school bus". Each is looked for by itself, so that
    two that fit one object find it twice; one that occurs twice is looked for once. Boxes are the
    model's own, the best first. The photo is encoded once, whatever the number of phrases.

    A checkpoint without a text encoder, as the profiles have, is refused: with it, go through
    boxes, as the ready pipeline `segment` does. Low precision may change a score by `tolerance`.

    Settings:
        model: a checkpoint of SAM 3.
        threshold: the score that an object must pass.
        mask_threshold: the probability above which a pixel is on the object.
    """

    tolerance = 0.05
    _net: Any = None
    _shape: HubShape

    def __init__(
        self, model: str = "sam3", threshold: Share = 0.3, mask_threshold: Share = 0.5
    ) -> None:
        self.model, self.threshold, self.mask_threshold = model, threshold, mask_threshold

    def fit(self) -> Fit | None:
        """What the model's square asks for; None when there is no model, as `load` will say."""
        try:
            shape = text_shape_of(checkpoint(self.model, family=self.spec.id))
        except WeightsError:
            return None
        return shape.frame((1, 1)).fit

    def load(self, runtime: Runtime) -> None:
        """Build the network with the checkpoint's weights, or share what another node built."""
        entry = checkpoint(self.model, family=self.spec.id)
        text_shape_of(entry)  # what cannot be read is refused before its files are looked for
        files = verified_files(entry)
        self._shape = shape = text_shape_of(entry, files)

        def build() -> Any:
            from .sam3_net import build as build_sam3

            return build_sam3(entry.name, shape, files, runtime.device)

        self._net = runtime.share(("sam3", entry.name, entry.files), build)

    def unload(self) -> None:
        """Forget the network."""
        super().unload()
        self._net = None

    async def run(self, image: Image, phrases: Tags) -> Masks:
        """Return the masks of what `phrases` name; none without a pass for no phrases.

        Raises:
            ValueTypeError: a phrase is longer than the model reads.
        """
        asked: dict[tuple[int, ...], str] = {}
        for phrase in phrases.phrases:
            asked.setdefault(self._net.reader.ids(phrase), phrase)
        if not asked:
            return Masks.empty(image.image_hw, image.origin.photo)
        frame = self._shape.frame(image.image_hw)
        scene = await self.look(frame.scaled(image.shrunk(frame.fit)))
        found = await self.detect.each([(scene, ids) for ids in asked])
        return self._masks(dict(zip(asked.values(), found, strict=True)), image)

    def _masks(self, found: dict[str, Found], image: Image) -> Masks:
        """Put what was found for each phrase at the photo's size, one mask at a time."""
        (height, width), frame = image.image_hw, self._shape.frame(image.image_hw)
        labels = [label for label, (scores, *_) in found.items() for _ in scores]
        maps = [each for *_, chances in found.values() for each in chances]
        scores, xyxy = (np.concatenate(part) for part in [*zip(*found.values(), strict=True)][:2])
        order = np.argsort(-scores, kind="stable")

        def crops() -> Iterator[tuple[int, int, Mask]]:
            for place in order:
                yield tight(frame.full_logits(maps[place]) > self.mask_threshold)

        boxes = Boxes(
            xyxy[order] * np.array([width, height, width, height], np.float32),
            image.image_hw,
            tuple(labels[place] for place in order),
            scores[order],
            photo=image.origin.photo,
        )
        return Masks.from_crops(crops(), boxes)

    @batched(size=4)
    def look(self, photos: list[Pixels]) -> list[Any]:
        """The image encoder: photos, each squashed to the square, to their features."""
        scenes: list[Any] = self._net.look(photos)
        return scenes

    @batched(size=4)
    def detect(self, asked: list[tuple[Any, tuple[int, ...]]]) -> list[Found]:
        """The rest: a photo's features and a phrase's tokens to what the phrase names there."""
        found: list[Found] = self._net.detect(asked, self.threshold)
        return found
