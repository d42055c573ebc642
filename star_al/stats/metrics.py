"""Metrics of predictions, as the literature defines them.

``log_probs_N_C``: natural logs of the predictive mean, −inf for labels that an item does not have.
``targets_N``: columns of the true labels. Every mean is over items, of which there is at least one. With
equal probabilities the lowest column is the prediction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from star_al.stats.answered import Answered
from star_al.types import CalibrationBin, Evaluation, FloatArray, IntArray, Role

# scikit-learn and SciPy are imported by the functions that use them: both are slow to import, and not every command
# that loads this module computes a metric.

BINS = 15
LOWEST_LOG_PROB = float(np.log(1e-12))
"""Floor of a log-probability in ``nll``, so that a label given probability 0 leaves the mean finite."""


def accuracy(predicted_N: IntArray, targets_N: IntArray) -> float:
    """Share of items predicted right."""
    return float((predicted_N == targets_N).mean())


def confusion_matrix(predicted_N: IntArray, targets_N: IntArray, n_labels: int) -> IntArray:
    """Count the items by true and predicted label.

    Args:
        predicted_N: Columns of the predicted labels.
        targets_N: Columns of the true labels.
        n_labels: C, the number of labels.

    Returns:
        Counts (C, C): rows are true labels, columns predicted ones.
    """
    from sklearn import metrics

    counts_C_C: IntArray = metrics.confusion_matrix(targets_N, predicted_N, labels=range(n_labels))
    return counts_C_C


def per_class_recall(predicted_N: IntArray, targets_N: IntArray, n_labels: int) -> tuple[float | None, ...]:
    """Share of each label's items that were predicted right.

    Args:
        predicted_N: Columns of the predicted labels.
        targets_N: Columns of the true labels.
        n_labels: C, the number of labels.

    Returns:
        C shares in [0, 1]; None for a label that no item has.
    """
    from sklearn import metrics

    recall_C = metrics.recall_score(
        targets_N, predicted_N, labels=range(n_labels), average=None, zero_division=np.nan
    )
    return tuple(None if np.isnan(recall) else float(recall) for recall in recall_C)


def macro_f1(predicted_N: IntArray, targets_N: IntArray) -> float:
    """Mean F1 over the labels that occur, as true label or as prediction."""
    from sklearn import metrics

    return float(metrics.f1_score(targets_N, predicted_N, average="macro", zero_division=0.0))


def nll(log_probs_N_C: FloatArray, targets_N: IntArray) -> float:
    """−mean log p̄(y) in nats; log p̄(y) counts as log 1e-12 where it is lower."""
    return float(-np.maximum(_of_targets(log_probs_N_C, targets_N), LOWEST_LOG_PROB).mean())


def brier(log_probs_N_C: FloatArray, targets_N: IntArray) -> float:
    """Mean Σ_c (p_c − 1[y = c])², from 0 to 2."""
    errors_N_C = np.exp(log_probs_N_C)
    errors_N_C[np.arange(len(targets_N)), targets_N] -= 1.0
    return float(np.square(errors_N_C).sum(axis=1).mean())


def reliability_bins(confidence_N: FloatArray, correct_N: NDArray[np.bool_]) -> tuple[CalibrationBin, ...]:
    """15 equal-width bins (low, high] of the top-1 confidence; a confidence of 0 is in the first."""
    edges = np.arange(BINS + 1) / BINS
    # Rounding can lift the exponential of a log-probability just above 1, beyond the last edge.
    bin_N = np.minimum(np.searchsorted(edges[1:], confidence_N, side="left"), BINS - 1)
    return tuple(
        _bin(float(edges[b]), float(edges[b + 1]), confidence_N[bin_N == b], correct_N[bin_N == b])
        for b in range(BINS)
    )


def ece(bins: Sequence[CalibrationBin]) -> float:
    """Expected calibration error Σ_b n_b/n · |acc_b − conf_b| (Guo et al. 2017), in [0, 1]."""
    gap = sum(
        b.count * abs(b.accuracy - b.confidence)
        for b in bins
        if b.accuracy is not None and b.confidence is not None
    )
    return gap / sum(b.count for b in bins)


def ece_equal_mass(confidence_N: FloatArray, correct_N: NDArray[np.bool_]) -> float:
    """The same over 15 bins of equally many items by confidence (Nguyen and O'Connor 2015).

    Items of equal confidence share a bin, so the order of items does not matter.
    """
    n = len(confidence_N)
    below_N = np.searchsorted(np.sort(confidence_N), confidence_N, side="left")
    gap_B = np.bincount(below_N * BINS // n, weights=correct_N - confidence_N)
    return float(np.abs(gap_B).sum() / n)


def wilson_interval(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Score interval of a proportion (Wilson 1927).

    Args:
        successes: How many of the trials succeeded.
        n: The number of trials.
        level: Confidence level of the two-sided interval, in (0, 1).

    Returns:
        Lower and upper bound, in [0, 1]; (0, 1) for n = 0.
    """
    from scipy.stats import binomtest

    # The normal approximation has no width if all or none succeed, as can happen in a small audit set.
    if n == 0:
        return 0.0, 1.0
    interval = binomtest(successes, n).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def aulc(labels_R: Sequence[int], accuracy_R: Sequence[float]) -> float | None:
    """Area under the learning curve: trapezoid of accuracy over labels ÷ span; None without a span.

    Raises:
        ValueError: label counts that fall, or not one accuracy for each.
    """
    if len(labels_R) != len(accuracy_R) or (np.diff(labels_R) < 0).any():
        raise ValueError(
            "a learning curve needs one accuracy for each label count, and counts that do not fall"
        )
    widths, heights = np.diff(labels_R), np.add(accuracy_R[1:], accuracy_R[:-1]) / 2
    return float(widths @ heights / widths.sum()) if widths.any() else None


def evaluate(
    log_probs_N_C: FloatArray,
    targets_N: IntArray,
    label_names: Sequence[str],
    *,
    model: str,
    scaling: str,
    split: Role,
    temperature: float,
) -> Evaluation:
    """All metrics of one model on one split.

    Args:
        log_probs_N_C: Predictions in nats, already scaled.
        targets_N: Columns of the true labels.
        label_names: The C labels in the order of the columns.
        model: Which model predicted; recorded.
        scaling: How its predictions were scaled; recorded.
        split: The role of the items; recorded.
        temperature: The temperature that the predictions were scaled with; recorded.

    Raises:
        ValueError: No items, shapes that do not agree, NaN, or a target that is no column.
    """
    _check(log_probs_N_C, targets_N, len(label_names))
    predicted_N = log_probs_N_C.argmax(axis=1)
    correct_N = predicted_N == targets_N
    confidence_N = np.exp(log_probs_N_C.max(axis=1))
    confusion_C_C = confusion_matrix(predicted_N, targets_N, len(label_names))
    bins = reliability_bins(confidence_N, correct_N)
    low, high = wilson_interval(int(correct_N.sum()), len(targets_N))
    return Evaluation(
        model=model,
        scaling=scaling,
        split=split,
        n=len(targets_N),
        accuracy=accuracy(predicted_N, targets_N),
        accuracy_low=low,
        accuracy_high=high,
        macro_f1=macro_f1(predicted_N, targets_N),
        recall=dict(
            zip(label_names, per_class_recall(predicted_N, targets_N, len(label_names)), strict=True)
        ),
        confusion_C_C=tuple(tuple(row) for row in confusion_C_C.tolist()),
        nll=nll(log_probs_N_C, targets_N),
        brier=brier(log_probs_N_C, targets_N),
        ece=ece(bins),
        ece_equal_mass=ece_equal_mass(confidence_N, correct_N),
        temperature=temperature,
        bins=bins,
    )


def evaluate_answers(
    log_probs_N_C: FloatArray,
    targets_N: IntArray,
    answered: Answered,
    figures: Mapping[str, float],
    *,
    model: str,
    scaling: str,
    split: Role,
    temperature: float,
) -> Evaluation:
    """All metrics of one model on one split where answers are open, so that columns differ from item to item.

    Accuracy and calibration are about answers that count as right. NLL and Brier score are about the columns: an item
    whose true answer has none counts for the column of any other answer.

    Args:
        log_probs_N_C: Predictions in nats, already scaled.
        targets_N: The column of each item's true answer.
        answered: The answers.
        figures: Further figures; recorded.
        model: Which model predicted; recorded.
        scaling: How its predictions were scaled; recorded.
        split: The role of the items; recorded.
        temperature: The temperature that the predictions were scaled with; recorded.

    Raises:
        ValueError: No items, shapes that do not agree, NaN, or a target that is no column.
    """
    _check(log_probs_N_C, targets_N, log_probs_N_C.shape[-1])
    right_N, confidence_N = answered.right_N, answered.confidence_N
    bins = reliability_bins(confidence_N, right_N)
    low, high = wilson_interval(int(right_N.sum()), len(targets_N))
    return Evaluation(
        model=model,
        scaling=scaling,
        split=split,
        n=len(targets_N),
        accuracy=float(right_N.mean()),
        accuracy_low=low,
        accuracy_high=high,
        macro_f1=None,
        recall={},
        confusion_C_C=(),
        nll=nll(log_probs_N_C, targets_N),
        brier=brier(log_probs_N_C, targets_N),
        ece=ece(bins),
        ece_equal_mass=ece_equal_mass(confidence_N, right_N),
        temperature=temperature,
        bins=bins,
        figures=figures,
    )


def _of_targets(log_probs_N_C: FloatArray, targets_N: IntArray) -> FloatArray:
    of_targets_N: FloatArray = log_probs_N_C[np.arange(len(targets_N)), targets_N]
    return of_targets_N


def _bin(low: float, high: float, confidence_M: FloatArray, correct_M: NDArray[np.bool_]) -> CalibrationBin:
    if len(confidence_M) == 0:
        return CalibrationBin(low, high, 0, None, None)
    return CalibrationBin(low, high, len(confidence_M), float(confidence_M.mean()), float(correct_M.mean()))


def _check(log_probs_N_C: FloatArray, targets_N: IntArray, n_labels: int) -> None:
    if len(targets_N) == 0:
        raise ValueError("there are no items to evaluate on")
    if log_probs_N_C.shape != (len(targets_N), n_labels):
        raise ValueError(
            f"log_probs has shape {log_probs_N_C.shape}, expected ({len(targets_N)}, {n_labels})"
        )
    if np.isnan(log_probs_N_C).any():
        raise ValueError("log_probs holds NaN")
    if targets_N.min() < 0 or targets_N.max() >= n_labels:
        raise ValueError(f"targets from {targets_N.min()} to {targets_N.max()} for {n_labels} labels")
