"""Texts as the tokens of the mini models."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from tokenizers import BertWordPieceTokenizer, Tokenizer

from training.world import vocabulary

__all__ = ["BEGIN", "END", "PAD", "padded", "tokenizer"]

PAD, BEGIN, END = 0, 101, 102


@functools.cache
def tokenizer() -> Tokenizer:
    """Return the tokenizer of all mini models; it puts [CLS] and [SEP] around a text."""
    words = {token: number for number, token in enumerate(vocabulary())}
    made: Tokenizer = BertWordPieceTokenizer(words, lowercase=True)._tokenizer
    return made


def padded(rows: Sequence[Sequence[int]]) -> npt.NDArray[np.int64]:
    """Return rows of numbers as one array, (N, L), filled up with 0."""
    array = np.full((len(rows), max(map(len, rows))), PAD, np.int64)
    for row, numbers in zip(array, rows, strict=True):
        row[: len(numbers)] = numbers
    return array
