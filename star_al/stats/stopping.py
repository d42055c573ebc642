"""Decide from the figures of a campaign's rounds whether it ends, with the reason in words.

Limits (budget, rounds, an empty pool) always end it. Goals (the target, stable predictions, little left to
gain) are advice, and end it only if the rules are automatic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from star_al.common.wording import count
from star_al.config.spec import StoppingSpec
from star_al.stats.expected_gain import LEVEL, STEP, ExpectedGain, expected_gain
from star_al.stats.measured_rounds import MeasuredRounds
from star_al.types import JsonValue


@dataclass(frozen=True, slots=True)
class StopView:
    """What the rules look at.

    Attributes:
        round_index: The round.
        labels_bought: Human labels so far.
        pool_size: Items that may still be labelled.
        accuracy: Accuracy of the adapted model; None without held-out labels.
        accuracy_low: Lower end of the accuracy's one-sided confidence sequence; None without held-out labels.
        agreements: Agreement of the stop set's predictions between each round and the one before, newest last.
        rules: The stopping rules.
        curve: The rounds with labels that were measured, this one last; None if no rule looks at them.
        untrained: Accuracy of the base model or of the majority class, whichever is higher.
    """

    round_index: int
    labels_bought: int
    pool_size: int
    accuracy: float | None
    accuracy_low: float | None
    agreements: tuple[float, ...]
    rules: StoppingSpec
    curve: MeasuredRounds | None = None
    untrained: float = 0.0


@dataclass(frozen=True, slots=True)
class Decision:
    """Why to stop now, or None to go on; and advice to stop, if a goal is reached."""

    reason: str | None
    advice: str | None = None


def decide(view: StopView) -> Decision:
    """Stop for a limit, or for a goal if the rules are automatic; of several goals the first is named."""
    goal = _target(view) or _stable(view) or _gain(view)
    if view.rules.automatic and goal:
        return Decision(goal)
    return Decision(_limit(view), goal)


def agreement(
    previous: Mapping[str, JsonValue],
    current: Mapping[str, JsonValue],
    is_same: Callable[[str, JsonValue, JsonValue], bool] = lambda item_id, one, other: one == other,
) -> float | None:
    """Share of the common items whose predictions are the same; None without common items.

    Args:
        previous: Predictions by item id.
        current: Those of the next round.
        is_same: Compares two predictions for an item.
    """
    shared = previous.keys() & current.keys()
    if not shared:
        return None
    return sum(is_same(item_id, previous[item_id], current[item_id]) for item_id in shared) / len(shared)


def _target(view: StopView) -> str | None:
    target, low = view.rules.target_accuracy, view.accuracy_low
    if target is None or low is None or low < target:
        return None
    return (
        f"target accuracy {target:g} reached: measured {view.accuracy:.3f}, and at least {low:.3f} with "
        f"{view.rules.confidence:.0%} confidence over all rounds"
    )


def _stable(view: StopView) -> str | None:
    least, rounds = view.rules.stable_agreement, view.rules.stable_rounds
    latest = view.agreements[-rounds:]
    if least is None or len(latest) < rounds or min(latest) < least:
        return None
    return (
        f"predictions are stable: at least {least:g} of the stop set unchanged for {count(rounds, 'round')}"
    )


def _gain(view: StopView) -> str | None:
    """Little is left to gain in this round and in the one before, in a curve that has risen."""
    least = view.rules.min_gain
    if least is None or view.curve is None:
        return None
    newest = _judged(view.curve, least, view.untrained)
    if newest is None or _judged(view.curve.first(len(view.curve) - 1), least, view.untrained) is None:
        return None  # two rounds in a row must agree, as accuracy on a hundred audit items is noisy
    return (
        f"little left to gain: {STEP} more labels are expected to bring {100 * newest.value:.2f} points of accuracy, "
        f"and at most {100 * newest.high:.2f} with {LEVEL:.0%} confidence, under {100 * least:g} (a power law through "
        f"{len(view.curve)} rounds)"
    )


def _judged(curve: MeasuredRounds, least: float, untrained: float) -> ExpectedGain | None:
    """The expected gain, if it is certainly small; else None.

    A curve that has not begun to rise looks like one that has ended. So it must have risen by more than what counts as
    little, and lie above what is known without training.
    """
    # The same draws for the same curve, so that a campaign that goes on decides as before.
    gain = expected_gain(curve, np.random.default_rng(len(curve)))
    if gain is None or gain.high >= least or gain.rise_low <= least or gain.accuracy_low <= untrained:
        return None
    return gain


def _limit(view: StopView) -> str | None:
    rules = view.rules
    if view.pool_size == 0:
        return "the pool is empty: no item is left to ask"
    if rules.max_labels is not None and view.labels_bought >= rules.max_labels:
        return f"label budget used: {view.labels_bought} of {rules.max_labels}"
    if rules.max_rounds is not None and view.round_index >= rules.max_rounds:
        return f"round limit reached: round {view.round_index} of {rules.max_rounds}"
    return None
