"""Cut long texts into windows that an encoder reads one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from star_al.models.quiet import quiet

MOST_WINDOWS = 8
"""So many windows of a text are read, from its beginning; the rest is cut."""

_CHARACTERS_PER_TOKEN = 16
"""A text is cut to so many characters for each token of room before it is tokenised: a book takes no longer."""

_LOOKED_BACK = 16
"""Tokens that a window may give up to end at the end of a word."""


@dataclass(frozen=True)
class Split:
    """Windows of texts.

    Attributes:
        texts: The text of each of M windows.
        owners: The number of the text that each window is of, (M,).
        lengths: Tokens of each window with special tokens, (M,).
        cut: True for a text of which a part is in no window, (N,).
    """

    texts: list[str]
    owners: npt.NDArray[np.intp]
    lengths: npt.NDArray[np.intp]
    cut: npt.NDArray[np.bool_]


class Windows:
    """Windows of at most ``max_tokens`` tokens, of equal length, which end at the end of a word.

    Args:
        tokenizer: The encoder's tokenizer, of transformers or of tokenizers. One that cannot tell where tokens are in
            a text gives each text one window.
        prompt: What the encoder puts before each text.
        max_tokens: Tokens of a window with prompt and special tokens.
        most: Windows of a text; the rest of it is cut.
    """

    def __init__(self, tokenizer: Any, prompt: str, max_tokens: int, most: int) -> None:
        self._tokenizer, self._max_tokens, self._most = tokenizer, max_tokens, most
        self._bare = isinstance(tokenizer, Tokenizer)  # then a text has no special tokens
        self._around = 0 if self._bare else len(self._ids(prompt))
        self._room = max(1, max_tokens - self._around)

    def _ids(self, text: str) -> Sequence[int]:
        with quiet():
            ids: Sequence[int] = self._tokenizer(text)["input_ids"]
        return ids

    def split(self, texts: Sequence[str]) -> Split:
        """Cut texts into windows."""
        if not (self._bare or self._tokenizer.is_fast):
            return self._whole(texts)
        longest = self._most * self._room * _CHARACTERS_PER_TOKEN
        heads = [text[:longest] for text in texts]
        cut = np.array([len(text) > longest for text in texts], dtype=bool)
        windows: list[str] = []
        owners: list[int] = []
        lengths: list[int] = []
        for number, (head, spans) in enumerate(zip(heads, self._spans(heads), strict=True)):
            parts = self._parts(spans)
            cut[number] |= bool(parts) and parts[-1][1] < len(spans)
            for start, end in parts or [(0, 0)]:
                whole = len(parts) <= 1 and not cut[number]
                windows.append(head if whole else head[spans[start][0] : spans[end - 1][1]])
                owners.append(number)
                lengths.append(min(end - start + self._around, self._max_tokens))
        return Split(windows, np.array(owners, dtype=np.intp), np.array(lengths, dtype=np.intp), cut)

    def _whole(self, texts: Sequence[str]) -> Split:
        """Return one window for each text, which the encoder cuts."""
        lengths = np.array([self._around + len(self._ids(text)) for text in texts], dtype=np.intp)
        cut = lengths > self._max_tokens
        return Split(list(texts), np.arange(len(texts)), np.minimum(lengths, self._max_tokens), cut)

    def _spans(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Return where each token of each text begins and ends, without special tokens."""
        if not texts:
            return []
        if self._bare:
            encodings = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
            return [encoding.offsets for encoding in encodings]
        with quiet():
            found = self._tokenizer(list(texts), add_special_tokens=False, return_offsets_mapping=True)
        spans: list[list[tuple[int, int]]] = found["offset_mapping"]
        return spans

    def _parts(self, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return the first and the last-but-one token of each window."""
        parts: list[tuple[int, int]] = []
        start, left = 0, min(self._most, -(-len(spans) // self._room))
        while start < len(spans) and left > 0:
            size = min(self._room, -(-(len(spans) - start) // left))
            end = _word_end(spans, start, start + size)
            parts.append((start, end))
            start, left = end, left - 1
            if left == 0 and start < len(spans) and len(parts) < self._most:
                left = 1  # ends of words have left a rest
        return parts


def _word_end(spans: Sequence[tuple[int, int]], start: int, end: int) -> int:
    """Return the end of a window, moved back to the end of a word if one is near."""
    if end >= len(spans):
        return len(spans)
    for moved in range(end, max(start + 1, end - _LOOKED_BACK), -1):
        if spans[moved][0] > spans[moved - 1][1]:
            return moved
    return end
