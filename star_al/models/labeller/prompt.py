"""What an exported model reads of a text, as token ids: the same as in the campaign that it comes from."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from star_al.errors import ModelError
from star_al.models.content import ContentEncoder
from star_al.models.label_tree import is_prefix_free
from star_al.models.piece_tokenizer import PieceTokenizer

_CHARACTERS_PER_TOKEN = 64
"""A text is cut to so many characters for each token of room before it is tokenised."""


@dataclass(frozen=True)
class Prompt:
    """Token ids of a text's prompt, and of each of its labels; where the text begins and ends among the tokens."""

    tokens: tuple[int, ...]
    labels: tuple[tuple[int, ...], ...]
    text: tuple[int, int]


class PromptReader:
    """Encodes texts.

    Args:
        tokenizer: The model's tokenizer.
        record: What ``PromptFormat.record`` wrote.
    """

    def __init__(self, tokenizer: Any, record: Mapping[str, Any]) -> None:
        self._record = record
        self._content = ContentEncoder(
            PieceTokenizer(tokenizer), record["control"], record["markers"], record["unknown"]
        )

    def letters(self, options: Sequence[str]) -> list[str]:
        """The names of a text's own options."""
        return list(string.ascii_uppercase[: len(options)])

    def read(self, text: str, options: Sequence[str] = ()) -> Prompt:
        """Encode a text with its options; a text that is too long is cut at its end.

        Raises:
            ModelError: The model needs options and there are none, or the other way round, or they do not fit.
        """
        if bool(options) != self._record["has_options"]:
            raise ModelError(
                "give the options of this text" if not options else "this model takes no options"
            )
        labels = self._labels(options)
        fills = [self._fill(piece, options) for piece in self._record["pieces"]]
        used = sum(len(piece["ids"]) for piece in self._record["pieces"]) + sum(map(len, fills))
        room = (
            min(self._record["max_tokens"], self._record["context"] - max(map(len, labels), default=0)) - used
        )
        if room < 0:
            raise ModelError(f"the options are {-room} tokens too long for the prompt")
        tokens: list[int] = []
        span = (0, 0)
        for piece, fill in zip(self._record["pieces"], fills, strict=True):
            tokens += piece["ids"]
            if piece["field"] == "text":
                head = (piece["gap"] + text)[: room * _CHARACTERS_PER_TOKEN]
                ids = self._content.encode(piece["before"], head)[:room]
                span = (len(tokens), len(tokens) + len(ids))
                tokens += ids
            tokens += fill
        return Prompt(tuple(tokens), labels, span)

    def _fill(self, piece: Mapping[str, Any], options: Sequence[str]) -> list[int]:
        if piece["field"] != "options":
            return []
        lines = (f"{name}. {option}" for name, option in zip(self.letters(options), options, strict=True))
        return self._content.encode(piece["before"], piece["gap"] + "\n".join(lines))

    def _labels(self, options: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        if not options:
            return tuple(map(tuple, self._record["labels"]))
        if self._record["letters"]:
            if str(len(options)) not in self._record["letters"]:
                raise ModelError(f"{len(options)} options are too few or too many")
            return tuple(map(tuple, self._record["letters"][str(len(options))]))
        tail, gap = self._record["tail"], self._record["gap"]
        labels = tuple(tuple(self._content.encode(tail, gap + option.strip())) for option in options)
        completion = self._record.get("completion")
        if completion:  # one that is cut has no end
            size = completion["max_completion_tokens"]
            return tuple((*label, *self._record["end"])[:size] for label in labels)
        if is_prefix_free(labels):
            return labels
        if not self._record["end"]:
            raise ModelError("one option begins another, and the tokenizer has no token that ends an answer")
        return tuple((*label, *self._record["end"]) for label in labels)
