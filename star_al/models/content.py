"""What an item fills into a prompt, as token ids that can neither end its message nor change the prompt.

A text may spell a token that has a meaning of its own, such as the end of a turn. Special tokens and those of the
chat are split after their first character, so that the model reads their letters. Other tokens that were added to
a tokenizer, such as words of a domain, stay whole.

A chat template may also mark turns by ordinary text, such as ``[/INST]``. The ids of that are the same whoever
writes it, so a text that holds such a mark gets a space within: ``[ /INST]``, ``ASSISTANT :``.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable
from functools import cached_property
from hashlib import blake2b
from itertools import pairwise
from typing import Any

from star_al.models.piece_tokenizer import PieceTokenizer

CACHED_IDS = 40_000_000
"""Ids that are kept, such as those of 100,000 texts of 300 tokens, in some 100 to 180 MB."""

_IDS_OF_A_TEXT = 100
"""What a text takes besides its ids, as if it were ids: short texts must not fill the memory either."""

_CHATS_OWN = re.compile(
    r"<[|｜].*|.*[|｜]>|[<\[◁]/?(?:think\w*|thought\w*|reason\w*|tool\w*|function\w*|INST|SYS\w*)[>\]▷]",
    re.IGNORECASE,
)
"""How tokens of chats are spelled, whether or not they are declared special."""


def control_tokens(tokenizer: Any) -> dict[str, int]:
    """Return the tokens that a text may spell but must not contain: special ones, and those of chats."""
    template = str(tokenizer.chat_template or "")
    special = set(tokenizer.all_special_ids)
    return {
        str(token): int(id_)
        for id_, token in tokenizer.added_tokens_decoder.items()
        if len(str(token)) > 1
        and not str(token).isspace()
        and (id_ in special or token.special or _is_chats_own(str(token), template))
    }


def _is_chats_own(token: str, template: str) -> bool:
    return bool(_CHATS_OWN.fullmatch(token) or (re.search(r"\W", token) and token in template))


class ContentEncoder:
    """Encodes what items fill in; a text is tokenised once in the encoder's life.

    Args:
        pieces: The tokenizer.
        control: Tokens that content cannot hold, by spelling.
        markers: Ordinary text by which the chat template marks turns.
        unknown: The id of unknown words, which content may hold; ``None`` if there is none.
    """

    def __init__(
        self,
        pieces: PieceTokenizer,
        control: dict[str, int],
        markers: Iterable[str],
        unknown: int | None,
    ) -> None:
        self._pieces = pieces
        self._spellings = set(control)
        self._control = set(control.values())
        self._forbidden = self._control - {unknown}
        self._markers = tuple(markers)
        self._kept: dict[bytes, array[int]] = {}
        self._room = CACHED_IDS

    def encode(self, before: str | None, text: str) -> list[int]:
        """Return the ids of ``text`` as they come after ``before`` (see ``PieceTokenizer.part``)."""
        key = blake2b(f"{before}\0{text}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
        kept = self._kept.get(key)
        if kept is not None:
            return kept.tolist()
        ids = self._encode(before, self._without_markers(text))
        # Passes go over a pool in the same order: what is kept first serves each, what is kept last would not.
        size = len(ids) + _IDS_OF_A_TEXT
        if size <= self._room:
            self._room -= size
            self._kept[key] = array("H" if max(ids, default=0) < 2**16 else "I", ids)
        return ids

    def _encode(self, before: str | None, text: str) -> list[int]:
        ids = self._pieces.part(before, text)
        if self._control.isdisjoint(ids):
            return ids
        starts = self._starts(text)
        if not starts:
            return ids if self._forbidden.isdisjoint(ids) else self._letter_by_letter(before, text)
        parts = [text[a:b] for a, b in pairwise([0, *starts, len(text)])]
        ids = self._joined(before, parts)
        return ids if self._forbidden.isdisjoint(ids) else self._letter_by_letter(before, text)

    def _joined(self, before: str | None, parts: Iterable[str]) -> list[int]:
        ids: list[int] = []
        for part in parts:
            ids += self._pieces.part(before, part)
            before = ""  # the cut is within the text: what comes before it must not complete a token
        return ids

    def _letter_by_letter(self, before: str | None, text: str) -> list[int]:
        """Return the ids of single characters: a normaliser made a token of what is not its spelling."""
        return [id_ for id_ in self._joined(before, text) if id_ not in self._forbidden]

    # -- tokens ----------------------------------------------------------------------------------------------

    @cached_property
    def _beginnings(self) -> tuple[re.Pattern[str], dict[str, list[int]]]:
        """A pattern of the first two characters of tokens, and the lengths of those that begin so.

        A tokenizer may have thousands of them: trying all at each character would take longer than the tokenizer.
        """
        lengths: dict[str, set[int]] = {}
        for spelling in self._spellings:
            lengths.setdefault(spelling[:2], set()).add(len(spelling))
        seconds: dict[str, str] = {}
        for start in sorted(lengths):
            seconds[start[0]] = seconds.get(start[0], "") + re.escape(start[1])
        pattern = "|".join(f"{re.escape(first)}(?=[{rest}])" for first, rest in seconds.items())
        return re.compile(pattern or r"(?!)"), {pair: sorted(sizes) for pair, sizes in lengths.items()}

    def _starts(self, text: str) -> list[int]:
        """Return where a token's spelling goes on after its first character."""
        pattern, lengths = self._beginnings
        return [
            match.start() + 1
            for match in pattern.finditer(text)
            if any(
                text[match.start() : match.start() + size] in self._spellings
                for size in lengths[text[match.start() : match.start() + 2]]
            )
        ]

    # -- markers ---------------------------------------------------------------------------------------------

    @cached_property
    def _marker(self) -> re.Pattern[str] | None:
        if not self._markers:
            return None
        # A tokenizer that ignores case reads both spellings alike.
        same = self._pieces.ids("INST") == self._pieces.ids("inst")
        longest_first = sorted(self._markers, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE if same else 0)

    def _without_markers(self, text: str) -> str:
        return self._marker.sub(_broken, text) if self._marker else text


def _broken(marker: re.Match[str]) -> str:
    word = marker[0]
    at = len(word) - 1 if word[0].isalnum() else 1
    return f"{word[:at]} {word[at:]}"
