"""When a campaign ends: a decision from the numbers of its rounds, with the reason in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StopRules:
    """The rules; one that is None is off.

    ``max_rounds`` counts trained rounds after round 0; ``max_labels`` every label bought.
    """

    max_rounds: int | None = None
    max_labels: int | None = None
    target_accuracy: float | None = None
    stable_agreement: float | None = None
    stable_rounds: int = 3

    def __post_init__(self) -> None:
        if self.stable_rounds < 1:
            raise ValueError(f"stable_rounds is {self.stable_rounds}, expected at least 1")


@dataclass(frozen=True, slots=True)
class StopView:
    """What the rules look at. ``accuracy`` and its lower limit are None without held-out labels.

    ``agreements`` are those of the stop set between a round and the one before, newest last.
    """

    round_index: int
    labels_bought: int
    pool_size: int
    accuracy: float | None
    accuracy_low: float | None
    agreements: tuple[float, ...]
    rules: StopRules


def decide(view: StopView) -> str | None:
    """Why to stop now, or None to go on. Of several reasons a goal that is met goes before a limit."""
    return _target(view) or _stable(view) or _limit(view)


def agreement(previous: Mapping[str, int], current: Mapping[str, int]) -> float | None:
    """Share of the items in both whose predicted label is the same; None when they share no item."""
    shared = previous.keys() & current.keys()
    if not shared:
        return None
    return sum(previous[item_id] == current[item_id] for item_id in shared) / len(shared)


def _target(view: StopView) -> str | None:
    target = view.rules.target_accuracy
    if target is None or view.accuracy is None or view.accuracy < target:
        return None
    low = "" if view.accuracy_low is None else f"; its 95 % interval begins at {view.accuracy_low:.3f}"
    return f"target accuracy {target:g} reached by the point estimate {view.accuracy:.3f}{low}"


def _stable(view: StopView) -> str | None:
    least, rounds = view.rules.stable_agreement, view.rules.stable_rounds
    latest = view.agreements[-rounds:]
    if least is None or len(latest) < rounds or min(latest) < least:
        return None
    return f"predictions are stable: at least {least:g} of the stop set unchanged in each of {rounds} rounds"


def _limit(view: StopView) -> str | None:
    rules = view.rules
    if view.pool_size == 0:
        return "the pool is empty: no item is left to ask"
    if rules.max_labels is not None and view.labels_bought >= rules.max_labels:
        return f"label budget used: {view.labels_bought} of {rules.max_labels}"
    if rules.max_rounds is not None and view.round_index >= rules.max_rounds:
        return f"round limit reached: round {view.round_index} of {rules.max_rounds}"
    return None
