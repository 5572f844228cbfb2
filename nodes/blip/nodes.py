"""The nodes of BLIP, and how they load a checkpoint.

Shapes: S pixels at a side, T picture tokens of width W, P numbers in a vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from visionweave import (
    Cutout,
    Fit,
    Image,
    ModelNode,
    Runtime,
    Tags,
    Text,
    WeightsError,
    batched,
    node,
)
from visionweave.weights import Checkpoint, checkpoint, verified_files

from .._paint import Colour
from .files import build_network, kind_of, read_config, read_tokenizer
from .view import Pixels, shown
from .words import Search

if TYPE_CHECKING:
    from torch import Tensor

    from .blip2_net import Captioner2
    from .net import Answerer, Captioner, Matcher

Vector = npt.NDArray[np.float32]

PAPER, LICENSE = "Li et al. 2022, arXiv:2201.12086", "Apache-2.0"

SIDE = 384
"""The side of the square that BLIP's published checkpoints squeeze pictures into."""

Beams = Annotated[int, Field(ge=1, le=32)]
Tokens = Annotated[int, Field(ge=1, le=512)]


class BlipNode(ModelNode):
    """What the nodes of this family have in common: a network that sees pictures.

    Cutouts are laid on `background`. White is what pictures of single objects mostly have around
    them; black would be told as night, or as a frame.
    """

    kinds: ClassVar[tuple[str, ...]]
    model: str
    background: str
    _seer: Any = None

    def fit(self) -> Fit:
        """The short side becomes that of the square, so that neither is enlarged."""
        try:
            known = checkpoint(self.model, family=self.spec.id).config
        except WeightsError:  # which `load` will raise again
            known = {}
        return Fit(short=known.get("image_size", SIDE))

    def load(self, runtime: Runtime) -> None:
        """Load the checkpoint, once for all nodes that use it."""
        entry = checkpoint(self.model, family=self.spec.id)
        files = verified_files(entry)
        table = read_config(entry, files)
        kind = kind_of(entry, table)
        if kind not in self.kinds:
            raise WeightsError(
                f"{entry.name} is a checkpoint of kind {kind}; {self.spec.id} needs one of kind "
                f"{' or '.join(self.kinds)}: choose another with the setting 'model'"
            )
        key = ("blip", repr(entry))
        self._seer = runtime.share(key, lambda: _build(entry, files, table, runtime.device))

    def unload(self) -> None:
        """Forget the network."""
        super().unload()
        self._seer = None

    @batched(size=16)
    def see(self, pictures: list[Pixels]) -> list[Tensor]:
        """(S, S, 3) RGB each -> (T, W) picture tokens each; equal pictures are seen once."""
        tokens: list[Tensor] = self._seer.see(pictures)
        return tokens

    def _shown(self, image: Image | Cutout) -> Pixels:
        return shown(image, self._seer.size_px, self.background)


@node("blip.caption", paper=f"{PAPER}; BLIP-2: 2301.12597", license=LICENSE)
class Caption(BlipNode):
    """Describe a photo or an object in a sentence, freely or beginning with a prompt.

    The paper's prompt is "a picture of". With a BLIP-2 checkpoint a prompt may also ask:
    "Question: what is the boy holding? Answer:".

    Tolerance: the difference of any first word's probability between bf16 and fp32. Words that are
    nearly as likely may so change places, and all that follows with them.

    Settings:
        model: a checkpoint or a profile.
        beams: captions that are followed at a time; 1 takes the likeliest word each time.
        max_tokens, min_tokens: how long the caption becomes, in parts of words, its prompt not
            counted. The original code counts all: its 20 and 5 with its prompt are 16 and 1 here.
        background: what cutouts are laid on.
        keep_prompt: whether the prompt stands before the caption; in the model's spelling, which
            for BLIP is lower case.
    """

    kinds = ("caption", "blip2")
    tolerance = 0.05
    _seer: Captioner | Captioner2

    def __init__(
        self,
        model: str = "mini",
        beams: Beams = 3,
        max_tokens: Tokens = 20,
        min_tokens: Tokens = 1,
        background: Colour = "white",
        keep_prompt: bool = False,
    ) -> None:
        self.model = model
        self.background = background
        self.keep_prompt = keep_prompt
        self._search = _search(beams, max_tokens, min_tokens)

    async def run(self, image: Image | Cutout, prompt: Text | None = None) -> Text:
        """Caption one."""
        start = self._seer.start("" if prompt is None else prompt.text, self._search)
        tokens = await self.see(self._shown(image))
        written = await self.write((tokens, start))
        kept = start[1:] if self.keep_prompt else []
        return Text(self._seer.words.text([*kept, *written]), image.origin)

    @batched(size=16)
    def write(self, asked: list[tuple[Tensor, Sequence[int]]]) -> list[list[int]]:
        """Picture tokens and the ids that the caption begins with -> the ids that follow."""
        return self._seer.caption(asked, self._search)


