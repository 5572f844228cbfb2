"""What SAM's nodes share: the checkpoint, one pass for each photo, one answer for each prompt."""

from __future__ import annotations

from typing import Any

from visionweave import Fit, ModelNode, Runtime, WeightsError, batched
from visionweave.weights import checkpoint, read_tensors, verified_files

from ._regions import Pixels
from ._sam_frame import Frame
from ._sam_prompts import Answer, Asked
from ._sam_shape import SamShape

__all__ = ["SamNode"]


class SamNode(ModelNode):
    """The base of SAM's nodes; what its attributes mean, their settings say."""

    tolerance = 0.05
    model: str
    multimask: bool
    fast_attention: bool
    _net: Any = None
    _shape: SamShape

    def load(self, runtime: Runtime) -> None:
        """Build the network with the checkpoint's weights, or share what another node built."""
        from ._sam_build_net import build

        entry = checkpoint(self.model, family="sam")
        self._shape = shape = SamShape.from_config(entry.config, entry.name)
        (path,) = verified_files(entry).values()
        fast = self.fast_attention
        self._net = runtime.share(
            ("sam", entry.name, entry.files, fast),
            lambda: build(entry.name, shape, read_tensors(path), runtime.device, fast),
        )

    def unload(self) -> None:
        """Forget the network."""
        super().unload()
        self._net = None

    def fit(self) -> Fit | None:
        """The side of the model's square; None when the model is not listed, as `load` will say."""
        try:
            entry = checkpoint(self.model, family="sam")
            return Fit(long=SamShape.from_config(entry.config, entry.name).image_size)
        except WeightsError:
            return None

    def frame(self, image_hw: tuple[int, int]) -> Frame:
        """Where a photo, or a crop of one, lies in the model's square."""
        return Frame(image_hw, self._shape.image_size, self._shape.low_size)

    @batched(size=4)
    def encode(self, photos: list[Pixels]) -> list[Any]:
        """Embed photos, each scaled to the square but not padded: a tensor (C, h, w) each."""
        embeddings: list[Any] = self._net.encode(photos)
        return embeddings

    @batched(size=16)
    def decode(self, asked: list[Asked]) -> list[Answer]:
        """Answer prompts about whatever photos."""
        answers: list[Answer] = self._net.decode(asked, self.multimask)
        return answers
