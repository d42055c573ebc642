"""Each stopping rule at, below and above its limit, off if ``None``, and their precedence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from star_al.config.spec import StoppingSpec
from star_al.stats.stopping import Decision, StopView, agreement, decide, expected_gain

CURVE = tuple((n, 0.9 - 2.0 * n**-0.5) for n in (20, 30, 50, 75, 100))


def view(rules: StoppingSpec) -> StopView:
    return StopView(
        round_index=5,
        labels_bought=100,
        pool_size=900,
        accuracy=0.8,
        sequence_low=0.7,
        curve=CURVE,
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
        (
            StoppingSpec(min_gain=0.0799),
            StoppingSpec(min_gain=0.0797),
            "little left to gain: 100 more labels are expected to bring 5.86 points of accuracy, under 7.99 "
            "(a power law through 5 rounds)",
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


@pytest.mark.parametrize("power", [0.2, 0.5, 1.0, 2.0])
def test_the_gain_of_a_power_law_is_found_from_its_points(power: float) -> None:
    curve = [(n, 0.9 - 3.0 * n**-power) for n in (20, 40, 60, 90, 150)]
    exact = 3.0 * (150**-power - 250**-power)
    assert expected_gain(curve) == pytest.approx(exact, rel=0.02)


def test_one_round_without_gain_is_not_enough() -> None:
    rising = [(n, 0.9 - 3.0 * n**-0.5) for n in (20, 40, 60, 80, 100)]
    stalled = replace(view(StoppingSpec(min_gain=0.02)), agreements=(), curve=(*rising, (120, 0.45)))
    assert (expected_gain(stalled.curve) or 0.0) < 0.02 < (expected_gain(rising) or 0.0)
    assert decide(stalled).advice is None
    assert "little left to gain" in (
        decide(replace(stalled, curve=(*stalled.curve, (140, 0.45)))).advice or ""
    )


def test_a_curve_that_falls_promises_nothing_and_a_short_one_is_not_judged() -> None:
    assert expected_gain([(20, 0.8), (40, 0.7), (60, 0.6), (80, 0.5)]) == 0.0
    assert expected_gain([(0, 0.2), (20, 0.5), (40, 0.6), (60, 0.65)]) is None
    assert expected_gain([(20, 0.5), (40, 0.6), (60, 0.65), (60, 0.66)]) is None


def test_stability_looks_at_the_latest_rounds_alone_and_at_all_of_them() -> None:
    assert (
        decide(view(StoppingSpec(stable_agreement=0.95, stable_rounds=4))).advice is None
    )  # 0.5 is the fourth
    short = replace(view(StoppingSpec(stable_agreement=0.9, stable_rounds=3)), agreements=(0.99, 0.99))
    assert decide(short).advice is None  # two rounds are not three


def test_a_target_without_held_out_labels_never_stops() -> None:
    blind = replace(view(StoppingSpec(target_accuracy=0.0)), accuracy=None, sequence_low=None, curve=())
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
