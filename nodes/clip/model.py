"""A loaded CLIP model: pictures and texts to points of one space, and what their angles mean.

Two libraries build the towers (`_clip_open_clip`, `_clip_transformers`); the rest is the same.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from visionweave import Runtime
from visionweave.errors import WeightsError
from visionweave.weights import Checkpoint, checkpoint, verified_files

from .tokens import Tokens
from .view import Pixels, View

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Clip", "Vector", "Vectors", "fill", "image_size", "load_clip", "pooled"]

Vector = npt.NDArray[np.float32]
"""(D,), of length 1."""
Vectors = npt.NDArray[np.float32]
"""(N, D), each of length 1."""

Key = tuple[str, bool]
"""What the vector of a text is remembered by: the text, and whether it could be cut short."""

TEXTS = 64
"""Texts in a batch."""

REMEMBERED = 16_384
"""Texts whose vectors are kept: 32 MB at D = 512."""


class Towers(Protocol):
    """What a library must give of a model, in fp32 on the CPU.

    Attributes:
        module: the network, a torch Module that holds all weights.
        view: how it sees pictures.
        tokens: how it reads texts.
        scale: what cosines are multiplied by.
        bias: what is added to that; None for a model that was trained with softmax, not sigmoid.
    """

    module: Any
    view: View
    tokens: Tokens
    scale: float
    bias: float | None

    def images(self, pixels: Tensor) -> Tensor:
        """Embed normalised pixels, (N, 3, S, S) float32; (N, D), of any length."""

    def texts(self, ids: Tensor) -> Tensor:
        """Embed token ids, (N, L) int64; (N, D), of any length."""


class Clip:
    """A model on its device, which all nodes that use its checkpoint share.

    Attributes:
        space: the name of its space, "clip/<checkpoint>".
        view: how it sees pictures.
    """

    def __init__(self, name: str, towers: Towers, runtime: Runtime) -> None:
        import torch

        self.space, self.view = f"clip/{name}", towers.view
        self._towers, self._runtime, self._device = towers, runtime, runtime.device
        towers.module.float().eval().requires_grad_(False).to(self._device)
        stats = torch.tensor([self.view.mean, self.view.std], device=self._device)
        self._mean, self._std = stats[:, :, None, None]
        self._known: OrderedDict[Key, Vector] = OrderedDict()
        self._lock = threading.Lock()

    def embed_images(self, pixels: Sequence[Pixels]) -> Vectors:
        """Embed pictures that `view.of` has prepared, as one batch: (N, D)."""
        import torch

        batch = torch.from_numpy(np.stack(pixels)).to(self._device).permute(0, 3, 1, 2)
        normalised = batch.float().div(255).sub(self._mean).div(self._std)
        with self._runtime.forward():
            return _unit(self._towers.images(normalised))

    def embed_texts(self, texts: Sequence[str], truncate: bool = False) -> Vectors:
        """Embed texts, (N, D): each different one once, unless it is remembered.

        Raises:
            ValueTypeError: one is longer than the model reads, and may not be cut short.
        """
        keys = [(text, truncate) for text in texts]
        found = self._remembered(keys)
        new = [key for key in dict.fromkeys(keys) if key not in found]
        for start in range(0, len(new), TEXTS):
            part = new[start : start + TEXTS]
            fresh = dict(zip(part, self._encode_texts(part), strict=True))
            self._remember(fresh)
            found |= fresh
        return np.stack([found[key] for key in keys])

    def _encode_texts(self, keys: Sequence[Key]) -> Vectors:
        import torch

        ids = torch.from_numpy(np.stack([self._towers.tokens(*key) for key in keys]))
        with self._runtime.forward():
            return _unit(self._towers.texts(ids.to(self._device)))

    def _remembered(self, keys: Iterable[Key]) -> dict[Key, Vector]:
        with self._lock:
            found = {key: self._known[key] for key in keys if key in self._known}
            for key in found:
                self._known.move_to_end(key)
        return found

    def _remember(self, fresh: Mapping[Key, Vector]) -> None:
        with self._lock:
            for key, vector in fresh.items():
                self._known[key] = vector.copy()  # a row would keep its whole batch in memory
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)

    def scores(self, image: Vector, texts: Vectors) -> npt.NDArray[np.float32]:
        """Score texts for a picture, (N,): by softmax over all of them, or each by a sigmoid."""
        logits = self._towers.scale * (texts.astype(np.float64) @ image)
        if self._towers.bias is not None:
            # The sigmoid, in a form that overflows nowhere.
            each = (1 + np.tanh((logits + self._towers.bias) / 2)) / 2
            return np.asarray(each, np.float32)
        shares = np.exp(logits - logits.max())
        return np.asarray(shares / shares.sum(), np.float32)


def load_clip(model: str, runtime: Runtime) -> Clip:
    """Return the model of a checkpoint or profile, loading it unless it is loaded already.

    Raises:
        WeightsError: the checkpoint is not listed, not here, or not what its entry says.
    """
    entry = checkpoint(model, family="clip")
    files = verified_files(entry)
    config = json.dumps(entry.config, sort_keys=True)
    key = ("clip", entry.name, entry.files, config)
    return runtime.share(key, lambda: Clip(entry.name, _towers(entry, files), runtime))


IMAGE_SIZE = 224
"""The side of the pictures that a model takes, where its entry in weights.lock says none."""

SAID = {
    *("library", "architecture", "pretrained", "quick_gelu", "reparameterize", "text_model"),
    *("image_size", "mean", "std", "interpolation", "resize", "context_length"),
    *("model_type", "score", "languages"),  # for people: the network itself says the first two
}
"""What the config of an entry may say; what nobody reads would be a trap."""


def image_size(entry: Checkpoint) -> int:
    """The side of the pictures that a checkpoint takes, as its entry says."""
    return int(entry.config.get("image_size", IMAGE_SIZE))


def _towers(entry: Checkpoint, files: Mapping[str, Path]) -> Towers:
    from .towers_open_clip import CONFIG_FILE, OpenClipTowers
    from .towers_transformers import TransformersTowers

    where = f"{entry.name}: the config of its entry in weights.lock says"
    unread = sorted(entry.config.keys() - SAID)
    if unread:
        raise WeightsError(f"{where} {', '.join(unread)}, which nothing reads; remove it")
    named = "architecture" in entry.config or CONFIG_FILE in files
    usual = "open_clip" if named or "config.json" not in files else "transformers"
    library = entry.config.get("library", usual)
    towers: Towers
    if library == "open_clip":
        towers = OpenClipTowers(entry, files)
    elif library == "transformers":
        towers = TransformersTowers(entry, files)
    else:
        raise WeightsError(f"{where} library {library!r}; expected open_clip or transformers")
    if towers.view.size != image_size(entry):
        raise WeightsError(
            f"{where} image_size {image_size(entry)} ({IMAGE_SIZE} when it says none); its network "
            f"takes {towers.view.size}"
        )
    return towers


def fill(templates: Sequence[str], phrases: Sequence[str]) -> tuple[str, ...]:
    """Put each phrase into each template; all templates of the first phrase come first."""
    return tuple(t.replace("{}", phrase) for phrase, t in itertools.product(phrases, templates))


def pooled(vectors: Vectors, templates: int) -> Vectors:
    """The mean direction of each run of `templates` vectors: (N * templates, D) to (N, D)."""
    if templates == 1:
        return vectors
    means = vectors.reshape(-1, templates, vectors.shape[1]).mean(axis=1)
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True), np.float32)


def _unit(features: Tensor) -> Vectors:
    """Bring vectors to length 1, in fp32 whatever the autocast, and to the CPU."""
    from torch.nn.functional import normalize

    vectors: Vectors = normalize(features.float(), dim=-1).cpu().numpy()
    return vectors
