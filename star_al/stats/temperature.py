"""Calibrate predictive means: temperature scaling (Guo et al. 2017) and contextual calibration (Zhao et al. 2021).

Temperature scaling divides by one number that is fitted on labels; contextual calibration divides by the label
prior and needs no labels.

Arrays are natural logs of shape (N, C). −inf stands for labels that an item does not have, and stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from star_al.common.wording import count
from star_al.types import FloatArray, IntArray

PRIOR_STD = 0.5
"""Standard deviation of the prior on log T; temperatures of trained networks mostly lie in [0.4, 2.7]."""

LOG_T_BOUND = 5.0
"""Bound of |log T| in the search. It guards against overflow and is far from any sensible temperature."""


@dataclass(frozen=True, slots=True)
class Temperature:
    """A temperature, the number of labels it was fitted on, and how it came about, in words."""

    value: float
    n: int
    note: str


def fit_temperature(log_probs_N_C: FloatArray, targets_N: IntArray) -> Temperature:
    """Fit T of softmax(log p̄ / T): it minimises Σ −log p_T(y) + ½ (log T / σ)², with σ = ``PRIOR_STD``.

    The last term is a prior, log T ~ N(0, σ²). It matters less the more labels there are, and keeps T near 1
    for few labels: they are often all predicted right, and T = 0 would fit them best. The labels must be drawn
    at random and never trained on. Without labels, T = 1.

    Raises:
        ValueError: Shapes do not agree, or a target has probability 0.
    """
    n = len(targets_N)
    if n == 0:
        return Temperature(1.0, 0, "T = 1: there are no calibration labels to fit it on")
    if log_probs_N_C.shape[:1] != (n,):
        raise ValueError(f"log_probs has shape {log_probs_N_C.shape} for {n} targets")
    if not np.isfinite(log_probs_N_C[np.arange(n), targets_N]).all():
        raise ValueError("a calibration label has probability 0, so no temperature explains it")
    found = minimize(
        _penalised_nll,
        x0=np.zeros(1),
        args=(log_probs_N_C, targets_N),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-LOG_T_BOUND, LOG_T_BOUND)],
        options={"ftol": 1e-14, "gtol": 1e-9},
    )
    return Temperature(float(np.exp(found.x[0])), n, f"fitted on {count(n, 'calibration label')}")


def apply_temperature(log_probs_N_C: FloatArray, temperature: float) -> FloatArray:
    """Return log softmax(log p̄ / T), same shape.

    Raises:
        ValueError: T is not a positive, finite number.
    """
    if not 0.0 < temperature < np.inf:
        raise ValueError(f"temperature {temperature} is not a positive number")
    scaled: FloatArray = log_softmax(log_probs_N_C / temperature, axis=-1)
    return scaled


def contextual_calibration(log_probs_N_C: FloatArray, log_prior_N_C: FloatArray) -> FloatArray:
    """Divide out the label prior: return log p with p ∝ p̄ / prior (Zhao et al. 2021, arXiv 2102.09690).

    The prior is the prediction for a content-free input.

    Raises:
        ValueError: The prior gives probability 0 to a label that the item has.
    """
    has_N_C = np.isfinite(log_probs_N_C)
    if not np.isfinite(np.where(has_N_C, log_prior_N_C, 0.0)).all():
        raise ValueError("the prior gives probability 0 to a label that the item has")
    ratio_N_C = np.subtract(
        log_probs_N_C, log_prior_N_C, out=np.full_like(log_probs_N_C, -np.inf), where=has_N_C
    )
    calibrated: FloatArray = log_softmax(ratio_N_C, axis=-1)
    return calibrated


def _penalised_nll(
    log_temperature_1: FloatArray, log_probs_N_C: FloatArray, targets_N: IntArray
) -> tuple[float, FloatArray]:
    """The objective of ``fit_temperature`` and its derivative by log T, shape (1,).

    d/d(log T) of −log p_T(y) is (log p̄(y) − Σ_c p_T(c) log p̄(c)) / T.
    """
    rows = np.arange(len(targets_N))
    temperature = np.exp(log_temperature_1[0])
    log_scaled_N_C = apply_temperature(log_probs_N_C, temperature)
    finite_N_C = np.where(np.isfinite(log_probs_N_C), log_probs_N_C, 0.0)  # p_T = 0 there
    expected_N = (np.exp(log_scaled_N_C) * finite_N_C).sum(axis=1)
    slope = (log_probs_N_C[rows, targets_N] - expected_N).sum() / temperature
    loss = -log_scaled_N_C[rows, targets_N].sum() + 0.5 * (log_temperature_1[0] / PRIOR_STD) ** 2
    return float(loss), slope + log_temperature_1 / PRIOR_STD**2
