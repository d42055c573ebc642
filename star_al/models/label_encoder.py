"""The token ids of labels, as they follow a prompt, and of what ends an answer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Any

from star_al.errors import ModelError
from star_al.models.content import ContentEncoder
from star_al.models.label_tree import is_prefix_free
from star_al.models.piece_tokenizer import PieceTokenizer

Labels = tuple[tuple[int, ...], ...]


class LabelEncoder:
    """Encodes what the model may answer.

    Args:
        tokenizer: The model's tokenizer.
        pieces: The same, for parts of a text.
        content: Encodes labels that come from an item.
        tail: The fixed text that labels follow.
        gap: A space between the two, or nothing.
        end: What the chat template writes after an answer; empty if that is not known.
        control: The ids of tokens of which one ends a turn.
    """

    def __init__(
        self,
        tokenizer: Any,
        pieces: PieceTokenizer,
        content: ContentEncoder,
        *,
        tail: str,
        gap: str,
        end: str,
        control: Collection[int],
    ) -> None:
        self._tokenizer = tokenizer
        self._pieces = pieces
        self._content = content
        self._tail, self._gap = tail, gap
        self._written_end = end
        self._control = control

    @cached_property
    def end(self) -> tuple[int, ...]:
        """The ids that follow an answer: up to the token that ends the turn, or else all that is written there.

        Raises:
            ModelError: The tokenizer has no token that could end an answer.
        """
        written = self._written_end
        ids = self._pieces.part("", written if written.isspace() else written.rstrip())
        size = next((place + 1 for place, id_ in enumerate(ids) if id_ in self._control), len(ids))
        eos = self._tokenizer.eos_token_id
        ending = ids[:size] or (self._pieces.ids("\n")[-1:] if eos is None else [eos])
        if not ending:
            raise ModelError(
                "one label begins another, and the tokenizer has no token that ends an answer. Give labels, or "
                "verbalisers, of which none begins another."
            )
        return tuple(ending)

    def spelled(self, spellings: Sequence[str]) -> Labels:
        """Return the ids of labels as the user spells them: added tokens in them stay whole.

        Raises:
            ModelError: A label has no tokens.
        """
        return _with_tokens(
            spellings, [self._pieces.part(self._tail, self._gap + label.strip()) for label in spellings]
        )

    def options(self, options: Sequence[str]) -> Labels:
        """Return the ids of an item's options; they are content, and may be equal.

        Raises:
            ModelError: An option has no tokens.
        """
        return _with_tokens(
            options, [self._content.encode(self._tail, self._gap + option.strip()) for option in options]
        )

    def distinct(self, spellings: Sequence[str]) -> Labels:
        """Return the ids of labels that must differ, unlike an item's options: equal ones get equal probabilities.

        Raises:
            ModelError: Two labels are the same tokens, or one has none or unknown ones.
        """
        labels = self.spelled(spellings)
        self.require_known(spellings, labels)
        seen: dict[tuple[int, ...], str] = {}
        for spelling, label in zip(spellings, labels, strict=True):
            if label in seen:
                raise ModelError(
                    f"the labels {seen[label]!r} and {spelling!r} are the same to the tokenizer. "
                    "Give one of them another verbaliser."
                )
            seen[label] = spelling
        return self.ended(labels)

    def ended(self, labels: Sequence[tuple[int, ...]]) -> Labels:
        """Append the end of an answer to all labels if one begins another: their likelihoods can then be compared."""
        if is_prefix_free(labels):
            return tuple(labels)
        return tuple((*label, *self.end) for label in labels)

    def require_known(self, spellings: Sequence[str], labels: Labels) -> None:
        """Check that the tokenizer knows all characters of labels.

        Raises:
            ModelError: It does not know some.
        """
        unknown = self._tokenizer.unk_token_id
        for spelling, label in zip(spellings, labels, strict=True):
            if unknown is not None and unknown in label and self._tokenizer.unk_token not in spelling:
                raise ModelError(
                    f"the label {spelling!r} holds characters that the model's tokenizer does not know. "
                    "Give it another verbaliser, or use another model."
                )


def _with_tokens(spellings: Sequence[str], labels: Sequence[Sequence[int]]) -> Labels:
    for spelling, label in zip(spellings, labels, strict=True):
        if not label:
            raise ModelError(f"the label {spelling!r} has no tokens. Give it another verbaliser.")
    return tuple(map(tuple, labels))
