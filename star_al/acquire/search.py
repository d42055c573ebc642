"""Texts that resemble a description, without many of a kind: maximal marginal relevance.

The next text has the highest λ · cos(x, query) − (1 − λ) · max_{j ∈ S} cos(x, x_j), S being the texts chosen so far
(Carbonell and Goldstein 1998). With several queries the nearest one counts.
"""

from __future__ import annotations

import numpy as np

from star_al.acquire.greedy import BoolArray, first_best
from star_al.acquire.kernels import Points
from star_al.types import FloatArray

RELEVANCE = 0.7
"""λ, the weight of the similarity to the query."""

_BLOCK = 1024  # known texts whose similarities to all candidates are held at once


class Search:
    """The search rule; implements ``GreedyRule``.

    Args:
        points_M_d: Unit vectors of the candidates.
        queries_Q_d: Unit vectors of at least one query.
        known_L_d: Unit vectors of items that were asked before; they count as chosen.
    """

    def __init__(self, points_M_d: Points, queries_Q_d: Points, known_L_d: Points) -> None:
        self._points_M_d = points_M_d
        self.relevance_M: FloatArray = (points_M_d @ queries_Q_d.T).max(axis=1).astype(np.float64)
        self._nearest_M = np.zeros(len(points_M_d))
        for start in range(0, len(known_L_d), _BLOCK):
            self._add_points(known_L_d[start : start + _BLOCK])

    def pick(self, allowed_M: BoolArray) -> int:
        """See ``GreedyRule.pick``."""
        return first_best(RELEVANCE * self.relevance_M - (1.0 - RELEVANCE) * self._nearest_M, allowed_M)

    def add(self, position: int) -> None:
        """See ``GreedyRule.add``."""
        self._add_points(self._points_M_d[position : position + 1])

    def _add_points(self, points_L_d: Points) -> None:
        np.maximum(self._nearest_M, (self._points_M_d @ points_L_d.T).max(axis=1), out=self._nearest_M)
