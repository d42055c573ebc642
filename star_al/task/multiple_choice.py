"""Multiple choice: a label value is the letter of an option ("A", "B", …)."""

from __future__ import annotations

import string
from collections.abc import Sequence

from star_al.config.spec import MultipleChoiceSpec, normalise_label
from star_al.task.closed import ClosedTask, name_of
from star_al.types import Item, JsonValue

LETTERS = string.ascii_uppercase
"""Names of a multiple-choice item's options, in order; an item has at most this many."""


class MultipleChoice(ClosedTask):
    """Every item has options of its own.

    A value may also be an option's text, or its index from 0 as a whole number.
    """

    spec: MultipleChoiceSpec

    def __init__(self, spec: MultipleChoiceSpec) -> None:
        self.spec = spec

    @property
    def has_texts(self) -> bool:
        """True: letters stand for options."""
        return True

    def text(self, item: Item, value: JsonValue) -> str:
        """Return the option's text."""
        return item.options[self.column(item, value)]

    def spell(self, item: Item, value: JsonValue) -> str:
        """Return the option's letter, or its text if the model is scored on that."""
        return self.text(item, value) if self.spec.answer == "text" else LETTERS[self.column(item, value)]

    def _names(self, options: Sequence[str]) -> tuple[str, ...]:
        return tuple(LETTERS[: len(options)])

    def _column(self, options: Sequence[str], value: JsonValue) -> int | None:
        if isinstance(value, int) and not isinstance(value, bool):
            return value if 0 <= value < len(options) else None
        name = name_of(value)
        if name is None:
            return None
        key = normalise_label(name)
        if len(key) == 1 and key.upper() in LETTERS[: len(options)]:
            return LETTERS.index(key.upper())
        keys = [normalise_label(option) for option in options]
        return keys.index(key) if keys.count(key) == 1 else None
