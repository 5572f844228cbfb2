"""What Grounding DINO is asked for: phrases packed into prompts whose tokens know whose they are.

A prompt is, in tokens, "[CLS] red apple . cat . [SEP]". The model's text encoder keeps the parts
between separators apart, and counts their places each from 0, so a phrase means the same whatever
stands beside it. Parts are put together here as numbers, never as text: no phrase can run into
another, and a "." of its own cannot break it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from visionweave import ValueTypeError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SEPARATORS = ("[CLS]", "[SEP]", ".", "?")
"""The tokens between parts; the paper's sub-sentence level text (section 3.4) cuts at these."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text for one pass of the model.

    Attributes:
        ids: T tokens, from "[CLS]" to "[SEP]".
        places: T places of the tokens within their parts, each from 0; a "." ends its part.
        owners: T numbers of the phrases (or words) that the tokens belong to; -1 for none.
    """

    ids: tuple[int, ...]
    places: tuple[int, ...]
    owners: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Phrases:
    """What to look for, phrase by phrase; a token's owner is a phrase.

    Attributes:
        prompts: as few as hold them all.
        phrases: as they were given.
    """

    prompts: tuple[Prompt, ...]
    phrases: tuple[str, ...]

    def label(self, best: int, scores: Mapping[int, float]) -> str:
        """The phrase that scores best on a box, as it was given."""
        return self.phrases[best]


@dataclass(frozen=True, slots=True)
class Sentence:
    """What to look for, as a sentence says it; a token's owner is a word.

    Attributes:
        prompts: as few as hold it all; it is cut between its sentences only.
        text: as it was given.
        words: (start, end) of each word in the text.
        threshold: the score above which a word belongs to a box.
    """

    prompts: tuple[Prompt, ...]
    text: str
    words: tuple[tuple[int, int], ...]
    threshold: float

    def label(self, best: int, scores: Mapping[int, float]) -> str:
        """The part of the text around a box's best word whose words all belong to the box."""
        first = last = best
        while self._joined(first - 1) and scores.get(first - 1, 0) > self.threshold:
            first -= 1
        while self._joined(last) and scores.get(last + 1, 0) > self.threshold:
            last += 1
        return self.text[self.words[first][0] : self.words[last][1]]

    def _joined(self, word: int) -> bool:
        """Whether nothing but space is between a word and the next."""
        if not 0 <= word < len(self.words) - 1:
            return False
        return self.text[self.words[word][1] : self.words[word + 1][0]].isspace()


Part = tuple[tuple[int, ...], tuple[int, ...]]
"""The tokens of a part, without the "." that ends it, and the owner of each."""


class PromptWriter:
    """Writes prompts in the words of one model.

    Args:
        tokenizer: the model's, a WordPiece; what it cuts off or pads it shall not.
        limit: the most tokens that the model reads at once.
    """

    def __init__(self, tokenizer: Tokenizer, limit: int) -> None:
        self._tokenizer, self._limit = tokenizer, limit
        known = {mark: tokenizer.token_to_id(mark) for mark in SEPARATORS}
        ids = {mark: token for mark, token in known.items() if token is not None}
        self._start, self._end, self._stop = ids["[CLS]"], ids["[SEP]"], ids["."]
        self.separators = tuple(ids.values())
        self._unknown = tokenizer.token_to_id("[UNK]")

    def phrases(self, phrases: Sequence[str]) -> Phrases:
        """Write prompts for phrases; one that occurs twice, in upper or lower case, is asked once.

        Raises:
            ValueTypeError: a phrase is longer than a prompt, or has no word that the model knows.
        """
        parts: dict[tuple[int, ...], Part] = {}
        for number, phrase in enumerate(phrases):
            tokens = self._tokenizer.encode(phrase, add_special_tokens=False).ids
            ids = tuple(token for token in tokens if token not in self.separators)
            if set(ids) <= {self._unknown}:
                raise ValueTypeError(
                    f"the phrase {phrase!r} has no word that this model knows; leave it out"
                )
            self._check("phrase", phrase, ids)
            parts.setdefault(ids, (ids, (number,) * len(ids)))
        return Phrases(self._pack(parts.values()), tuple(phrases))

    def sentence(self, text: str, threshold: float) -> Sentence:
        """Write prompts for a text; `threshold` is the score above which a word belongs to a box.

        Raises:
            ValueTypeError: one of its sentences is longer than a prompt.
        """
        words = tuple(_words(text))
        starts = [start for start, _ in words]
        parts: list[list[tuple[int, int]]] = [[]]
        tokens = self._tokenizer.encode(text, add_special_tokens=False)
        for token, (start, _) in zip(tokens.ids, tokens.offsets, strict=True):
            if token in self.separators:
                parts.append([])
            else:
                word = bisect_right(starts, start) - 1
                is_inside = word >= 0 and start < words[word][1]
                parts[-1].append((token, word if is_inside else -1))
        asked: list[Part] = []
        for part in parts:
            inside = [words[owner] for _, owner in part if owner >= 0]
            if inside:
                asked.append((tuple(token for token, _ in part), tuple(owner for _, owner in part)))
                self._check("sentence", text[inside[0][0] : inside[-1][1]], asked[-1][0])
        return Sentence(self._pack(asked), text, words, threshold)

    def _check(self, kind: str, text: str, ids: Sequence[int]) -> None:
        room = self._limit - 3  # beside [CLS], "." and [SEP]
        if len(ids) > room:
            shown = text if len(text) <= 60 else f"{text[:57]}..."
            raise ValueTypeError(
                f"the {kind} {shown!r} has {len(ids)} tokens, and this model reads {room} at once; "
                "shorten it"
            )

    def _pack(self, parts: Iterable[Part]) -> tuple[Prompt, ...]:
        """Put each part into the first prompt that has room for it."""
        packed: list[list[Part]] = []
        free: list[int] = []
        for part in parts:
            length = len(part[0]) + 1
            place = next((i for i, room in enumerate(free) if room >= length), len(packed))
            if place == len(packed):
                packed.append([])
                free.append(self._limit - 2)
            packed[place].append(part)
            free[place] -= length
        return tuple(map(self._join, packed))

    def _join(self, parts: Sequence[Part]) -> Prompt:
        ids, places, owners = [self._start], [0], [-1]
        for tokens, whose in parts:
            ids += (*tokens, self._stop)
            places += range(len(tokens) + 1)
            owners += (*whose, -1)
        return Prompt((*ids, self._end), (*places, 0), (*owners, -1))


_CHUNK = re.compile(r"[^\s,;:!?()\[\]{}<>|/\"“”„«»…—]+")
_EDGES = ".'`*_-&\u2018\u2019\u2013"  # the last three: curly quotes, a dash


def _words(text: str) -> Iterable[tuple[int, int]]:
    """Find the words of a text, with their hyphens and apostrophes but no punctuation around."""
    for chunk in _CHUNK.finditer(text):
        word = chunk.group().strip(_EDGES)
        if word:
            start = chunk.start() + chunk.group().index(word)
            yield start, start + len(word)
