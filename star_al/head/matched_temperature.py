"""The temperature at which samples are as confident, on average, as the fitted weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq

_LOG_T_BOUND = 4.0


def matched_temperature(goal: float, confidence: Callable[[float], float]) -> float:
    """Return the temperature at which ``confidence`` is ``goal``; it falls as the temperature rises.

    Averaging over samples softens a prediction, and cross-validation has already set how soft it must be.

    Args:
        goal: Mean probability of the most likely label under the fitted weights.
        confidence: The same for the mean of the samples at a temperature.
    """

    def excess(log_t: float) -> float:
        return confidence(float(np.exp(log_t))) - goal

    if excess(-_LOG_T_BOUND) <= 0:
        return float(np.exp(-_LOG_T_BOUND))
    if excess(_LOG_T_BOUND) >= 0:
        return float(np.exp(_LOG_T_BOUND))
    return float(np.exp(brentq(excess, -_LOG_T_BOUND, _LOG_T_BOUND, xtol=1e-3)))
