"""The audit interval and the confidence sequence hold in simulated campaigns, even if a rule stops them."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from scipy.stats import binom

from star_al.config.spec import StoppingSpec
from star_al.stats.confidence_sequence import confidence_sequence, lower_confidence_sequence
from star_al.stats.metrics import wilson_interval
from star_al.stats.stopping import StopView, decide
from star_al.types import FloatArray, IntArray

CAMPAIGNS, ROUNDS, POPULATION = 1000, 12, 3000

# The simulated campaigns ask for few different intervals, each many times.
audit_interval, bounds_at = cache(wilson_interval), cache(confidence_sequence)
lower_bound_at = cache(lower_confidence_sequence)


def test_each_end_of_an_interval_has_half_of_what_its_look_may_spend() -> None:
    for look, spent in ((1, 0.05 / 2), (3, 0.05 / 12)):
        low, high = confidence_sequence(70, 100, look)
        assert binom.sf(69, 100, low) == pytest.approx(spent / 2)
        assert binom.cdf(70, 100, high) == pytest.approx(spent / 2)


def test_a_bound_of_one_side_has_all_of_what_its_look_may_spend() -> None:
    for look, spent in ((1, 0.05 / 2), (3, 0.05 / 12)):
        assert binom.sf(69, 100, lower_confidence_sequence(70, 100, look)) == pytest.approx(spent)
    assert lower_confidence_sequence(0, 10, 1) == lower_confidence_sequence(0, 0, 1) == 0.0
    with pytest.raises(ValueError, match="look 0"):
        lower_confidence_sequence(1, 2, 0)


def test_the_lower_bounds_hold_at_once_in_95_of_100_campaigns() -> None:
    """The hardest case: independent looks at one accuracy, whose bounds may all fail on their own."""
    random = np.random.default_rng(0)
    right_S_R = random.binomial(100, 0.8, size=(4000, ROUNDS))
    missed = sum(
        any(lower_bound_at(int(right), 100, look) > 0.8 for look, right in enumerate(right_R, 1))
        for right_R in right_S_R
    )
    assert 0.02 < missed / 4000 <= 0.05


def test_without_items_nothing_is_known_and_the_ends_are_exact() -> None:
    assert confidence_sequence(0, 0, 1) == (0.0, 1.0)
    assert confidence_sequence(0, 10, 1)[0] == 0.0
    assert confidence_sequence(10, 10, 1)[1] == 1.0
    with pytest.raises(ValueError, match="look 0"):
        confidence_sequence(1, 2, 0)
    with pytest.raises(ValueError, match="3 right answers of 2"):
        confidence_sequence(3, 2, 1)


class Campaign(NamedTuple):
    """By round: the accuracy over the population, and the right answers among the audit items so far."""

    truth_R: FloatArray
    right_R: IntArray
    n_R: IntArray


@cache
def simulated(seed: int, *, grow: int = 5) -> Campaign:
    """Simulate a learner with correlated, improving models and an audit set that grows by random items."""
    rng = np.random.default_rng(seed)
    difficulty_N = rng.uniform(size=POPULATION)
    skill_R = 0.5 + 0.35 * (1.0 - np.exp(-np.arange(ROUNDS) / rng.uniform(1.5, 4.0)))
    right_R_N = difficulty_N + 0.1 * rng.normal(size=(ROUNDS, POPULATION)) < skill_R[:, None]
    order = rng.permutation(POPULATION)
    n_R: IntArray = 100 + grow * np.arange(ROUNDS, dtype=np.int64)
    right_R = np.array([right_N[order[:n]].sum() for right_N, n in zip(right_R_N, n_R, strict=True)])
    return Campaign(right_R_N.mean(axis=1), right_R, n_R)


def sequence(campaign: Campaign) -> list[tuple[float, float]]:
    counts = zip(campaign.right_R, campaign.n_R, strict=True)
    return [bounds_at(int(right), int(n), look) for look, (right, n) in enumerate(counts, 1)]


def test_the_audit_interval_covers_the_true_accuracy_of_the_last_round() -> None:
    covered, at_every_round = 0, 0
    for seed in range(CAMPAIGNS):
        campaign = simulated(seed)
        intervals = [
            audit_interval(int(right), int(n))
            for right, n in zip(campaign.right_R, campaign.n_R, strict=True)
        ]
        covered += intervals[-1][0] <= campaign.truth_R[-1] <= intervals[-1][1]
        at_every_round += all(
            low <= truth <= high for (low, high), truth in zip(intervals, campaign.truth_R, strict=True)
        )
    assert covered / CAMPAIGNS >= 0.93
    assert at_every_round / CAMPAIGNS < 0.93, (
        "one look's interval would do for all, and a sequence is not needed"
    )


def test_the_sequence_covers_all_rounds_at_once_and_its_targets_are_kept() -> None:
    covered, stopped, wrongly, above = 0, 0, 0, 0
    rules = StoppingSpec(automatic=True, target_accuracy=0.75)
    for seed in range(CAMPAIGNS):
        campaign = simulated(seed)
        bounds = sequence(campaign)
        covered += all(
            low <= truth <= high for (low, high), truth in zip(bounds, campaign.truth_R, strict=True)
        )
        for index in range(ROUNDS):
            right, n = int(campaign.right_R[index]), int(campaign.n_R[index])
            low = lower_bound_at(right, n, index + 1)
            above += low > bounds[index][0]
            view = StopView(index, 100, 100, right / n, low, (), rules)
            if decide(view).reason:
                stopped += 1
                wrongly += campaign.truth_R[index] < 0.75
                break
    assert covered / CAMPAIGNS >= 0.95
    assert stopped > 200 and above >= stopped, "one side alone is sharper"
    assert wrongly / CAMPAIGNS <= 0.05


def test_a_rule_by_the_point_estimate_stops_too_early() -> None:
    """The reason for the sequence: stopped by the point estimate, far more campaigns miss their target."""
    wrongly = 0
    for seed in range(200):
        campaign = simulated(seed)
        reached = np.flatnonzero(campaign.right_R / campaign.n_R >= 0.8)
        wrongly += bool(len(reached)) and campaign.truth_R[reached[0]] < 0.8
    assert wrongly / 200 > 0.25


def test_the_first_looks_cost_little() -> None:
    low, high = confidence_sequence(80, 100, 1)
    wilson = wilson_interval(80, 100)
    assert (high - low) / (wilson[1] - wilson[0]) < 1.25
