"""Bootstrap of learning curves over seeds and test items, and the labels that one curve needs of another's.

Runs of one seed share their test items, so they are resampled together: a comparison of two of them is paired by
seed and by item. Items are resampled within their seed, and a seed that is drawn twice counts twice with the same
items. Where each seed has a test set of its own, as here, the seeds' spread already holds that of the items, so the
intervals are a little wide.

Shapes: S seeds, R points of a learning curve, N test items, B resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from star_al.stats.over_seeds import LEVEL, labels_needed
from star_al.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its bootstrap interval.

    Attributes:
        value: The figure; infinite if a target is not reached.
        low: Lower bound of the percentile interval.
        high: Upper bound; infinite if too many resamples do not reach their target.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Resampled:
    """A figure and its resamples.

    Attributes:
        value: The figure of the data as they are.
        values_B: The same figure of each resample.
    """

    value: float
    values_B: FloatArray

    @property
    def figure(self) -> Figure:
        """The figure with its percentile interval."""
        tails = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
        # This method returns one of the values. The default interpolates, which gives NaN next to an infinite one.
        low, high = np.quantile(self.values_B, tails, method="inverted_cdf")
        return Figure(self.value, float(low), float(high))


@dataclass(frozen=True)
class ResampledCurve:
    """A learning curve, averaged over seeds, and its resamples.

    Attributes:
        labels_R: Labels bought.
        mean_R: The mean of the metric.
        means_B_R: The mean of each resample.
    """

    labels_R: FloatArray
    mean_R: FloatArray
    means_B_R: FloatArray

    @property
    def area(self) -> Resampled:
        """The area under the curve divided by its span."""
        widths = np.diff(self.labels_R)
        weights_R = np.concatenate([widths, [0.0]]) / 2 + np.concatenate([[0.0], widths]) / 2
        weights_R /= widths.sum()
        return Resampled(float(self.mean_R @ weights_R), self.means_B_R @ weights_R)


def item_weights(n_items: int, n_resamples: int, random: np.random.Generator) -> FloatArray:
    """Draw resamples of the items of one seed, as the share of each item in the mean, (B, N)."""
    drawn_B_N = random.multinomial(n_items, np.full(n_items, 1.0 / n_items), size=n_resamples)
    return drawn_B_N / n_items


def seed_weights(n_seeds: int, n_resamples: int, random: np.random.Generator) -> FloatArray:
    """Draw resamples of the seeds, as the share of each seed in the mean, (B, S)."""
    return item_weights(n_seeds, n_resamples, random)


def resampled_curve(
    labels_R: Sequence[float],
    mean_S_R: FloatArray,
    means_S_B_R: FloatArray,
    weights_B_S: FloatArray,
) -> ResampledCurve:
    """Average the curves of S seeds, and those of each resample.

    Args:
        labels_R: Labels bought, the same for all seeds.
        mean_S_R: The curve of each seed.
        means_S_B_R: Its curve in each resample of its items.
        weights_B_S: Resamples of the seeds.
    """
    means_B_R = np.einsum("bs,sbr->br", weights_B_S, means_S_B_R)
    return ResampledCurve(np.asarray(labels_R, dtype=np.float64), mean_S_R.mean(axis=0), means_B_R)


def labels_ratio(own: ResampledCurve, reference: ResampledCurve, share: float) -> Resampled:
    """Labels that a curve needs for a share of what the reference gains, divided by the reference's own.

    Both curves are made monotone by isotonic regression, and every resample has its own target. A curve that is
    above the target at its first point needs that point's labels, which may be more than it would take.

    Args:
        own: The curve.
        reference: The curve to compare with, of the same seeds and resamples.
        share: Share of the reference's gain from its first point to its last.

    Returns:
        The ratio; infinite where the target is not reached.
    """
    values = [
        _ratio(own.labels_R, own_R, reference.labels_R, reference_R, share)
        for own_R, reference_R in zip(own.means_B_R, reference.means_B_R, strict=True)
    ]
    observed = _ratio(own.labels_R, own.mean_R, reference.labels_R, reference.mean_R, share)
    return Resampled(observed, np.array(values))


def gain_target(mean_R: FloatArray, share: float) -> float:
    """The metric after this share of a curve's gain, on its isotonic fit."""
    # The raw curve goes up and down: its end may be lucky, or lower than what it reached before.
    rising_R = optimize.isotonic_regression(mean_R).x
    return float(rising_R[0] + share * (rising_R[-1] - rising_R[0]))


def geometric_mean(figures: Sequence[Resampled]) -> Resampled:
    """The geometric mean of positive figures of several sets, whose resamples are independent."""
    with np.errstate(divide="ignore"):
        values_B = np.exp(np.mean([np.log(figure.values_B) for figure in figures], axis=0))
        value = float(np.exp(np.mean([np.log(figure.value) for figure in figures])))
    return Resampled(value, values_B)


def difference(left: Resampled, right: Resampled) -> Resampled:
    """The difference of two figures that share their resamples."""
    return Resampled(left.value - right.value, left.values_B - right.values_B)


def macro_f1_resampled(
    predicted_N: IntArray, targets_N: IntArray, n_labels: int, weights_B_N: FloatArray
) -> FloatArray:
    """Macro-F1 (B,) of each resample of the items, over the labels that occur as true label or as prediction.

    Args:
        predicted_N: Columns of the predicted labels.
        targets_N: Columns of the true labels.
        n_labels: The number of labels.
        weights_B_N: Resamples of the items.
    """
    of_label_N_C = np.eye(n_labels)
    true_N_C, said_N_C = of_label_N_C[targets_N], of_label_N_C[predicted_N]
    hits_B_C = weights_B_N @ (true_N_C * said_N_C)
    all_B_C = weights_B_N @ (true_N_C + said_N_C)
    f1_B_C = np.divide(2 * hits_B_C, all_B_C, out=np.zeros_like(hits_B_C), where=all_B_C > 0)
    macro_B: FloatArray = f1_B_C.sum(axis=1) / (all_B_C > 0).sum(axis=1)
    return macro_B


def holm(p_M: Sequence[float]) -> FloatArray:
    """Holm's adjusted p of M comparisons (Holm 1979), in their order."""
    sorted_p = np.sort(np.asarray(p_M, dtype=np.float64))
    order = np.argsort(np.asarray(p_M), kind="stable")
    stepped = np.maximum.accumulate((len(sorted_p) - np.arange(len(sorted_p))) * sorted_p)
    adjusted_M = np.empty(len(sorted_p))
    adjusted_M[order] = np.minimum(stepped, 1.0)
    return adjusted_M


def accuracy_resampled(correct_R_N: NDArray[np.bool_] | FloatArray, weights_B_N: FloatArray) -> FloatArray:
    """Accuracy, or the mean grade, (B, R) of each resample of the items."""
    means_B_R: FloatArray = weights_B_N @ correct_R_N.T.astype(np.float64)
    return means_B_R


def _ratio(
    labels_R: FloatArray,
    mean_R: FloatArray,
    reference_labels_R: FloatArray,
    reference_R: FloatArray,
    share: float,
) -> float:
    target = gain_target(reference_R, share)
    needed = labels_needed(labels_R, mean_R, target)
    reference_needed = labels_needed(reference_labels_R, reference_R, target)
    return np.inf if needed is None or reference_needed is None else needed / reference_needed
