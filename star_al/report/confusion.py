"""The confusion matrix as a table, the most frequent confusions, and recall and precision of each label."""

from __future__ import annotations

from collections.abc import Mapping
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
class LabelFigures:
    """How well one label is predicted.

    Attributes:
        trained_on: Labels of this kind among those given for training.
        texts: Held-out texts that have the label.
        share: Its recall, from 0 to 1; None without such texts.
        recall: The same in words.
        band: Its 95 % interval in words.
        precision: The share of its predictions that are right, in words.
    """

    label: str
    trained_on: int
    texts: int
    share: float | None
    recall: str
    band: str
    precision: str


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix: rows are true labels, columns predicted ones.

    ``pairs`` are (true, predicted, texts), the most frequent first; ``figures`` start with the lowest recall.
    """

    labels: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]
    figures: tuple[LabelFigures, ...]
    pairs: tuple[tuple[str, str, int], ...]
    numbered: bool


def confusion(evaluation: Evaluation, trained_on: Mapping[str, int]) -> Confusion:
    """Build the confusion matrix of an evaluation; ``trained_on`` counts the training labels by label."""
    labels, counts = tuple(evaluation.recall), evaluation.confusion_C_C
    wrong = [
        (counts[true][guess], labels[true], labels[guess])
        for true in range(len(labels))
        for guess in range(len(labels))
        if true != guess and counts[true][guess]
    ]
    wrong.sort(key=lambda each: -each[0])
    figures = [_figures(evaluation, place, trained_on) for place in range(len(labels))]
    figures.sort(key=lambda each: 2.0 if each.share is None else each.share)
    return Confusion(
        labels=labels,
        cells=tuple(_row(labels, counts[true], true) for true in range(len(labels))),
        figures=tuple(figures),
        pairs=tuple((true, guess, n) for n, true, guess in wrong[:PAIRS]),
        numbered=len(labels) <= NUMBERED,
    )


def _row(labels: tuple[str, ...], counts: tuple[int, ...], true: int) -> tuple[Cell, ...]:
    total = sum(counts) or 1
    return tuple(
        Cell(n, n / total, f"{labels[true]} → {labels[guess]}: {n} of {total}" if n else "", true == guess)
        for guess, n in enumerate(counts)
    )


def _figures(evaluation: Evaluation, place: int, trained_on: Mapping[str, int]) -> LabelFigures:
    """The figures of the label in one row of the matrix."""
    counts, label = evaluation.confusion_C_C, tuple(evaluation.recall)[place]
    right, total = counts[place][place], sum(counts[place])
    predicted = sum(row[place] for row in counts)
    share = right / total if total else None
    band = interval(*wilson_interval(right, total)) if total else interval(None, None)
    precision = percent(right / predicted if predicted else None)
    return LabelFigures(label, trained_on.get(label, 0), total, share, percent(share), band, precision)
