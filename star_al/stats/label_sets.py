"""Figures of predicted sets of labels, and thresholds by which a label is predicted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from star_al.types import BoolArray, FloatArray

FEWEST = 5
"""Held-out texts with a label, and without it, that a threshold needs; with fewer it is 0.5."""


@dataclass(frozen=True)
class SetFigures:
    """How well sets of labels were predicted.

    Attributes:
        micro_f1: F1 of all decisions together.
        macro_f1: Mean of the labels' F1; a label that neither was predicted nor right counts 0, as in scikit-learn.
        hamming: Share of wrong decisions.
        subset_accuracy: Share of texts whose whole set is right.
    """

    micro_f1: float
    macro_f1: float
    hamming: float
    subset_accuracy: float


def set_figures(predicted_N_L: BoolArray, right_N_L: BoolArray) -> SetFigures:
    """Compare predicted sets with the right ones, one row a text."""
    return SetFigures(
        micro_f1=float(_f1(predicted_N_L.ravel()[:, None], right_N_L.ravel()[:, None])[0]),
        macro_f1=float(_f1(predicted_N_L, right_N_L).mean()),
        hamming=float((predicted_N_L != right_N_L).mean()),
        subset_accuracy=float((predicted_N_L == right_N_L).all(axis=1).mean()),
    )


def _f1(predicted_N_L: BoolArray, right_N_L: BoolArray) -> FloatArray:
    both_L = (predicted_N_L & right_N_L).sum(axis=0)
    counted_L = predicted_N_L.sum(axis=0) + right_N_L.sum(axis=0)
    return np.divide(2.0 * both_L, counted_L, out=np.zeros(len(both_L)), where=counted_L > 0)


def thresholds(probs_N_L: FloatArray, right_N_L: BoolArray) -> FloatArray:
    """Choose for each label the probability from which it is predicted: the one with the best F1, (L,).

    Among equally good ones the one nearest to 0.5 wins. With few texts that have the label, or few that have not, it
    is 0.5.

    Args:
        probs_N_L: Probabilities of labels on held-out texts.
        right_N_L: Which of the labels the texts have.
    """
    return np.array(
        [
            _threshold(probs_N, right_N) if FEWEST <= right_N.sum() <= len(right_N) - FEWEST else 0.5
            for probs_N, right_N in zip(probs_N_L.T, right_N_L.T, strict=True)
        ]
    )


def _threshold(probs_N: FloatArray, right_N: BoolArray) -> float:
    levels = np.unique(probs_N)
    between = np.concatenate([[0.5], (levels[1:] + levels[:-1]) / 2])
    scores = _f1(probs_N[:, None] >= between, np.repeat(right_N[:, None], len(between), axis=1))
    best = between[scores >= scores.max() - 1e-12]
    return float(best[np.abs(best - 0.5).argmin()])
