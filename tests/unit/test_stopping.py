"""Each stopping rule at, below and above its limit, off if ``None``, and their precedence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from star_al.config.spec import StoppingSpec
from star_al.stats.expected_gain import ExpectedGain, expected_gain
from star_al.stats.measured_rounds import MeasuredRounds
from star_al.stats.stopping import Decision, StopView, agreement, decide


def view(rules: StoppingSpec) -> StopView:
    return StopView(
        round_index=5,
        labels_bought=100,
        pool_size=900,
        accuracy=0.8,
        accuracy_low=0.7,
        agreements=(0.5, 0.96, 0.95, 0.97),
        rules=rules,
    )


def test_without_rules_a_campaign_goes_on_until_the_pool_is_empty() -> None:
    assert decide(view(StoppingSpec())).reason is None
    assert "pool is empty" in (decide(replace(view(StoppingSpec()), pool_size=0)).reason or "")


@pytest.mark.parametrize(
    ("at_the_border", "beyond_it", "words"),
    [
        (StoppingSpec(max_labels=100), StoppingSpec(max_labels=101), "label budget used: 100 of 100"),
        (StoppingSpec(max_rounds=5), StoppingSpec(max_rounds=6), "round limit reached: round 5 of 5"),
        (
            StoppingSpec(target_accuracy=0.7),
            StoppingSpec(target_accuracy=0.701),
            "target accuracy 0.7 reached: measured 0.800, and at least 0.700 with 95% confidence over all rounds",
        ),
        (
            StoppingSpec(stable_agreement=0.95, stable_rounds=3),
            StoppingSpec(stable_agreement=0.951, stable_rounds=3),
            "predictions are stable: at least 0.95 of the stop set unchanged for 3 rounds",
        ),
    ],
)
def test_a_rule_stops_at_its_border_and_not_before(
    at_the_border: StoppingSpec, beyond_it: StoppingSpec, words: str
) -> None:
    assert decide(view(at_the_border.model_copy(update={"automatic": True}))).reason == words
    assert decide(view(beyond_it.model_copy(update={"automatic": True}))) == Decision(None)


def test_a_goal_is_advice_unless_it_is_to_be_automatic() -> None:
    rules = StoppingSpec(target_accuracy=0.7, max_rounds=6)
    decision = decide(view(rules))
    assert decision.reason is None
    assert (decision.advice or "").startswith("target accuracy 0.7 reached")
    limited = decide(view(rules.model_copy(update={"max_rounds": 5})))
    assert limited == Decision("round limit reached: round 5 of 5", decision.advice)
    assert decide(view(rules.model_copy(update={"automatic": True}))) == Decision(decision.advice)


# -- little left to gain --------------------------------------------------------------------------------


def curve_of(counts: Sequence[int], accuracy: Sequence[float], n: int = 1000) -> MeasuredRounds:
    labels_R = np.array(counts, dtype=np.float64)
    return MeasuredRounds(labels_R, np.array(accuracy), np.full(len(labels_R), float(n)))


def power_law(counts: Sequence[int], power: float, scale: float = 3.0) -> MeasuredRounds:
    return curve_of(counts, [0.9 - scale * n**-power for n in counts])


def gain_of(curve: MeasuredRounds) -> ExpectedGain:
    found = expected_gain(curve, np.random.default_rng(len(curve)))
    assert found is not None
    return found


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_gain_of_a_power_law_is_found_from_its_points(power: float) -> None:
    found = gain_of(power_law((20, 40, 60, 90, 150), power))
    assert found.value == pytest.approx(3.0 * (150**-power - 250**-power), rel=0.02)
    assert found.high > found.value


def test_the_rule_speaks_where_the_bounds_of_two_rounds_are_low_enough() -> None:
    curve = power_law(range(50, 1050, 50), 1.0, 15.0)
    highest = max(gain_of(curve).high, gain_of(curve.first(len(curve) - 1)).high)
    above, below = StoppingSpec(min_gain=highest + 1e-6), StoppingSpec(min_gain=highest - 1e-6)
    advice = decide(replace(view(above), curve=curve)).advice
    assert advice == (
        f"little left to gain: 100 more labels are expected to bring {100 * gain_of(curve).value:.2f} points of "
        f"accuracy, and at most {100 * gain_of(curve).high:.2f} with 90% confidence, under "
        f"{100 * (highest + 1e-6):g} (a power law through 20 rounds)"
    )
    assert decide(replace(view(below), curve=curve)).advice is None


def test_it_needs_a_rise_and_an_accuracy_above_what_needs_no_training() -> None:
    curve, rules = power_law(range(50, 1050, 50), 1.0, 15.0), StoppingSpec(min_gain=0.02)
    assert decide(replace(view(rules), curve=curve, untrained=0.8)).advice
    assert decide(replace(view(rules), curve=curve, untrained=0.9)).advice is None
    flat = curve_of(range(50, 1050, 50), [0.9] * 20)
    assert gain_of(flat).high < 0.02
    assert decide(replace(view(rules), curve=flat)).advice is None


def test_a_curve_that_falls_promises_nothing_and_a_short_one_is_not_judged() -> None:
    assert gain_of(curve_of((20, 40, 60, 80), (0.8, 0.7, 0.6, 0.5))).value == 0.0
    assert expected_gain(curve_of((20, 40, 60), (0.5, 0.6, 0.65)), np.random.default_rng(0)) is None


def simulated(kind: str, seed: int) -> MeasuredRounds:
    """A campaign of 16 rounds of 25 labels, with 100 audit items, luck and noise."""
    random = np.random.default_rng(seed)
    labels_R = np.arange(25, 425, 25).astype(np.float64)
    skill_R = {
        "slow from the majority": 0.5 + 0.35 / (1 + np.exp(-(labels_R - 300) / 40)),
        "slow above the majority": 0.6 + 0.3 / (1 + np.exp(-(labels_R - 300) / 40)),
        "soon saturated": 0.93 - 9.0 * (labels_R + 5) ** -1.2,
    }[kind]
    steps_R = np.diff(1 / labels_R[::-1], prepend=0.0)
    luck_R = np.cumsum(random.normal(size=16) * np.sqrt(0.25 * steps_R))[::-1] * np.sqrt(
        skill_R * (1 - skill_R)
    )
    skill_R = skill_R + luck_R + 0.01 * random.normal(size=16)
    right_R_N = random.uniform(size=100) + 0.05 * random.normal(size=(16, 100)) < skill_R[:, None]
    return MeasuredRounds(labels_R, right_R_N.mean(axis=1), np.full(16, 100.0), right_R_N.astype(np.float64))


def stops(kind: str, seed: int, rounds: range) -> bool:
    """True if the rule advises to stop after one of these rounds."""
    curve, rules = simulated(kind, seed), StoppingSpec(min_gain=0.02)
    return any(
        decide(replace(view(rules), curve=curve.first(t), untrained=0.5)).advice is not None for t in rounds
    )


@pytest.mark.parametrize("kind", ["slow from the majority", "slow above the majority"])
def test_a_slow_start_is_taken_for_the_end_in_at_most_one_of_ten_campaigns(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("star_al.stats.expected_gain.RESAMPLES", 100)
    assert sum(stops(kind, seed, range(5, 12)) for seed in range(40)) <= 4  # it rises from round 11 on


def test_a_saturated_curve_is_told_in_most_campaigns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("star_al.stats.expected_gain.RESAMPLES", 100)
    assert sum(stops("soon saturated", seed, range(12, 17, 2)) for seed in range(20)) >= 12


def test_stability_looks_at_the_latest_rounds_alone_and_at_all_of_them() -> None:
    assert (
        decide(view(StoppingSpec(stable_agreement=0.95, stable_rounds=4))).advice is None
    )  # 0.5 is the fourth
    short = replace(view(StoppingSpec(stable_agreement=0.9, stable_rounds=3)), agreements=(0.99, 0.99))
    assert decide(short).advice is None  # two rounds are not three


def test_a_target_without_held_out_labels_never_stops() -> None:
    blind = replace(view(StoppingSpec(target_accuracy=0.0)), accuracy=None, accuracy_low=None)
    assert decide(blind) == Decision(None)


def test_a_goal_that_is_met_is_named_before_a_limit() -> None:
    rules = StoppingSpec(
        automatic=True, max_rounds=1, max_labels=1, target_accuracy=0.5, stable_agreement=0.9
    )
    assert "target" in (decide(view(rules)).reason or "")
    assert "stable" in (decide(view(rules.model_copy(update={"target_accuracy": 0.99}))).reason or "")
    only_limits = rules.model_copy(update={"target_accuracy": None, "stable_agreement": None})
    assert "budget" in (decide(view(only_limits)).reason or "")


def test_stability_over_no_rounds_is_refused() -> None:
    with pytest.raises(ValueError, match="stable_rounds"):
        StoppingSpec(stable_rounds=0)


def test_agreement_counts_equal_labels_among_shared_items() -> None:
    assert agreement({"a": 0, "b": 1, "c": 2, "x": 0}, {"a": 0, "b": 1, "c": 0, "y": 0}) == 2 / 3
    assert agreement({"a": 0}, {"b": 0}) is None
    assert agreement({}, {}) is None
