"""Figures of an evaluation that only some kinds of task have, from its confusion matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from star_al.types import Evaluation


@dataclass(frozen=True)
class Figure:
    """A figure of an evaluation.

    Attributes:
        name: What it is.
        unit: Of its values.
        of: Computes it.
    """

    name: str
    unit: str
    of: Callable[[Evaluation], float]

    def in_words(self, evaluation: Evaluation) -> str:
        """Return the figure with its name and unit."""
        return f"{self.name} {self.of(evaluation):.2f} {self.unit}"


def mean_absolute_error(evaluation: Evaluation) -> float:
    """Return how many columns a prediction is away from the true one in the mean: for labels in an order."""
    counts_C_C = np.array(evaluation.confusion_C_C)
    columns_C = np.arange(len(counts_C_C))
    apart_C_C = np.abs(columns_C[:, None] - columns_C[None, :])
    return float((counts_C_C * apart_C_C).sum() / counts_C_C.sum())


FIGURES: Mapping[str, Sequence[Figure]] = {
    "classification": (),
    "multiple_choice": (),
    "rating": (Figure("mean absolute error", "levels", mean_absolute_error),),
    "text": (),
    "multi_label": (),
}
"""By kind of task."""
