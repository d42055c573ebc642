"""Figures of an evaluation that only some kinds of task have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from star_al.stats.answered import Answered, aurc, auroc_of_right, mean_grade, share_without_answer
from star_al.stats.label_sets import AT_THRESHOLDS, hamming_loss, macro_f1, micro_f1
from star_al.types import Evaluation


@dataclass(frozen=True)
class Figure:
    """A figure that follows from an evaluation's confusion matrix.

    Attributes:
        name: What it is.
        unit: Of its values; empty for none.
        of: Computes it; None if the evaluation has none.
    """

    name: str
    unit: str
    of: Callable[[Evaluation], float | None]


@dataclass(frozen=True)
class AnswerFigure:
    """A figure of open answers, computed when a model is measured and kept with the evaluation.

    Attributes:
        name: What it is.
        unit: Of its values; empty for none.
        key: Its name in ``Evaluation.figures``, which the database keeps.
        measure: Computes it; None if these answers have none.
    """

    name: str
    unit: str
    key: str
    measure: Callable[[Answered], float | None]

    def of(self, evaluation: Evaluation) -> float | None:
        """Return the kept value."""
        return evaluation.figures.get(self.key)


def mean_absolute_error(evaluation: Evaluation) -> float:
    """Return how many columns a prediction is away from the true one in the mean: for labels in an order."""
    counts_C_C = np.array(evaluation.confusion_C_C)
    columns_C = np.arange(len(counts_C_C))
    apart_C_C = np.abs(columns_C[:, None] - columns_C[None, :])
    return float((counts_C_C * apart_C_C).sum() / counts_C_C.sum())


def measured_elsewhere(_: Answered) -> None:
    """Return None: the figure needs more than the answers, and is added to an evaluation where that is known."""


TRUST = (
    AnswerFigure("AUROC of confidence", "", "auroc", auroc_of_right),
    AnswerFigure("AURC", "", "aurc", aurc),
)
"""How well confidence tells right answers from wrong ones."""

FIGURES: Mapping[str, Sequence[Figure | AnswerFigure]] = {
    "classification": (),
    "multiple_choice": (),
    "rating": (Figure("mean absolute error", "levels", mean_absolute_error),),
    "text": (
        AnswerFigure("mean grade", "", "mean_grade", mean_grade),
        *TRUST,
        AnswerFigure("share without an answer", "", "without_answer", share_without_answer),
    ),
    "multi_label": (
        AnswerFigure("micro-F1", "", "micro_f1", micro_f1),
        AnswerFigure("macro-F1", "", "macro_f1", macro_f1),
        AnswerFigure("Hamming loss", "", "hamming", hamming_loss),
        AnswerFigure("micro-F1 at thresholds", "", AT_THRESHOLDS, measured_elsewhere),
        *TRUST,
    ),
    "preference": (),
}
"""By kind of task."""


def measured_figures(kind: str, answered: Answered) -> dict[str, float]:
    """Return the figures of open answers to keep with an evaluation, by key."""
    found = {each.key: each.measure(answered) for each in FIGURES[kind] if isinstance(each, AnswerFigure)}
    return {key: value for key, value in found.items() if value is not None}


def figures_of(kind: str, evaluation: Evaluation) -> list[tuple[str, float, str]]:
    """Return the name, value and unit of each figure that an evaluation has."""
    found = [(each.name, each.of(evaluation), each.unit) for each in FIGURES[kind]]
    return [(name, value, unit) for name, value, unit in found if value is not None]


def figures_in_words(kind: str, evaluation: Evaluation) -> list[str]:
    """Return each figure that an evaluation has, with its name and unit."""
    return [f"{name} {value:.2f} {unit}".rstrip() for name, value, unit in figures_of(kind, evaluation)]
