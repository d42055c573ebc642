"""What the model reads of an item, and how its labels are spelled, as token ids.

If a prompt is too long, its text is cut first, then the item's options, and nothing else. Prompt and label
are tokenised separately, so that no token reaches across the border (docs/methods.md, "Label probabilities").
"""

from __future__ import annotations

import hashlib
import json
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from itertools import chain, pairwise
from typing import Any

from star_al.errors import ModelError
from star_al.models.label_tree import is_prefix_free, label_tree
from star_al.models.prompt_template import Piece, prompt_pieces, uses_chat
from star_al.task import LETTERS, ClosedTask
from star_al.types import Item

CONTENT_FREE = "N/A"
"""The text of a content-free input (Zhao et al. 2021, arXiv 2102.09690)."""

_CHARACTERS_PER_TOKEN = 64
"""A text is cut to so many characters for each token of room before it is tokenised: a book takes no longer."""


@dataclass(frozen=True)
class Prompt:
    """Token ids of an item's prompt and of each of its labels.

    Attributes:
        item_id: The item.
        tokens: The prompt, without any label.
        labels: The labels, in the order of the task's columns.
        truncated: True if the text or an option was cut.
    """

    item_id: str
    tokens: tuple[int, ...]
    labels: tuple[tuple[int, ...], ...]
    truncated: bool = False

    def __len__(self) -> int:
        """Return the number of tokens of the prompt with all its labels in one sequence."""
        return len(self.tokens) + len(label_tree(self.labels))


@dataclass(frozen=True)
class _Content:
    """What an item puts into the prompt besides its text: token ids for each piece, and labels."""

    fills: tuple[Sequence[int], ...]
    labels: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class _Line:
    """An option as a line of the prompt: its name, its text, which may be cut, and the end of the line."""

    name: list[int]
    option: list[int]
    end: list[int]

    def cut(self, size: int) -> list[int]:
        return self.name + self.option[:size] + self.end


