"""What tasks share whose answer is one of a closed list: columns of predictions, and values found by their names.

A label value is a name in the list. Predictions refer to it by its column.
"""

from __future__ import annotations

import difflib
from abc import abstractmethod
from collections.abc import Sequence

from star_al.config.spec import normalise_label, scalar_text
from star_al.errors import DataError
from star_al.task.protocol import Task, is_blank
from star_al.types import Item, JsonValue

_ANY = Item(item_id="", text="")


class ClosedTask(Task):
    """A task whose items each have a closed list of labels."""

    @property
    def listing(self) -> str:
        """The labels that all items have, as a prompt lists them."""
        return ", ".join(self.spellings)

    @property
    def spellings(self) -> tuple[str, ...]:
        """What a model is scored on for each label that all items have, by column; none if items have their own."""
        return tuple(self.spell(_ANY, name) for name in self.choices(_ANY))

    @property
    def takes_lists(self) -> bool:
        """False: a value is a name."""
        return False

    def choices(self, item: Item) -> tuple[str, ...]:
        """Return the names of an item's labels by column."""
        return self._names(item.options)

    def columns(self, items: Sequence[Item]) -> tuple[str, ...]:
        """Return the values of the columns that predictions of these items have; items with fewer use the first."""
        if not self.has_options:
            return self.choices(_ANY) if len(items) else ()  # without loading the items
        return max(map(self.choices, items), key=len, default=())

    def value(self, item: Item, column: int) -> JsonValue:
        """Return the label value in a column."""
        return self.choices(item)[column]

    def column(self, item: Item, value: JsonValue) -> int:
        """Return the column of a label value, compared after normalising.

        Raises:
            DataError: The item has no such label.
        """
        column = self._column(item.options, value)
        if column is None:
            raise DataError(self.complaint(item, value))
        return column

    def shared_columns(self, item: Item, value: JsonValue) -> tuple[int, ...]:
        """Return the columns that a label makes equally likely; none if nothing is to be learned from it."""
        return (self.column(item, value),)

    def find(self, options: Sequence[str], value: JsonValue) -> str | None:
        """Return the name of the label that ``column`` finds, for an item with these options; None without one."""
        column = self._column(options, value)
        return None if column is None else self._names(options)[column]

    def parse(self, item: Item, raw: JsonValue) -> JsonValue:
        """Return the label value of a cell in the data; None for an empty one (None, NaN or blank text).

        Raises:
            DataError: The item has no such label.
        """
        if is_blank(raw):
            return None
        return self.value(item, self.column(item, raw))

    def text(self, item: Item, value: JsonValue) -> str:
        """Return the text that a value stands for: by default its name."""
        return str(self.value(item, self.column(item, value)))

    def read(self, item: Item, text: str) -> JsonValue:
        """Return the label whose spelling a written answer equals after normalising; None if there is none."""
        written = normalise_label(text)
        return next(
            (name for name in self.choices(item) if normalise_label(self.spell(item, name)) == written), None
        )

    def same(self, item: Item, one: JsonValue, other: JsonValue) -> bool:
        """Return whether two values are the same label of the item."""
        found = self.find(item.options, one)
        return found is not None and found == self.find(item.options, other)

    def grade(self, item: Item, answer: JsonValue, gold: JsonValue) -> float:
        """Return 1 for the right label, else 0."""
        return float(self.same(item, answer, gold))

    def mistaken(self, item: Item, label: JsonValue, draw: float) -> JsonValue:
        """Return one of the other labels; each is as likely."""
        others = [name for name in self.choices(item) if not self.same(item, name, label)]
        return others[int(draw * len(others))]

    def complaint(self, item: Item, value: JsonValue) -> str:
        """Say what is wrong with a value that is not a label of the item."""
        names = self.choices(item)
        shown = repr(value) if len(repr(value)) <= 80 else repr(value)[:77] + "…"
        close = difflib.get_close_matches(str(value), names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"the labels are {', '.join(names[:20])}"
        return f"item {item.external_id or item.item_id}: the label {shown} is not in the label set; {hint}"

    @abstractmethod
    def _names(self, options: Sequence[str]) -> tuple[str, ...]:
        """Names of the labels of an item with these options, by column."""

    @abstractmethod
    def _column(self, options: Sequence[str], value: JsonValue) -> int | None:
        """The column of a value, for an item with these options; None if it is no label of it."""


def closed(task: Task) -> ClosedTask:
    """Return a task as one with a list of labels, for a learner that scores each of them.

    Raises:
        TypeError: Its answers are no list.
    """
    if not isinstance(task, ClosedTask):
        raise TypeError(f"the answers of task.kind: {task.spec.kind} are not a list of labels")
    return task


def name_of(value: JsonValue) -> str | None:
    """Return a value as the name that it may be: 3 and 3.0 are "3", True is "true"; None for a list or mapping."""
    name = scalar_text(int(value) if isinstance(value, float) and value.is_integer() else value)
    return name if isinstance(name, str) else None
