"""Statistics over seeds and test items, on curves that were made up so that the answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from star_al.stats import metrics
from star_al.stats.over_items import (
    Resampled,
    ResampledCurve,
    accuracy_resampled,
    difference,
    gain_target,
    geometric_mean,
    holm,
    item_weights,
    labels_ratio,
    macro_f1_resampled,
    resampled_curve,
    seed_weights,
)

LABELS = (100.0, 200.0, 300.0, 400.0)


def curve(*values: float, labels: tuple[float, ...] = LABELS, resamples: int = 3) -> ResampledCurve:
    """A curve whose resamples are all the same."""
    return ResampledCurve(np.array(labels), np.array(values), np.tile(values, (resamples, 1)))


def test_a_curve_that_is_twice_as_fast_needs_half_of_the_labels() -> None:
    reference = curve(0.0, 1.0 / 3, 2.0 / 3, 1.0)
    fast = curve(0.0, 1.0 / 3, 2.0 / 3, 1.0, labels=(50.0, 100.0, 150.0, 200.0))
    assert labels_ratio(fast, reference, 0.95).value == pytest.approx(0.5)


def test_the_target_is_a_share_of_what_the_reference_gains_from_its_own_start() -> None:
    reference, own = curve(0.2, 0.4, 0.6, 0.8), curve(0.5, 0.5, 0.65, 0.9)
    assert gain_target(reference.mean_R, 0.5) == pytest.approx(0.5)
    assert labels_ratio(own, reference, 0.5).value == pytest.approx(100 / 250)


def test_a_target_that_is_not_reached_is_infinite_and_stays_in_the_interval() -> None:
    own = ResampledCurve(
        np.array(LABELS),
        np.array([0.0, 0.1, 0.2, 0.3]),
        np.array([[0.0, 0.1, 0.2, 0.3], [0.0, 0.5, 1.0, 1.0]]),
    )
    reference = curve(0.0, 1.0 / 3, 2.0 / 3, 1.0, resamples=2)
    found = labels_ratio(own, reference, 0.95)
    assert found.value == np.inf
    assert found.figure.high == np.inf
    assert found.figure.low < 1
    assert geometric_mean([found, Resampled(0.5, np.array([0.5, 0.5]))]).value == np.inf


def test_a_lucky_point_does_not_count_as_labels_saved() -> None:
    reference = curve(0.0, 0.3, 0.6, 0.9)
    lucky = curve(0.0, 0.9, 0.3, 0.9)
    assert labels_ratio(lucky, reference, 0.95).value > 300 / 385


def test_the_area_is_the_mean_height_of_the_curve() -> None:
    measured = curve(0.2, 0.5, 0.4, 0.8)
    assert measured.area.value == pytest.approx(metrics.aulc([100, 200, 300, 400], [0.2, 0.5, 0.4, 0.8]))


def test_sets_are_pooled_by_the_geometric_mean() -> None:
    pooled = geometric_mean([Resampled(0.25, np.array([0.25, 0.5])), Resampled(1.0, np.array([1.0, 0.5]))])
    assert pooled.value == pytest.approx(0.5)
    assert pooled.values_B == pytest.approx([0.5, 0.5])


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    n_seeds, n_items, truth, covered = 12, 80, 0.7, 0
    for _ in range(200):
        weights = [item_weights(n_items, 200, random) for _ in range(n_seeds)]
        correct = [random.random((2, n_items)) < truth for _ in range(n_seeds)]
        found = resampled_curve(
            [1.0, 2.0],
            np.array([each.mean(axis=1) for each in correct]),
            np.array([accuracy_resampled(c, w) for c, w in zip(correct, weights, strict=True)]),
            seed_weights(n_seeds, 200, random),
        ).area.figure
        covered += found.low <= truth <= found.high
    assert covered >= 185  # somewhat wide, as the module says


def test_differences_are_paired_by_seed_and_item() -> None:
    random = np.random.default_rng(1)
    weights = [item_weights(50, 100, random) for _ in range(4)]
    over_seeds = seed_weights(4, 100, random)
    correct = [random.random((2, 50)) < 0.6 for _ in range(4)]

    def area(worse_by: float) -> Resampled:
        return resampled_curve(
            [1.0, 2.0],
            np.array([each.mean(axis=1) - worse_by for each in correct]),
            np.array([accuracy_resampled(c, w) - worse_by for c, w in zip(correct, weights, strict=True)]),
            over_seeds,
        ).area

    found = difference(area(0.0), area(0.1)).figure
    assert found.low == pytest.approx(0.1)
    assert found.high == pytest.approx(0.1)


def test_resampled_macro_f1_agrees_with_scikit_learn() -> None:
    random = np.random.default_rng(2)
    targets, predicted = random.integers(4, size=60), random.integers(5, size=60)
    weights = item_weights(60, 20, random)
    found = macro_f1_resampled(predicted, targets, 6, weights)
    for weights_N, value in zip(weights, found, strict=True):
        items = np.repeat(np.arange(60), np.rint(weights_N * 60).astype(int))
        assert value == pytest.approx(metrics.macro_f1(predicted[items], targets[items]))


def test_holm_multiplies_the_smallest_p_by_the_number_of_comparisons() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert len(holm([])) == 0
