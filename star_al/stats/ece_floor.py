"""The calibration error that chance alone shows: what a perfectly calibrated model would have at this many items.

The expected calibration error is a sum of absolute deviations, so it is above 0 for every finite set, however
well a model is calibrated: about 0.1 for a hundred items whose confidences lie between 0.5 and 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from star_al.types import CalibrationBin, Evaluation, FloatArray

_Z_95 = 1.644854


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """ECE of a perfectly calibrated model with the same confidences.

    Attributes:
        mean: Its expectation.
        high: What it stays below in 95 of 100 sets.
    """

    mean: float
    high: float


def ece_floor(bins: Sequence[CalibrationBin]) -> NoiseFloor:
    """The noise floor of the ECE, from the counts and mean confidences of its bins.

    In bin b the right answers are taken as binomial with n_b items and the mean confidence p_b. The mean absolute
    deviation of a binomial is 2·m·C(n, m)·p^m·(1 − p)^(n − m + 1) with m = ⌊np⌋ + 1 (de Moivre), its mean square
    np·(1 − p). ``high`` takes the sum over bins as normal. Confidences of one bin differ, which makes the true
    floor smaller, by under 2 % with 15 bins.

    Args:
        bins: The bins of ``metrics.reliability_bins``.
    """
    filled = [each for each in bins if each.count and each.confidence is not None]
    n_B = np.array([each.count for each in filled], dtype=np.float64)
    # Rounding can lift a confidence just above 1.
    p_B = np.clip([each.confidence or 0.0 for each in filled], 0.0, 1.0)
    deviation_B = _mean_absolute_deviation(n_B, p_B)
    variance_B = np.maximum(0.0, n_B * p_B * (1 - p_B) - deviation_B**2)
    n = n_B.sum()
    mean = float(deviation_B.sum() / n)
    return NoiseFloor(mean, mean + _Z_95 * float(np.sqrt(variance_B.sum()) / n))


def ece_in_words(evaluation: Evaluation) -> str:
    """The ECE of a model beside its noise floor: ``0.045 (0.031 by chance alone)``."""
    return f"{evaluation.ece:.3f} ({ece_floor(evaluation.bins).mean:.3f} by chance alone)"


def _mean_absolute_deviation(n_B: FloatArray, p_B: FloatArray) -> FloatArray:
    """E|X − np| of binomials (n, p)."""
    from scipy.special import gammaln, xlog1py, xlogy

    m_B = np.minimum(np.floor(n_B * p_B) + 1, n_B)
    log_choose_B = gammaln(n_B + 1) - gammaln(m_B + 1) - gammaln(n_B - m_B + 1)
    log_B = log_choose_B + xlogy(m_B, p_B) + xlog1py(n_B - m_B + 1, -p_B)
    deviation_B: FloatArray = 2.0 * m_B * np.exp(log_B)
    return deviation_B
