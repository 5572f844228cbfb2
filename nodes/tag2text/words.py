"""Words: what Tag2Text's caption half reads and writes, and the tags that a caption speaks of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from visionweave import Tags, WeightsError

__all__ = ["Finder", "Guide", "Tokens"]

PROMPT = "a picture of "
"""What every caption that the model learnt from begins with."""


@dataclass(frozen=True, slots=True)
class Guide:
    """Tags as the tag encoder reads them.

    Attributes:
        ids: (L,) int64, padded.
        known: (L,) bool: False for padding.
    """

    ids: npt.NDArray[np.int64]
    known: npt.NDArray[np.bool_]


class Tokens:
    """BERT's uncased WordPiece tokens, and the two that Tag2Text adds behind them.

    Args:
        vocab: BERT's `vocab.txt`.
        count: how many tokens the networks know, the two included.

    Raises:
        WeightsError: it is no such list, or not as long.
    """

    def __init__(self, vocab: Path, count: int) -> None:
        from tokenizers import BertWordPieceTokenizer

        try:
            self._tokens: Any = BertWordPieceTokenizer(str(vocab), lowercase=True)
        except Exception as error:  # tokenizers raises bare Exceptions
            raise WeightsError(f"{vocab}: expected BERT's list of tokens: {error}") from None
        size: int = self._tokens.get_vocab_size()
        if size != count - 2:
            raise WeightsError(
                f"{vocab}: expected {count - 2} tokens, one on every line; got {size}"
            )
        self.pad: int = self._tokens.token_to_id("[PAD]")
        self.end: int = self._tokens.token_to_id("[SEP]")
        self.begin_caption, self.begin_tags = size, size + 1  # [DEC] and [ENC]

    @property
    def prompt(self) -> npt.NDArray[np.int64]:
        """(P,) ids of the beginning of every caption."""
        return np.array([self.begin_caption, *self._ids(PROMPT)], np.int64)

    def guide(self, tags: Tags, length: int) -> Guide:
        """Write tags as `length` ids: the best that fit, each whole, in their own order."""
        bar = self._ids(" | ")
        words = [self._ids(phrase) for phrase in tags.phrases]
        kept: set[int] = set()
        room = length - 2
        for place in np.argsort(-tags.scores, kind="stable").tolist():
            need = len(words[place]) + (len(bar) if kept else 0)
            if need <= room:
                kept.add(place)
                room -= need
        ids = [self.begin_tags]
        for place in sorted(kept):
            ids += [*(bar if len(ids) > 1 else []), *words[place]]
        ids.append(self.end)
        padding = length - len(ids)
        known = np.arange(length) < len(ids)
        return Guide(np.array(ids + [self.pad] * padding, np.int64), known)

    def caption(self, ids: npt.NDArray[np.int64]) -> str:
        """The words of what the decoder wrote, without what every caption begins with."""
        plain = [each for each in ids.tolist() if each < self.begin_caption]
        text: str = self._tokens.decode(plain, skip_special_tokens=True)
        return text.removeprefix(PROMPT.strip()).strip()

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokens.encode(text, add_special_tokens=False).ids
        return ids


class Finder:
    """Finds the tags of a list in a text: whole words, the longest tag first.

    A plural in the text finds a tag in the singular ("two dogs": "dog"), not the other way round:
    a glass is no glasses.

    Args:
        vocabulary: the tags, in English.
    """

    def __init__(self, vocabulary: Iterable[str]) -> None:
        self._tags: dict[Words, str] = {}
        for tag in vocabulary:
            self._tags.setdefault(tuple(_WORD.findall(tag.lower())), tag)
        self._longest = max(map(len, self._tags), default=0)

    def find(self, text: str) -> tuple[str, ...]:
        """Return the tags that `text` speaks of, in the order of their first appearance."""
        # No tag reaches over a full stop or a comma.
        parts = (_WORD.findall(part) for part in re.split(r"[.,;:!?()\"]", text.lower()))
        return tuple(dict.fromkeys(tag for words in parts for tag in self._in(words)))

    def _in(self, words: list[str]) -> Iterator[str]:
        start = 0
        while start < len(words):
            counts = range(min(self._longest, len(words) - start), 0, -1)
            runs = (tuple(words[start : start + count]) for count in counts)
            said = next(((len(run), tag) for run in runs if (tag := self._named(run))), None)
            if said is not None:
                yield said[1]
            start += said[0] if said else 1

    def _named(self, words: Words) -> str | None:
        return next((self._tags[w] for w in (words, *_singulars(words)) if w in self._tags), None)


Words = tuple[str, ...]

_WORD = re.compile(r"[^\W_]+")
"""Hyphens and apostrophes part words: BERT writes "t - shirt" and "rubik ' s cube"."""

_IRREGULAR = {
    "people": "person", "men": "man", "women": "woman", "children": "child", "feet": "foot",
    "teeth": "tooth", "geese": "goose", "mice": "mouse", "knives": "knife", "leaves": "leaf",
    "shelves": "shelf", "wolves": "wolf", "loaves": "loaf", "scarves": "scarf", "halves": "half",
}  # fmt: skip

_ENDINGS = (
    (re.compile(r"(..[^aeiou])ies$"), r"\1y"),  # cherries
    (re.compile(r"(..(?:s|sh|ch|x|z|o))es$"), r"\1"),  # buses
    (re.compile(r"(..+)s$"), r"\1"),  # houses
)


def _singulars(words: Words) -> list[Words]:
    """What the words may be in the singular; that is asked of a list, so that too many do no harm.

    Only the last word changes.
    """
    *before, last = words
    if last in _IRREGULAR:
        return [(*before, _IRREGULAR[last])]
    found = [pattern.sub(ending, last) for pattern, ending in _ENDINGS if pattern.search(last)]
    return [(*before, each) for each in found]
