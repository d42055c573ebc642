"""Token ids of a part of a text as they come in the whole text.

Many tokenizers put a space before whatever they are given, or strip it. Then the ids of parts, put together, are
not those of the whole. So a part is tokenised behind an anchor, a short text that stands for what comes before it,
and the anchor's ids are taken off. Tokenizers that neither add nor strip need no anchor, and get none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from functools import cached_property
from typing import Any

from star_al.errors import ModelError

_PROBES = ("sport", " sport", "\n\nLabel:", "Text:\n", " [/", "a b ")
_ANCHORS = ("x", ":", ".", "0", "]", "\n")
"""Texts that a part may follow; one that merges with the part into a token is passed over."""

_Anchors = tuple[tuple[str, list[int]], ...]

_LONGEST_ANCHOR = 64
_LAST_WORD = re.compile(r"\S+\s*\Z")


class PieceTokenizer:
    """Tokenises parts of a text.

    Args:
        tokenizer: A transformers tokenizer.

    Attributes:
        added: The tokens, by spelling, that it finds in a text before it splits the rest into words.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._anchors_of: dict[str, _Anchors] = {}
        self.added = {str(token): int(id_) for id_, token in tokenizer.added_tokens_decoder.items()}

    def ids(self, text: str) -> list[int]:
        """Return the ids of a text on its own, without the tokens that begin or end a sequence."""
        if not text:
            return []
        ids: list[int] = self._tokenizer(text, add_special_tokens=False).input_ids
        return ids

    @cached_property
    def opening(self) -> list[int]:
        """The ids that the tokenizer puts before a sequence, such as that of a beginning-of-sequence token."""
        plain = self.ids("x")
        whole: list[int] = self._tokenizer("x", add_special_tokens=True).input_ids
        starts = [at for at in range(len(whole)) if plain and whole[at : at + len(plain)] == plain]
        return whole[: starts[0]] if starts else []

    @cached_property
    def is_neutral(self) -> bool:
        """True if the tokenizer neither adds to a text nor strips it: parts need no anchor."""
        return all(
            any(self.ids(anchor + probe) == ids + self.ids(probe) for anchor, ids in self._usual_anchors)
            for probe in _PROBES
        )

    @cached_property
    def breaks_are_spaces(self) -> bool:
        """True if the tokenizer reads a line break as the space before the next word."""
        return self.ids("a\nb") == self.ids("a b")

    def part(self, before: str | None, text: str, *, ends: bool = True) -> list[int]:
        """Return the ids of a part of a text as they come in the whole.

        Args:
            before: What comes before the part: ``None`` if nothing does, empty if it is not known. It is no more
                than a hint: where it would merge with the part into one token, another anchor is taken.
            text: The part.
            ends: False if more text follows, which matters to a tokenizer that strips the end of a text.
        """
        if self.is_neutral or not text:
            return self.ids(text)
        anchors = () if before is None else self._anchors(before)
        ids = self._behind(anchors, text)
        return ids if ends else self._unstripped(anchors, text, ids)

    def _behind(self, anchors: _Anchors, text: str) -> list[int]:
        """Return the ids of a text behind the first anchor that does not merge with it."""
        for anchor, anchor_ids in anchors:
            ids = self.ids(anchor + text)
            if ids[: len(anchor_ids)] == anchor_ids:
                return ids[len(anchor_ids) :]
        return self.ids(text)

    def _unstripped(self, anchors: _Anchors, text: str, ids: list[int]) -> list[int]:
        """Return the ids of a text with what a tokenizer strips from its end if nothing follows."""
        for stop in _ANCHORS[:2] if self._strips and text != text.rstrip() else ():
            stop_ids = self._behind(self._usual_anchors, stop)
            longer = self._behind(anchors, text + stop)
            if longer[: len(ids)] == ids and longer[-len(stop_ids) :] == stop_ids:
                return longer[: -len(stop_ids)]
        return ids

    @cached_property
    def _strips(self) -> bool:
        return self.ids(f"{_ANCHORS[0]}\n") == self.ids(_ANCHORS[0])

    @cached_property
    def _usual_anchors(self) -> _Anchors:
        """Anchors with their ids; those that the tokenizer strips or does not know are none."""
        unknown = self._tokenizer.unk_token_id
        found = [(anchor, self.ids(anchor)) for anchor in _ANCHORS]
        return tuple((anchor, ids) for anchor, ids in found if ids and unknown not in ids)

    def _anchors(self, before: str) -> _Anchors:
        """Return anchors with their ids, the end of ``before`` first."""
        if before not in self._anchors_of:
            own = self._last_part(before)
            ids = self._unstripped((), own, self.ids(own))
            known = ids and self._tokenizer.unk_token_id not in ids
            self._anchors_of[before] = ((own, ids), *self._usual_anchors) if known else self._usual_anchors
        return self._anchors_of[before]

    def _last_part(self, before: str) -> str:
        """Return the end of a text, from its last added token on, or else its last word."""
        ending = before[-_LONGEST_ANCHOR:]
        starts = [ending.rfind(token) for token in self.added if token.strip() and token in ending]
        word = _LAST_WORD.search(ending)
        return ending[max(starts) :] if starts else (word[0] if word else ending)


def require_agreement(
    tokenizer: Any, parts: Sequence[Sequence[int]], whole: Sequence[int], shown: str
) -> None:
    """Check that the ids of parts are those of the whole, except where a token reaches across a border.

    Args:
        tokenizer: The tokenizer.
        parts: The ids of each part.
        whole: The ids of all of them, tokenised as one text.
        shown: The text, for the message.

    Raises:
        ModelError: They differ in more than how the text beside a border is split.
    """
    joined = [token for part in parts for token in part]
    if joined == list(whole):
        return
    borders, total = set(), 0
    for part in parts:
        total += len(part)
        borders.add(total)
    matcher = SequenceMatcher(None, joined, list(whole), autojunk=False)
    for kind, start, stop, whole_start, whole_stop in matcher.get_opcodes():
        if kind == "equal":
            continue
        ours, theirs = joined[start:stop], whole[whole_start:whole_stop]
        at_border = any(start <= border <= stop for border in borders)
        if not at_border or _spelling(tokenizer, ours) != _spelling(tokenizer, theirs):
            raise ModelError(
                f"the tokenizer reads the parts of a prompt otherwise than the prompt: "
                f"{_tokens(tokenizer, ours)} instead of {_tokens(tokenizer, theirs)} in "
                f"{shown[-200:]!r}. Write task.template so that its parts are separated by spaces or "
                "line breaks, or use another model."
            )


def _tokens(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    return [str(token) for token in tokenizer.convert_ids_to_tokens(list(ids))]


def _spelling(tokenizer: Any, ids: Sequence[int]) -> str:
    """Return tokens as one text; the mark of a word's continuation in WordPiece is no text."""
    return "".join(token.removeprefix("##") for token in _tokens(tokenizer, ids))
