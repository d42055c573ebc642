"""Text: a label value is a text that somebody wrote, or a list of them, each of which is right.

A label is kept whole, with the reasoning that leads to its answer, because the model learns to write it. What the
model writes is read as its answer alone. Both are compared by their answers. An answer is never read again: what a
pattern found may match the pattern once more.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from star_al.config.spec import TextSpec, normalise_label, scalar_text
from star_al.errors import DataError
from star_al.task.numbers import NUMBER, canonical_number
from star_al.task.protocol import Task, is_blank
from star_al.task.similarity import chrf, likeness, medoid, rouge_l
from star_al.types import Item, JsonValue

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
"""Characters that a database or a file cannot keep."""

_LONGEST_SHOWN = 80
"""Characters of a label that a message repeats."""

_NO_ANSWER = "I cannot say"
"""What a simulated person writes who does not know the answer."""

_LARGEST_ERROR = 9
"""By how much the numbers of simulated people are wrong, at most."""

_GRADES: Mapping[str, Callable[[str, str], float]] = {"rouge_l": rouge_l, "chrf": chrf}
"""How similar an answer is to a reference, by ``metric``; the others compare only."""


class Text(Task):
    """An answer in free words."""

    spec: TextSpec

    def __init__(self, spec: TextSpec) -> None:
        self.spec = spec
        self._pattern = _pattern_of(spec)

    @property
    def right_at(self) -> float:
        """The grade that the settings name."""
        return self.spec.right_at

    @property
    def is_graded(self) -> bool:
        """True if answers are graded by how similar they are to a reference."""
        return self.spec.metric in _GRADES

    @property
    def extracts(self) -> bool:
        """True if an answer is what is found in a written text, not all of it."""
        return self._pattern is not None

    def choices(self, item: Item) -> None:
        """Return None: anything may be said."""

    def parse(self, item: Item, raw: JsonValue) -> JsonValue:
        """Return what was written, without white space around it; of several references, a list.

        Raises:
            DataError: No answer is found in it.
        """
        if isinstance(raw, list):
            found = [text for each in raw for text in _texts(self.parse(item, each))]
            return list[JsonValue](found) if len(found) > 1 else next(iter(found), None)
        if is_blank(raw):
            return None
        text = _written(raw)
        if text is None or self._extracted(text) is None:
            raise DataError(self.complaint(item, raw))
        return text

    def spell(self, item: Item, value: JsonValue) -> str:
        """Return the label as it was written; of several references, the first."""
        return _texts(value)[0]

    def read(self, item: Item, text: str) -> JsonValue:
        """Return the answer in a written text; None if there is none."""
        return self._extracted(storable(text))

    def answer(self, label: JsonValue) -> JsonValue:
        """Return the answer of a label, of several references those that differ; None if it has none."""
        found = self._read(label)
        return list[JsonValue](found) if len(found) > 1 else next(iter(found), None)

    def same(self, item: Item, one: JsonValue, other: JsonValue) -> bool:
        """Return whether two answers are one; of several, whether any two are."""
        return self._any_are_one(self._answers(one), self._answers(other))

    def grade(self, item: Item, answer: JsonValue, gold: JsonValue) -> float:
        """Return how well an answer fits the reference that it fits best; 0 for none."""
        measure = _GRADES.get(self.spec.metric, self._equal)
        return max(
            (measure(found, wanted) for found in self._answers(answer) for wanted in self._read(gold)),
            default=0.0,
        )

    def mistaken(self, item: Item, label: JsonValue, draw: float) -> JsonValue:
        """Return the label with another number as its answer, or else with a word less or no answer at all."""
        text = _texts(label)[0]
        start, end = self._place(text)
        number, words = canonical_number(text[start:end]), text[start:end].split()
        left_out = int(draw * len(words))
        other = " ".join(words[:left_out] + words[left_out + 1 :])
        if number is not None:
            other = format(Decimal(number) + 1 + int(draw * _LARGEST_ERROR), "f")
        wrong = [f"{text[:start]}{answer}{text[end:]}" for answer in (other, _NO_ANSWER)]
        right = self.answer(label)
        answered = [each for each in wrong if self._extracted(each) is not None]
        return next(each for each in answered if not self.same(item, self._extracted(each), right))

    def distance(self, one: JsonValue, other: JsonValue) -> float:
        """Return 0 for one answer; else how unlike the answers are, or 1 if they are compared exactly."""
        ones, others = self._read(one), self._read(other)
        if self._any_are_one(ones, others):
            return 0.0
        if self.spec.metric == "exact":
            return 1.0
        return 1.0 - max((likeness(a, b) for a in ones for b in others), default=0.0)

    def shown(self, answer: JsonValue) -> str:
        """Return the answer, of several those that differ."""
        return " / ".join(dict.fromkeys(self._answers(answer)))

    def name(self, value: JsonValue) -> str:
        """Return the answer, which labels with different reasoning may share."""
        return normalise_label(self.shown(self.answer(value)))

    def settled(self, values: Sequence[JsonValue]) -> JsonValue:
        """Return the answer that is most like the others."""
        return values[medoid([_texts(value)[0] for value in values])]

    def references(self, values: Sequence[JsonValue]) -> JsonValue:
        """Return all different answers, the most typical one first, unless they are compared exactly."""
        first = self.settled(values)
        if self.spec.metric == "exact":
            return first
        different = list(dict.fromkeys(text for value in (first, *values) for text in _texts(value)))
        return different if len(different) > 1 else first

    def find(self, options: Sequence[str], value: JsonValue) -> JsonValue:
        """Return the label value that somebody wrote; None if it has no answer."""
        try:
            return self.parse(Item("", ""), value)
        except DataError:
            return None

    def complaint(self, item: Item, value: JsonValue) -> str:
        """Say that no answer is found in a label."""
        shown = repr(value) if len(repr(value)) <= _LONGEST_SHOWN else repr(value)[: _LONGEST_SHOWN - 1] + "…"
        what = "no number" if self.spec.answer.read_as == "number" else "no answer"
        where = "" if self.spec.answer.pattern is None else " by task.answer.pattern"
        return f"item {item.external_id or item.item_id}: {what} is found{where} in the label {shown}"

    def _extracted(self, text: str) -> str | None:
        """The answer that the pattern finds: its first or last match that holds one."""
        if self._pattern is None:
            return text or None
        match = self._match(self._pattern, text)
        return None if match is None else self._canonical(match[_group(match)])

    def _place(self, text: str) -> tuple[int, int]:
        """Where the answer in a text begins and ends."""
        match = None if self._pattern is None else self._match(self._pattern, text)
        return (0, len(text)) if match is None else match.span(_group(match))

    def _match(self, pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
        found = pattern.finditer(text)
        if pattern is not NUMBER:  # of numbers, one that cannot be read is not passed over for another
            found = (match for match in found if self._canonical(match[_group(match)]) is not None)
        if self.spec.answer.take == "first":
            return next(found, None)
        return next(iter(deque(found, maxlen=1)), None)

    def _canonical(self, found: str | None) -> str | None:
        if found is None:
            return None
        if self.spec.answer.read_as == "number":
            return canonical_number(found)
        return found.strip() or None

    def _read(self, label: JsonValue) -> list[str]:
        """The answers in the texts of a label that differ."""
        found = (self._extracted(storable(text)) for text in _texts(label))
        return list(dict.fromkeys(answer for answer in found if answer is not None))

    def _answers(self, value: JsonValue) -> list[str]:
        """Answers in the form in which they are compared."""
        found = (self._canonical(storable(text)) for text in _texts(value))
        return [answer for answer in found if answer is not None]

    def _any_are_one(self, ones: Sequence[str], others: Sequence[str]) -> bool:
        return any(self._are_one(a, b) for a in ones for b in others)

    def _are_one(self, one: str, other: str) -> bool:
        if self._equal(one, other):
            return True
        return self.spec.metric != "exact" and likeness(one, other) >= self.spec.same_at

    @staticmethod
    def _equal(one: str, other: str) -> float:
        return float(normalise_label(one) == normalise_label(other))


def storable(text: str) -> str:
    """Return a text as it is kept: one kind of line break, nothing around it, U+FFFD for what cannot be kept."""
    return _UNSTORABLE.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n")).strip()


def _written(raw: JsonValue) -> str | None:
    """What a cell says as a text; None for a list or mapping."""
    if isinstance(raw, float):  # without an exponent
        return format(Decimal(repr(raw)), "f").removesuffix(".0")
    plain = scalar_text(raw)
    return storable(plain) if isinstance(plain, str) else None


def _texts(value: JsonValue) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [each for each in values if isinstance(each, str)]


def _pattern_of(spec: TextSpec) -> re.Pattern[str] | None:
    if spec.answer.pattern is not None:
        return re.compile(spec.answer.pattern, re.MULTILINE)
    return NUMBER if spec.answer.read_as == "number" else None


def _group(match: re.Match[str]) -> str | int:
    """The group that holds the answer."""
    if "answer" in match.re.groupindex:
        return "answer"
    return 1 if match.re.groups else 0
