"""What a kind of task must answer about its items and their labels."""

from __future__ import annotations

from typing import Protocol

from star_al.types import Item, JsonValue


class Task(Protocol):
    """What is asked about each item. Pure: nothing is read, nothing is remembered."""

    def choices(self, item: Item) -> tuple[str, ...] | None:
        """Return the values that a label of the item can have, by column; None if anything may be said."""

    def parse(self, item: Item, raw: JsonValue) -> JsonValue:
        """Return the label's value for what the data or an annotator says; None if that is empty.

        Raises:
            DataError: The item cannot have such a label.
        """

    def spell(self, item: Item, value: JsonValue) -> str:
        """Return what a language model must write to give this value: its target, or an option that is scored."""

    def read(self, item: Item, text: str) -> JsonValue:
        """Return the value that a written answer means; None if it means none."""

    def same(self, item: Item, one: JsonValue, other: JsonValue) -> bool:
        """Return whether two values are one answer."""

    def grade(self, item: Item, answer: JsonValue, gold: JsonValue) -> float:
        """Return how right an answer is, from 0 to 1."""
