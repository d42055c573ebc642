"""The difference of two models' accuracies, with an interval: on the same items if their answers are known."""

from __future__ import annotations

import math
from typing import NamedTuple

Z = 1.959964
"""Of a 95 % interval."""


class Difference(NamedTuple):
    """A difference of two shares with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def may_be_chance(self) -> bool:
        """True if the interval includes zero."""
        return self.low <= 0 <= self.high


def paired_accuracy_difference(only_first: int, only_second: int, n: int) -> Difference:
    """First minus second model on the same items (Agresti and Min 2005: half a pseudo-item in each cell).

    Args:
        only_first: Items that the first model alone gets right.
        only_second: Items that the second model alone gets right.
        n: All items; at least one.
    """
    centre = (only_first - only_second) / (n + 2)
    spread = math.sqrt(only_first + only_second + 1 - (only_first - only_second) ** 2 / (n + 2)) / (n + 2)
    value = (only_first - only_second) / n
    return Difference(value, max(-1.0, centre - Z * spread), min(1.0, centre + Z * spread))


def unpaired_accuracy_difference(first: float, second: float, n: int) -> Difference:
    """First minus second accuracy on ``n`` items each, as if they were different ones (Agresti and Caffo 2000).

    With the same items it is too wide, but never too narrow unless the models err on different items on purpose.
    """
    shares = [(share * n + 1) / (n + 2) for share in (first, second)]
    spread = math.sqrt(sum(share * (1 - share) / (n + 2) for share in shares))
    centre = shares[0] - shares[1]
    return Difference(first - second, max(-1.0, centre - Z * spread), min(1.0, centre + Z * spread))
