"""Texts to token ids, one length for all, and never cut short unasked.

Tokenizers come from the checkpoint's own files; the one of OpenAI's CLIP comes with open_clip.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from visionweave.errors import ValueTypeError, WeightsError

__all__ = ["CLIP_VOCABULARY", "Ids", "Tokens", "bpe_tokens", "file_tokens", "has_tokenizer"]

Ids = npt.NDArray[np.int64]
Encode = Callable[[str], list[int]]

CLIP_VOCABULARY = 49408
"""The tokens that OpenAI's byte pair encoding has, its start and its end among them."""


class Tokens:
    """A tokenizer with the length that its model reads.

    It may be used from several threads at once.

    Args:
        encode: gives all ids of a text, those around it included.
        length: how many the model reads, L.
        pad: the id that fills what is left.
    """

    def __init__(self, encode: Encode, length: int, pad: int) -> None:
        self._encode, self.length, self.pad = encode, length, pad
        ends = (encode("")[-1:], encode("a")[-1:])
        self._closing = ends[0] if ends[0] == ends[1] else []

    def __call__(self, text: str, truncate: bool = False) -> Ids:
        """Return the ids of a text, (L,).

        Raises:
            ValueTypeError: the text is longer than the model reads, and may not be cut short.
        """
        ids = self._encode(text)
        if len(ids) > self.length:
            if not truncate:
                raise ValueTypeError(
                    f"this text is {len(ids)} tokens long, and the model reads {self.length}: "
                    f"{text[:60]!r}. Shorten it or split it; clip.embed cuts it short with "
                    "truncate: true"
                )
            ids = ids[: self.length - len(self._closing)] + self._closing
        padded = np.full(self.length, self.pad, np.int64)
        padded[: len(ids)] = ids
        return padded


def bpe_tokens(length: int, clean: str = "lower") -> Tokens:
    """The tokenizer of OpenAI's CLIP; `clean` is open_clip's name for what is done to a text."""
    bpe = _bpe(clean)

    def encode(text: str) -> list[int]:
        return [bpe.sot_token_id, *bpe.encode(text), bpe.eot_token_id]

    return Tokens(encode, length, pad=0)


@functools.cache  # it is a quarter of a second to read
def _bpe(clean: str) -> Any:
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer(clean=clean)


def has_tokenizer(files: Mapping[str, Path]) -> bool:
    """Whether a checkpoint brings a tokenizer of its own."""
    return not {"tokenizer.json", "vocab.txt"}.isdisjoint(files)


def file_tokens(
    checkpoint: str,
    files: Mapping[str, Path],
    length: int,
    pad: int | None,
    clean: Callable[[str], str],
) -> Tokens:
    """The tokenizer in a checkpoint's files: tokenizer.json, or BERT's vocab.txt.

    Args:
        checkpoint: its name, for messages.
        files: its files by name.
        length: how many tokens the model reads.
        pad: the id that fills what is left. None for SigLIP, whose texts open with no token, close
            with one, and are filled with "<pad>", or the closing one where there is none.
        clean: applied to each text first.

    Raises:
        WeightsError: there is no tokenizer, or it cannot be read.
    """
    if not has_tokenizer(files):
        raise WeightsError(
            f"{checkpoint}: its list of files holds no tokenizer; add tokenizer.json or vocab.txt "
            "of the same repository"
        )
    tokenizer = _open(checkpoint, files)
    if pad is not None:
        return Tokens(lambda text: list(tokenizer.encode(clean(text)).ids), length, pad)
    named = [tokenizer.token_to_id(name) for name in ("<eos>", "</s>")]
    end = next((id for id in named if id is not None), None)
    if end is None:
        raise WeightsError(f"{checkpoint}: its tokenizer knows neither '<eos>' nor '</s>'")
    filler = tokenizer.token_to_id("<pad>")

    def encode(text: str) -> list[int]:
        return [*tokenizer.encode(clean(text), add_special_tokens=False).ids, end]

    return Tokens(encode, length, end if filler is None else filler)


def _open(checkpoint: str, files: Mapping[str, Path]) -> Any:
    from tokenizers import BertWordPieceTokenizer, Tokenizer

    try:
        if "tokenizer.json" not in files:
            return BertWordPieceTokenizer(str(files["vocab.txt"]), lowercase=True)
        tokenizer = Tokenizer.from_file(str(files["tokenizer.json"]))
    except Exception as error:  # the library raises bare Exceptions
        raise WeightsError(f"{checkpoint}: cannot read its tokenizer: {error}") from None
    tokenizer.no_truncation()  # some files ask for it, and it would be silent
    tokenizer.no_padding()
    return tokenizer
