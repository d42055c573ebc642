"""The bins of a reliability diagram as it is drawn: few, of about equally many texts, each with an interval.

Stored evaluations have 15 bins of equal width, which the expected calibration error is defined by. With a few
hundred texts most of them hold a handful, and a line through them is a zigzag of chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from star_al.stats.metrics import wilson_interval
from star_al.types import CalibrationBin

LEAST_TEXTS = 50
"""With fewer held-out texts a diagram shows chance alone."""

TEXTS_PER_BIN = 25
LEAST_PER_BIN = 5
MOST_BINS = 10


@dataclass(frozen=True, slots=True)
class DrawnBin:
    """A range of confidences: its texts, their mean confidence, and their accuracy with a 95 % Wilson interval."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float


def drawn_bins(bins: Sequence[CalibrationBin]) -> tuple[DrawnBin, ...]:
    """Join neighbouring bins until each holds about equally many texts, at most ``MOST_BINS``."""
    total = sum(each.count for each in bins)
    target = total / min(MOST_BINS, max(1, total // TEXTS_PER_BIN))
    groups: list[list[CalibrationBin]] = [[]]
    held = 0
    for each in filter(lambda each: each.count, bins):
        # A group is closed where the next bin would take it further beyond the target than it is below.
        if held >= LEAST_PER_BIN and held + each.count - target > target - held:
            groups.append([])
            held = 0
        groups[-1].append(each)
        held += each.count
    return tuple(map(_joined, groups))


def _joined(bins: Sequence[CalibrationBin]) -> DrawnBin:
    n = sum(each.count for each in bins)
    right = round(sum(each.count * (each.accuracy or 0.0) for each in bins))
    confidence = sum(each.count * (each.confidence or 0.0) for each in bins) / n
    return DrawnBin(bins[0].low, bins[-1].high, n, confidence, right / n, *wilson_interval(right, n))
