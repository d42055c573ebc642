"""The comparison with the control arm: against naive loops, and in campaigns with and without a difference."""

from __future__ import annotations

import numpy as np
import pytest

from star_al.stats import arm_comparison
from star_al.stats.arm_comparison import compare_arms, excludes_zero
from star_al.stats.measured_rounds import (
    LUCK,
    MeasuredRounds,
    RoundMeasurement,
    luck,
    measured_rounds,
    resampled_accuracies,
)
from star_al.types import FloatArray

ROUNDS, ITEMS, BATCH, SHARE = 14, 100, 25, 0.3


@pytest.fixture(autouse=True)
def few_labels_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulated learner obeys the law of luck from its first label on."""
    monkeypatch.setattr(arm_comparison, "LEAST_LABELS", 25)


def rounds_of(labels: list[int], right_R_N: FloatArray) -> MeasuredRounds:
    n_R = np.full(len(labels), float(right_R_N.shape[1]))
    return MeasuredRounds(np.array(labels, dtype=np.float64), right_R_N.mean(axis=1), n_R, right_R_N)


def arm(
    labels: list[int], saving: float, difficulty_N: FloatArray, random: np.random.Generator
) -> MeasuredRounds:
    """A learner whose training sets grow from one draw of labels, and whose trainings differ by a point."""
    labels_R = np.array(labels, dtype=np.float64)
    skill_R = 0.95 - 2.2 * (labels_R / (1 - saving)) ** -0.5
    steps_R = np.diff(1 / labels_R[::-1], prepend=0.0)
    walk_R = np.cumsum(random.normal(size=len(labels)) * np.sqrt(0.25 * steps_R))[::-1]
    skill_R += walk_R * np.sqrt(skill_R * (1 - skill_R)) + 0.01 * random.normal(size=len(labels))
    right_R_N = difficulty_N + 0.05 * random.normal(size=(len(labels), len(difficulty_N))) < skill_R[:, None]
    return rounds_of(labels, right_R_N.astype(np.float64))


def speaks(seed: int, saving: float) -> list[int]:
    """The sign of what the words say after every third round."""
    random = np.random.default_rng(seed)
    difficulty_N = random.uniform(size=ITEMS)
    all_labels = [BATCH * t for t in range(1, ROUNDS + 1)]
    few_labels = [BATCH + round(BATCH * SHARE * t) for t in range(1, ROUNDS)]
    active = arm(all_labels, saving, difficulty_N, random)
    control = arm(few_labels, 0.0, difficulty_N, random)
    said = []
    for t in range(4, ROUNDS + 1, 3):
        found = compare_arms(active.first(t), control.first(t - 1), np.random.default_rng(seed))
        assert found.mean is not None
        said.append(int(np.sign(found.mean.value)) if excludes_zero(found.mean) else 0)
        if not said[-1]:
            assert found.saved is None
    return said


def test_with_nothing_different_the_words_stay_silent_in_95_of_100_campaigns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(arm_comparison, "RESAMPLES", 200)
    assert sum(any(speaks(seed, 0.0)) for seed in range(100)) <= 5


def test_with_a_large_difference_they_speak_and_never_of_the_wrong_side(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(arm_comparison, "RESAMPLES", 200)
    said = [speaks(seed, 0.75) for seed in range(40)]
    assert sum(1 in each for each in said) >= 32
    assert not any(-1 in each for each in said)


def test_differences_are_taken_in_log_n_item_by_item() -> None:
    random = np.random.default_rng(0)
    active = rounds_of([25, 50, 100], random.integers(0, 2, (3, 60)).astype(float))
    control = rounds_of([30, 40, 80], random.integers(0, 2, (3, 60)).astype(float))
    found = compare_arms(active, control, random)
    for place, n in enumerate((30, 40, 80)):
        lower, upper = (25, 50) if n < 50 else (50, 100)
        weight = np.log(n / lower) / np.log(upper / lower)
        rows = {25: 0, 50: 1, 100: 2}
        one, other = active.accuracy_R[rows[lower]], active.accuracy_R[rows[upper]]
        expected = (1 - weight) * one + weight * other - control.accuracy_R[place]
        assert found.differences[place].value == pytest.approx(expected)
    assert found.mean is not None
    values = [each.value for each in found.differences]
    assert found.mean.value == pytest.approx(np.average(values, weights=[30, 40, 80]))


def test_resamples_are_those_of_a_loop_over_items() -> None:
    right_R_N = np.array([[1.0, 0.0, np.nan, 1.0], [1.0, 1.0, 0.0, 0.0]])
    model = MeasuredRounds(np.array([25.0, 50.0]), np.array([2 / 3, 0.5]), np.array([3.0, 4.0]), right_R_N)
    (drawn_B_R,) = resampled_accuracies([model], 50, np.random.default_rng(3))
    counts_B_N = np.random.default_rng(3).multinomial(4, [0.25] * 4, size=50)
    for drawn_R, counts_N in zip(drawn_B_R, counts_B_N, strict=True):
        for accuracy, right_N in zip(drawn_R, right_R_N, strict=True):
            picked = [right for right, n in zip(right_N, counts_N, strict=True) for _ in range(n)]
            there = [right for right in picked if not np.isnan(right)]
            assert accuracy == pytest.approx(np.mean(there) if there else 0.0)


def test_models_on_the_same_items_share_their_resamples() -> None:
    right_R_N = np.random.default_rng(0).integers(0, 2, (3, 40)).astype(float)
    one, same = (rounds_of([25, 50, 75], right_R_N) for _ in range(2))
    first, second = resampled_accuracies([one, same], 100, np.random.default_rng(1))
    assert (first == second).all() and first.std() > 0


def test_luck_has_the_covariance_of_means_of_a_growing_sample() -> None:
    accuracy_R, labels_R = np.array([0.5, 0.7, 0.9]), np.array([25.0, 50.0, 200.0])
    model = MeasuredRounds(labels_R, accuracy_R, np.full(3, 1e6))
    drawn_B_R = luck(model, 200_000, np.random.default_rng(0))
    spread_R = np.sqrt(accuracy_R * (1 - accuracy_R))
    expected_R_R = LUCK * np.outer(spread_R, spread_R) / np.maximum.outer(labels_R, labels_R)
    assert np.cov(drawn_B_R.T) == pytest.approx(expected_R_R, rel=0.03)


def test_rounds_without_labels_and_repeated_counts_are_left_out() -> None:
    known = [RoundMeasurement(n, 0.5, 2, {"a": True, "b": False}) for n in (0, 50, 25)]
    again = RoundMeasurement(50, 1.0, 2, {"a": True, "b": True})
    (found,) = measured_rounds([*known, again])
    assert found.labels_R.tolist() == [25, 50] and found.accuracy_R.tolist() == [0.5, 1.0]
    assert found.right_R_N is not None and found.right_R_N.tolist() == [[1, 0], [1, 1]]
    (unknown,) = measured_rounds([*known, RoundMeasurement(75, 0.6, 2)])
    assert unknown.right_R_N is None


def test_without_single_answers_each_round_has_items_of_its_own() -> None:
    model = MeasuredRounds(np.array([25.0, 50.0]), np.array([0.5, 0.8]), np.array([100.0, 100.0]))
    (drawn_B_R,) = resampled_accuracies([model], 20_000, np.random.default_rng(0))
    assert drawn_B_R.std(axis=0) == pytest.approx([0.05, 0.04], rel=0.03)
    assert abs(np.corrcoef(drawn_B_R.T)[0, 1]) < 0.03


def test_without_counts_in_common_nothing_is_compared() -> None:
    one = rounds_of([100, 200], np.ones((2, 10)))
    assert (
        compare_arms(one, rounds_of([10, 20], np.ones((2, 10))), np.random.default_rng(0)).differences == ()
    )
    nothing = rounds_of([], np.ones((0, 10)))
    assert compare_arms(nothing, one, np.random.default_rng(0)).mean is None


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.6])
def test_labels_saved_are_the_horizontal_distance_of_two_curves(factor: float) -> None:
    labels_R = np.geomspace(10, 2000, 200).astype(np.float64)
    labels_K = np.linspace(40, 300, 40).astype(np.float64)

    def curve(n: FloatArray) -> FloatArray:
        return 0.95 - 2.0 * n**-0.5

    found = arm_comparison._saved(labels_R, curve(labels_R / factor), labels_K, curve(labels_K))
    assert found == pytest.approx(1 - factor, abs=0.01)


def test_a_level_below_the_active_curve_counts_with_its_first_labels() -> None:
    labels_R, labels_K = np.array([50.0, 100.0]), np.array([50.0, 100.0, 200.0])
    found = arm_comparison._saved(labels_R, np.array([0.9, 0.95]), labels_K, np.array([0.5, 0.6, 0.7]))
    assert 0 < found < 1 - 50 / 200
