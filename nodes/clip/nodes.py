"""The nodes of CLIP that compare what they are given; `search` has the one that reads an index.

Shapes: N pictures or phrases, D numbers in an embedding, L tokens, S pixels at a side.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from visionweave import Cutout, Embedding, Image, Runtime, Tags, Text, node

from .._paint import Colour
from .base import LICENSE, PAPER, ClipNode, Share
from .model import fill, pooled

TEMPLATE = "a photo of a {}"
"""The prompt of the paper's section 3.1.4."""

Most = Annotated[int, Field(ge=1)] | None
Templates = str | tuple[str, ...]


@node("clip.embed", paper=PAPER, license=LICENSE)
class Embed(ClipNode):
    """Embed a picture or a text, so that what means the same lies close together.

    Embeddings of pictures and of texts can be compared when one checkpoint made them: a text finds
    pictures. How close is close depends on the model: compare among pictures, not with a threshold
    taken from another model. A plain str is taken for a picture's path; give a text as Text(...).

    Tolerance: 1 minus the cosine between bf16 and fp32.

    Settings:
        model: a checkpoint or a profile.
        background: what cutouts are laid on, in the middle of a square; white, as transparent
            photos are.
        truncate: cut a text short that is longer than the model reads; else it fails.
    """

    tolerance = 1e-3

    def __init__(
        self, model: str = "mini", background: Colour = "white", truncate: bool = False
    ) -> None:
        super().__init__(model, background)
        self.truncate = truncate

    async def run(self, content: Image | Cutout | Text) -> Embedding:
        """Embed one."""
        if isinstance(content, Text):
            (vector,) = await self.encode_texts((content.text,))
        else:
            vector = await self.image_vector(content)
        return Embedding.normalised(vector, self.clip.space, content.origin)


@node("clip.rank", paper=PAPER, license=LICENSE)
class Rank(ClipNode):
    """Score phrases for a picture, the best first.

    A model trained with softmax (CLIP) shares 1 among the phrases: the scores say which fits best,
    not whether any does, and a single phrase always scores 1. One trained with a sigmoid (SigLIP)
    scores each phrase for itself. The scores that the phrases had before are not looked at.

    Tolerance: the difference of a score between bf16 and fp32.

    Settings:
        model: a checkpoint or a profile.
        template: what phrases are put into, at "{}"; of several, the mean embedding counts. Write
            it in the phrases' language, or "{}" for phrases that are sentences.
        most: at most this many, of equal ones the first; null for all.
        background: what cutouts are laid on, in the middle of a square.
    """

    tolerance = 0.05

    def __init__(
        self,
        model: str = "mini",
        template: Templates = TEMPLATE,
        most: Most = None,
        background: Colour = "white",
    ) -> None:
        super().__init__(model, background)
        self.templates = check_templates(template)
        self.most = most

    async def run(self, content: Image | Cutout, phrases: Tags) -> Tags:
        """Score the phrases; the origin is the picture's."""
        if len(phrases) == 0:
            return Tags((), origin=content.origin)
        image = await self.image_vector(content)
        texts = await self.encode_texts(fill(self.templates, phrases.phrases))
        scores = self.clip.scores(image, pooled(texts, len(self.templates)))
        return best(Tags(phrases.phrases, scores, content.origin), self.most)


@node("clip.classify", paper=PAPER, license=LICENSE)
class Classify(ClipNode):
    """Say which of a fixed list of labels a picture shows, the best first.

    Scores are those of `clip.rank`: with CLIP they are shares among all labels, taken before any is
    left out. The labels are embedded once, when the model is loaded.

    Tolerance: the difference of a score between bf16 and fp32.

    Settings:
        labels: at least one, each once.
        model: a checkpoint or a profile.
        template: what labels are put into, at "{}"; of several, the mean embedding counts.
        min_score: the lowest score that stays.
        most: at most this many, of equal ones the first; null for all.
        background: what cutouts are laid on, in the middle of a square.
    """

    tolerance = 0.05

    def __init__(
        self,
        labels: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)],
        model: str = "mini",
        template: Templates = TEMPLATE,
        min_score: Share = 0.0,
        most: Most = 1,
        background: Colour = "white",
    ) -> None:
        super().__init__(model, background)
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise ValueError(f"each label stands once in the list; twice: {', '.join(twice)}")
        self.labels = labels
        self.templates = check_templates(template)
        self.min_score = min_score
        self.most = most

    def load(self, runtime: Runtime) -> None:
        """Load the checkpoint, and embed the labels."""
        super().load(runtime)
        texts = self.clip.embed_texts(fill(self.templates, self.labels))
        self.label_vectors = pooled(texts, len(self.templates))

    async def run(self, content: Image | Cutout) -> Tags:
        """Score the labels; the origin is the picture's."""
        scores = self.clip.scores(await self.image_vector(content), self.label_vectors)
        tags = Tags(self.labels, scores, content.origin)
        return best(tags[tags.scores >= np.float32(self.min_score)], self.most)


def check_templates(template: Templates) -> tuple[str, ...]:
    """Return the templates as a list, or raise ValueError for one that has no place to fill."""
    templates = (template,) if isinstance(template, str) else template
    for each in templates:
        if each.count("{}") != 1:
            raise ValueError(f'a template holds "{{}}" once, for the phrase; got {each!r}')
    if not templates:
        raise ValueError('give at least one template, such as "a photo of a {}"')
    return templates


def best(tags: Tags, most: int | None) -> Tags:
    """Sort tags by score, the best first; of equal ones the first stays first."""
    order: npt.NDArray[np.intp] = np.argsort(-tags.scores, kind="stable")
    return tags[order[:most]]
