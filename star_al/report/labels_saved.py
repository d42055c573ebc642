"""Compare the active learning curve with the control arm of the same campaign at equal label counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

from star_al.report.snapshot import EvaluatedRound
from star_al.stats.over_seeds import labels_needed
from star_al.types import Evaluation


@dataclass(frozen=True)
class Compared:
    """The control arm's model of one round, and the active curve interpolated at the same label count.

    ``active`` is ``None`` below the first label count of the active curve.
    """

    labels: int
    control: Evaluation
    active: float | None


@dataclass(frozen=True)
class Saved:
    """How many labels each curve needs to reach the control arm's final accuracy.

    Attributes:
        accuracy: The end of the isotonic fit to the control arm.
        control: Random labels that the control arm needed.
        active: Labels that the active curve needs, by its own isotonic fit; ``None`` if it never gets there.
    """

    accuracy: float
    control: float
    active: float | None


def compare_with_control(evaluated: Sequence[EvaluatedRound]) -> tuple[Compared, ...]:
    """Return a row for each round with a control arm, without extrapolating the active curve."""
    labels_R = [each.round.labels for each in evaluated]
    accuracy_R = [each.main.accuracy for each in evaluated]
    rows = []
    for each in evaluated:
        labels = each.shadow_labels
        if each.shadow is None or labels is None:
            continue
        inside = labels_R[0] <= labels <= labels_R[-1]
        active = float(np.interp(labels, labels_R, accuracy_R)) if inside else None
        rows.append(Compared(labels, each.shadow, active))
    return tuple(rows)


def labels_saved(evaluated: Sequence[EvaluatedRound]) -> Saved | None:
    """Count the labels that both curves need; ``None`` if the control arm has not improved yet."""
    rows = sorted(
        compare_with_control(evaluated), key=lambda row: row.labels
    )  # rows added to the pool may shorten the arm
    if len({row.labels for row in rows}) < 2:
        return None
    control_R = np.array([row.control.accuracy for row in rows])
    counts_R = np.array([row.labels for row in rows], dtype=float)
    rising_R = isotonic_regression(control_R).x  # so that its end does not depend on a single lucky round
    reached, needed = float(rising_R[-1]), labels_needed(counts_R, control_R, float(rising_R[-1]))
    if reached <= rising_R[0] or not needed:
        return None
    active_R = np.array([each.main.accuracy for each in evaluated])
    labels_R = np.array([each.round.labels for each in evaluated], dtype=float)
    return Saved(reached, needed, labels_needed(labels_R, active_R, reached))
