"""Rating: a label value is a level of a scale, its number as a text ("1", "2", …)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from star_al.config.spec import RatingSpec, normalise_label
from star_al.task.closed import ClosedTask, name_of
from star_al.types import Item, JsonValue

_WHOLE = re.compile(r"^(\d+)\.0$")
"""A whole number as a table with gaps writes it."""


class Rating(ClosedTask):
    """Every item has the levels of the scale, in their order. A value may also be a level's name."""

    spec: RatingSpec

    def __init__(self, spec: RatingSpec) -> None:
        self.spec = spec
        self._columns = {number: column for column, number in enumerate(spec.label_names)}
        self._columns |= {normalise_label(name): column for column, name in enumerate(spec.names or ())}

    @property
    def listing(self) -> str:
        """The levels as a prompt lists them, with their names."""
        if self.spec.names is None:
            return super().listing
        levels = zip(self.spec.label_names, self.spec.names, strict=True)
        return ", ".join(f"{number} ({name})" for number, name in levels)

    @property
    def has_texts(self) -> bool:
        """True if the levels have names."""
        return self.spec.names is not None

    def text(self, item: Item, value: JsonValue) -> str:
        """Return the level's name, or its number without names."""
        return (
            super().text(item, value)
            if self.spec.names is None
            else self.spec.names[self.column(item, value)]
        )

    def spell(self, item: Item, value: JsonValue) -> str:
        """Return the number."""
        return str(self.value(item, self.column(item, value)))

    def grade(self, item: Item, answer: JsonValue, gold: JsonValue) -> float:
        """Return 1 for the right level, 0 for the opposite end of the scale, and what lies between."""
        apart = abs(self.column(item, answer) - self.column(item, gold))
        return 1.0 - apart / (self.spec.levels - 1)

    def place(self, value: JsonValue) -> int:
        """Return the level."""
        return int(str(value))

    def distance(self, one: JsonValue, other: JsonValue) -> float:
        """Return the square of the levels between them, as on an interval scale."""
        return float((self.place(one) - self.place(other)) ** 2)

    def _names(self, options: Sequence[str]) -> tuple[str, ...]:
        return self.spec.label_names

    def _column(self, options: Sequence[str], value: JsonValue) -> int | None:
        name = name_of(value)
        if name is None or isinstance(value, bool):
            return None
        found = normalise_label(name)
        return self._columns.get(found, self._columns.get(_WHOLE.sub(r"\1", found)))