class PromptFormat:
    """How the items of a task are shown to one model.

    Args:
        tokenizer: The model's tokenizer.
        task: The task.
        max_tokens: Limit for the prompt with the text.
        context: The model's limit, for the prompt with the text and a label.

    Attributes:
        is_chat: True if prompts are made by the tokenizer's chat template.

    Raises:
        ConfigError: The template lacks a field that it needs.
        ModelError: No text fits beside the prompt, or two labels are the same tokens.
    """

    def __init__(self, tokenizer: Any, task: ClosedTask, *, max_tokens: int, context: int) -> None:
        self._tokenizer = tokenizer
        self._task = task
        self._max_tokens = max_tokens
        self._context = context
        self.is_chat = uses_chat(task.spec, tokenizer)
        self._pieces = prompt_pieces(task.spec, tokenizer)
        self._fixed = [self._encode_fixed(index, piece.text) for index, piece in enumerate(self._pieces)]
        self._gap = "" if self.is_chat or self._pieces[-1].text[-1:].isspace() else " "
        if not task.is_multiple_choice:
            self._class_labels = self._encode_labels(self._spellings)
        # Fail now, and not at the first item, if nothing fits beside the prompt.
        self.encode(Item(item_id="", text="", options=("A", "B") if task.is_multiple_choice else ()))

    @cached_property
    def _spellings(self) -> tuple[str, ...]:
        return tuple(label.verbaliser or label.name for label in self._task.spec.labels)

    @cached_property
    def key(self) -> str:
        """SHA-256 of everything that token ids depend on besides the tokenizer and the item."""
        spec = self._task.spec
        pieces = [astuple(piece) for piece in self._pieces]
        labels = [spec.kind, spec.answer, spec.label_names, self._spellings, self._gap]
        parts = [pieces, labels, self.is_chat, self._max_tokens, self._context]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @cached_property
    def prefix(self) -> tuple[int, ...]:
        """The tokens that begin every prompt: everything before the first field that an item fills in."""
        first = next(index for index, piece in enumerate(self._pieces) if piece.field in ("text", "options"))
        empty = Item(item_id="", text="")
        fills = [self._fill(piece, empty) for piece in self._pieces[:first]]
        parts = (part for pair in zip(self._fixed, [*fills, []], strict=False) for part in pair)
        return tuple(chain.from_iterable(parts))

    def encode(self, item: Item) -> Prompt:
        """Encode an item. If it is too long, its text is cut at the end, and once that is gone, long options.

        Raises:
            ModelError: The prompt does not fit even then, or the item has no options.
        """
        content, options_cut = self._content(item)
        place = next(index for index, piece in enumerate(self._pieces) if piece.field == "text")
        text, text_cut = self._encode_text(self._pieces[place].gap + item.text, self._room(content))
        fills = (*content.fills[:place], text, *content.fills[place + 1 :])
        parts = (part for pair in zip(self._fixed, fills, strict=True) for part in pair)
        tokens = tuple(chain.from_iterable(parts))
        return Prompt(item.item_id, tokens, content.labels, options_cut or text_cut)

    def encode_content_free(self, item: Item) -> Prompt:
        """Encode a content-free input with the labels of ``item``, for contextual calibration."""
        return self.encode(Item(item_id=item.item_id, text=CONTENT_FREE, options=item.options))

    def _encode_fixed(self, index: int, text: str) -> list[int]:
        """Return the ids of a fixed text, control tokens included.

        A chat template writes its own beginning-of-sequence token; without one, it is added as the tokenizer
        would.
        """
        ids: list[int] = self._tokenizer(text, add_special_tokens=False).input_ids if text else []
        if index == 0 and not self.is_chat:
            start: list[int] = self._tokenizer("", add_special_tokens=True).input_ids[:1]
            if start == [self._tokenizer.bos_token_id]:
                return start + ids
        return ids

    # -- content -------------------------------------------------------------------------------------------

    @cached_property
    def _control(self) -> re.Pattern[str] | None:
        """A pattern that matches where one of the tokenizer's added tokens begins in a text."""
        added = {str(token) for token in self._tokenizer.added_tokens_decoder.values()}
        words = sorted(
            (word for word in added if len(word) > 1 and not word.isspace()), key=len, reverse=True
        )
        return re.compile(f"(?={'|'.join(map(re.escape, words))})") if words else None

    def _encode_content(self, text: str) -> list[int]:
        """Return the ids of plain text.

        The tokenizer would turn a control token's spelling into the control token. Cutting the text after the
        first character of each keeps it plain.
        """
        starts = [match.start() + 1 for match in self._control.finditer(text)] if self._control else []
        pieces = [text[a:b] for a, b in pairwise([0, *starts, len(text)])]
        return [
            token for piece in pieces for token in self._tokenizer(piece, add_special_tokens=False).input_ids
        ]

    def _encode_text(self, text: str, room: int) -> tuple[list[int], bool]:
        """Return at most ``room`` ids of a text, and whether it was cut."""
        head = text[: room * _CHARACTERS_PER_TOKEN]
        ids = self._encode_content(head)
        return ids[:room], len(ids) > room or len(head) < len(text)

    def _content(self, item: Item) -> tuple[_Content, bool]:
        """Return what the item puts in besides its text, and whether options were cut to make it fit.

        Raises:
            ModelError: It does not fit even without options, or the item has none although the task needs
                them.
        """
        head = self._max_tokens * _CHARACTERS_PER_TOKEN
        short = replace(item, options=tuple(option[:head] for option in item.options))
        content = _Content(tuple(self._fill(piece, short) for piece in self._pieces), self._labels(short))
        room = self._room(content)
        if room > 0 or (room == 0 and item.options):
            return content, short != item
        if not item.options:
            raise self._no_room(item, content)
        return self._cut_options(short, content), True

    def _fill(self, piece: Piece, item: Item) -> list[int]:
        """Return the ids of a piece's labels or options; none for the text, which gets the room that is left."""
        if piece.field in (None, "text"):
            return []
        if piece.field == "labels":
            return self._encode_content(piece.gap + ", ".join(self._spellings))
        names = self._task.label_names(item)
        lines = [f"{name}. {option}" for name, option in zip(names, item.options, strict=False)]
        return self._encode_content(piece.gap + "\n".join(lines))

    def _cut_options(self, item: Item, whole: _Content) -> _Content:
        """Cut options to a common length, the longest with which the prompt fits."""
        lines = [self._lines(piece, item) for piece in self._pieces]
        spelled = self._encode_spellings(item.options) if self._task.spec.answer == "text" else ()

        def cut_to(size: int) -> _Content:
            fills = (
                list(chain.from_iterable(line.cut(size) for line in own)) if own else fill
                for own, fill in zip(lines, whole.fills, strict=True)
            )
            labels = _ended([label[: max(1, size)] for label in spelled], self._end_token)
            return _Content(tuple(fills), labels or whole.labels)

        sizes = [len(line.option) for own in lines for line in own] + [len(label) for label in spelled]
        # The room only falls as options grow, so the longest length that leaves some is found by bisection.
        size = bisect_right(range(max(sizes, default=0) + 1), 0, key=lambda n: -self._room(cut_to(n))) - 1
        if size < 0:
            raise self._no_room(item, cut_to(0))
        return cut_to(size)

    def _lines(self, piece: Piece, item: Item) -> list[_Line]:
        """Return the lines of the item's options if the piece shows them, else none."""
        if piece.field != "options":
            return []
        gaps = [piece.gap, *[""] * (len(item.options) - 1)]
        ends = [*["\n"] * (len(item.options) - 1), ""]
        parts = zip(gaps, self._task.label_names(item), item.options, ends, strict=True)
        encode = self._encode_content
        return [
            _Line(encode(f"{gap}{name}."), encode(f" {option}"), encode(end))
            for gap, name, option, end in parts
        ]

    def _limit(self, content: _Content) -> int:
        """Return the number of tokens that a prompt with these labels may have."""
        return min(self._max_tokens, self._context - max(map(len, content.labels)))

    def _used(self, content: _Content) -> int:
        return sum(map(len, self._fixed)) + sum(map(len, content.fills))

    def _room(self, content: _Content) -> int:
        """Return the number of tokens left for the text; negative if the prompt does not fit even without it."""
        return self._limit(content) - self._used(content)

    def _no_room(self, item: Item, content: _Content) -> ModelError:
        whose = f"item {item.external_id or item.item_id}: " if item.item_id else ""
        without = "text and options" if item.options else "text"
        limit = self._limit(content)
        advice = "Raise model.max_tokens, or shorten" if limit == self._max_tokens else "Shorten"
        return ModelError(
            f"{whose}the prompt without any {without} has {self._used(content)} tokens, {limit} fit. "
            f"{advice} task.instruction, task.template or the labels."
        )

    # -- labels --------------------------------------------------------------------------------------------

    def _labels(self, item: Item) -> tuple[tuple[int, ...], ...]:
        if not self._task.is_multiple_choice:
            return self._class_labels
        if not item.options:
            raise ModelError(f"item {item.external_id or item.item_id}: it has no options to choose from.")
        if self._task.spec.answer == "letter":
            return self._letters[: len(item.options)]
        return _ended(self._encode_spellings(item.options), self._end_token)

    @cached_property
    def _letters(self) -> tuple[tuple[int, ...], ...]:
        return self._encode_labels(tuple(LETTERS))

    def _encode_labels(self, spellings: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        """Return the ids of labels that must differ, unlike an item's options: equal ones get equal probabilities.

        Raises:
            ModelError: Two labels are the same tokens, or one has none.
        """
        labels = self._encode_spellings(spellings)
        seen: dict[tuple[int, ...], str] = {}
        for spelling, label in zip(spellings, labels, strict=True):
            if label in seen:
                raise ModelError(
                    f"the labels {seen[label]!r} and {spelling!r} are the same to the tokenizer. "
                    "Give one of them another verbaliser."
                )
            seen[label] = spelling
        return _ended(labels, self._end_token)

    def _encode_spellings(self, spellings: Sequence[str]) -> list[tuple[int, ...]]:
        labels = [tuple(self._encode_content(self._gap + spelling.strip())) for spelling in spellings]
        if () in labels:
            empty = spellings[labels.index(())]
            raise ModelError(f"the label {empty!r} has no tokens. Give it another verbaliser.")
        return labels

    @property
    def _end_token(self) -> int:
        end = self._tokenizer.eos_token_id
        return int(end if end is not None else self._tokenizer("\n", add_special_tokens=False).input_ids[-1])


def _ended(labels: Sequence[tuple[int, ...]], end_token: int) -> tuple[tuple[int, ...], ...]:
    """Append an end token to all labels if one begins another, so that their likelihoods can be compared."""
    if is_prefix_free(labels):
        return tuple(labels)
    return tuple((*label, end_token) for label in labels)
