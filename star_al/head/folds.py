"""Cross-validation of the head on the labels bought."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from star_al.head.ridge import ROUGH, Penalty, RidgeProblem, Weights
from star_al.types import FloatArray, IntArray

_LEAVE_ONE_OUT = 20
_FOLDS = ((_LEAVE_ONE_OUT, _LEAVE_ONE_OUT), (150, 10), (400, 5))  # up to this many texts, this many folds
_FEWEST = 3


class Settings(NamedTuple):
    """What cross-validation chooses for one kind of features: penalties, and a weight for each offset."""

    penalty: Penalty
    offset_weights_J: tuple[float, ...]


def n_folds(n: int) -> int:
    """Return how many folds to make of this many texts: fewer for more, as time allows.

    Up to 20 texts each is a fold of its own.
    """
    return next((min(n, folds) for most, folds in _FOLDS if n <= most), _FEWEST)


def deal_folds(rows_n: IntArray, targets_n: IntArray, seed: int) -> IntArray:
    """Assign a fold to each example, (n,): labels are spread evenly, and repeats of a text stay together.

    Args:
        rows_n: Which text each example is of.
        targets_n: Columns of the labels.
        seed: Of the order of texts within a label.
    """
    texts_U, first_U, text_n = np.unique(rows_n, return_index=True, return_inverse=True)
    order_U = np.random.default_rng(seed).permutation(len(texts_U))
    order_U = order_U[np.argsort(targets_n[first_U][order_U], kind="stable")]
    fold_U = np.empty(len(texts_U), dtype=np.int64)
    fold_U[order_U] = np.arange(len(texts_U)) % n_folds(len(texts_U))
    fold_n: IntArray = fold_U[text_n]
    return fold_n


@dataclass
class CrossValidation:
    """Held-out predictions of the examples under many settings; each fit starts from the last one of its fold.

    Attributes:
        problem: The examples.
        offsets: Offsets of the examples, (n, C) each.
        fold_n: Fold of each example.
    """

    problem: RidgeProblem
    offsets: tuple[FloatArray, ...]
    fold_n: IntArray
    _weights: dict[int, Weights] = field(default_factory=dict)

    def held_out(self, settings: Settings) -> tuple[FloatArray, dict[int, Weights]]:
        """Predict each fold by a fit on the others.

        Returns:
            Log-probabilities (n, C), and the weights by fold.
        """
        offset_n_C = combined(self.offsets, settings.offset_weights_J)
        log_probs_n_C = np.empty((len(self.fold_n), self.problem.n_labels))
        for fold, inside_n in self.folds():
            weights = self.problem.fit(
                settings.penalty,
                offset_n_C,
                rows=np.flatnonzero(~inside_n),
                start=self._weights.get(fold),
                slope=ROUGH,
            )
            self._weights[fold] = weights
            rows = np.flatnonzero(inside_n)
            log_probs_n_C[rows] = log_softmax(self.problem.logits(weights, offset_n_C, rows), axis=1)
        return log_probs_n_C, dict(self._weights)

    def folds(self) -> list[tuple[int, NDArray[np.bool_]]]:
        """Each fold with a mask of its examples."""
        return [(fold, self.fold_n == fold) for fold in range(self.fold_n.max(initial=-1) + 1)]

    def log_likelihood(self, log_probs_n_C: FloatArray) -> float:
        """Return the weighted sum of the log-probabilities of the examples' labels."""
        of_label_n = log_probs_n_C[np.arange(len(log_probs_n_C)), self.problem.targets_n]
        return float(self.problem.weights_n @ of_label_n)


def combined(offsets: tuple[FloatArray, ...], weights_J: tuple[float, ...]) -> FloatArray | None:
    """Return Σ_j τ_j o_j; None without offsets."""
    total: FloatArray | None = None
    for weight, offset_N_C in zip(weights_J, offsets, strict=True):
        total = weight * offset_N_C if total is None else total + weight * offset_N_C
    return total
