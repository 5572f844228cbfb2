"""The node clip.search: the photos of an index that are nearest to a text or a picture."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Annotated

from pydantic import Field

from visionweave import Cutout, Embedding, Fit, Hits, Image, Runtime, Text, batched, node
from visionweave.errors import JobError, WeightsError
from visionweave.index import Match, PhotoIndex, Query, Space, as_hits, query_words, read_manifest
from visionweave.index.files import MANIFEST
from visionweave.photo.state import look
from visionweave.registry import find_node
from visionweave.weights import checkpoint

from .._paint import Colour
from .base import LICENSE, PAPER, ClipNode, Share
from .model import image_size, load_clip

__all__ = ["Search"]


@node("clip.search", paper=PAPER, license=LICENSE)
class Search(ClipNode):
    """Find the photos of an index that are nearest to a picture, to a text, or to both.

    `visionweave index` makes the index, and its model is the one used here. Scores are cosines,
    those of photos with a text lower than those with a picture; with both, a score is their mean.

    Tolerance: the difference of a score between bf16 and fp32.

    Settings:
        index: the folder of the index.
        k: at most this many photos, the best first.
        text_weight: the text's share in the mean, where a picture is given too.
        background: what cutouts are laid on, in the middle of a square.
        truncate: cut a text short that is longer than the model reads; else it fails.
    """

    tolerance = 0.05

    def __init__(
        self,
        index: Annotated[str, Field(min_length=1)],
        k: Annotated[int, Field(ge=1)] = 20,
        text_weight: Share = 0.5,
        background: Colour = "white",
        truncate: bool = False,
    ) -> None:
        super().__init__("", background)  # the index says the model
        self.index = Path(index)
        self.k = k
        self.text_weight = text_weight
        self.truncate = truncate

    def depends_on(self) -> dict[str, str]:
        """The index, which is written anew whenever photos are added."""
        try:
            manifest, state = (self.index / MANIFEST).read_bytes(), look(self.index / MANIFEST)
        except OSError:  # there is none, as `load` will say
            return {}
        return {f"index {self.index}": f"{sha256(manifest).hexdigest()} {state.mtime_ns}"}

    def load(self, runtime: Runtime) -> None:
        """Open the index, and load the checkpoint that made it.

        Raises:
            JobError: there is no index, or the checkpoint's weights are not those that made it.
        """
        self.photos = PhotoIndex.open(self.index)
        entry = checkpoint(self.photos.space.checkpoint, family="clip")
        self.photos.check_space(Space.of(entry, find_node("clip.embed").spec))
        self.clip = load_clip(entry.name, runtime)

    def unload(self) -> None:
        """Forget the model and the index."""
        super().unload()
        vars(self).pop("photos", None)

    def fit(self) -> Fit | None:
        """The size of the model's input; None while there is no index, as `load` will say."""
        try:
            name = read_manifest(self.index).space.checkpoint
            return Fit(short=image_size(checkpoint(name, family="clip")))
        except (JobError, WeightsError):
            return None

    async def run(self, image: Image | Cutout | None = None, text: Text | None = None) -> Hits:
        """Search by an image, a text, or both; without either it fails."""
        words = picture = None
        if text is not None:
            (vector,) = await self.encode_texts((text.text,))
            words = Embedding.normalised(vector, self.clip.space, text.origin)
        if image is not None:
            vector = await self.image_vector(image)
            picture = Embedding.normalised(vector, self.clip.space, image.origin)
        found = await self.find(Query.of(words, picture, self.text_weight))
        return as_hits(found, query_words(text, image))

    @batched(size=32)
    def find(self, queries: list[Query]) -> list[list[Match]]:
        """Compare several queries with all photos, whose vectors are then read once."""
        return self.photos.search(queries, self.k)
