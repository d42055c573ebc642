"""Compare the active curve of a live campaign with its control arm, and say how many labels it saved.

The two curves are compared at the control arm's label counts, where the active curve is interpolated in log n. Both
figures come with an interval over the held-out items, the draw of the labels, and the noise of training
(``star_al.stats.measured_rounds``). In campaigns with nothing different between the arms that are looked at after each
round, the interval of the difference excludes 0 in at most 5 of 100 (docs/studies/live-words.md).

Shapes: R rounds of the active curve, K of the control arm, B resamples, L levels of accuracy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

from star_al.stats.measured_rounds import MeasuredRounds, luck, resampled_accuracies
from star_al.stats.over_items import Figure
from star_al.types import FloatArray

RESAMPLES = 1_000
LEAST_COUNTS = 3
"""Matched counts below which nothing is said: the noise of training is estimated from their scatter."""

LEAST_LABELS = 50
"""Labels below which the arms are not compared: with a handful, luck is larger than ``LUCK`` says."""

LEVEL = 0.98
"""Of the intervals, so that in a campaign that is looked at after each round 95 of 100 are right throughout."""

_LEVELS = 20
_TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


@dataclass(frozen=True)
class ArmComparison:
    """What a campaign shows about its two arms.

    Attributes:
        labels_K: The control arm's label counts that lie within the active curve, from ``LEAST_LABELS`` on.
        differences: Active minus control accuracy at each of them.
        mean: The mean of the differences, weighted by labels, as few labels depend most on luck. None with fewer
            than ``LEAST_COUNTS`` counts.
        saved: Share of the control arm's labels that active learning saved, on average over the accuracies that the
            arm went through; negative if it needed more. None unless the intervals of the mean and of the
            share exclude 0, on the same side.
    """

    labels_K: FloatArray
    differences: tuple[Figure, ...]
    mean: Figure | None
    saved: Figure | None


def compare_arms(
    active: MeasuredRounds, control: MeasuredRounds, random: np.random.Generator
) -> ArmComparison:
    """Compare both arms.

    Args:
        active: The model that is trained on all labels.
        control: The model that is trained on the control set, without rounds in which it is the same model.
        random: Draws resamples.
    """
    if not len(active):
        return ArmComparison(np.zeros(0), (), None, None)
    least = max(active.labels_R[0], LEAST_LABELS)
    inside_K = (control.labels_R >= least) & (control.labels_R <= active.labels_R[-1])
    labels_K = control.labels_R[inside_K]
    if not len(labels_K):
        return ArmComparison(labels_K, (), None, None)
    active_B_R, control_B_K = resampled_accuracies([active, control], RESAMPLES, random)
    active_B_R += luck(active, RESAMPLES, random)
    control_B_K += luck(control, RESAMPLES, random)
    matched = _interpolation(active.labels_R, labels_K)
    found_K = matched(active.accuracy_R) - control.accuracy_R[inside_K]
    drawn_B_K = matched(active_B_R) - control_B_K[:, inside_K]
    noise_B_K = random.normal(size=control_B_K.shape) * _training_noise(found_K, drawn_B_K)
    control_B_K += noise_B_K
    drawn_B_K -= noise_B_K[:, inside_K]
    differences = tuple(_figure(value, drawn_B_K[:, k]) for k, value in enumerate(found_K))
    if len(labels_K) < LEAST_COUNTS:
        return ArmComparison(labels_K, differences, None, None)
    weights_K = labels_K / labels_K.sum()
    mean = _figure(float(found_K @ weights_K), drawn_B_K @ weights_K)
    saved = None
    if excludes_zero(mean):
        saved = _labels_saved(
            active, labels_K, control.accuracy_R[inside_K], active_B_R, control_B_K[:, inside_K]
        )
        saved = saved if excludes_zero(saved) and saved.value * mean.value > 0 else None
    return ArmComparison(labels_K, differences, mean, saved)


def excludes_zero(figure: Figure) -> bool:
    """True if a figure's interval lies above or below 0."""
    return figure.low > 0 or figure.high < 0


def _figure(value: float, drawn_B: FloatArray) -> Figure:
    low, high = np.quantile(drawn_B, _TAILS)
    return Figure(float(value), float(low), float(high))


def _interpolation(labels_R: FloatArray, labels_K: FloatArray) -> Callable[[FloatArray], FloatArray]:
    """Linear interpolation in log n, along the last axis, at counts within the span."""
    weights_K_R = np.array(
        [np.interp(np.log(labels_K), np.log(labels_R), row) for row in np.eye(len(labels_R))]
    ).T
    return lambda accuracy: accuracy @ weights_K_R.T


def _training_noise(found_K: FloatArray, drawn_B_K: FloatArray) -> float:
    """Standard deviation of what scatters from count to count beyond items and labels; independent over counts."""
    if len(found_K) < 2:
        return 0.0
    explained_K = np.diff(drawn_B_K, axis=1).var(axis=0)
    return float(np.sqrt(max(0.0, np.mean(np.diff(found_K) ** 2 - explained_K) / 2)))


def _labels_saved(
    active: MeasuredRounds,
    labels_K: FloatArray,
    control_K: FloatArray,
    active_B_R: FloatArray,
    control_B_K: FloatArray,
) -> Figure:
    labels_R = active.labels_R
    draws = zip(active_B_R, control_B_K, strict=True)
    drawn_B = np.array([_saved(labels_R, one_R, labels_K, two_K) for one_R, two_K in draws])
    return _figure(_saved(labels_R, active.accuracy_R, labels_K, control_K), drawn_B)


def _saved(labels_R: FloatArray, active_R: FloatArray, labels_K: FloatArray, control_K: FloatArray) -> float:
    """1 − the geometric mean of labels of the active curve / labels of the control arm at the same accuracy.

    Both curves are made monotone. A level that the active curve is above at its first point counts with the labels of
    that point, of which the control arm has as many or more, so that too few are said to be saved rather than too
    many. A level that the active curve does not reach counts with the labels of its last point.
    """
    rising_R, rising_K = isotonic_regression(active_R).x, isotonic_regression(control_K).x
    levels_L = np.linspace(rising_K[0], rising_K[-1], _LEVELS + 1)[1:]
    ratio_L = _log_labels(levels_L, rising_R, labels_R) - _log_labels(levels_L, rising_K, labels_K)
    return float(1.0 - np.exp(ratio_L.mean()))


def _log_labels(levels_L: FloatArray, rising_R: FloatArray, labels_R: FloatArray) -> FloatArray:
    """Log of the labels at which a rising curve first reaches each level."""
    # Of points with equal accuracy the first counts, where interpolation would take the last.
    first_R = np.concatenate([[True], np.diff(rising_R) > 0])
    log_L: FloatArray = np.interp(levels_L, rising_R[first_R], np.log(labels_R[first_R]))
    return log_L
