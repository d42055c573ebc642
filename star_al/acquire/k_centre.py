"""k-centre greedy: always the candidate farthest from all that is known (Sener and Savarese 2018, arXiv 1708.00489)."""

from __future__ import annotations

import numpy as np

from star_al.acquire.greedy import BoolArray, first_best
from star_al.types import FloatArray

_BLOCK = 1024  # centres whose distances to all candidates are held at once


class KCentre:
    """The k-centre rule; implements ``GreedyRule``. If nothing is known or chosen yet, the best ranked is first.

    Args:
        points_M_d: Points of the candidates.
        known_L_d: Points of items that were asked before.
    """

    def __init__(self, points_M_d: FloatArray, known_L_d: FloatArray) -> None:
        self._points_M_d = points_M_d
        self._squares_M = (points_M_d**2).sum(axis=1)
        self._nearest_M = np.full(len(points_M_d), np.inf)
        for start in range(0, len(known_L_d), _BLOCK):
            self._add_centres(known_L_d[start : start + _BLOCK])

    def pick(self, allowed_M: BoolArray) -> int:
        """See ``GreedyRule.pick``."""
        return first_best(self._nearest_M, allowed_M)

    def add(self, position: int) -> None:
        """See ``GreedyRule.add``."""
        self._add_centres(self._points_M_d[position : position + 1])
        self._nearest_M[position] = 0.0  # exactly, which the difference of squares need not give

    def _add_centres(self, centres_L_d: FloatArray) -> None:
        """Update the squared distances to the nearest centre."""
        products_M_L = self._points_M_d @ centres_L_d.T
        distances_M_L = self._squares_M[:, None] + (centres_L_d**2).sum(axis=1) - 2.0 * products_M_L
        self._nearest_M = np.minimum(self._nearest_M, distances_M_L.min(axis=1).clip(0.0))
