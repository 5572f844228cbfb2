"""What SAM's nodes share: the checkpoint, one pass for each photo, one answer for each prompt."""

from __future__ import annotations

from typing import Any

from visionweave import Fit, ModelNode, Runtime, WeightsError, batched
from visionweave.weights import checkpoint, read_tensors, verified_files

from .._regions import Pixels
from .frame import Frame
from .hub import HubShape
from .kinds import shape_of
from .prompts import Answer, Asked
from .shape import SamShape

__all__ = ["SamNode"]


class SamNode(ModelNode):
    """The base of SAM's nodes; what its attributes mean, their settings say."""

    tolerance = 0.05
    model: str
    multimask: bool
    fast_attention: bool
    _net: Any = None
    _shape: SamShape | HubShape

    def load(self, runtime: Runtime) -> None:
        """Build the network with the checkpoint's weights, or share what another node built."""
        entry = checkpoint(self.model, family=self.spec.id)
        shape_of(entry)  # what cannot be read is refused before its files are looked for
        files = verified_files(entry)
        self._shape = shape = shape_of(entry, files)
        fast, device = self.fast_attention, runtime.device

        def build() -> Any:
            if isinstance(shape, HubShape):
                from .sam2_net import build as build_sam2

                return build_sam2(entry.name, shape, files, device)
            from .build_net import build as build_sam

            (path,) = files.values()
            return build_sam(entry.name, shape, read_tensors(path), device, fast)

        self._net = runtime.share(("sam", entry.name, entry.files, fast), build)

    def unload(self) -> None:
        """Forget the network."""
        super().unload()
        self._net = None

    def fit(self) -> Fit | None:
        """What the model's square asks for; None when there is no model, as `load` will say."""
        try:
            shape = shape_of(checkpoint(self.model, family=self.spec.id))
        except WeightsError:
            return None
        return shape.frame((1, 1)).fit

    def frame(self, image_hw: tuple[int, int]) -> Frame:
        """Where a photo, or a crop of one, lies in the model's square."""
        return self._shape.frame(image_hw)

    @batched(size=4)
    def encode(self, photos: list[Pixels]) -> list[Any]:
        """Embed photos, each scaled to the square but not padded."""
        embeddings: list[Any] = self._net.encode(photos)
        return embeddings

    @batched(size=16)
    def decode(self, asked: list[Asked]) -> list[Answer]:
        """Answer prompts about whatever photos."""
        answers: list[Answer] = self._net.decode(asked, self.multimask)
        return answers
