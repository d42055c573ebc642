"""Figures of predicted sets of labels, and thresholds by which a label is predicted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from star_al.stats.answered import Answered
from star_al.types import BoolArray, FloatArray, JsonValue

FEWEST = 5
"""Held-out texts with a label, and without it, that a threshold needs; with fewer it is 0.5."""


AT_THRESHOLDS = "micro_f1_at_thresholds"
"""Key of micro-F1 where labels are predicted from their thresholds on."""


def chosen(values: Sequence[JsonValue], names: Sequence[str]) -> BoolArray:
    """Return which of the labels each set has, (N, L); None has none."""
    return np.array(
        [[name in value if isinstance(value, list) else False for name in names] for value in values],
        dtype=bool,
    ).reshape(len(values), len(names))


def micro_f1(answered: Answered) -> float:
    """Return F1 of the decisions on all labels of all texts together; 0 if no label was predicted or right."""
    predicted_N_L, right_N_L = _decisions(answered)
    return micro_f1_of(predicted_N_L, right_N_L)


def micro_f1_of(predicted_N_L: BoolArray, right_N_L: BoolArray) -> float:
    """Return F1 of all decisions together."""
    return float(_f1(predicted_N_L.reshape(-1, 1), right_N_L.reshape(-1, 1))[0])


def macro_f1(answered: Answered) -> float:
    """Return the mean of the labels' F1; a label that neither was predicted nor right counts 0, as in scikit-learn."""
    return float(_f1(*_decisions(answered)).mean())


def hamming_loss(answered: Answered) -> float:
    """Return the share of wrong decisions, one for each label of each text."""
    predicted_N_L, right_N_L = _decisions(answered)
    return float((predicted_N_L != right_N_L).mean())


def _decisions(answered: Answered) -> tuple[BoolArray, BoolArray]:
    """The labels that were predicted, and those that people gave."""
    return chosen(answered.answers, answered.label_names), chosen(answered.golds, answered.label_names)


def _f1(predicted_N_L: BoolArray, right_N_L: BoolArray) -> FloatArray:
    both_L = (predicted_N_L & right_N_L).sum(axis=0)
    counted_L = predicted_N_L.sum(axis=0) + right_N_L.sum(axis=0)
    f1_L: FloatArray = np.divide(2.0 * both_L, counted_L, out=np.zeros(len(both_L)), where=counted_L > 0)
    return f1_L


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
    between = np.concatenate([[0.5], levels[:1], (levels[1:] + levels[:-1]) / 2])
    scores = _f1(probs_N[:, None] >= between, np.repeat(right_N[:, None], len(between), axis=1))
    best = between[scores >= scores.max() - 1e-12]
    return float(best[np.abs(best - 0.5).argmin()])
