"""Statistics of runs over several seeds: means, paired differences and labels saved, each with an interval.

Shapes: S seeds, R points of a learning curve, B bootstrap resamples of the seeds. Resamples are drawn once by
``resamples`` and passed on, so that all figures use the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from star_al.types import FloatArray, IntArray

LEVEL = 0.95
"""Level of every interval here."""

RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over seeds with its Student t interval; without an interval for a single seed."""

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean of paired differences over seeds.

    Attributes:
        mean: The mean.
        low: Lower bound of the percentile bootstrap over seeds, which is too narrow for few seeds.
        high: Upper bound of the bootstrap.
        t_low: Lower bound of the paired t interval; None for one seed.
        t_high: Upper bound of the t interval.
        p: Two-sided p of the paired t test; None for one seed, or if all differences are equal.
        seeds: The number of seeds.
    """

    mean: float
    low: float | None
    high: float | None
    t_low: float | None
    t_high: float | None
    p: float | None
    seeds: int


@dataclass(frozen=True, slots=True)
class Saving:
    """Labels saved on the way to an accuracy, compared with a reference.

    Attributes:
        share: The share of the reference's gain that is the target.
        target: start + share · (the reference's final accuracy − start).
        labels: The smallest number of labels that reaches the target; None if it is never reached.
        reference_labels: The same of the reference.
        saving: 1 − labels / reference_labels, negative if more labels are needed; None if either is None.
        low: Lower bound of the bootstrap interval of ``saving``; None for one seed. A resample that does not
            reach its target counts as worse than any number, and a bound among those is None too.
        high: Upper bound of the interval.
        reached: The share of resamples that reach their target.
    """

    share: float
    target: float
    labels: float | None
    reference_labels: float | None
    saving: float | None
    low: float | None
    high: float | None
    reached: float


def resamples(n_seeds: int, rng: np.random.Generator) -> IntArray:
    """Draw bootstrap resamples of seeds, as positions (B, S)."""
    return rng.integers(n_seeds, size=(RESAMPLES, n_seeds))


def mean_interval(values_S: FloatArray) -> Estimate:
    """The mean over seeds with its t interval."""
    mean = float(values_S.mean())
    half = _half_width(values_S)
    return Estimate(mean, None, None) if half is None else Estimate(mean, mean - half, mean + half)


def paired_difference(left_S: FloatArray, right_S: FloatArray, positions_B_S: IntArray) -> Difference:
    """The mean of left − right, paired by seed.

    Args:
        left_S: A figure of each seed.
        right_S: The same figure of what it is compared with, in the same order of seeds.
        positions_B_S: Bootstrap resamples of the seeds.
    """
    differences_S = left_S - right_S
    exact = mean_interval(differences_S)
    low, high = _percentiles(differences_S[positions_B_S].mean(axis=1)) if len(left_S) > 1 else (None, None)
    p = None  # equal differences have no variance, so t would be a division by zero
    if len(left_S) > 1 and np.ptp(differences_S) > 0:
        p = float(stats.ttest_1samp(differences_S, 0.0).pvalue)
    return Difference(exact.mean, low, high, exact.low, exact.high, p, len(left_S))


def mean_curve(
    accuracy_S_R: FloatArray, positions_B_S: IntArray
) -> tuple[FloatArray, FloatArray | None, FloatArray | None]:
    """The mean (R,) of a learning curve over seeds, and the bounds (R,) of its bootstrap interval at each point.

    The bounds are None for one seed.
    """
    mean_R = accuracy_S_R.mean(axis=0)
    if len(accuracy_S_R) < 2:
        return mean_R, None, None
    low_R, high_R = np.quantile(accuracy_S_R[positions_B_S].mean(axis=1), _TAILS, axis=0)
    return mean_R, low_R, high_R


def on_common_points(
    curves: Sequence[tuple[Sequence[int], Sequence[float]]],
) -> tuple[FloatArray, FloatArray]:
    """Interpolate the learning curves of S seeds at the same R numbers of labels.

    The points are all numbers that occur in a curve and lie within the span of every curve. If a curve has
    several accuracies at one number, its last one counts.

    Args:
        curves: Labels and accuracies of each seed.

    Returns:
        The numbers of labels (R,), and the accuracies (S, R).
    """
    last_of = [dict(zip(labels, accuracy, strict=True)) for labels, accuracy in curves]
    # Outside its own span np.interp would continue a curve as a constant, which nobody measured.
    first, last = max(min(points) for points in last_of), min(max(points) for points in last_of)
    labels_R = np.array(sorted({n for points in last_of for n in points if first <= n <= last}), dtype=float)
    rows = [np.interp(labels_R, sorted(points), [points[n] for n in sorted(points)]) for points in last_of]
    return labels_R, np.stack(rows)


def labels_needed(labels_R: FloatArray, accuracy_R: FloatArray, target: float) -> float | None:
    """Labels at which the isotonic fit of a learning curve reaches an accuracy, by linear interpolation.

    Args:
        labels_R: The numbers of labels, ascending.
        accuracy_R: The accuracies there.
        target: The accuracy to reach.

    Returns:
        The smallest number of labels, not rounded; None if the curve never reaches the target.
    """
    # The raw curve goes up and down: its first crossing would count a lucky round as labels saved.
    rising_R = optimize.isotonic_regression(accuracy_R).x
    at = int(np.searchsorted(rising_R, target - _ROUNDING))
    if at == len(rising_R):
        return None
    if at == 0:
        return float(labels_R[0])
    # A target that is above its point by less than _ROUNDING would give a part above 1.
    part = min(1.0, (target - rising_R[at - 1]) / (rising_R[at] - rising_R[at - 1]))
    return float(labels_R[at - 1] + part * (labels_R[at] - labels_R[at - 1]))


@dataclass(frozen=True)
class Curves:
    """Learning curves of S seeds at the same points."""

    labels_R: FloatArray
    accuracy_S_R: FloatArray


def savings(
    own: Curves, reference: Curves, shares: Sequence[float], positions_B_S: IntArray
) -> tuple[Saving, ...]:
    """Labels saved compared with ``reference``, at each share of the reference's gain.

    Seeds are resampled jointly, and each resample has its own targets.

    Args:
        own: Curves of the strategy.
        reference: Curves of the reference, with the same seeds in the same order.
        shares: Shares of the reference's gain.
        positions_B_S: Bootstrap resamples of the seeds.
    """
    n_seeds = len(own.accuracy_S_R)
    observed = _needs(own, reference, shares, np.arange(n_seeds))
    resampled = [_needs(own, reference, shares, positions_S) for positions_S in positions_B_S]
    found = []
    for place, share in enumerate(shares):
        target, labels, reference_labels = observed[place]
        saved_B = np.array([_saved(*needs[place][1:]) for needs in resampled])
        low, high = _percentiles(saved_B) if n_seeds > 1 else (None, None)
        saving = _saved(labels, reference_labels)
        found.append(
            Saving(
                share=share,
                target=target,
                labels=labels,
                reference_labels=reference_labels,
                saving=saving if np.isfinite(saving) else None,
                low=low,
                high=high,
                reached=float(np.isfinite(saved_B).mean()),
            )
        )
    return tuple(found)


_TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
_ROUNDING = 1e-12  # a target that is a point of the curve is reached there

_Need = tuple[float, float | None, float | None]


def _needs(own: Curves, reference: Curves, shares: Sequence[float], positions_S: IntArray) -> list[_Need]:
    """For each share: the target, and the labels that reach it."""
    own_R = own.accuracy_S_R[positions_S].mean(axis=0)
    reference_R = reference.accuracy_S_R[positions_S].mean(axis=0)
    start, gain = float(reference_R[0]), float(reference_R[-1] - reference_R[0])
    if gain <= 0:  # the reference learns nothing, so there is nothing to reach
        return [(start + share * gain, None, None) for share in shares]
    targets = [start + share * gain for share in shares]
    return [
        (
            target,
            labels_needed(own.labels_R, own_R, target),
            labels_needed(reference.labels_R, reference_R, target),
        )
        for target in targets
    ]


def _saved(labels: float | None, reference_labels: float | None) -> float:
    if labels is None or not reference_labels:
        return -np.inf  # kept, not dropped: without the resamples that fail, the interval would look too good
    return 1 - labels / reference_labels


def _half_width(values_S: FloatArray) -> float | None:
    n = len(values_S)
    if n < 2:
        return None
    return float(stats.t.ppf(_TAILS[1], n - 1) * values_S.std(ddof=1) / n**0.5)


def _percentiles(values_B: FloatArray) -> tuple[float | None, float | None]:
    """The bounds of the interval; None for a bound that falls among infinite values."""
    # This method returns one of the values. The default interpolates, which gives NaN next to an infinite one.
    low, high = np.quantile(values_B, _TAILS, method="inverted_cdf")
    return tuple(float(bound) if np.isfinite(bound) else None for bound in (low, high))  # type: ignore[return-value]
