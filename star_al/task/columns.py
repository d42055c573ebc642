"""What the columns of a prediction stand for: the labels of a closed list, or answers that were found for the item.

Where answers are open, the last column stands for any other answer, with None as its value. A None before it is an
answer in which nothing could be found.
"""

from __future__ import annotations

from collections.abc import Sequence

from star_al.errors import DataError
from star_al.task.protocol import Task
from star_al.types import FloatArray, Item, JsonValue


def is_open(task: Task) -> bool:
    """Return whether anything may be said of an item, so that predictions must tell their columns' values."""
    return task.choices(Item("", "", options=task.sample_options)) is None


def values_of(task: Task, item: Item, answers: Sequence[JsonValue]) -> Sequence[JsonValue]:
    """Return the values of an item's columns: its labels, or else the answers found for it."""
    labels = task.choices(item)
    return answers if labels is None else labels


def predicted_column(task: Task, item: Item, log_probs_C: FloatArray, answers: Sequence[JsonValue]) -> int:
    """Return the likeliest column; that of any other answer predicts nothing, however likely it is."""
    width = len(log_probs_C) if task.choices(item) is not None else max(len(answers) - 1, 1)
    return int(log_probs_C[:width].argmax())


def predicted_value(
    task: Task, item: Item, log_probs_C: FloatArray, answers: Sequence[JsonValue]
) -> JsonValue:
    """Return the value that a row of log-probabilities predicts."""
    return values_of(task, item, answers)[predicted_column(task, item, log_probs_C, answers)]


def target_column(task: Task, item: Item, gold: JsonValue, answers: Sequence[JsonValue]) -> int:
    """Return the column of the true value: where answers are open, the first that is the same answer, else the last.

    Raises:
        DataError: The item has no such label.
    """
    labels = task.choices(item)
    if labels is not None:
        name = task.find(item.options, gold)
        if name is None:
            raise DataError(task.complaint(item, gold))
        return labels.index(str(name))
    wanted = task.answer(gold)
    found = (column for column, answer in enumerate(answers[:-1]) if _is_same(task, item, answer, wanted))
    return next(found, len(answers) - 1)


def is_right(task: Task, item: Item, answer: JsonValue, gold: JsonValue) -> bool | None:
    """Return whether an answer is good enough; None if the task does not know one of the labels (any more)."""
    grade = grade_of(task, item, answer, gold)
    return None if grade is None else grade >= task.right_at


def grade_of(task: Task, item: Item, answer: JsonValue, gold: JsonValue) -> float | None:
    """Return how right an answer is, from 0 to 1; None if the label is never predicted, or not known to the task."""
    if task.has_no_column(gold):
        return None
    if task.choices(item) is None:
        return 0.0 if answer is None else task.grade(item, answer, gold)
    found, wanted = (task.find(item.options, value) for value in (answer, gold))
    return None if found is None or wanted is None else task.grade(item, found, wanted)


def _is_same(task: Task, item: Item, answer: JsonValue, wanted: JsonValue) -> bool:
    return answer is not None and task.same(item, answer, wanted)
