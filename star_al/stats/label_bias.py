"""Take a model's label bias out of its predictions: by their mean over the pool, and by labels where there are some.

A language model that is not trained on a task prefers some labels whatever the text is. Batch calibration (Zhou et
al. 2023, arXiv 2309.17249) divides its probabilities by their mean over a batch of texts without labels:

    log p(c | x) = log p₀(c | x) − log (1/N Σ_n p₀(c | x_n)) − log Z

This makes all labels about equally frequent, which they may not be. So the labels bought so far correct it, as a
logistic regression that learns nothing but one bias for each label, with batch calibration as its prior.

Arrays are natural logs of shape (N, C). −inf stands for labels that a text does not have, and stays.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, logsumexp

from star_al.types import FloatArray, IntArray

BIAS_VARIANCE = 1.0
"""Variance of the prior of each label's bias, around that of batch calibration."""


def batch_bias(log_probs_N_C: FloatArray) -> FloatArray:
    """Return the bias (C,) of batch calibration: minus the logarithm of each label's mean probability.

    The mean of a label is over the texts that have it; without such a text the bias is 0.
    """
    has_N_C = np.isfinite(log_probs_N_C)
    n_C = has_N_C.sum(axis=0)
    sums_C = logsumexp(log_probs_N_C, axis=0) if len(log_probs_N_C) else np.full(n_C.shape, -np.inf)
    return np.where(n_C > 0, np.log(np.maximum(n_C, 1)) - np.where(n_C > 0, sums_C, 0.0), 0.0)


def fit_bias(log_probs_N_C: FloatArray, targets_N: IntArray, prior_C: FloatArray) -> FloatArray:
    """Return the bias (C,) that minimises Σ −log p(y) + ½ Σ_c (b_c − prior_c)² / ``BIAS_VARIANCE``.

    Args:
        log_probs_N_C: Predictions of labelled texts.
        targets_N: Columns of their labels.
        prior_C: The bias without labels, from ``batch_bias``.

    Raises:
        ValueError: A label has probability 0.
    """
    rows = np.arange(len(targets_N))
    if not np.isfinite(log_probs_N_C[rows, targets_N]).all():
        raise ValueError("a label has probability 0, so no bias explains it")
    counts_C = np.bincount(targets_N, minlength=len(prior_C))

    def loss(bias_C: FloatArray) -> tuple[float, FloatArray]:
        log_N_C = log_softmax(log_probs_N_C + bias_C, axis=1)
        value = -log_N_C[rows, targets_N].sum() + 0.5 * ((bias_C - prior_C) ** 2).sum() / BIAS_VARIANCE
        slope_C = np.exp(log_N_C).sum(axis=0) - counts_C + (bias_C - prior_C) / BIAS_VARIANCE
        return float(value), slope_C

    found = minimize(loss, prior_C, jac=True, method="L-BFGS-B", options={"ftol": 1e-14, "gtol": 1e-9})
    bias_C: FloatArray = found.x
    return bias_C


def without_bias(log_probs_N_C: FloatArray, bias_C: FloatArray) -> FloatArray:
    """Return log softmax(log p + bias), same shape; labels beyond those of the bias have none."""
    width = log_probs_N_C.shape[1]
    known_C = np.pad(bias_C, (0, max(0, width - len(bias_C))))[:width]
    corrected: FloatArray = log_softmax(log_probs_N_C + known_C, axis=-1)
    return corrected
