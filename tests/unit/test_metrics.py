"""The metrics agree with scikit-learn, naive loops and closed forms."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import asdict
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax
from sklearn import metrics as sklearn_metrics

from star_al.stats.metrics import (
    accuracy,
    aulc,
    brier,
    confusion_matrix,
    ece,
    ece_equal_mass,
    evaluate,
    macro_f1,
    nll,
    per_class_recall,
    reliability_bins,
    wilson_interval,
)
from star_al.types import Evaluation, FloatArray, IntArray, Role

NAMES = ("w", "x", "y", "z")


def predictions(seed: int, n: int = 50, c: int = 4) -> tuple[FloatArray, IntArray]:
    rng = np.random.default_rng(seed)
    return np.asarray(log_softmax(rng.normal(scale=2, size=(n, c)), axis=1)), rng.integers(0, c, size=n)


def evaluated(log_probs: FloatArray, targets: IntArray, names: tuple[str, ...] = NAMES) -> Evaluation:
    return evaluate(
        log_probs, targets, names, model="adapted", scaling="raw", split=Role.AUDIT, temperature=1.0
    )


@pytest.mark.parametrize("seed", range(4))
def test_counts_and_scores_equal_their_naive_loops(seed: int) -> None:
    log_probs, targets = predictions(seed, n=6 if seed == 0 else 50)  # six items: labels are missing
    predicted = log_probs.argmax(axis=1)
    pairs = Counter(zip(targets.tolist(), predicted.tolist(), strict=True))
    confusion = confusion_matrix(predicted, targets, 4)
    assert confusion.tolist() == [[pairs[true, guess] for guess in range(4)] for true in range(4)]
    right = sum(pairs[c, c] for c in range(4))
    assert accuracy(predicted, targets) == pytest.approx(right / len(targets))
    occurring = {c for pair in pairs for c in pair}
    occurrences = {
        c: sum(n * (pair[0] == c) + n * (pair[1] == c) for pair, n in pairs.items()) for c in occurring
    }
    f1 = [2 * pairs[c, c] / occurrences[c] for c in occurring]
    assert macro_f1(predicted, targets) == pytest.approx(sum(f1) / len(f1))
    loss = sklearn_metrics.log_loss(targets, np.exp(log_probs), labels=range(4))
    assert nll(log_probs, targets) == pytest.approx(loss)


def test_recall_is_none_for_an_absent_label_and_macro_f1_leaves_it_out_unless_predicted() -> None:
    targets = np.array([0, 0, 1, 1])
    absent = np.array([0, 1, 1, 1])
    assert per_class_recall(absent, targets, 3) == (0.5, 1.0, None)
    assert macro_f1(absent, targets) == pytest.approx((2 / 3 + 4 / 5) / 2)
    predicted = np.array([0, 2, 1, 1])
    assert macro_f1(predicted, targets) == pytest.approx((2 / 3 + 1.0 + 0.0) / 3)


def test_brier_equals_its_naive_loop_and_spans_zero_to_two() -> None:
    log_probs, targets = predictions(1)
    naive = [
        sum((math.exp(log_probs[i, c]) - (targets[i] == c)) ** 2 for c in range(4))
        for i in range(len(targets))
    ]
    assert brier(log_probs, targets) == pytest.approx(sum(naive) / len(naive))
    certain = np.array([[0.0, -np.inf]])
    assert brier(certain, np.array([0])) == 0.0
    assert brier(certain, np.array([1])) == 2.0


def test_nll_of_a_label_given_probability_zero_is_finite() -> None:
    log_probs = np.array([[0.0, -np.inf], [math.log(0.5), math.log(0.5)]])
    assert nll(log_probs, np.array([1, 0])) == pytest.approx((12 * math.log(10) + math.log(2)) / 2)


def test_an_upper_edge_belongs_to_its_bin_and_zero_to_the_first() -> None:
    confidence = np.array([0.0, 1 / 15, 1 / 15 + 1e-9, 0.5, 14 / 15, 1.0, 1.0 + 1e-12])
    bins = reliability_bins(confidence, np.ones(7, dtype=bool))
    counts = [b.count for b in bins]
    assert counts == [2, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2]
    assert (bins[2].confidence, bins[2].accuracy) == (None, None)
    assert [bins[0].low, bins[-1].high] == [0.0, 1.0]
    assert all(left.high == right.low for left, right in pairwise(bins))


def naive_ece(confidence: list[float], correct: list[bool]) -> float:
    total = 0.0
    for b in range(15):
        inside = [i for i, p in enumerate(confidence) if b / 15 < p <= (b + 1) / 15 or (p == 0 and b == 0)]
        if inside:
            accuracy_b = sum(correct[i] for i in inside) / len(inside)
            confidence_b = sum(confidence[i] for i in inside) / len(inside)
            total += len(inside) / len(confidence) * abs(accuracy_b - confidence_b)
    return total


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_ece_equals_its_naive_loop(rows: list[tuple[float, bool]]) -> None:
    confidence, correct = [row[0] for row in rows], [row[1] for row in rows]
    bins = reliability_bins(np.array(confidence), np.array(correct))
    assert sum(b.count for b in bins) == len(rows)
    assert ece(bins) == pytest.approx(naive_ece(confidence, correct), abs=1e-12)


def test_ece_weighs_bins_by_items() -> None:
    confidence = np.array([0.9, 0.9, 0.9, 0.5])
    correct = np.array([True, True, True, False])
    assert ece(reliability_bins(confidence, correct)) == pytest.approx(0.75 * 0.1 + 0.25 * 0.5)


def test_equal_mass_bins_hold_equally_many_items() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.permutation(np.linspace(0.2, 1.0, 60) ** 3)
    correct = rng.random(60) < 0.5
    by_confidence = np.argsort(confidence).reshape(15, 4)
    naive = sum(abs(correct[b].mean() - confidence[b].mean()) * 4 / 60 for b in by_confidence)
    assert ece_equal_mass(confidence, correct) == pytest.approx(naive)


def test_equal_confidences_share_an_equal_mass_bin_so_that_order_does_not_matter() -> None:
    confidence, correct = np.full(30, 0.5), np.arange(30) < 15
    assert ece_equal_mass(confidence, correct) == 0.0  # split by position it would be 0.5
    assert ece_equal_mass(np.array([0.8]), np.array([True])) == pytest.approx(0.2)


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (0, 30), (7, 10), (30, 30), (951, 1000)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_the_ends_of_a_wilson_interval_solve_the_score_equation(successes: int, n: int, level: float) -> None:
    """At an end p of the interval, the share lies z standard errors of p away from p (Wilson 1927)."""
    low, high = wilson_interval(successes, n, level)
    share, z = successes / n, NormalDist().inv_cdf((1 + level) / 2)
    assert 0.0 <= low <= share <= high <= 1.0
    for end in {low, high} - {0.0, 1.0}:
        assert abs(share - end) == pytest.approx(z * math.sqrt(end * (1 - end) / n))


def test_wilson_interval_of_nothing_says_nothing() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_aulc_is_the_trapezoid_over_the_span() -> None:
    assert aulc([10, 20, 50], [0.5, 0.7, 0.9]) == pytest.approx((10 * 0.6 + 30 * 0.8) / 40)
    assert aulc([0, 5, 100], [0.4, 0.4, 0.4]) == pytest.approx(0.4)
    assert aulc([10], [0.5]) is None
    assert aulc([], []) is None


@pytest.mark.parametrize(("labels", "accuracies"), [([10, 5], [0.1, 0.2]), ([10, 20], [0.1])])
def test_a_curve_whose_labels_fall_or_do_not_fit_is_refused(
    labels: list[int], accuracies: list[float]
) -> None:
    with pytest.raises(ValueError, match="learning curve"):
        aulc(labels, accuracies)


def test_evaluate_puts_each_metric_in_its_field() -> None:
    log_probs, targets = predictions(3)
    predicted = log_probs.argmax(axis=1)
    confusion = confusion_matrix(predicted, targets, 4)
    confidence, correct = np.exp(log_probs.max(axis=1)), predicted == targets
    result = evaluate(
        log_probs, targets, NAMES, model="base", scaling="contextual", split=Role.TEST, temperature=1.7
    )
    assert (result.model, result.scaling, result.split, result.n) == ("base", "contextual", Role.TEST, 50)
    assert result.temperature == 1.7
    assert result.accuracy == accuracy(predicted, targets)
    assert (result.accuracy_low, result.accuracy_high) == wilson_interval(int(correct.sum()), 50)
    assert result.macro_f1 == macro_f1(predicted, targets)
    assert result.recall == dict(zip(NAMES, per_class_recall(predicted, targets, 4), strict=True))
    assert np.array_equal(result.confusion_C_C, confusion)
    assert (result.nll, result.brier) == (nll(log_probs, targets), brier(log_probs, targets))
    assert result.bins == reliability_bins(confidence, correct)
    assert result.ece == ece(result.bins)
    assert result.ece_equal_mass == ece_equal_mass(confidence, correct)


def test_an_evaluation_of_padded_options_and_absent_labels_is_plain_json_without_nan() -> None:
    log_probs = np.array([[0.0, -np.inf, -np.inf, -np.inf], [*np.log([0.5, 0.5]), -np.inf, -np.inf]])
    result = evaluated(log_probs, np.array([2, 1]))
    assert json.loads(json.dumps(asdict(result), allow_nan=False))["recall"]["w"] is None
    assert result.confusion_C_C == ((0, 0, 0, 0), (1, 0, 0, 0), (1, 0, 0, 0), (0, 0, 0, 0))  # tie: column 0


@pytest.mark.parametrize(
    ("log_probs", "targets", "message"),
    [
        (np.zeros((0, 4)), [], "no items"),
        (np.zeros((1, 3)), [0], "shape"),
        (np.zeros((2, 4)), [0], "shape"),
        (np.zeros((1, 4)), [4], "targets"),
        (np.zeros((1, 4)), [-1], "targets"),
        (np.full((1, 4), np.nan), [0], "NaN"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(log_probs: FloatArray, targets: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluated(log_probs, np.array(targets, dtype=np.int64))
