"""Facility location: chosen items represent the texts that resemble them.

    f(S) = Σ_i w_i max_{j ∈ S} k(x_i, x_j)

f is submodular, so the greedy choice reaches at least 1 − 1/e of the best value (Nemhauser et al. 1978). With
equal weights and an RBF kernel this is MaxHerding (``herding``), with uncertainties as weights it is uncertainty
herding.
"""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

from star_al.acquire.greedy import BoolArray, first_best
from star_al.acquire.kernels import Kernel, Points, clipped_cosine
from star_al.types import FloatArray

_BLOCK = 512
"""Texts whose similarities to all candidates are worked on at once."""

_ROUNDING = 16
"""Gains are equal if they differ by less than this multiple of the floating-point precision of the first ones."""


class FacilityLocation:
    """The facility location rule; implements ``GreedyRule``.

    The similarities of all M candidates are held, M² numbers in the precision of the points.

    Args:
        points_M_d: Unit vectors of the candidates.
        weights_M: Their weights w, at least 0.
        known_L_d: Unit vectors of items that were asked before. What they represent needs no other.
        kernel: The similarity k, at least 0, from cosines.

    Raises:
        ValueError: A weight is negative or not finite.
    """

    def __init__(
        self,
        points_M_d: Points,
        weights_M: FloatArray,
        known_L_d: Points,
        kernel: Kernel = clipped_cosine,
    ) -> None:
        if not (np.isfinite(weights_M).all() and (weights_M >= 0).all()):
            raise ValueError("weights must be finite and at least 0")
        n, dtype = len(points_M_d), points_M_d.dtype
        self._weights_M = weights_M.astype(dtype)
        self._cover_M = np.zeros(n, dtype)
        self._similarity_M_M = np.empty((n, n), dtype)
        self._gains_M = np.zeros(n)  # in double precision: thousands of differences add up here
        # Several threads would add up in another order, and might choose another text.
        with threadpool_limits(1):
            self._cover(known_L_d, points_M_d, kernel)
            self._compare(points_M_d, kernel)
        self._tolerance = _ROUNDING * float(np.finfo(dtype).eps) * float(self._gains_M.max(initial=0.0))

    def pick(self, allowed_M: BoolArray) -> int:
        """See ``GreedyRule.pick``."""
        return first_best(self._gains_M, allowed_M, self._tolerance)

    def add(self, position: int) -> None:
        """See ``GreedyRule.add``."""
        # Only texts that the new item represents better than all before change what others would add. They get
        # few after some choices, so this costs less than lazy evaluation (Minoux 1978).
        better_by_M = self._similarity_M_M[position] - self._cover_M
        changed = np.flatnonzero(better_by_M > 0)
        for start in range(0, len(changed), _BLOCK):
            rows = changed[start : start + _BLOCK]
            lost_B_M = self._similarity_M_M[rows] - self._cover_M[rows, None]
            np.clip(lost_B_M, 0.0, better_by_M[rows, None], out=lost_B_M)
            self._gains_M -= _weighted_sum(self._weights_M[rows], lost_B_M)
        self._cover_M[changed] = self._similarity_M_M[position, changed]

    def _cover(self, known_L_d: Points, points_M_d: Points, kernel: Kernel) -> None:
        """Set how well known items represent each candidate."""
        for start in range(0, len(known_L_d), _BLOCK):
            block_L_d = known_L_d[start : start + _BLOCK].astype(points_M_d.dtype, copy=False)
            np.maximum(self._cover_M, kernel(block_L_d @ points_M_d.T).max(axis=0), out=self._cover_M)

    def _compare(self, points_M_d: Points, kernel: Kernel) -> None:
        """Set the similarities, and what each candidate alone would add."""
        for start in range(0, len(points_M_d), _BLOCK):
            block = slice(start, start + _BLOCK)
            rows_B_M = kernel(np.matmul(points_M_d[block], points_M_d.T, out=self._similarity_M_M[block]))
            more_B_M = np.maximum(rows_B_M - self._cover_M[block, None], 0.0)
            self._gains_M += _weighted_sum(self._weights_M[block], more_B_M)


def _weighted_sum(weights_B: Points, rows_B_M: Points) -> Points:
    """Return the weighted sum of rows, (M,), added up in one thread, unlike a matrix product."""
    total_M: Points = np.einsum("b,bm->m", weights_B, rows_B_M)
    return total_M
