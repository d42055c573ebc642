"""Each stopping rule at, below and above its border, off when null, and their precedence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from star_al.stopping import StopRules, StopView, agreement, decide


def view(rules: StopRules) -> StopView:
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
    assert decide(view(StopRules())) is None
    assert "pool is empty" in (decide(replace(view(StopRules()), pool_size=0)) or "")


@pytest.mark.parametrize(
    ("at_the_border", "beyond_it", "words"),
    [
        (StopRules(max_labels=100), StopRules(max_labels=101), "label budget used: 100 of 100"),
        (StopRules(max_rounds=5), StopRules(max_rounds=6), "round limit reached: round 5 of 5"),
        (
            StopRules(target_accuracy=0.8),
            StopRules(target_accuracy=0.801),
            "target accuracy 0.8 reached by the point estimate 0.800; its 95 % interval begins at 0.700",
        ),
        (
            StopRules(stable_agreement=0.95, stable_rounds=3),
            StopRules(stable_agreement=0.951, stable_rounds=3),
            "predictions are stable: at least 0.95 of the stop set unchanged in each of 3 rounds",
        ),
    ],
)
def test_a_rule_stops_at_its_border_and_not_before(
    at_the_border: StopRules, beyond_it: StopRules, words: str
) -> None:
    assert decide(view(at_the_border)) == words
    assert decide(view(beyond_it)) is None


def test_stability_looks_at_the_latest_rounds_alone_and_at_all_of_them() -> None:
    assert decide(view(StopRules(stable_agreement=0.95, stable_rounds=4))) is None  # 0.5 is the fourth
    short = replace(view(StopRules(stable_agreement=0.9, stable_rounds=3)), agreements=(0.99, 0.99))
    assert decide(short) is None  # two rounds are not three


def test_a_target_without_held_out_labels_never_stops() -> None:
    assert decide(replace(view(StopRules(target_accuracy=0.0)), accuracy=None, accuracy_low=None)) is None


def test_a_goal_that_is_met_is_named_before_a_limit() -> None:
    rules = StopRules(max_rounds=1, max_labels=1, target_accuracy=0.5, stable_agreement=0.9)
    assert "target" in (decide(view(rules)) or "")
    assert "stable" in (decide(view(replace(rules, target_accuracy=0.99))) or "")
    assert "budget" in (decide(view(replace(rules, target_accuracy=None, stable_agreement=None))) or "")


def test_stability_over_no_rounds_is_refused() -> None:
    with pytest.raises(ValueError, match="stable_rounds is 0"):
        StopRules(stable_rounds=0)


def test_agreement_counts_equal_labels_among_shared_items() -> None:
    assert agreement({"a": 0, "b": 1, "c": 2, "x": 0}, {"a": 0, "b": 1, "c": 0, "y": 0}) == 2 / 3
    assert agreement({"a": 0}, {"b": 0}) is None
    assert agreement({}, {}) is None
