"""The nodes that give tags; those for captions are in `caption`.

Letters: B photos, S pixels of a side, T image tokens, C classes, E width of a label embedding.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from visionweave import Cutout, Embedding, Image, Runtime, Tags, Text, ValueTypeError, batched, node

from .base import PAPERS, Pixels, Recogniser, Scores
from .config import best_first, merged, read_vocabulary

Share = Annotated[float, Field(ge=0, le=1)]


@node("tag2text.tag", paper=PAPERS, license="Apache-2.0")
class Tag(Recogniser):
    """Say what is in a photo: tags with scores, the best first.

    RAM and RAM++ know 4585 tags (things, properties, actions, places), Tag2Text 3429. A tag is
    given when its score, a probability, is above its own threshold. What the list says twice, in
    one language, is given once. Low precision moves no score by more than `tolerance`.

    Settings:
        model: a profile or a checkpoint: RAM++, RAM or Tag2Text.
        language: "en" for English names, "zh" for Chinese (RAM and RAM++).
        threshold: one for all tags; None for the checkpoint's own, of which some are 1: such a tag
            is never given.
        most: at most this many, the best by score; None for all.
    """

    tolerance = 0.03

    def __init__(
        self,
        model: str = "mini",
        language: Literal["en", "zh"] = "en",
        threshold: Share | None = None,
        most: Annotated[int, Field(ge=1)] | None = None,
    ) -> None:
        self.model = model
        self.language = language
        self.threshold = threshold
        self.most = most

    def load(self, runtime: Runtime) -> None:
        """Load the tagger and its lists of tags."""
        super().load(runtime)
        self._vocabulary = read_vocabulary(self._config, self._files)

    def _check(self) -> None:
        if self.language == "zh" and not self._config.tags_zh:
            fix = "language: en, or model: a checkpoint of RAM or RAM++"
            raise self._refuse("this checkpoint has no Chinese names of its tags", fix)

    async def run(self, image: Image | Cutout) -> Tags:
        """Tag a photo or an object; where a cutout is transparent it is white."""
        scores = await self.recognise(self._prepare(image))
        words = self._vocabulary
        names = words.chinese if self.language == "zh" else words.english
        return best_first(words.found(scores, self.threshold, names, image.origin), self.most)

    @batched(size=16)
    def recognise(self, pixels: list[Pixels]) -> list[Scores]:
        """(S, S, 3) uint8 each -> (C,) scores each."""
        return list(self._tagger.score(self._encode(pixels)).cpu().numpy())


@node("tag2text.open_set", paper=PAPERS, license="Apache-2.0")
class OpenSet(Recogniser):
    """Score phrases of your own as tags of a photo; those above the threshold, the best first.

    RAM recognises what it was never shown through the CLIP embedding of its name. Embed each
    phrase with clip.embed, model CLIP ViT-B/16, and give both lists:

        embeddings: {node: clip.embed, content: $phrases, model: clip-vit-b-16-openai}
        tags: {node: tag2text.open_set, image: $photo, phrases: $phrases, embeddings: $embeddings}

    RAM takes the embedding in the place of its own. RAM++ has 51 descriptions for each of its tags
    and weighs them by the photo; a phrase of yours stands for all of them, which is an
    approximation. Low precision moves no score by more than `tolerance`.

    Settings:
        model: a profile or a checkpoint of RAM or RAM++; Tag2Text's tags are fixed.
        threshold: of every phrase; the published one for open sets is 0.5.
        most: at most this many, the best by score; None for all.
    """

    tolerance = 0.03

    def __init__(
        self,
        model: str = "mini",
        threshold: Share = 0.5,
        most: Annotated[int, Field(ge=1)] | None = None,
    ) -> None:
        self.model = model
        self.threshold = threshold
        self.most = most

    def _check(self) -> None:
        if self._config.variant == "tag2text":
            raise self._refuse(
                "Tag2Text's tags are fixed; it takes none of yours",
                "model: a checkpoint of RAM or RAM++",
            )

    async def run(
        self, image: Image | Cutout, phrases: list[Text], embeddings: list[Embedding]
    ) -> Tags:
        """Score `phrases`, one embedding for each in the same order.

        Raises:
            ValueTypeError: there are more of one than of the other, or an embedding is of another
                space than the checkpoint's.
        """
        names = [phrase.text for phrase in phrases]
        labels = self._labels(names, embeddings)
        if not names:
            return Tags((), origin=image.origin)
        scores = await self.recognise((self._prepare(image), labels))
        some = np.flatnonzero(scores > np.float32(self.threshold))
        found = merged([names[place] for place in some], scores[some], image.origin)
        return best_first(found, self.most)

    @batched(size=16)
    def recognise(self, payloads: list[tuple[Pixels, Scores]]) -> list[Scores]:
        """(S, S, 3) uint8 and (N, E) labels each -> (N,) scores each."""
        import torch

        tokens = self._encode([pixels for pixels, _ in payloads])
        found = []
        for own, (_, labels) in zip(tokens, payloads, strict=True):
            rows = torch.from_numpy(labels).to(self._device)
            if self._config.variant == "ram_plus":
                rows = rows[:, None]  # 51 equal descriptions, weighed, are as good as this one
            found.append(self._tagger.score(own[None], rows)[0].cpu().numpy())
        return found

    def _labels(self, names: list[str], embeddings: list[Embedding]) -> Scores:
        if len(names) != len(embeddings):
            raise ValueTypeError(
                f"{self.spec.id}: expected one embedding for each phrase; got {len(names)} phrases "
                f"and {len(embeddings)} embeddings. Embed the same list that `phrases` is given"
            )
        spaces, width = self._config.spaces, self._config.label_width
        for name, each in zip(names, embeddings, strict=True):
            if each.space not in spaces or len(each.vector) != width:
                raise ValueTypeError(
                    f"{self.spec.id}: the embedding of {name!r} must be of space "
                    f"{' or '.join(map(repr, spaces))} with {width} numbers; got {each.space!r} "
                    f"with {len(each.vector)}. Embed the phrases with the CLIP model that "
                    "this checkpoint was made with"
                )
        return np.array([each.vector for each in embeddings], np.float32).reshape(-1, width)
