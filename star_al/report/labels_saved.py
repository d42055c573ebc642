"""Compare the active learning curve with the control arm of the same campaign at equal label counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from star_al.common.wording import count
from star_al.report.formatting import interval, percent, signed
from star_al.report.render import Table
from star_al.report.snapshot import CampaignSnapshot, EvaluatedRound
from star_al.rng import generator
from star_al.stats.arm_comparison import (
    LEAST_COUNTS,
    LEAST_LABELS,
    LEVEL,
    ArmComparison,
    compare_arms,
    excludes_zero,
)
from star_al.stats.measured_rounds import RoundMeasurement, measured_rounds
from star_al.stats.over_items import Figure
from star_al.types import Evaluation

HEADER = (
    "labels",
    "control arm: random texts",
    "95 % interval",
    "difference, points",
    f"{LEVEL:.0%} interval",
)


@dataclass(frozen=True)
class ControlComparison:
    """The comparison with the control arm: the result, how far it can be trusted, and the table."""

    result: str
    caution: str
    table: Table


def control_comparison(snapshot: CampaignSnapshot) -> ControlComparison | None:
    """Compare both arms; None without a measured control arm."""
    evaluated = snapshot.evaluated
    # As long as all labels are random ones, both arms have the same model.
    apart = [
        each for each in evaluated if each.shadow is not None and each.shadow_labels != each.round.labels
    ]
    shadows = {each.shadow_labels or 0: each.shadow for each in evaluated if each.shadow is not None}
    if not shadows:
        return None
    active, control = measured_rounds(
        [_measurement(snapshot, each, each.main, each.round.labels) for each in evaluated],
        [_measurement(snapshot, each, each.shadow, each.shadow_labels or 0) for each in apart if each.shadow],
    )
    found = compare_arms(active, control, generator(snapshot.campaign.seed, len(evaluated), "arms"))
    rows = tuple(_rows({labels: each for labels, each in shadows.items() if labels}, found))
    return ControlComparison(_result(found, max(shadows)), CAUTION, Table(HEADER, rows))


BAND = f"{percent(LEVEL, 0)} interval"

CAUTION = (
    f"The {BAND} allows for the sample of held-out texts, for the luck of the labels that were drawn, and for the "
    "noise of training; so wide, it holds if you look after every round. Between its own label counts the active curve "
    "is interpolated in the logarithm of the count. The control arm says nothing about larger label counts."
)


def _measurement(
    snapshot: CampaignSnapshot, of: EvaluatedRound, evaluation: Evaluation, labels: int
) -> RoundMeasurement:
    right = snapshot.right_answers.get(of.round.index, {}).get(evaluation.model)
    return RoundMeasurement(labels, evaluation.accuracy, evaluation.n, right)


def _rows(shadows: dict[int, Evaluation], found: ArmComparison) -> Iterator[tuple[str, ...]]:
    difference_at = dict(zip(found.labels_K.tolist(), found.differences, strict=True))
    for labels, each in sorted(shadows.items()):
        own = (f"{labels:,}", percent(each.accuracy), interval(each.accuracy_low, each.accuracy_high))
        difference = difference_at.get(float(labels))
        if difference is None:
            yield (*own, signed(None, 1), signed(None, 1))
        else:
            yield (*own, signed(100 * difference.value, 1), _points(difference))


def _result(found: ArmComparison, labels: int) -> str:
    if found.mean is None:
        return (
            f"The control arm has {count(labels, 'label')} so far: too few to compare. It takes {LEAST_COUNTS} rounds "
            f"in which it has at least {LEAST_LABELS} labels, and as many as the active curve had in its first."
        )
    counts = f"With {found.labels_K[0]:.0f} to {found.labels_K[-1]:.0f} labels"
    points, side = abs(100 * found.mean.value), "above" if found.mean.value >= 0 else "below"
    difference = (
        f"the active curve is {points:.1f} points {side} the control arm on average ({BAND} "
        f"{_points(found.mean)})"
    )
    if not excludes_zero(found.mean):
        return f"{counts}, {difference}. That may be chance: whether labels are saved cannot be told yet."
    if found.saved is None:
        return f"{counts}, {difference}. How many labels that saves cannot be told yet."
    more = "fewer" if found.saved.value > 0 else "more"
    low, high = sorted(abs(100 * end) for end in (found.saved.low, found.saved.high))
    return (
        f"{counts}, {difference}. For the accuracies that the control arm reached, the active curve needed "
        f"{percent(abs(found.saved.value), 0)} {more} labels ({BAND} {low:.0f} to {high:.0f}\u00a0%)."
    )


def _points(figure: Figure) -> str:
    return f"{signed(100 * figure.low, 1)} to {signed(100 * figure.high, 1)}"
