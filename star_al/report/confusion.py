"""The confusion matrix as a table, the most frequent confusions, and the recall of each label."""

from __future__ import annotations

from dataclasses import dataclass

from star_al.report.formatting import interval, percent
from star_al.stats.metrics import wilson_interval
from star_al.types import Evaluation

NUMBERED = 15
"""With more labels, cells show colours only; the count is in the cell's title."""

PAIRS = 15
"""How many confusions are listed."""


@dataclass(frozen=True)
class Cell:
    """A count, its share of the row (0 to 1), and its description; an empty cell has none."""

    count: int
    share: float
    description: str
    correct: bool


@dataclass(frozen=True)
class LabelRecall:
    """How many of a label's held-out texts were predicted correctly."""

    label: str
    texts: int
    share: float | None
    recall: str
    band: str


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix: rows are true labels, columns predicted ones.

    ``pairs`` are (true, predicted, texts), the most frequent first; ``recalls`` start with the lowest.
    """

    labels: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]
    recalls: tuple[LabelRecall, ...]
    pairs: tuple[tuple[str, str, int], ...]
    numbered: bool


def confusion(evaluation: Evaluation) -> Confusion:
    """Build the confusion matrix of an evaluation."""
    labels, counts = tuple(evaluation.recall), evaluation.confusion_C_C
    wrong = [
        (counts[true][guess], labels[true], labels[guess])
        for true in range(len(labels))
        for guess in range(len(labels))
        if true != guess and counts[true][guess]
    ]
    wrong.sort(key=lambda each: -each[0])
    recalls = [_recall(label, counts[true][true], sum(counts[true])) for true, label in enumerate(labels)]
    recalls.sort(key=lambda each: 2.0 if each.share is None else each.share)
    return Confusion(
        labels=labels,
        cells=tuple(_row(labels, counts[true], true) for true in range(len(labels))),
        recalls=tuple(recalls),
        pairs=tuple((true, guess, n) for n, true, guess in wrong[:PAIRS]),
        numbered=len(labels) <= NUMBERED,
    )


def _row(labels: tuple[str, ...], counts: tuple[int, ...], true: int) -> tuple[Cell, ...]:
    total = sum(counts) or 1
    return tuple(
        Cell(n, n / total, f"{labels[true]} → {labels[guess]}: {n} of {total}" if n else "", true == guess)
        for guess, n in enumerate(counts)
    )


def _recall(label: str, right: int, total: int) -> LabelRecall:
    share = right / total if total else None
    band = interval(*wilson_interval(right, total)) if total else interval(None, None)
    return LabelRecall(label, total, share, percent(share), band)
