"""The closed-label task: which labels an item has, and how label values are read.

A label value is the label's name for classification, and the option's letter ("A", "B", …) for multiple
choice. Predictions refer to it by its column.
"""

from __future__ import annotations

import difflib
import string
from collections.abc import Sequence

from star_al.config.spec import TaskSpec, normalise_label, scalar_text
from star_al.errors import DataError
from star_al.types import Item, JsonValue

LETTERS = string.ascii_uppercase
"""Names of a multiple-choice item's options, in order; an item has at most this many."""


class ClosedTask:
    """The labels of items, by the ``task`` section of a campaign."""

    def __init__(self, spec: TaskSpec) -> None:
        self.spec = spec
        self._columns = {normalise_label(name): column for column, name in enumerate(spec.label_names)}
        for old in spec.renamed:
            self._columns[normalise_label(old)] = self._columns[normalise_label(spec.newest_name(old))]

    @property
    def is_multiple_choice(self) -> bool:
        """True if each item has options of its own."""
        return self.spec.kind == "multiple_choice"

    def label_names(self, item: Item) -> tuple[str, ...]:
        """Names of an item's labels by column: the task's labels, or a letter for each option."""
        return self._names(item.options)

    def value(self, item: Item, column: int) -> JsonValue:
        """The label value in a column."""
        return self.label_names(item)[column]

    def column(self, item: Item, value: JsonValue) -> int:
        """The column of a label value, compared after normalising.

        For multiple choice the value may also be an option's text, or its index from 0 as a whole number.

        Raises:
            DataError: The item has no such label.
        """
        column = self._column(item.options, value)
        if column is None:
            raise DataError(self.complaint(item, value))
        return column

    def find(self, options: Sequence[str], value: JsonValue) -> str | None:
        """The name of the label that ``column`` finds, for an item with these options; None if there is none."""
        column = self._column(options, value)
        return None if column is None else self._names(options)[column]

    def parse(self, item: Item, raw: JsonValue) -> JsonValue:
        """The label value of a cell in the data; None for an empty one (None, NaN or blank text).

        Raises:
            DataError: The item has no such label.
        """
        if raw is None or (isinstance(raw, str) and not raw.strip()) or raw != raw:  # noqa: PLR0124 (NaN)
            return None
        return self.value(item, self.column(item, raw))

    def complaint(self, item: Item, value: JsonValue) -> str:
        """What is wrong with a value that is not a label of the item."""
        names = self.label_names(item)
        shown = repr(value) if len(repr(value)) <= 80 else repr(value)[:77] + "…"
        close = difflib.get_close_matches(str(value), names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"the labels are {', '.join(names[:20])}"
        return f"item {item.external_id or item.item_id}: the label {shown} is not in the label set; {hint}"

    def _names(self, options: Sequence[str]) -> tuple[str, ...]:
        return tuple(LETTERS[: len(options)]) if self.is_multiple_choice else self.spec.label_names

    def _column(self, options: Sequence[str], value: JsonValue) -> int | None:
        if self.is_multiple_choice and isinstance(value, int) and not isinstance(value, bool):
            return value if 0 <= value < len(options) else None
        name = scalar_text(int(value) if isinstance(value, float) and value.is_integer() else value)
        if not isinstance(name, str):
            return None
        key = normalise_label(name)
        if not self.is_multiple_choice:
            return self._columns.get(key)
        if len(key) == 1 and key.upper() in LETTERS[: len(options)]:
            return LETTERS.index(key.upper())
        keys = [normalise_label(option) for option in options]
        return keys.index(key) if keys.count(key) == 1 else None
