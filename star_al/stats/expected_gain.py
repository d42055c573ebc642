"""The accuracy that further labels are expected to bring, by a power law through the learning curve, with a bound.

The curve of one campaign is uncertain (``star_al.stats.measured_rounds``), and a curve that has not begun to rise looks
like one that has ended. So the bound is over resamples of the held-out items, jointly over rounds, with the luck of the
labels and the noise of training.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from star_al.stats.measured_rounds import MeasuredRounds, luck, resampled_accuracies
from star_al.types import FloatArray

STEP = 100
"""Further labels."""

LEVEL = 0.90
"""Of the upper bound of the gain, and of the lower bound of the accuracy."""

LEAST_COUNTS = 4
"""Different label counts below which three parameters would fit anything."""

RESAMPLES = 1_000

_POWERS = np.linspace(0.05, 2.0, 40)


@dataclass(frozen=True)
class ExpectedGain:
    """What ``STEP`` further labels are expected to bring.

    Attributes:
        value: The gain in accuracy.
        high: Its one-sided upper bound.
        rise_low: The one-sided lower bound of the rise from the first round to the newest.
        accuracy_low: The one-sided lower bound of the newest accuracy.
    """

    value: float
    high: float
    rise_low: float
    accuracy_low: float


def expected_gain(model: MeasuredRounds, random: np.random.Generator) -> ExpectedGain | None:
    """Extrapolate a learning curve; None with fewer than ``LEAST_COUNTS`` different label counts.

    Least squares of accuracy ≈ a − b·n^−c, b ≥ 0, 0.05 ≤ c ≤ 2 (the form of Cortes et al. 1993).
    """
    if len(model) < LEAST_COUNTS:
        return None
    labels_R = model.labels_R
    value, fitted_R = _gain(labels_R, model.accuracy_R[None])
    (drawn_B_R,) = resampled_accuracies([model], RESAMPLES, random)
    drawn_B_R += luck(model, RESAMPLES, random)
    # What the residuals have beyond those that items and labels leave in a fit is the noise of training. A power
    # law has three parameters.
    around_B_R = drawn_B_R - drawn_B_R.mean(axis=0) + fitted_R[0]
    _, refitted_B_R = _gain(labels_R, around_B_R)
    explained = np.square(around_B_R - refitted_B_R).sum(axis=1).mean() / (len(model) - 3)
    left = np.square(model.accuracy_R - fitted_R[0]).sum() / (len(model) - 3) - explained
    drawn_B_R += random.normal(size=drawn_B_R.shape) * np.sqrt(max(0.0, left))
    gain_B, fitted_B_R = _gain(labels_R, drawn_B_R)
    return ExpectedGain(
        value=float(value[0]),
        high=float(np.quantile(gain_B, LEVEL)),
        rise_low=float(np.quantile(fitted_B_R[:, -1] - fitted_B_R[:, 0], 1 - LEVEL)),
        accuracy_low=float(np.quantile(drawn_B_R[:, -1], 1 - LEVEL)),
    )


def _gain(labels_R: FloatArray, accuracy_B_R: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The rise (B,) of each curve's power law over the next labels, and the fitted curves (B, R)."""
    mean_B = accuracy_B_R.mean(axis=1, keepdims=True)
    centred_B_R = accuracy_B_R - mean_B
    least_B: FloatArray = np.full(len(accuracy_B_R), np.inf)
    gain_B: FloatArray = np.zeros(len(accuracy_B_R))
    fitted_B_R: FloatArray = np.zeros_like(accuracy_B_R)
    for power in _POWERS:  # with c given, a and b are a linear regression
        x_R = labels_R**-power
        x_R = x_R - x_R.mean()
        scale_B = np.maximum(0.0, -(centred_B_R @ x_R) / (x_R @ x_R))
        curve_B_R = -scale_B[:, None] * x_R
        error_B = np.square(centred_B_R - curve_B_R).sum(axis=1)
        better_B = error_B < least_B
        least_B = np.where(better_B, error_B, least_B)
        rise = labels_R[-1] ** -power - (labels_R[-1] + STEP) ** -power
        gain_B = np.where(better_B, scale_B * rise, gain_B)
        fitted_B_R = np.where(better_B[:, None], mean_B + curve_B_R, fitted_B_R)
    return gain_B, fitted_B_R
