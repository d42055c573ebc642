"""Facility location: chosen items represent the texts that resemble them.

    f(S) = Σ_i w_i max_{j ∈ S} max(0, cos(x_i, x_j))

f is submodular, so the greedy choice reaches at least 1 − 1/e of the best value (Nemhauser et al. 1978). And
a gain only falls as S grows, so only candidates whose last known gain is in front need to be evaluated again
(Minoux 1978).
"""

from __future__ import annotations

import numpy as np

from star_al.acquire.greedy import BoolArray, first_best
from star_al.types import FloatArray

_BLOCK = 512  # candidates whose similarities to all others are held at once


class FacilityLocation:
    """The facility location rule; implements ``GreedyRule``.

    Args:
        points_M_d: Unit vectors of the candidates.
        weights_M: Their weights w, at least 0.
        known_L_d: Unit vectors of items that were asked before. What they represent needs no other.

    Raises:
        ValueError: A weight is negative or not finite.
    """

    def __init__(self, points_M_d: FloatArray, weights_M: FloatArray, known_L_d: FloatArray) -> None:
        if not (np.isfinite(weights_M).all() and (weights_M >= 0).all()):
            raise ValueError("weights must be finite and at least 0")
        self._points_M_d, self._weights_M = points_M_d, weights_M
        self._cover_M: FloatArray = np.zeros(len(points_M_d))
        for start in range(0, len(known_L_d), _BLOCK):
            near_M = self._similarity(known_L_d[start : start + _BLOCK]).max(axis=1)
            self._cover_M = np.maximum(self._cover_M, near_M)
        starts = range(0, len(points_M_d), _BLOCK)
        blocks = [self._gains(points_M_d[start : start + _BLOCK]) for start in starts]
        self._gains_M = np.concatenate([np.zeros(0), *blocks])
        self._is_fresh_M = np.ones(len(points_M_d), dtype=bool)

    def pick(self, allowed_M: BoolArray) -> int:
        """See ``GreedyRule.pick``."""
        # Lazy evaluation: a gain that was computed earlier is an upper bound, so a fresh gain in front is the
        # highest.
        while not self._is_fresh_M[best := first_best(self._gains_M, allowed_M)]:
            self._gains_M[best] = self._gains(self._points_M_d[best : best + 1])[0]
            self._is_fresh_M[best] = True
        return best

    def add(self, position: int) -> None:
        """See ``GreedyRule.add``."""
        near_M = self._similarity(self._points_M_d[position : position + 1])[:, 0]
        self._cover_M = np.maximum(self._cover_M, near_M)
        self._is_fresh_M[:] = False

    def _gains(self, points_B_d: FloatArray) -> FloatArray:
        """Return what each point would add to f, (B,)."""
        more_M_B = np.maximum(self._similarity(points_B_d) - self._cover_M[:, None], 0.0)
        gains_B: FloatArray = self._weights_M @ more_M_B
        return gains_B

    def _similarity(self, points_B_d: FloatArray) -> FloatArray:
        """Return max(0, cos) of all candidates with some points, (M, B)."""
        similarity_M_B: FloatArray = np.maximum(self._points_M_d @ points_B_d.T, 0.0)
        return similarity_M_B
