"""The closed-label task: which labels an item has, and how a label value is read from data or an annotator.

A label value is the label's name for classification and the option's letter ("A", "B", …) for multiple
choice; predictions refer to it by its column.
"""

from __future__ import annotations

import difflib
import string

from star_al.config.spec import TaskSpec, normalise_label, scalar_text
from star_al.errors import DataError
from star_al.types import Item, JsonValue

LETTERS = string.ascii_uppercase
"""Names of the options of a multiple-choice item, in order; an item has at most this many."""


class ClosedTask:
    """Labels of items under a ``TaskSpec``."""

    def __init__(self, spec: TaskSpec) -> None:
        self.spec = spec
        self._columns = {normalise_label(name): column for column, name in enumerate(spec.label_names)}

    @property
    def is_multiple_choice(self) -> bool:
        """Whether options belong to the items."""
        return self.spec.kind == "multiple_choice"

    def label_names(self, item: Item) -> tuple[str, ...]:
        """Names of an item's labels by column: the task's labels, or one letter an option."""
        return tuple(LETTERS[: len(item.options)]) if self.is_multiple_choice else self.spec.label_names

    def value(self, item: Item, column: int) -> JsonValue:
        """The label value of a column."""
        return self.label_names(item)[column]

    def column(self, item: Item, value: JsonValue) -> int:
        """The column of a label value or of one that is equal after normalising.

        For multiple choice also of an option's text, or of a whole number, the option's index from 0.

        Raises:
            DataError: the item has no such label.
        """
        column = self._find(item, value)
        if column is None:
            raise DataError(f"item {item.external_id or item.item_id}: {self._complaint(item, value)}")
        return column

    def parse(self, item: Item, raw: JsonValue) -> JsonValue:
        """A label as found in data, in the canonical form; null for a missing one (null or empty text).

        Raises:
            DataError: the item has no such label.
        """
        if raw is None or (isinstance(raw, str) and not raw.strip()) or raw != raw:  # noqa: PLR0124 (NaN)
            return None
        return self.value(item, self.column(item, raw))

    def _find(self, item: Item, value: JsonValue) -> int | None:
        if self.is_multiple_choice and isinstance(value, int) and not isinstance(value, bool):
            return value if 0 <= value < len(item.options) else None
        name = scalar_text(int(value) if isinstance(value, float) and value.is_integer() else value)
        if not isinstance(name, str):
            return None
        key = normalise_label(name)
        if not self.is_multiple_choice:
            return self._columns.get(key)
        if len(key) == 1 and key.upper() in LETTERS[: len(item.options)]:
            return LETTERS.index(key.upper())
        options = [normalise_label(option) for option in item.options]
        return options.index(key) if options.count(key) == 1 else None

    def _complaint(self, item: Item, value: JsonValue) -> str:
        names = self.label_names(item)
        shown = repr(value) if len(repr(value)) <= 80 else repr(value)[:77] + "…"
        close = difflib.get_close_matches(str(value), names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"the labels are {', '.join(names[:20])}"
        return f"the label {shown} is not in the label set; {hint}"
