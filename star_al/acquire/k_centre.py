"""k-centre greedy: always the candidate farthest from all that is known (Sener and Savarese 2018, 1708.00489)."""

from __future__ import annotations

import numpy as np

from star_al.acquire.diverse import BoolArray, first_best
from star_al.types import FloatArray

_BLOCK = 1024


class KCentre:
    """Implements ``Strategy`` on points (M, d); ``known_L_d`` are those of items that were asked before.

    Where nothing is known or chosen, the best ranked is first.
    """

    def __init__(self, points_M_d: FloatArray, known_L_d: FloatArray) -> None:
        self._points_M_d = points_M_d
        self._squares_M = (points_M_d**2).sum(axis=1)
        self._nearest_M = np.full(len(points_M_d), np.inf)
        for start in range(0, len(known_L_d), _BLOCK):
            self._move_near(known_L_d[start : start + _BLOCK])

    def pick(self, allowed_M: BoolArray) -> int:
        """See ``Strategy.pick``."""
        return first_best(self._nearest_M, allowed_M)

    def add(self, position: int) -> None:
        """See ``Strategy.add``."""
        self._move_near(self._points_M_d[position : position + 1])
        self._nearest_M[position] = 0.0

    def _move_near(self, centres_L_d: FloatArray) -> None:
        """Squared distances to the nearest centre, with these ones, too."""
        products_M_L = self._points_M_d @ centres_L_d.T
        distances_M_L = self._squares_M[:, None] + (centres_L_d**2).sum(axis=1) - 2.0 * products_M_L
        self._nearest_M = np.minimum(self._nearest_M, distances_M_L.min(axis=1).clip(0.0))
