"""What the nodes that look at photos have in common: a tagger, and the square that it sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL.Image import Resampling

from visionweave import Cutout, Fit, Image, ModelNode, PipelineError, Runtime
from visionweave.errors import Problem
from visionweave.weights import checkpoint, read_tensors, verified_files

from .config import Config, read_config
from .weights import build_tagger

if TYPE_CHECKING:
    from torch import Tensor

    from .net import Tagger

__all__ = ["PAPERS", "Pixels", "Recogniser", "Scores"]

Pixels = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.float32]

PAPERS = "Huang et al. 2023, arXiv:2303.05657, 2310.15200; Zhang et al. 2023, arXiv:2306.03514"
SIDE = 384
"""The side of the square that every published checkpoint squeezes photos into."""


class Recogniser(ModelNode):
    """A node of the family that looks at photos."""

    model: str
    _config: Config
    _tagger: Tagger

    def fit(self) -> Fit:
        """The short side becomes that of the square, so that neither is enlarged."""
        return Fit(short=SIDE)

    def load(self, runtime: Runtime) -> None:
        """Load the tagger, which all nodes of one checkpoint share."""
        self._entry = checkpoint(self.model, family=self.spec.id)
        self._config = read_config(self._entry)
        self._check()
        self._files = verified_files(self._entry)
        self._device = runtime.device
        self._tagger = self._share(runtime, "tagger", build_tagger)

    def unload(self) -> None:
        """Forget the tagger."""
        super().unload()
        vars(self).pop("_tagger", None)

    def _share(self, runtime: Runtime, part: str, build: Any) -> Any:
        entry, path = self._entry, self._files[self._config.weights]
        key = ("tag2text", part, entry.name, tuple(file.sha256 for file in entry.files))
        where = f"{entry.name}, {path.name}"
        return runtime.share(
            key, lambda: build(self._config, read_tensors(path), runtime.device, where)
        )

    def _check(self) -> None:
        """Raise PipelineError when the checkpoint cannot do what the settings ask for."""

    def _refuse(self, what: str, fix: str) -> PipelineError:
        got = f"{self.model} ({self._entry.name}, variant {self._config.variant})"
        return PipelineError([Problem(self.spec.id, what, got=got, fix=fix)])

    def _prepare(self, image: Image | Cutout) -> Pixels:
        """(S, S, 3): squeezed into the square, proportions and all, as in training."""
        side = self._config.image_size
        fit = Fit(short=side)  # a checkpoint that wants more than SIDE has it decoded again
        pixels = image.shrunk(fit) if isinstance(image, Image) else image.over((255, 255, 255))
        picture = PIL.Image.fromarray(pixels).resize((side, side), Resampling.BILINEAR)
        return np.asarray(picture)

    def _encode(self, pixels: list[Pixels]) -> Tensor:
        """(B, T, W) image tokens."""
        import torch

        batch = torch.from_numpy(np.stack(pixels)).to(self._device)
        return self._tagger.encode(batch)
