"""Tag2Text's captions, and the tags that a caption speaks of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from visionweave import Cutout, Image, ModelNode, Runtime, Tags, Text, batched, node
from visionweave.weights import checkpoint, verified_files

from .base import PAPERS, Pixels, Recogniser, Scores
from .config import read_config, read_vocabulary
from .weights import build_writer
from .words import Finder, Guide, Tokens

if TYPE_CHECKING:
    from torch import Tensor

    from .net import Writer

__all__ = ["Caption", "FromCaption"]

Ids = npt.NDArray[np.int64]


@node("tag2text.caption", version=2, paper=PAPERS, license="Apache-2.0")
class Caption(Recogniser):
    """Describe a photo in a sentence, guided by tags.

    Tag2Text writes about the tags that it is given; without any it finds its own. It reads so many
    as fit into `tag_tokens`, each whole, the best by score; one that is too long is left out. Words
    that low precision makes nearly equal may change places.

    Settings:
        model: a profile or a checkpoint of Tag2Text.
        beams: captions that are followed at a time; 1 takes the likeliest word each time.
        max_length, min_length: of the caption, in BERT's tokens, with the four of "a picture of"
            that each begins with and that are taken off.
        tag_tokens: how many of BERT's tokens the tags may take, with one between any two and two
            around all; the published model was trained with 40.
    """

    def __init__(
        self,
        model: str = "mini",
        beams: Annotated[int, Field(ge=1)] = 3,
        max_length: Annotated[int, Field(ge=5, le=512)] = 50,
        min_length: Annotated[int, Field(ge=0, le=512)] = 10,
        tag_tokens: Annotated[int, Field(ge=2, le=512)] = 40,
    ) -> None:
        if min_length > max_length:
            raise ValueError(
                f"min_length {min_length} is above max_length {max_length}; lower it too"
            )
        self.model = model
        self.beams = beams
        self.max_length = max_length
        self.min_length = min_length
        self.tag_tokens = tag_tokens

    def load(self, runtime: Runtime) -> None:
        """Load the tagger, the two text networks, and BERT's tokens."""
        super().load(runtime)
        self._vocabulary = read_vocabulary(self._config, self._files)
        self._tokens = Tokens(self._files[self._config.vocab], self._config.text_tokens)
        self._writer: Writer = self._share(runtime, "writer", build_writer)

    def unload(self) -> None:
        """Forget the tagger and the text networks."""
        super().unload()
        vars(self).pop("_writer", None)

    def _check(self) -> None:
        config, most = self._config, max(self.max_length, self.tag_tokens)
        if config.variant != "tag2text":
            raise self._refuse(
                "only Tag2Text writes captions; RAM and RAM++ do not",
                "model: a checkpoint of Tag2Text",
            )
        if most > config.text_positions:
            fix = f"max_length and tag_tokens: at most {config.text_positions}"
            raise self._refuse("this checkpoint reads and writes fewer tokens", fix)

    async def run(self, image: Image | Cutout, tags: Tags | None = None) -> Text:
        """Caption a photo or an object; where a cutout is transparent it is white."""
        seen = await self.look(self._prepare(image))
        if tags is None:
            tags = self._vocabulary.found(await self.recognise(seen))
        guide = self._tokens.guide(tags, self.tag_tokens)
        return Text(self._tokens.caption(await self.write((seen, guide))), image.origin)

    @batched(size=16)
    def look(self, pixels: list[Pixels]) -> list[Tensor]:
        """(S, S, 3) uint8 each -> (T, W) image tokens each, on the device."""
        return list(self._encode(pixels))

    @batched(size=16)
    def recognise(self, seen: list[Tensor]) -> list[Scores]:
        """(T, W) image tokens each -> (C,) scores each."""
        import torch

        return list(self._tagger.score(torch.stack(seen)).cpu().numpy())

    @batched(size=16)
    def write(self, payloads: list[tuple[Tensor, Guide]]) -> list[Ids]:
        """(T, W) image tokens and tags each -> the ids of a caption each."""
        import torch

        seen = torch.stack([tokens for tokens, _ in payloads])
        arrays = (
            np.stack([guide.ids for _, guide in payloads]),
            np.stack([guide.known for _, guide in payloads]),
            self._tokens.prompt,
        )
        ids, known, prompt = (torch.from_numpy(array).to(seen.device) for array in arrays)
        written = self._writer(
            seen,
            ids,
            known,
            prompt,
            num_beams=self.beams,
            max_length=self.max_length,
            min_length=self.min_length,
            eos_token_id=self._tokens.end,
            pad_token_id=self._tokens.pad,
        )
        return list(written.cpu().numpy())


@node("tag2text.from_caption")
class FromCaption(ModelNode):
    """Find the tags that a caption speaks of, in the order of their first appearance.

    Whole words, the longest tag first ("park bench" is no "bench"); a plural finds its singular.
    No network runs, and no score is measured: all are 1. English only.

    Settings:
        model: a profile or a checkpoint whose list of tags is looked for.
        vocabulary: another list, for which no checkpoint is needed.
    """

    def __init__(self, model: str = "mini", vocabulary: tuple[str, ...] | None = None) -> None:
        self.model = model
        self.vocabulary = vocabulary

    def load(self, runtime: Runtime) -> None:
        """Read the list of tags."""
        if self.vocabulary is not None:
            self._finder = Finder(self.vocabulary)
            return
        entry = checkpoint(self.model, family=self.spec.id)
        vocabulary = read_vocabulary(read_config(entry), verified_files(entry))
        names = zip(vocabulary.english, vocabulary.reported, strict=True)
        self._finder = Finder(name for name, reported in names if reported)

    def run(self, caption: Text) -> Tags:
        """Find the tags."""
        return Tags(self._finder.find(caption.text), origin=caption.origin)
