"""Multi-label: a label value is the list of a text's labels, in the task's order; an empty list is none of them."""

from __future__ import annotations

import ast
import difflib
import json
from collections.abc import Mapping, Sequence

import numpy as np

from star_al.config.spec import NONE, NONE_OF_THESE, SEPARATORS, MultiLabelSpec, normalise_label
from star_al.errors import DataError
from star_al.task.closed import name_of
from star_al.task.protocol import Task, is_blank
from star_al.types import BoolArray, Item, JsonValue

_ANY = Item(item_id="", text="")
_YES = frozenset({"1", "1.0", "true", "yes", "on", "y", "t", "x"})
"""What a mapping says of a label that a text has."""

_NO = frozenset({"", "0", "0.0", "false", "no", "off", "n", "f", "none", "nan", "null"})
"""What it says of one that the text has not got."""


class MultiLabel(Task):
    """Every text has any number of the task's labels. Predictions are over sets of labels."""

    spec: MultiLabelSpec

    def __init__(self, spec: MultiLabelSpec) -> None:
        self.spec = spec
        self._wordings = {label.name: label.verbaliser or label.name for label in spec.labels}
        self._places = {normalise_label(name): place for place, name in enumerate(spec.label_names)}
        self._spelled = {
            normalise_label(wording): place for place, wording in enumerate(self._wordings.values())
        }

    @property
    def wordings(self) -> tuple[str, ...]:
        """What stands for each label before a language model, in the task's order."""
        return tuple(self._wordings.values())

    @property
    def listing(self) -> str:
        """The labels, as a prompt lists them."""
        return ", ".join(self.wordings)

    def choices(self, item: Item) -> None:
        """Return None: there are too many sets of labels to count up."""

    def matrix(self, examples: Sequence[tuple[Item, JsonValue]]) -> BoolArray:
        """Return which labels the values have, a row for each."""
        has_n_L = np.zeros((len(examples), len(self.spec.label_names)), dtype=bool)
        for row, (item, value) in enumerate(examples):
            has_n_L[row] = np.isin(self.spec.label_names, self._checked(item, value))
        return has_n_L

    def names(self, chosen: Sequence[bool]) -> JsonValue:
        """Return the value that has these of the task's labels."""
        return [name for name, has in zip(self.spec.label_names, chosen, strict=True) if has]

    def parse(self, item: Item, raw: JsonValue) -> JsonValue:
        """Return the labels of a cell; None for an empty one (None, NaN or blank text), which says nothing.

        Args:
            item: The item.
            raw: A list of names, a text with names between commas, semicolons or bars, a list written as JSON or as
                Python does it, or a mapping of names to 0 and 1. "none" and an empty list stand for no label.

        Raises:
            DataError: A name is not one of the task's labels.
        """
        if is_blank(raw):
            return None
        return self._value({self._place(item, name) for name in self._named(item, raw)})

    def spell(self, item: Item, value: JsonValue) -> str:
        """Return the labels' wordings with commas between, or "none"."""
        return ", ".join(self._wordings[name] for name in self._checked(item, value)) or NONE

    def read(self, item: Item, text: str) -> JsonValue:
        """Return the labels that a written answer names; None if it names anything else."""
        if normalise_label(text) == NONE:
            return []
        found = self._split(text, self._spelled)
        return (
            None
            if not found or None in found
            else self._value({self._spelled[each] for each in found if each})
        )

    def has_no_column(self, value: JsonValue) -> bool:
        """Return whether a value has a label that the task does not know, such as one that was added since a round."""
        return value is not None and self.find((), value) is None

    def same(self, item: Item, one: JsonValue, other: JsonValue) -> bool:
        """Return whether two values are the same set."""
        return (
            one is not None and other is not None and self._checked(item, one) == self._checked(item, other)
        )

    def grade(self, item: Item, answer: JsonValue, gold: JsonValue) -> float:
        """Return Jaccard's index: the labels that both have, of those that either has; 1 if neither has any."""
        if answer is None or gold is None:
            return 0.0
        return 1.0 - set_distance(self._checked(item, answer), self._checked(item, gold))

    def find(self, options: Sequence[str], value: JsonValue) -> JsonValue:
        """Return the labels that somebody gave; None if one of them is no label."""
        try:
            return self.parse(_ANY, value)
        except DataError:
            return None

    def text(self, item: Item, value: JsonValue) -> str:
        """Return the labels' names with commas between, or "none"."""
        return ", ".join(self._checked(item, value)) or NONE

    def shown(self, answer: JsonValue) -> str:
        """Return the same."""
        return self.text(_ANY, answer)

    def mistaken(self, item: Item, label: JsonValue, draw: float) -> JsonValue:
        """Return the set with a label more, or one less; each is as likely."""
        wrong = self.spec.label_names[int(draw * len(self.spec.label_names))]
        return self._value({self._place(item, name) for name in {wrong} ^ {*self._checked(item, label)}})

    def distance(self, one: JsonValue, other: JsonValue) -> float:
        """Return Jaccard's distance of two sets."""
        return set_distance(self._checked(_ANY, one), self._checked(_ANY, other))

    def by_label(self, values: Sequence[JsonValue]) -> JsonValue:
        """Return the labels that more than half of some values have; None if just half of them have one."""
        if not values:
            return None
        counts_L = self.matrix([(_ANY, value) for value in values]).sum(axis=0)
        return None if (2 * counts_L == len(values)).any() else self.names(2 * counts_L > len(values))

    def complaint(self, item: Item, value: JsonValue) -> str:
        """Say what is wrong with a value that names something else than labels."""
        names = self.spec.label_names
        shown = repr(value) if len(repr(value)) <= 80 else repr(value)[:77] + "…"
        close = difflib.get_close_matches(str(value), names, n=1)
        hint = (
            f"did you mean {close[0]!r}?" if close else f"the labels are {', '.join(names[:20])}, or {NONE}"
        )
        return f"item {item.external_id or item.item_id}: {shown} is not one of the labels; {hint}"

    def _value(self, places: set[int]) -> JsonValue:
        return [name for place, name in enumerate(self.spec.label_names) if place in places]

    def _checked(self, item: Item, value: JsonValue) -> list[str]:
        """The names of a value."""
        if not isinstance(value, list):
            raise DataError(self.complaint(item, value))
        places = {self._place(item, name) for name in value}
        return [name for place, name in enumerate(self.spec.label_names) if place in places]

    def _place(self, item: Item, name: JsonValue) -> int:
        text = name_of(name)
        place = None if text is None else self._places.get(normalise_label(text))
        if place is None:
            raise DataError(self.complaint(item, name))
        return place

    def _named(self, item: Item, raw: JsonValue) -> Sequence[JsonValue]:
        """The names that a cell holds."""
        if isinstance(raw, str):
            return self._named_by_text(item, raw)
        if isinstance(raw, Mapping):
            return [name for name, has in raw.items() if self._has(item, name, has)]
        if not isinstance(raw, list):
            return [raw]
        names = [name for name in raw if not self._is_none(name)]
        if names and len(names) < len(raw):
            raise DataError(
                f"item {item.external_id or item.item_id}: {raw!r} holds labels and {NONE!r}; remove one of the two"
            )
        return names

    def _named_by_text(self, item: Item, text: str) -> Sequence[JsonValue]:
        if self._is_none(text):
            return []
        if text.strip()[0] in "[{(" and normalise_label(text) not in self._places:
            for read in (json.loads, ast.literal_eval):
                try:
                    found = read(text)
                except (ValueError, SyntaxError, RecursionError, MemoryError):
                    continue
                if isinstance(found, list | tuple | set | dict):
                    return self._named(item, found if isinstance(found, dict) else list(found))
        found = self._split(text, self._places)
        if not found:  # nothing but separators, which is not what people write for none
            raise DataError(self.complaint(item, text))
        parts = [part.strip() for part in SEPARATORS.split(text) if part.strip()]
        return parts if None in found else found

    def _has(self, item: Item, name: JsonValue, has: JsonValue) -> bool:
        """Whether an entry of a mapping says that a text has a label, which must be one."""
        self._place(item, name)
        found = says_has(has)
        if found is None:
            raise DataError(
                f"item {item.external_id or item.item_id}: {has!r} says neither that the text has the label {name!r} "
                "nor that it has not; write 1 or 0"
            )
        return found

    @staticmethod
    def _is_none(name: JsonValue) -> bool:
        return isinstance(name, str) and normalise_label(name) in (NONE, NONE_OF_THESE)

    @staticmethod
    def _split(text: str, known: Mapping[str, int]) -> list[str | None]:
        """Split a text into known names, which may hold separators themselves; None where nothing fits."""
        parts = SEPARATORS.split(text)
        ends = [match.start() for match in SEPARATORS.finditer(text)] + [len(text)]
        starts = [0] + [end + 1 for end in ends[:-1]]
        # White space counts, too, as a line may end where a name has a space.
        most = max(len(SEPARATORS.findall(name)) + name.count(" ") for name in known)
        found: list[str | None] = []
        place = 0
        while place < len(parts):
            if not parts[place].strip():
                place += 1
                continue
            for last in reversed(range(place, min(place + most + 1, len(parts)))):
                name = normalise_label(text[starts[place] : ends[last]])
                if name in known:
                    found.append(name)
                    place = last + 1
                    break
            else:
                found.append(None)
                place += 1
        return found


def says_has(cell: JsonValue) -> bool | None:
    """Return what 1 or 0, yes or no, true or false say of a label; None if a value says neither."""
    word = normalise_label(str(cell))
    return word in _YES if word in _YES | _NO else None


def set_distance(one: Sequence[str], other: Sequence[str]) -> float:
    """Return Jaccard's distance of two sets: 0 for equal ones, 1 for sets without a common member."""
    either = len(set(one) | set(other))
    return 1.0 - len(set(one) & set(other)) / either if either else 0.0
