"""In-domain diversity sampling (IDDS): like what is left, unlike what is known (Tsvigun 2022, arXiv 2211.04909)."""

from __future__ import annotations

import numpy as np

from star_al.acquire.greedy import BoolArray, first_best
from star_al.types import Float32Array, FloatArray

LAMBDA = 0.667
"""Weight of the similarity to what is left, the authors' choice."""


class Idds:
    """The rule, one text at a time; implements ``GreedyRule``.

    A text counts λ times its mean similarity to the other texts that are left, less 1 − λ times that to the known
    ones. A chosen text is known from then on. Similarities are products of unit vectors, so two sums of vectors hold
    all that is needed.

    Args:
        units_M_d: Unit vectors of the candidates.
        known_L_d: Unit vectors of items that were asked before.
    """

    def __init__(self, units_M_d: FloatArray | Float32Array, known_L_d: FloatArray | Float32Array) -> None:
        self._units_M_d = units_M_d.astype(np.float64)
        self._left_M = np.ones(len(units_M_d), dtype=bool)
        self._left_d = self._units_M_d.sum(axis=0)
        self._known_d = known_L_d.astype(np.float64).sum(axis=0)
        self._n_known = len(known_L_d)

    def pick(self, allowed_M: BoolArray) -> int:
        """See ``GreedyRule.pick``."""
        others = max(1, int(self._left_M.sum()) - 1)
        to_left_M = (self._units_M_d @ self._left_d - 1.0) / others
        to_known_M = self._units_M_d @ self._known_d / max(1, self._n_known)
        return first_best(LAMBDA * to_left_M - (1.0 - LAMBDA) * to_known_M, allowed_M, tolerance=1e-12)

    def add(self, position: int) -> None:
        """See ``GreedyRule.add``."""
        unit_d = self._units_M_d[position]
        self._left_M[position] = False
        self._left_d = self._left_d - unit_d
        self._known_d = self._known_d + unit_d
        self._n_known += 1
