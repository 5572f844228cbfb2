"""BLIP's networks at work: pictures in, then words written, answered or matched.

Letters: B items of a batch, S the side of the square that the network sees, T picture tokens of
width W, L tokens of a text, P numbers in a vector that compares pictures with texts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from .words import Search, Words

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["Answerer", "Captioner", "Matcher", "Recent", "Seer", "by_length"]

Ids = Sequence[int]
Pixels = npt.NDArray[np.uint8]
Vector = npt.NDArray[np.float32]

P = TypeVar("P")
R = TypeVar("R")

PICTURES, TEXTS = 16, 4096
"""How many pictures and texts are remembered: some 30 MB of tokens, and 4 MB of vectors."""

_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)
"""CLIP's mean and standard deviation of red, green and blue."""


class Recent(Generic[R]):
    """What was computed last: a picture with several questions is looked at once.

    It may be used from several threads at once: its table is replaced, never changed.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._kept: dict[Hashable, R] = {}

    def each(
        self, keys: Sequence[Hashable], payloads: Sequence[P], compute: Callable[[list[P]], list[R]]
    ) -> list[R]:
        """Return the result for each payload; those of equal keys are computed once, together."""
        kept = self._kept
        found = {key: kept[key] for key in keys if key in kept}
        new = {k: payload for k, payload in zip(keys, payloads, strict=True) if k not in found}
        if new:
            found |= zip(new, compute(list(new.values())), strict=True)
        recent = {key: result for key, result in kept.items() if key not in found} | found
        self._kept = dict(list(recent.items())[-self._room :])
        return [found[key] for key in keys]


class Seer:
    """What all of BLIP's networks have in common: they see pictures, and have words.

    Args:
        network: transformers' network, with its weights, on its device.
        tokenizer: the checkpoint's.
        enc: the [ENC] token, or None; see `Words`.
    """

    def __init__(self, network: Any, tokenizer: Tokenizer, enc: int | None = None) -> None:
        self.network = network
        self.words = Words(tokenizer, network.config.text_config, enc)
        self.size_px: int = network.config.vision_config.image_size
        self._pictures: Recent[Tensor] = Recent(PICTURES)

    def see(self, pictures: list[Pixels]) -> list[Tensor]:
        """(S, S, 3) RGB pixels each -> (T, W) picture tokens each, on the device."""
        keys = [hashlib.blake2b(pixels.tobytes()).digest() for pixels in pictures]
        return self._pictures.each(keys, pictures, self._look)

    def _look(self, pictures: list[Pixels]) -> list[Tensor]:
        tokens = self._encode(_normalised(pictures, self.network.device))
        return [each.clone() for each in tokens]  # a view would keep its whole batch in memory

    def _encode(self, batch: Tensor) -> Tensor:
        """Normalised pixels (B, 3, S, S) -> picture tokens (B, T, W)."""
        tokens: Tensor = self.network.vision_model(pixel_values=batch).last_hidden_state
        return tokens

    def _write(self, starts: Sequence[Ids], states: Tensor, search: Search) -> list[list[int]]:
        """Continue texts of one length, looking at `states` (B, T, W); the new ids alone."""
        sequences = self.network.text_decoder.generate(
            input_ids=torch.tensor(starts, device=self.network.device),
            encoder_hidden_states=states,
            **self.words.arguments(search),
        )
        return [self.words.until_end(row[len(starts[0]) :]) for row in sequences.tolist()]


class Captioner(Seer):
    """Writes captions."""

    def start(self, prompt: str, search: Search) -> list[int]:
        """The ids that a caption begins with; see `Words.start`."""
        return self.words.start(prompt, search)

    def caption(self, asked: list[tuple[Tensor, Ids]], search: Search) -> list[list[int]]:
        """Picture tokens and the ids to begin with -> the ids that follow."""

        def write(alike: list[tuple[Tensor, Ids]]) -> list[list[int]]:
            states = torch.stack([tokens for tokens, _ in alike])
            return self._write([ids for _, ids in alike], states, search)

        return by_length(asked, write)


class Answerer(Seer):
    """Answers questions: an encoder reads one with the picture, a decoder writes the answer."""

    def question(self, text: str) -> list[int]:
        """The ids of a question; see `Words.framed`."""
        return self.words.framed(text, self.words.enc)

    def answer(self, asked: list[tuple[Tensor, Ids]], search: Search) -> list[list[int]]:
        """Picture tokens and a question each -> the ids of an answer each."""

        def reply(alike: list[tuple[Tensor, Ids]]) -> list[list[int]]:
            read = self.network.text_encoder(
                input_ids=torch.tensor([ids for _, ids in alike], device=self.network.device),
                encoder_hidden_states=torch.stack([tokens for tokens, _ in alike]),
            ).last_hidden_state
            return self._write([[self.words.bos]] * len(alike), read, search)

        # Not padded to one length: transformers' decoder looks at all that it is given, also at
        # the padding of a question, whatever mask comes with it.
        return by_length(asked, reply)


class Matcher(Seer):
    """Says how well texts fit pictures: by reading both together, or by comparing vectors."""

    def __init__(self, network: Any, tokenizer: Tokenizer, enc: int | None = None) -> None:
        super().__init__(network, tokenizer, enc)
        self._texts: Recent[Vector] = Recent(TEXTS)

    def pair_ids(self, text: str) -> list[int]:
        """The ids of a text that is read together with a picture; see `Words.framed`."""
        return self.words.framed(text, self.words.enc)

    def text_ids(self, text: str) -> tuple[int, ...]:
        """The ids of a text that is read alone; see `Words.framed`."""
        return tuple(self.words.framed(text, self.words.cls))

    def match(self, asked: list[tuple[Tensor, Ids]]) -> list[float]:
        """Picture tokens and a text each -> the probability that they belong together."""
        ids, mask = self._padded([ids for _, ids in asked])
        read = self.network.text_encoder(
            input_ids=ids,
            attention_mask=mask,
            encoder_hidden_states=torch.stack([tokens for tokens, _ in asked]),
        ).last_hidden_state
        logits = self.network.itm_head(read[:, 0]).float()
        chances: list[float] = logits.softmax(dim=-1)[:, 1].tolist()
        return chances

    def picture_vectors(self, pictures: list[Pixels]) -> list[Vector]:
        """(S, S, 3) RGB pixels each -> a vector (P,) of length 1 each."""
        tokens = torch.stack([tokens[0] for tokens in self.see(pictures)])
        return _unit(self.network.vision_proj(tokens))

    def text_vectors(self, texts: list[tuple[int, ...]]) -> list[Vector]:
        """Ids of a text each -> a vector (P,) of length 1 each; those read before are known."""
        return self._texts.each(texts, texts, self._read)

    def _read(self, texts: list[tuple[int, ...]]) -> list[Vector]:
        ids, mask = self._padded(texts)
        read = self.network.text_encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        return _unit(self.network.text_proj(read[:, 0]))

    def _padded(self, texts: Sequence[Ids]) -> tuple[Tensor, Tensor]:
        """Ids (B, L) of texts of any lengths, and the mask (B, L) of what is no padding."""
        length = max(map(len, texts))
        rows = [[*ids, *[self.words.pad] * (length - len(ids))] for ids in texts]
        marks = [[1] * len(ids) + [0] * (length - len(ids)) for ids in texts]
        device = self.network.device
        return torch.tensor(rows, device=device), torch.tensor(marks, device=device)


def by_length(
    asked: list[tuple[Tensor, Ids]],
    write: Callable[[list[tuple[Tensor, Ids]]], list[list[int]]],
) -> list[list[int]]:
    """Write for all that ask, in batches of one length of ids, so that nothing is padded."""
    places: dict[int, list[int]] = {}
    for place, (_, ids) in enumerate(asked):
        places.setdefault(len(ids), []).append(place)
    written: dict[int, list[int]] = {}
    for alike in places.values():
        written |= zip(alike, write([asked[place] for place in alike]), strict=True)
    return [written[place] for place in range(len(asked))]


def _normalised(pictures: list[Pixels], device: Any) -> Tensor:
    """(S, S, 3) RGB pixels each -> (B, 3, S, S) float32, with CLIP's mean and deviation."""
    pixels = torch.from_numpy(np.stack(pictures)).to(device)
    mean, std = (torch.tensor(each, device=device) for each in (_MEAN, _STD))
    return ((pixels / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()


def _unit(vectors: Tensor) -> list[Vector]:
    return [row.copy() for row in F.normalize(vectors.float(), dim=-1).cpu().numpy()]
