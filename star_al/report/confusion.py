"""What the model takes for what: the confusion matrix as a table, and each label's recall."""

from __future__ import annotations

from dataclasses import dataclass

from star_al.report.words import interval, percent
from star_al.stats.metrics import wilson_interval
from star_al.types import Evaluation

NUMBERED = 15
"""Labels up to which the cells show their counts; above, colours do, and the counts are in each cell's title."""

PAIRS = 15
"""The most frequent confusions that are listed."""


@dataclass(frozen=True)
class Cell:
    """A count and its share of the row (0 to 1); ``words`` say it in full. Empty cells have no words."""

    count: int
    share: float
    words: str
    right: bool


@dataclass(frozen=True)
class LabelRecall:
    """A label of the held-out texts and how many of its own were predicted right."""

    label: str
    texts: int
    share: float | None
    recall: str
    band: str


@dataclass(frozen=True)
class Confusion:
    """Rows are true labels, columns predicted ones. ``pairs``: true, predicted, texts; the most frequent first."""

    labels: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]
    recalls: tuple[LabelRecall, ...]
    pairs: tuple[tuple[str, str, int], ...]
    numbered: bool


def confusion(evaluation: Evaluation) -> Confusion:
    """The confusion matrix of one model; recalls from the lowest."""
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