@node("blip.answer", paper=PAPER, license=LICENSE)
class Answer(BlipNode):
    """Answer a question about a photo or an object, in a word or a few.

    Tolerance: as of `blip.caption`.

    Settings:
        model: a checkpoint or a profile.
        beams: answers that are followed at a time.
        max_tokens, min_tokens: how long the answer becomes, in parts of words.
        background: what cutouts are laid on.
    """

    kinds = ("vqa",)
    tolerance = 0.05
    _seer: Answerer

    def __init__(
        self,
        model: str = "mini",
        beams: Beams = 3,
        max_tokens: Tokens = 10,
        min_tokens: Tokens = 1,
        background: Colour = "white",
    ) -> None:
        self.model = model
        self.background = background
        self._search = _search(beams, max_tokens, min_tokens)

    async def run(self, image: Image | Cutout, question: Text) -> Text:
        """Answer one question."""
        ids = self._seer.question(question.text)
        tokens = await self.see(self._shown(image))
        written = await self.reply((tokens, ids))
        return Text(self._seer.words.text(written), image.origin)

    @batched(size=16)
    def reply(self, asked: list[tuple[Tensor, Sequence[int]]]) -> list[list[int]]:
        """Picture tokens and the ids of a question -> the ids of the answer."""
        return self._seer.answer(asked, self._search)


@node("blip.match", paper=PAPER, license=LICENSE)
class Match(BlipNode):
    """Score how well phrases or a sentence fit a photo or an object, the best first.

    Each phrase is scored for itself: all may fit, or none. The scores that the phrases had before
    are not looked at. A plain str is read as phrases between commas; give a sentence as Text(...).

    Tolerance: the difference of a score between bf16 and fp32.

    Settings:
        model: a checkpoint or a profile.
        head: "itm" reads each phrase together with the picture and gives the probability that they
            belong together. "itc" compares a vector of the phrase with one of the picture, and
            gives their cosine, moved from -1 … 1 to 0 … 1: coarser, and much faster for many.
        background: what cutouts are laid on.
    """

    kinds = ("itm",)
    tolerance = 0.03
    _seer: Matcher

    def __init__(
        self,
        model: str = "mini",
        head: Literal["itm", "itc"] = "itm",
        background: Colour = "white",
    ) -> None:
        self.model = model
        self.head = head
        self.background = background

    async def run(self, image: Image | Cutout, phrases: Tags | Text) -> Tags:
        """Score the phrases of one picture."""
        asked = (phrases.text,) if isinstance(phrases, Text) else phrases.phrases
        found = Tags(asked, np.zeros(len(asked), np.float32), image.origin)
        if len(found) == 0:
            return found
        picture = self._shown(image)
        if self.head == "itm":
            tokens = await self.see(picture)
            pairs = [(tokens, self._seer.pair_ids(phrase)) for phrase in asked]
            scores = np.array(await self.match.each(pairs))
        else:
            texts = await self.embed_texts.each([self._seer.text_ids(each) for each in asked])
            scores = (1 + np.stack(texts) @ await self.embed_picture(picture)) / 2
        scored = Tags(asked, scores.clip(0, 1), image.origin)
        return scored[np.argsort(-scores, kind="stable")]

    @batched(size=64)
    def match(self, asked: list[tuple[Tensor, Sequence[int]]]) -> list[float]:
        """Picture tokens and the ids of a phrase -> the probability that they belong together."""
        return self._seer.match(asked)

    @batched(size=16)
    def embed_picture(self, pictures: list[Pixels]) -> list[Vector]:
        """(S, S, 3) RGB each -> a vector (P,) each."""
        return self._seer.picture_vectors(pictures)

    @batched(size=64)
    def embed_texts(self, texts: list[tuple[int, ...]]) -> list[Vector]:
        """The ids of a phrase each -> a vector (P,) each; a phrase met before is remembered."""
        return self._seer.text_vectors(texts)


def _search(beams: int, max_tokens: int, min_tokens: int) -> Search:
    if min_tokens > max_tokens:
        raise ValueError(f"min_tokens {min_tokens} is above max_tokens {max_tokens}")
    return Search(beams, max_tokens, min_tokens)


def _build(
    entry: Checkpoint, files: Mapping[str, Path], table: Mapping[str, Any], device: str
) -> Any:
    from .blip2_net import Captioner2
    from .net import Answerer, Captioner, Matcher

    kinds = {"caption": Captioner, "vqa": Answerer, "itm": Matcher, "blip2": Captioner2}
    network = build_network(entry, files, table, device)
    tokenizer, enc = read_tokenizer(entry, files), entry.config.get("enc_token_id")
    return kinds[kind_of(entry, table)](network, tokenizer, enc)
