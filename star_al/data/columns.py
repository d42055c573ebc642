"""What the columns of a table hold, found by reading all of it once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from star_al.config.spec import SEPARATORS, scalar_text
from star_al.data.annotation_exports import listed, plain_label, references
from star_al.data.limits import MAX_COLUMNS, too_many_columns
from star_al.data.readers import read_rows
from star_al.data.source import Table
from star_al.errors import DataError

MAX_LABELS = 100
"""A column with more distinct values than this does not hold labels."""


MAX_LABEL = 1_000
"""A label has at most this many characters."""


@dataclass(slots=True)
class Column:
    """What one column holds, over all rows.

    Attributes:
        filled: Rows that have a value.
        characters: Length of all values that are text.
        values: How often each value occurs, as label text; None if they are too many, or cannot be labels.
        in_lists: Rows that hold several labels, after which no more values were counted.
        empty_lists: Rows that hold a list of no labels, which do not count as filled.
        members: How often each name occurs in lists, or between separators; None if names are too many.
    """

    filled: int = 0
    characters: int = 0
    values: Counter[str] | None = field(default_factory=Counter)
    in_lists: int = 0
    empty_lists: int = 0
    members: Counter[str] | None = field(default_factory=Counter)

    def add(self, value: Any) -> None:
        """Count a row's value; None, NaN and blank text do not count."""
        if value is None or value != value or (isinstance(value, str) and not value.strip()):  # noqa: PLR0124 (NaN)
            return
        if [] in (listed(value), references(value)):
            self.empty_lists += 1
            return
        self.filled += 1
        if isinstance(value, str):
            self.characters += len(value)
        self._count_members(value)
        if self.values is None:
            return
        try:
            value = plain_label(value)
        except DataError:
            self.in_lists += 1
        if value is None:
            self.filled -= 1
            return
        label = scalar_text(int(value) if isinstance(value, float) and value.is_integer() else value)
        if isinstance(label, str) and len(label) <= MAX_LABEL:
            self.values[" ".join(label.split())] += 1
        else:
            self.values = None
        if self.values is not None and len(self.values) > MAX_LABELS:
            self.values = None

    def _count_members(self, value: Any) -> None:
        if self.members is None:
            return
        names = members_of(value)
        if names is None or any(len(name) > MAX_LABEL for name in names):
            self.members = None
            return
        self.members.update(names)
        if len(self.members) > MAX_LABELS:
            self.members = None


def members_of(value: Any) -> list[str] | None:
    """Return the names in a cell that may hold several; None for what is no list of names."""
    found = listed(value)
    if isinstance(found, str):
        found = SEPARATORS.split(found)
    names = [scalar_text(each) for each in (found if isinstance(found, (list, tuple)) else [found])]
    if not all(isinstance(name, str) for name in names):
        return None
    return [" ".join(name.split()) for name in names if name.strip()]


@dataclass(frozen=True, slots=True)
class Profile:
    """A table and what its columns hold, by name."""

    table: Table
    columns: dict[str, Column]

    @property
    def names(self) -> str:
        """The columns' names, for messages."""
        return ", ".join(self.columns)

    def require(self, *names: str) -> None:
        """Check that the table has these columns.

        Raises:
            DataError: It lacks one of them.
        """
        for name in names:
            if name not in self.columns:
                raise DataError(no_column(self.table.name, name, self.columns))


def no_column(where: str, name: str, columns: Iterable[str]) -> str:
    """What to say of a column that is missing: what was probably meant, and what there is."""
    names = list(columns)
    folded = {each.strip().casefold(): each for each in reversed(names)}
    close = folded.get(name.strip().casefold()) or next(iter(get_close_matches(name, names, n=1)), None)
    hint = f" Did you mean {close!r}?" if close else ""
    return f"{where}: there is no column {name!r}.{hint} Columns: {', '.join(names[:20])}."


def profile(table: Table) -> Profile:
    """Read all rows of a table and describe its columns.

    Raises:
        DataError: The table cannot be read.
    """
    columns: dict[str, Column] = {}
    for row in read_rows(table):
        for name, value in row.values.items():
            columns.setdefault(name, Column()).add(value)
        if len(columns) > MAX_COLUMNS:
            raise DataError(f"{table.name}: {too_many_columns(len(columns))}")
    return Profile(table, columns)
