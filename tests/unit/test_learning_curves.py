"""Comparing strategies: areas, savings, intervals and words agree with closed forms and simulated truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.isotonic import IsotonicRegression

from star_al.stats.comparison_words import in_words
from star_al.stats.learning_curves import Comparison, RunCurve, compare, reference_of
from star_al.stats.over_seeds import (
    Curves,
    labels_needed,
    mean_curve,
    mean_interval,
    on_common_points,
    paired_difference,
    resamples,
    savings,
)
from star_al.stats.study_runs import study_results
from star_al.types import FloatArray, Study, StudyRun
from support.world import World

COUNTS = (30, 50, 70, 90, 110)


def run(strategy: str, seed: int, accuracy: tuple[float, ...], labels: tuple[int, ...] = COUNTS) -> RunCurve:
    return RunCurve(
        strategy, seed, f"study.{strategy}.{seed}", True, labels, accuracy, accuracy[0], majority=0.3
    )


def rising(start: float, gain: float, noise: float, seed: int) -> tuple[float, ...]:
    random = np.random.default_rng(seed)
    return tuple(start + gain * step / 4 + noise * random.normal() for step in range(5))


def study(seeds: int, gains: dict[str, float]) -> Comparison:
    return compare(
        "study",
        [
            run(strategy, seed, rising(0.5, gain, 0.01, 100 * number + seed))
            for number, (strategy, gain) in enumerate(gains.items())
            for seed in range(seeds)
        ],
    )


# -- one curve ------------------------------------------------------------------------------------------


def test_the_area_of_a_run_is_the_mean_height_over_its_span() -> None:
    #  (30 → 50) mean 0.6, (50 → 90) mean 0.8: (20·0.6 + 40·0.8) / 60
    assert run("random", 0, (0.5, 0.7, 0.9), (30, 50, 90)).aulc == pytest.approx(44 / 60)
    assert run("random", 0, (0.5,), (30,)).aulc is None


def test_curves_of_other_label_counts_meet_at_all_counts_that_they_span() -> None:
    labels_R, accuracy_S_R = on_common_points([((0, 10, 20), (0.0, 1.0, 1.0)), ((5, 15), (0.5, 0.7))])
    assert labels_R.tolist() == [5, 10, 15]
    assert accuracy_S_R.tolist() == [[0.5, 1.0, 1.0], [0.5, pytest.approx(0.6), 0.7]]


def test_the_last_accuracy_at_one_label_count_holds() -> None:
    labels_R, accuracy_S_R = on_common_points([((10, 20, 20), (0.1, 0.2, 0.4))])
    assert labels_R.tolist() == [10, 20]
    assert accuracy_S_R.tolist() == [[0.1, 0.4]]


# -- labels needed --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "labels"), [(0.5, 10), (0.6, 15), (0.7, 20), (0.75, 25), (0.8, 30), (0.85, 35), (0.4, 10)]
)
def test_a_target_is_reached_between_the_points_around_it(target: float, labels: float) -> None:
    labels_R, accuracy_R = np.array([10.0, 20, 30, 40]), np.array([0.5, 0.7, 0.8, 0.9])
    assert labels_needed(labels_R, accuracy_R, target) == pytest.approx(labels)


def test_a_target_above_the_curve_is_not_reached() -> None:
    assert labels_needed(np.array([10.0, 20]), np.array([0.5, 0.7]), 0.71) is None


def test_a_dip_is_levelled_before_the_target_is_looked_for() -> None:
    labels_R, accuracy_R = np.array([0.0, 10, 20, 30]), np.array([0.4, 0.8, 0.6, 1.0])
    assert labels_needed(labels_R, accuracy_R, 0.7) == pytest.approx(10)  # the level of 10 and 20 is 0.7
    assert labels_needed(labels_R, accuracy_R, 0.85) == pytest.approx(25)


def test_a_level_is_reached_at_its_first_point() -> None:
    assert labels_needed(np.array([0.0, 10, 20, 30]), np.array([0.2, 0.6, 0.6, 0.6]), 0.6) == pytest.approx(
        10
    )


def test_labels_needed_agrees_with_a_walk_along_the_isotonic_fit() -> None:
    random = np.random.default_rng(3)
    labels_R: FloatArray = np.arange(0, 80, 10, dtype=np.float64)
    fine = np.linspace(0, 70, 70_001)
    for _ in range(30):
        accuracy_R = np.cumsum(random.normal(0.05, 0.1, 8))
        fit = IsotonicRegression().fit_transform(labels_R, accuracy_R)
        target = float(random.uniform(fit[0] - 0.1, fit[-1] + 0.1))
        reached = fine[np.interp(fine, labels_R, fit) >= target]
        found = labels_needed(labels_R, accuracy_R, target)
        assert (found is None) == (len(reached) == 0)
        if found is not None:
            assert found == pytest.approx(reached[0], abs=2e-3)


# -- savings --------------------------------------------------------------------------------------------


def curves(*rows: tuple[float, ...]) -> Curves:
    return Curves(np.array(COUNTS, dtype=float), np.array(rows))


def test_the_saving_on_constructed_curves_is_known() -> None:
    slow = (0.5, 0.6, 0.7, 0.8, 0.9)  # gains 0.4; 95 % of it is 0.88, at 106 labels
    fast = (0.5, 0.7, 0.9, 0.9, 0.9)  # 0.88 at 68
    (saving,) = savings(
        curves(fast, fast), curves(slow, slow), [0.95], resamples(2, np.random.default_rng(0))
    )
    assert (saving.target, saving.labels, saving.reference_labels) == pytest.approx((0.88, 68, 106))
    assert (saving.saving, saving.low, saving.high) == pytest.approx((1 - 68 / 106,) * 3)
    assert saving.reached == 1.0


def test_a_target_out_of_reach_gives_no_saving() -> None:
    slow, never = (0.5, 0.6, 0.7, 0.8, 0.9), (0.5, 0.5, 0.6, 0.6, 0.6)
    (saving,) = savings(
        curves(never, never), curves(slow, slow), [0.9], resamples(2, np.random.default_rng(0))
    )
    assert (saving.labels, saving.saving, saving.low, saving.high) == (None, None, None, None)
    assert saving.reference_labels == pytest.approx(102) and saving.reached == 0.0


def test_a_reference_that_learns_nothing_sets_no_target() -> None:
    flat, fast = (0.5,) * 5, (0.5, 0.7, 0.9, 0.9, 0.9)
    (saving,) = savings(curves(fast), curves(flat), [0.9], resamples(1, np.random.default_rng(0)))
    assert (saving.labels, saving.reference_labels, saving.saving) == (None, None, None)


def test_seeds_are_resampled_jointly_with_their_target() -> None:
    """Both seeds save half the labels at different targets, so every resample must find about half."""
    low, high = (0.2, 0.3, 0.4, 0.5, 0.6), (0.6, 0.7, 0.8, 0.9, 1.0)
    fast = [(a, c, e, e, e) for a, _, c, _, e in (low, high)]
    (saving,) = savings(curves(*fast), curves(low, high), [0.95], resamples(2, np.random.default_rng(0)))
    assert saving.low == pytest.approx(saving.high) == pytest.approx(saving.saving)


def test_an_interval_that_leaves_the_curves_has_an_open_end() -> None:
    slow = (0.5, 0.6, 0.7, 0.8, 0.9)
    own = curves((0.5, 0.7, 0.9, 1.0, 1.0), (0.5, 0.5, 0.6, 0.7, 0.8))
    (saving,) = savings(own, curves(slow, slow), [0.9], resamples(2, np.random.default_rng(0)))
    assert saving.low is None and saving.high is not None
    assert 0.6 < saving.reached < 0.9  # one resample in four has the bad seed alone


# -- intervals ------------------------------------------------------------------------------------------


def test_the_difference_is_the_paired_t_test_of_scipy() -> None:
    random = np.random.default_rng(1)
    left_S, right_S = random.normal(0.8, 0.1, 7), random.normal(0.7, 0.1, 7)
    found = paired_difference(left_S, right_S, resamples(7, random))
    expected = stats.ttest_rel(left_S, right_S)
    interval = expected.confidence_interval()
    assert (found.p, found.t_low, found.t_high) == pytest.approx(
        (expected.pvalue, interval.low, interval.high)
    )
    assert found.mean == pytest.approx((left_S - right_S).mean())
    assert found.low is not None and found.high is not None and found.low < found.mean < found.high


def test_pairing_removes_what_seeds_have_in_common() -> None:
    random = np.random.default_rng(2)
    seeds_S = random.normal(0.7, 0.2, 10)
    better_S = seeds_S + 0.01 + random.normal(0, 0.001, 10)
    p = paired_difference(better_S, seeds_S, resamples(10, random)).p
    assert p is not None and p < 1e-6
    assert stats.ttest_ind(better_S, seeds_S).pvalue > 0.5


def test_equal_differences_have_no_p() -> None:
    found = paired_difference(
        np.array([0.5, 0.75]), np.array([0.25, 0.5]), resamples(2, np.random.default_rng(0))
    )
    assert (found.mean, found.low, found.high, found.p) == (0.25, 0.25, 0.25, None)


def test_one_seed_has_no_interval() -> None:
    found = paired_difference(np.array([0.5]), np.array([0.25]), resamples(1, np.random.default_rng(0)))
    assert (found.mean, found.low, found.t_low, found.p, found.seeds) == (0.25, None, None, None, 1)
    assert mean_interval(np.array([0.5])).low is None
    assert mean_curve(np.array([[0.5, 0.6]]), resamples(1, np.random.default_rng(0)))[1] is None


@pytest.mark.parametrize(("n_seeds", "least_bootstrap"), [(5, 0.78), (10, 0.87), (30, 0.91)])
def test_intervals_cover_the_truth_in_simulated_studies(n_seeds: int, least_bootstrap: float) -> None:
    """The t interval holds its level for any number of seeds; the bootstrap falls short with few seeds."""
    random = np.random.default_rng(4)
    studies, truth = 600, 0.02
    by_t = by_bootstrap = 0
    for _ in range(studies):
        left_S = random.normal(truth, 0.05, n_seeds)
        found = paired_difference(left_S, np.zeros(n_seeds), resamples(n_seeds, random))
        by_t += found.t_low <= truth <= found.t_high  # type: ignore[operator]
        by_bootstrap += found.low <= truth <= found.high  # type: ignore[operator]
    assert 0.93 <= by_t / studies <= 0.97
    assert least_bootstrap <= by_bootstrap / studies <= 0.97


def test_the_band_of_a_curve_holds_its_mean_and_widens_with_the_spread() -> None:
    random = np.random.default_rng(5)
    accuracy_S_R = np.column_stack([random.normal(0.5, 0.01, 8), random.normal(0.7, 0.05, 8)])
    mean_R, low_R, high_R = mean_curve(accuracy_S_R, resamples(8, random))
    assert low_R is not None and high_R is not None
    assert (low_R < mean_R).all() and (mean_R < high_R).all()
    assert np.diff(high_R - low_R)[0] > 0


# -- a study --------------------------------------------------------------------------------------------


def test_a_better_strategy_is_distinguished_from_an_equal_one() -> None:
    found = study(10, {"random": 0.2, "entropy": 0.28, "margin": 0.2})
    assert [each.strategy for each in found.strategies] == ["random", "entropy", "margin"]
    words = in_words(found)
    assert words[0].startswith("entropy: better than random") and "fewer labels" in words[0]
    assert words[1].startswith("margin: no clear difference to random")
    assert found.headline and not found.rough and found.above_majority


def test_figures_of_a_strategy_do_not_depend_on_the_others() -> None:
    alone = study(6, {"random": 0.2, "entropy": 0.28}).strategy("entropy")
    beside = study(6, {"random": 0.2, "entropy": 0.28, "bald": 0.1}).strategy("entropy")
    assert alone == beside is not None


def test_only_seeds_of_both_are_compared() -> None:
    runs = [run("random", seed, rising(0.5, 0.2, 0.01, seed)) for seed in (0, 1, 2)]
    runs += [run("entropy", seed, rising(0.5, 0.3, 0.01, seed)) for seed in (1, 2, 3)]
    found = compare("study", runs).strategy("entropy")
    assert found is not None and found.aulc_difference is not None
    assert (found.seeds, found.paired, found.aulc_difference.seeds) == ((1, 2, 3), (1, 2), 2)
    assert found.aulc_difference.mean == pytest.approx(0.05)  # equal noise: half of the gain's difference


def test_runs_that_have_not_ended_count_for_nothing() -> None:
    open_run = RunCurve("entropy", 0, "study.entropy.0", False, COUNTS, rising(0.5, 0.3, 0.0, 0))
    found = compare("study", [run("random", 0, rising(0.5, 0.2, 0.0, 0)), open_run])
    assert [each.strategy for each in found.strategies] == ["random"]
    assert len(found.runs) == 2


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [(1, "Fewer than 5 seeds"), (4, "Fewer than 5 seeds"), (5, "needs at least 10"), (10, None)],
)
def test_words_tell_how_many_seeds_there_are(seeds: int, expected: str | None) -> None:
    words = " ".join(in_words(study(seeds, {"random": 0.2, "entropy": 0.3})))
    assert ("seeds:" in words) == (expected is not None)
    assert expected is None or expected in words


def test_words_of_a_set_without_a_reference_and_below_the_majority() -> None:
    below = tuple(0.1 + 0.01 * step for step in range(5))
    words = " ".join(in_words(compare("study", [run("entropy", 0, below)])))
    assert "No run of random has finished" in words
    assert "No model is above the majority class" in words


def test_a_study_without_runs_says_nothing() -> None:
    found = compare("study", [])
    assert (found.strategies, found.seeds, found.above_majority, in_words(found)) == ((), 0, None, [])


# -- posteriors -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "planned", "reference"),
    [
        ("entropy", "random entropy", "random"),
        ("entropy@map", "random random@map", "random@map"),
        ("entropy@map", "random entropy", "random"),
        ("entropy@map", "random@laplace random@mc_dropout", "random@mc_dropout"),
        ("entropy@map", "random@laplace entropy@mc_dropout", None),
        ("entropy", "random@laplace random@mc_dropout", "random@mc_dropout"),
        ("random", "random random@mc_dropout random@map", None),
        ("random@mc_dropout", "random random@mc_dropout", None),
        ("random@map", "random random@map", "random"),
        ("random@map", "random@mc_dropout random@map", "random@mc_dropout"),
        ("random@map", "random@laplace random@map", None),
    ],
)
def test_a_strategy_is_compared_with_random_of_its_posterior(
    strategy: str, planned: str, reference: str | None
) -> None:
    assert reference_of(strategy, {strategy, *planned.split()}, "mc_dropout") == reference


def test_differences_are_to_random_of_the_same_posterior_and_say_so() -> None:
    gains = {"random@mc_dropout": 0.2, "entropy@mc_dropout": 0.28, "random@map": 0.1, "entropy@map": 0.18}
    runs = [
        run(strategy, seed, rising(0.5, gain, 0.001, 100 * number + seed))
        for number, (strategy, gain) in enumerate(gains.items())
        for seed in range(10)
    ]
    found = compare("study", runs, "mc_dropout")
    names = [each.strategy for each in found.strategies]
    assert names == ["random@map", "random@mc_dropout", "entropy@map", "entropy@mc_dropout"]
    by_chance, own, *others = found.strategies
    for each in others:  # half of what the gains differ by
        assert each.aulc_difference is not None and each.aulc_difference.mean == pytest.approx(0.04, abs=2e-3)
    assert by_chance.aulc_difference is not None
    assert by_chance.aulc_difference.mean == pytest.approx(-0.05, abs=2e-3)
    assert own.is_reference and own.aulc_difference is None
    by_map, map_, dropout, same_texts, *cautions = in_words(found)
    assert by_map.startswith("random@map: worse than random@mc_dropout (AULC")
    assert map_.startswith("entropy@map: better than random@map") and "of random@map's gain" in map_
    assert dropout.startswith("entropy@mc_dropout: better than random@mc_dropout")
    assert same_texts == "Every random asks for the same texts; only the posterior differs."
    assert cautions == ["3 strategies are compared; p is not corrected for that."]


# -- from the store -------------------------------------------------------------------------------------


def test_a_study_is_read_from_the_campaigns_of_its_runs(tmp_path: object) -> None:
    world = World(tmp_path, labelling__overlap=2)  # type: ignore[arg-type]
    world.run()
    runs = (StudyRun("entropy", 0, world.campaign.name), StudyRun("random", 0, "not begun"))
    world.store.save_study(Study("study", {}, runs))
    stored = world.store.study("study")
    assert stored is not None
    first, second = study_results(world.store, stored).runs
    rounds = world.store.rounds(world.campaign_id)
    assert (first.finished, second.finished, second.labels_R) == (True, False, ())
    # Two people answer each of 8 audit, 6 calibration and 4 items a round.
    assert first.labels_R == tuple(28 + 8 * each.index for each in rounds)
    finals = world.store.evaluations(world.campaign_id, rounds[-1].index)
    assert first.accuracy_R[-1] == next(e.accuracy for e in finals if e.model == "adapted")
    gold = [max(sum(row) for row in e.confusion_C_C) / e.n for e in finals]
    assert first.majority == gold[0] and not math.isnan(first.seconds)
