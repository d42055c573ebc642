"""Choose neighbours, their weight and the temperature by cross-validated likelihood."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from star_al.stats.temperature import PRIOR_STD
from star_al.types import Float32Array, FloatArray, IntArray

NUMBERS = (5, 10, 20)
"""Grid of the number of neighbours."""

WEIGHTS = (0.3, 0.5, 0.7)
"""Grid of their weight."""

LOWEST = 1e-12
"""Floor of a smoothed probability, so that its logarithm is finite."""

_DEFAULT_NUMBER = 10
_DEFAULT_WEIGHT = 0.5
_LOG_PRIOR_OF_NONE = -1.0
_LOG_PRIOR_OF_STEP = -0.5  # for each step on the grids away from the default
_SMOOTHED_TEMPERATURE = 0.8  # expected: a mean over neighbours is softer than it should be
_LOG_T_BOUND = 2.5  # temperatures from 1/12 to 12


@dataclass(frozen=True, slots=True)
class Smoothing:
    """How many neighbours count, their weight, and the temperature of the smoothed prediction."""

    neighbours: int
    weight: float
    temperature: float = 1.0


@dataclass(frozen=True)
class HeldOut:
    """Predictions of examples and their neighbours by fits that did not see the example's fold.

    Attributes:
        own_n_C: Probabilities of the examples.
        around_n_k_C: Probabilities of their nearest neighbours. A labelled neighbour has its label, unless it is in
            the example's own fold.
        targets_n: Columns of the labels.
        weights_n: How much each label counts.
    """

    own_n_C: FloatArray
    around_n_k_C: Float32Array
    targets_n: IntArray
    weights_n: FloatArray

    def smoothed(self, smoothing: Smoothing) -> FloatArray:
        """Return smoothed log-probabilities at temperature 1, (n, C); they need not be normalised."""
        if not smoothing.neighbours:
            return _log(self.own_n_C)
        mean_n_C = self.around_n_k_C[:, : smoothing.neighbours].mean(axis=1, dtype=np.float64)
        mixed_n_C = (1 - smoothing.weight) * self.own_n_C + smoothing.weight * mean_n_C
        return _log(mixed_n_C)


def _log(probs_N_C: FloatArray) -> FloatArray:
    """Return logarithms, of zeros those of the lowest probability."""
    logs_N_C: FloatArray = np.log(np.maximum(probs_N_C, LOWEST))
    return logs_N_C


def smoothing_candidates(neighbours: int | None, available: int) -> tuple[Smoothing, ...]:
    """Return the smoothings to compare with the temperatures to expect, the default first.

    Args:
        neighbours: The number that the user wants; None for any.
        available: Neighbours that the graph holds.
    """
    if available == 0 or neighbours == 0:
        return (Smoothing(0, 0.0),)
    numbers: tuple[int, ...] = NUMBERS if neighbours is None else (neighbours,)
    numbers = tuple(dict.fromkeys(min(number, available) for number in numbers))
    near = sorted(
        (Smoothing(number, weight, _SMOOTHED_TEMPERATURE) for number in numbers for weight in WEIGHTS),
        key=_log_prior,
        reverse=True,
    )
    return (*near, Smoothing(0, 0.0)) if neighbours is None else tuple(near)


def choose_smoothing(held_out: HeldOut, candidates: tuple[Smoothing, ...]) -> tuple[Smoothing, float]:
    """Choose the smoothing under which the held-out labels are most likely, each at its best temperature.

    Args:
        held_out: Predictions to judge by.
        candidates: As ``smoothing_candidates`` returns them; an earlier one wins a draw.

    Returns:
        The smoothing with its temperature, and its score in nats.
    """
    scored = []
    for candidate in candidates:
        temperature, log_likelihood = _temperature(held_out, candidate)
        score = log_likelihood + _log_prior(candidate)
        scored.append((score, Smoothing(candidate.neighbours, candidate.weight, temperature)))
    score, best = max(scored, key=lambda pair: pair[0])
    return best, score


def _temperature(held_out: HeldOut, candidate: Smoothing) -> tuple[float, float]:
    """Return the best temperature under a prior log T ~ N(log T₀, ``PRIOR_STD``²), and its penalised log-likelihood."""
    log_probs_n_C = held_out.smoothed(candidate)
    rows = np.arange(len(log_probs_n_C))
    centre = np.log(candidate.temperature)

    def loss(log_t: float) -> float:
        scaled_n_C = log_softmax(log_probs_n_C * np.exp(-log_t), axis=1)
        fit = held_out.weights_n @ scaled_n_C[rows, held_out.targets_n]
        return float(-fit + 0.5 * ((log_t - centre) / PRIOR_STD) ** 2)

    found = minimize_scalar(
        loss, bounds=(-_LOG_T_BOUND, _LOG_T_BOUND), method="bounded", options={"xatol": 1e-4}
    )
    return float(np.exp(found.x)), -float(found.fun)


def _log_prior(smoothing: Smoothing) -> float:
    if not smoothing.neighbours:
        return _LOG_PRIOR_OF_NONE
    steps = abs(np.log2(smoothing.neighbours / _DEFAULT_NUMBER))
    steps += abs(smoothing.weight - _DEFAULT_WEIGHT) / (WEIGHTS[1] - WEIGHTS[0])
    return float(_LOG_PRIOR_OF_STEP * steps)
