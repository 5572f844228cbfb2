"""Texts to token ids and back, and how the words of a text are searched for."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from visionweave import ValueTypeError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["Search", "Words"]


class Search(NamedTuple):
    """How the words of a text are searched for.

    Attributes:
        beams: texts that are followed at a time.
        max_tokens, min_tokens: how many tokens are written, those of a prompt not counted.
    """

    beams: int
    max_tokens: int
    min_tokens: int


class Words:
    """A network's tokens. It may be used from several threads at once.

    Args:
        tokenizer: the checkpoint's.
        config: the configuration of its text network, as transformers has it.
        enc: the [ENC] token; None for the tokenizer's own. Where that has none, [CLS] stands in for
            it, as in transformers.
    """

    def __init__(self, tokenizer: Tokenizer, config: Any, enc: int | None = None) -> None:
        self._tokenizer = tokenizer
        self._room: int = config.max_position_embeddings
        self.bos: int = config.bos_token_id
        self.pad: int = config.pad_token_id
        # BLIP's texts end with [SEP], whatever its published configurations call their end.
        sep = getattr(config, "sep_token_id", None)
        end = config.eos_token_id if sep is None else sep
        self.ends: list[int] = end if isinstance(end, list) else [end]
        self.cls: int = _first(tokenizer.token_to_id("[CLS]"), self.bos)
        self.enc: int = _first(enc, tokenizer.token_to_id("[ENC]"), self.cls)

    def start(self, prompt: str, search: Search, before: int = 0) -> list[int]:
        """The ids that a text begins with.

        Args:
            prompt: its first words; "" for none.
            search: how the others are searched for.
            before: places that are taken already.

        Raises:
            ValueTypeError: the network has not room for so long a prompt and the text.
        """
        ids = [self.bos, *self._ids(prompt)]
        self._check_room(before + len(ids) + search.max_tokens, prompt)
        return ids

    def framed(self, text: str, first: int) -> list[int]:
        """The ids of a text between `first` and the token at its end.

        Raises:
            ValueTypeError: it is longer than the network can read.
        """
        ids = [first, *self._ids(text), self.ends[0]]
        self._check_room(len(ids), text)
        return ids

    def text(self, ids: Sequence[int]) -> str:
        """Write ids out. BERT's tokenizer parts words at hyphens; they are joined again."""
        text = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return re.sub(r"(?<=\w) - (?=\w)", "-", text).strip()

    def until_end(self, ids: Sequence[int]) -> list[int]:
        """The ids before the first that ends a text."""
        return list(itertools.takewhile(lambda each: each not in self.ends, ids))

    def arguments(self, search: Search) -> dict[str, Any]:
        """What transformers' `generate` must be told; there is no chance in it."""
        return {
            "do_sample": False,
            "num_beams": search.beams,
            "max_new_tokens": search.max_tokens,
            "min_new_tokens": search.min_tokens,
            "eos_token_id": self.ends,
            "pad_token_id": self.pad,
        }

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _check_room(self, count: int, text: str) -> None:
        if count > self._room:
            raise ValueTypeError(
                f"this text is too long: it takes {count} places, with what stands around it and "
                f"what is to be written, and the model has {self._room}; shorten it: {text[:60]!r}"
            )


def _first(*ids: int | None) -> int:
    return next(id for id in ids if id is not None)
