"""Preference: a label value is the letter of the better completion, "A" or "B", or "tie"."""

from __future__ import annotations

import re
from collections.abc import Sequence

from star_al.config.spec import TIE, PreferenceSpec, normalise_label
from star_al.task.closed import ClosedTask, name_of
from star_al.types import Item, JsonValue

SIDES = ("A", "B")
"""Names of a prompt's completions, in order."""

_INDICES = ("0", "1")

_TIES = frozenset({TIE, "tie (bothbad)"})
"""Words for a tie, also that of votes which say besides that both completions are bad."""

_SIDE = re.compile(
    r"(?:(?:answer|assistant|candidate|completion|model|option|output|response)[\s_-]*)?([ab]|\d+)",
    re.IGNORECASE,
)
"""A letter or number of a completion, also behind a word for it: "model_a", "Response B"."""


class Preference(ClosedTask):
    """Every item has two completions of its own; predictions have a column for each.

    A value may also be a completion's text, or its index from 0. A tie is a label of an item, but has no column.
    """

    spec: PreferenceSpec

    def __init__(self, spec: PreferenceSpec) -> None:
        self.spec = spec

    @property
    def has_texts(self) -> bool:
        """True: letters stand for completions."""
        return True

    def text(self, item: Item, value: JsonValue) -> str:
        """Return the completion; of a tie, its word."""
        return TIE if self.has_no_column(value) else item.options[self.column(item, value)]

    def spell(self, item: Item, value: JsonValue) -> str:
        """Return the completion."""
        return self.text(item, value)

    def find(self, options: Sequence[str], value: JsonValue) -> str | None:
        """Return the letter of a completion, or the word for a tie; None for anything else.

        What both completions say stands for a tie.
        """
        if self.has_no_column(value) or (len(options) == 2 and options[0] == options[1] == value):
            return TIE
        return super().find(options, value)

    def parse(self, item: Item, raw: JsonValue) -> JsonValue:
        """Return the label value of a cell in the data; None for an empty one."""
        return TIE if self.find(item.options, raw) == TIE else super().parse(item, raw)

    def has_no_column(self, value: JsonValue) -> bool:
        """Return whether a value is the word for a tie."""
        name = name_of(value)
        return name is not None and normalise_label(name) in _TIES

    def distance(self, one: JsonValue, other: JsonValue) -> float:
        """Return how far two labels are apart: a completion is half as far from a tie as from the other one."""
        return float(one != other) * (0.5 if TIE in (one, other) else 1.0)

    def shared_columns(self, item: Item, value: JsonValue) -> tuple[int, ...]:
        """Return the column of a label; of a tie both, or none if nothing is learned from it."""
        if self.has_no_column(value):
            return (0, 1) if self.spec.ties == "half" else ()
        return super().shared_columns(item, value)

    def rejected(self, item: Item, label: JsonValue, others: Sequence[JsonValue]) -> Sequence[JsonValue]:
        """Return the other completion."""
        return [name for name in self.choices(item) if name != label]

    def read(self, item: Item, text: str) -> JsonValue:
        """Return the completion that a text equals; None if it equals none or both."""
        return self.find(item.options, text.strip()) if text.strip() in item.options else None

    def complaint(self, item: Item, value: JsonValue) -> str:
        """Say what is wrong with a value that is no completion of the item."""
        return f"{super().complaint(item, value)}, {TIE}, or one of the two completions"

    def _names(self, options: Sequence[str]) -> tuple[str, ...]:
        return SIDES[: len(options)]

    def _column(self, options: Sequence[str], value: JsonValue) -> int | None:
        name = name_of(value)
        if name is None:
            return None
        if name.strip().upper() in SIDES[: len(options)]:
            return SIDES.index(name.strip().upper())
        if isinstance(value, str) and list(options).count(name.strip()) == 1:
            return options.index(name.strip())
        if side_in(name).upper() in SIDES[: len(options)]:
            return SIDES.index(side_in(name).upper())
        return int(name) if name.strip() in _INDICES[: len(options)] else None


def side_in(value: JsonValue) -> str:
    """Return the letter or number of a completion in a label such as "model_a" or 1; empty for anything else."""
    match = _SIDE.fullmatch((name_of(value) or "").strip().removesuffix(".0"))
    return "" if match is None else match[1]
