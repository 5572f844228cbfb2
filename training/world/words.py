"""The words of the mini models: one WordPiece vocabulary for CLIP, BLIP and Grounding DINO.

Its special tokens have BERT's own numbers, because Grounding DINO's code in transformers knows
[CLS], [SEP], "." and "?" by 101, 102, 1012 and 1029.
"""

from __future__ import annotations

import functools
import json
import re
import string
from pathlib import Path

from training.world.names import KEYWORDS, NAMES, NAMES_ZH

__all__ = ["TOKENS_MAX", "VOCABULARY_SIZE", "vocabulary", "write_tokenizer"]

VOCABULARY_SIZE = 2048
TOKENS_MAX = 96
"""The longest text, in tokens, that the models take."""

_FIXED = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012, "?": 1029}
_TEXT = (
    "a an the of left right above below and with in on under beside next to two three picture "
    "photo image drawing sticker emoji icon nothing there is this one some red green blue yellow "
    "orange purple white black brown pink grey small big"
)


@functools.cache
def vocabulary() -> tuple[str, ...]:
    """Return all tokens, a token's number being its place; unused numbers read "[unusedN]"."""
    phrases = [*NAMES, *(word for words in KEYWORDS for word in words), _TEXT]
    words = [word for phrase in phrases for word in re.findall(r"[a-z0-9]+", phrase.lower())]
    marks = [mark for mark in string.punctuation if mark not in ".?"]
    letters = [*string.ascii_lowercase, *string.digits]
    chinese = sorted({character for name in NAMES_ZH for character in name})
    pieces = [f"##{letter}" for letter in letters]
    wanted = list(dict.fromkeys([*marks, *letters, *pieces, *chinese, *words]))
    tokens = [f"[unused{number}]" for number in range(VOCABULARY_SIZE)]
    for token, number in _FIXED.items():
        tokens[number] = token
    free = (number for number in range(1, VOCABULARY_SIZE) if number not in _FIXED.values())
    for token, number in zip(wanted, free, strict=False):
        tokens[number] = token
    if missing := set(wanted) - set(tokens):
        raise ValueError(f"VOCABULARY_SIZE is too small by {len(missing)}")
    return tuple(tokens)


def write_tokenizer(folder: Path) -> None:
    """Write vocab.txt, tokenizer.json and tokenizer_config.json, as transformers reads them."""
    from tokenizers.implementations import BertWordPieceTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(vocabulary()) + "\n", encoding="utf-8")
    words = {token: number for number, token in enumerate(vocabulary())}
    BertWordPieceTokenizer(words, lowercase=True).save(str(folder / "tokenizer.json"), pretty=False)
    config = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": True,
        "model_max_length": TOKENS_MAX,
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
