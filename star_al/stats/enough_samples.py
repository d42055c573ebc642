"""When held-out texts have enough posterior samples: early stopping of what a model is measured with.

A text has k of K samples, whose mean is p̄_k. The samples are nested, so p̄_K lies around p̄_k with the variance
h²·σ_c² for label c, where h² = 1/k − 1/K and σ_c² is the variance of one sample. The log-probability of a label that is
drawn from p̄ then has the expected squared error

    v = h² · Σ_c σ_c² / p̄_c

The mean NLL of N texts has the standard error √(Σ v) / N. Texts with the smallest v stop first, as long as all that
have stopped keep this error below ``TOLERANCE``, so that NLL, Brier score, accuracy and calibration error are those of
all samples to about a thousandth. No label is looked at, so that nothing is biased towards it.
"""

from __future__ import annotations

import numpy as np

from star_al.types import BoolArray, FloatArray

TOLERANCE = 5e-4
"""Standard error of the mean NLL of a page of texts that early stopping may cause, in nats."""

FIRST = 3
"""Samples that each text gets; a variance from two would be too rough."""

FEWEST = 8
"""With fewer samples in all, each text gets all."""

_SURE = 3.0
"""Standard errors by which the likeliest label must lead, so that further samples hardly ever overtake it."""


class EarlyStopping:
    """Decides stage by stage which texts have enough samples.

    Args:
        n: The texts that are measured together.
        total: K, the samples that a text gets at most.
    """

    def __init__(self, n: int, total: int) -> None:
        self._total, self._left = total, (n * TOLERANCE) ** 2

    def enough(self, log_probs_M_K_C: FloatArray) -> BoolArray:
        """Say which of M texts need no more than the samples that they have, (M,)."""
        k = log_probs_M_K_C.shape[1]
        share = 1.0 / k - 1.0 / self._total
        probs_M_K_C = np.exp(log_probs_M_K_C)
        mean_M_C = probs_M_K_C.mean(axis=1)
        variance_M_C = share * probs_M_K_C.var(axis=1, ddof=1)
        there_M_C = mean_M_C > 0
        error_M = np.divide(variance_M_C, mean_M_C, out=np.zeros_like(mean_M_C), where=there_M_C).sum(axis=1)
        sure_M = _leads(probs_M_K_C, share)
        enough_M = np.zeros(len(error_M), dtype=np.bool_)
        order_M = np.argsort(np.where(sure_M, error_M, np.inf), kind="stable")
        spent_M = np.cumsum(error_M[order_M])
        stops = order_M[(spent_M <= self._left) & sure_M[order_M]]
        enough_M[stops] = True
        self._left -= float(error_M[stops].sum())
        return enough_M


def _leads(probs_M_K_C: FloatArray, share: float) -> BoolArray:
    """True where the likeliest label leads the second by more than further samples are likely to change, (M,)."""
    if probs_M_K_C.shape[2] < 2:
        return np.ones(len(probs_M_K_C), dtype=np.bool_)
    two_M_2 = np.argsort(-probs_M_K_C.mean(axis=1), axis=1, kind="stable")[:, :2]
    pairs_M_K_2 = np.take_along_axis(probs_M_K_C, two_M_2[:, None, :], axis=2)
    lead_M_K = pairs_M_K_2[..., 0] - pairs_M_K_2[..., 1]
    leads_M: BoolArray = lead_M_K.mean(axis=1) > _SURE * np.sqrt(share) * lead_M_K.std(axis=1, ddof=1)
    return leads_M
