"""The token ids of a prompt's pieces: their fixed text, and what an item or the task fills in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

from star_al.models.content import ContentEncoder
from star_al.models.label_encoder import LabelEncoder
from star_al.models.piece_tokenizer import PieceTokenizer, require_agreement
from star_al.models.prompt_template import PromptTemplate
from star_al.task import Task
from star_al.types import Item, JsonValue

_CHECKED_LABELS = 32
"""How many labels are tokenised with a whole prompt to compare with their own ids."""


@dataclass(frozen=True)
class Line:
    """An option as a line of the prompt: its name, its text, which may be cut, and the end of the line."""

    name: list[int]
    option: list[int]
    end: list[int]

    def cut(self, size: int) -> list[int]:
        """Return the line with at most ``size`` ids of the option."""
        return self.name + self.option[:size] + self.end


class PromptFields:
    """Encodes the pieces of a prompt, each as it comes in the whole.

    Args:
        template: The pieces.
        task: The task.
        parts: Tokenises parts of a text.
        content: Encodes what comes from an item.
        opens: True if the tokenizer's own beginning of a sequence comes first: a chat template writes its own.

    Attributes:
        fixed: The ids of the fixed text of each piece.
    """

    def __init__(
        self,
        template: PromptTemplate,
        task: Task,
        *,
        parts: PieceTokenizer,
        content: ContentEncoder,
        opens: bool,
    ) -> None:
        self._template = template
        self._pieces = template.pieces
        self._task = task
        self._parts = parts
        self._content = content
        self._opening = parts.opening if opens else []
        self.fixed = [self._fixed_ids(index) for index in range(len(self._pieces))]

    def _fixed_ids(self, index: int) -> list[int]:
        """Return the ids of a piece's fixed text, control tokens included."""
        is_last = index == len(self._pieces) - 1
        ids = self._parts.part(
            "" if index else None, self._pieces[index].text, ends=is_last and not self._template.gap
        )
        return ids if index else [*self._opening, *ids]

    def text(self, index: int, text: str) -> list[int]:
        """Return the ids of an item's text as it fills a piece; the piece's gap is part of the text."""
        return self._content.encode(self._before(index), text)

    def fill(self, index: int, item: Item) -> list[int]:
        """Return the ids of a piece's labels or options; none for the text, which gets the room that is left."""
        piece = self._pieces[index]
        if piece.field == "labels":
            return self._labels[index]
        if piece.field == "options":
            return self._content.encode(self._before(index), piece.gap + self._options_text(item))
        return []

    def option_lines(self, index: int, item: Item) -> list[Line]:
        """Return the lines of the item's options if a piece shows them, else none."""
        piece = self._pieces[index]
        if piece.field != "options":
            return []
        befores = [self._before(index), *["\n"] * (len(item.options) - 1)]
        gaps = [piece.gap, *[""] * (len(item.options) - 1)]
        ends = [*["\n"] * (len(item.options) - 1), ""]
        encode = self._content.encode
        return [
            Line(encode(before, f"{gap}{name}."), encode(f"{name}.", f" {option}"), encode("", end))
            for before, gap, name, option, end in zip(
                befores, gaps, self._task.choices(item) or (), item.options, ends, strict=True
            )
        ]

    def unknown_characters(self, unknown: int | None) -> list[str]:
        """Return the characters of the fixed text that become the unknown token."""
        if unknown is None or unknown not in chain.from_iterable(self.fixed):
            return []
        letters = sorted({letter for piece in self._pieces for letter in piece.text})
        return [letter for letter in letters if unknown in self._parts.part("", letter)]

    def check(self, tokenizer: Any, answers: LabelEncoder) -> None:
        """Check on one item that the parts of a prompt are tokenised as in the whole prompt.

        Raises:
            ModelError: They are not.
        """
        options = ("the first", "the second") if self._task.has_options else ()
        sample = Item(item_id="", text="The team won 3 cups.", options=options)
        ids: list[Sequence[int]] = []
        for index, piece in enumerate(self._pieces):
            is_text = piece.field == "text"
            ids += [
                self.fixed[index],
                self.text(index, piece.gap + sample.text) if is_text else self.fill(index, sample),
            ]
        shown = self.shown({"text": sample.text, "options": self._options_text(sample)})
        ids[0] = ids[0][len(self._opening) :]
        spelled = [self._task.spell(sample, name) for name in self._task.choices(sample) or ()]
        for answer in spelled[:_CHECKED_LABELS]:
            text = shown + self._template.gap + answer.strip()
            (label,) = answers.spelled([answer])
            require_agreement(tokenizer, [*ids, label], self._parts.ids(text), text)

    def shown(self, fills: Mapping[str, str]) -> str:
        """Return the prompt as text, with ``fills`` for what an item fills in, by field."""
        given = {"labels": self._labels_text, **fills}
        return "".join(piece.text + piece.gap + given.get(piece.field or "", "") for piece in self._pieces)

    def record(self) -> list[JsonValue]:
        """Return the pieces as JSON values, with the labels among the fixed ids.

        Each has the ids of its fixed text, the field that follows, the gap before it, and what comes before it.
        """
        pieces: list[JsonValue] = []
        ids: list[JsonValue] = []
        for index, piece in enumerate(self._pieces):
            ids += self.fixed[index]
            if piece.field == "labels":
                ids += self._labels[index]
                continue
            pieces.append({"ids": ids, "field": piece.field, "before": self._before(index), "gap": piece.gap})
            ids = []
        return pieces

    def _before(self, index: int) -> str | None:
        """Return what comes before what a piece is filled with, as ``PieceTokenizer.part`` takes it."""
        return self._pieces[index].text or ("" if index else None)

    @cached_property
    def _labels_text(self) -> str:
        return self._task.listing

    @cached_property
    def _labels(self) -> dict[int, list[int]]:
        """The labels' ids by piece. They come from the user: tokens that they spell stay whole."""
        return {
            index: self._parts.part(self._before(index), piece.gap + self._labels_text)
            for index, piece in enumerate(self._pieces)
            if piece.field == "labels"
        }

    def _options_text(self, item: Item) -> str:
        names = self._task.choices(item) or ()
        return "\n".join(f"{name}. {option}" for name, option in zip(names, item.options, strict=False))
