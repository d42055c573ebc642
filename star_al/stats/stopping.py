"""Decide from the figures of a campaign's rounds whether it ends, with the reason in words.

Limits (budget, rounds, an empty pool) always end it. Goals (the target, stable predictions, little left to
gain) are advice, and end it only if the rules are automatic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from star_al.common.wording import count
from star_al.config.spec import StoppingSpec
from star_al.types import FloatArray


@dataclass(frozen=True, slots=True)
class StopView:
    """What the rules look at.

    Attributes:
        round_index: The round.
        labels_bought: Human labels so far.
        pool_size: Items that may still be labelled.
        accuracy: Accuracy of the adapted model; None without held-out labels.
        sequence_low: Lower end of the accuracy's confidence sequence; None without held-out labels.
        agreements: Agreement of the stop set's predictions between each round and the one before, newest last.
        rules: The stopping rules.
        curve: Labels trained on and accuracy of each round that was measured, this one last.
    """

    round_index: int
    labels_bought: int
    pool_size: int
    accuracy: float | None
    sequence_low: float | None
    agreements: tuple[float, ...]
    rules: StoppingSpec
    curve: tuple[tuple[int, float], ...] = ()


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


def expected_gain(curve: Sequence[tuple[int, float]]) -> float | None:
    """Accuracy that the next hundred labels are expected to bring, by a power law through the learning curve.

    Least squares of accuracy ≈ a − b·n^−c over the rounds with labels, b ≥ 0, 0.05 ≤ c ≤ 2 (the form of
    Cortes et al. 1993); its rise from the last n to n + 100. None with fewer than 4 different n, where three
    parameters would fit anything.
    """
    labels_R = np.array([n for n, _ in curve if n > 0], dtype=np.float64)
    accuracy_R = np.array([accuracy for n, accuracy in curve if n > 0])
    if len(np.unique(labels_R)) < 4:
        return None
    fits = [_power_law(labels_R, accuracy_R, c) for c in np.linspace(0.05, 2.0, 40)]
    _, scale, power = min(fits)
    last = labels_R[-1]
    return float(scale * (last**-power - (last + 100.0) ** -power))


def _power_law(labels_R: FloatArray, accuracy_R: FloatArray, power: float) -> tuple[float, float, float]:
    """Squared error, b and c of the best a − b·n^−c with this c; a and b are a linear regression."""
    x_R = labels_R**-power
    centred_R = x_R - x_R.mean()
    scale = max(0.0, -float(centred_R @ accuracy_R / (centred_R @ centred_R)))
    residual_R = accuracy_R - accuracy_R.mean() + scale * centred_R
    return float(residual_R @ residual_R), scale, power


def agreement(previous: Mapping[str, int], current: Mapping[str, int]) -> float | None:
    """Share of the common items whose predicted label is the same; None without common items."""
    shared = previous.keys() & current.keys()
    if not shared:
        return None
    return sum(previous[item_id] == current[item_id] for item_id in shared) / len(shared)


def _target(view: StopView) -> str | None:
    target, low = view.rules.target_accuracy, view.sequence_low
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
    least = view.rules.min_gain
    gain, before = (expected_gain(curve) for curve in (view.curve, view.curve[:-1]))
    if least is None or gain is None or before is None or max(gain, before) >= least:
        return None  # two rounds in a row must agree, as accuracy on a hundred audit items is noisy
    return (
        f"little left to gain: 100 more labels are expected to bring {100 * gain:.2f} points of accuracy, "
        f"under {100 * least:g} (a power law through {len(view.curve)} rounds)"
    )


def _limit(view: StopView) -> str | None:
    rules = view.rules
    if view.pool_size == 0:
        return "the pool is empty: no item is left to ask"
    if rules.max_labels is not None and view.labels_bought >= rules.max_labels:
        return f"label budget used: {view.labels_bought} of {rules.max_labels}"
    if rules.max_rounds is not None and view.round_index >= rules.max_rounds:
        return f"round limit reached: round {view.round_index} of {rules.max_rounds}"
    return None
