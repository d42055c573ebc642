"""The active curve against the control arm of the same campaign, at equal label counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

from star_al.report.record import Measured
from star_al.stats.over_seeds import labels_needed
from star_al.types import Evaluation


@dataclass(frozen=True)
class Compared:
    """The control arm's model of one round, and the active curve at as many labels, straight between rounds.

    ``active`` is null below the first label count of the active curve.
    """

    labels: int
    control: Evaluation
    active: float | None


@dataclass(frozen=True)
class Saved:
    """What the control arm's rising (isotonic) fit ends at, the random labels that took, and the active ones.

    ``active`` is by the active curve's own rising fit, straight between rounds; null where it never gets there.
    """

    accuracy: float
    control: float
    active: float | None


def compare_with_control(measured: Sequence[Measured]) -> tuple[Compared, ...]:
    """A row for each round that has a shadow; the active curve is never read beyond the shadow's label count."""
    labels_R = [each.round.labels for each in measured]
    accuracy_R = [each.adapted.accuracy for each in measured]
    rows = []
    for each in measured:
        labels = each.round.shadow_labels
        if each.shadow is None or labels is None:
            continue
        inside = labels_R[0] <= labels <= labels_R[-1]
        active = float(np.interp(labels, labels_R, accuracy_R)) if inside else None
        rows.append(Compared(labels, each.shadow, active))
    return tuple(rows)


def labels_saved(measured: Sequence[Measured]) -> Saved | None:
    """Labels that both curves need to what the control reached; null without a control arm that learned."""
    rows = sorted(compare_with_control(measured), key=lambda row: row.labels)  # new rows may shorten the arm
    if len({row.labels for row in rows}) < 2:
        return None
    control_R = np.array([row.control.accuracy for row in rows])
    counts_R = np.array([row.labels for row in rows], dtype=float)
    rising_R = isotonic_regression(control_R).x  # its end is no single round's luck
    reached, taken = float(rising_R[-1]), labels_needed(counts_R, control_R, float(rising_R[-1]))
    if reached <= rising_R[0] or not taken:
        return None
    active_R = np.array([each.adapted.accuracy for each in measured])
    labels_R = np.array([each.round.labels for each in measured], dtype=float)
    return Saved(reached, taken, labels_needed(labels_R, active_R, reached))
