"""What a kind of task must answer about its items and their labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from star_al.config.spec import TaskSpec
from star_al.types import Item, JsonValue


class Task(ABC):
    """What is asked about each item. Pure: nothing is read, nothing is remembered.

    Attributes:
        spec: The ``task`` section of a campaign.
    """

    spec: TaskSpec

    @abstractmethod
    def choices(self, item: Item) -> tuple[str, ...] | None:
        """Return the values that a label of the item can have, by column; None if anything may be said."""

    @abstractmethod
    def parse(self, item: Item, raw: JsonValue) -> JsonValue:
        """Return the label's value for what the data or an annotator says; None if that is empty.

        Raises:
            DataError: The item cannot have such a label.
        """

    @abstractmethod
    def spell(self, item: Item, value: JsonValue) -> str:
        """Return what a language model must write to give this value: its target, or an option that is scored."""

    @abstractmethod
    def read(self, item: Item, text: str) -> JsonValue:
        """Return the value that a written answer means; None if it means none."""

    def answer(self, label: JsonValue) -> JsonValue:
        """Return the answer that a label gives, in the form in which ``read`` returns it: by default the label."""
        return label

    @abstractmethod
    def same(self, item: Item, one: JsonValue, other: JsonValue) -> bool:
        """Return whether two answers (``read``, ``answer``) are one."""

    @abstractmethod
    def grade(self, item: Item, answer: JsonValue, gold: JsonValue) -> float:
        """Return how right an answer (``read``, ``answer``) is by a label, from 0 to 1."""

    @abstractmethod
    def find(self, options: Sequence[str], value: JsonValue) -> JsonValue:
        """Return the label value that an answer means, for an item with these options; None if it means none."""

    @abstractmethod
    def complaint(self, item: Item, value: JsonValue) -> str:
        """Say what is wrong with a value that cannot be a label of the item."""

    def has_no_column(self, value: JsonValue) -> bool:
        """Return whether a label value is none of those that are predicted; by default there is no such value."""
        return False

    def teaches(self, item: Item, value: JsonValue) -> bool:
        """Return whether a model can learn to write a label: by default one that is predicted."""
        return not self.has_no_column(value)

    def rejected(self, item: Item, label: JsonValue, others: Sequence[JsonValue]) -> Sequence[JsonValue]:
        """Return the values that a label was preferred to: by default the other answers that are not the same."""
        answer = self.answer(label)
        return [value for value in others if not self.same(item, self.answer(value), answer)]

    @abstractmethod
    def mistaken(self, item: Item, label: JsonValue, draw: float) -> JsonValue:
        """Return another label than the right one, as a simulated person gives it; ``draw`` in [0, 1) decides which."""

    def distance(self, one: JsonValue, other: JsonValue) -> float:
        """Return how far two labels of one item are apart: 0 if they are one answer."""
        return float(one != other)

    def shown(self, answer: JsonValue) -> str:
        """Return an answer (``read``, ``answer``) as a table shows it: by default as it is."""
        return str(answer)

    def name(self, value: JsonValue) -> str:
        """Return a text that is the same for equal labels of an item."""
        return str(value)

    def settled(self, values: Sequence[JsonValue]) -> JsonValue:
        """Return the label that several people give by answers that are one."""
        return values[0]

    def by_label(self, values: Sequence[JsonValue]) -> JsonValue:
        """Return the value that most people give for each of its labels by itself, where a value has several labels."""
        raise NotImplementedError

    def place(self, value: JsonValue) -> int:
        """Return where a label stands, where labels have an order."""
        raise NotImplementedError

    def references(self, values: Sequence[JsonValue]) -> JsonValue:
        """Return the label of a held-out item by such answers, which may hold them all."""
        return self.settled(values)

    @property
    def right_at(self) -> float:
        """The grade from which on an answer counts as right."""
        return 1.0

    @property
    def is_graded(self) -> bool:
        """True if answers have grades between right and wrong, so that a likely answer need not be a right one."""
        return False

    @property
    def extracts(self) -> bool:
        """True if an answer (``read``) is only a part of what a model writes; by default it is all of it."""
        return False

    @property
    def takes_lists(self) -> bool:
        """True if a list in a cell of the data is one value; otherwise a list of one is that value."""
        return True

    @property
    def has_options(self) -> bool:
        """True if each item has options of its own, so that its labels cannot be told without it."""
        return self.spec.has_options

    @property
    def sample_options(self) -> tuple[str, ...]:
        """Options for an item that stands for any: none if the items have none."""
        return ("A", "B") if self.has_options else ()

    @property
    def listing(self) -> str:
        """The labels that all items have, as a prompt lists them; empty without such labels."""
        return ""

    @property
    def spellings(self) -> tuple[str, ...]:
        """What a model is scored on for each label that all items have, by column; none if there is no such list."""
        return ()

    @property
    def has_texts(self) -> bool:
        """True if values stand for texts (``text``), beside which they are exported."""
        return False

    def text(self, item: Item, value: JsonValue) -> str:
        """Return the text that a value stands for: by default the value."""
        return str(value)


def is_blank(raw: JsonValue) -> bool:
    """Return whether a cell of the data holds nothing: None, NaN or blank text."""
    return raw is None or (isinstance(raw, str) and not raw.strip()) or raw != raw  # noqa: PLR0124 (NaN)
