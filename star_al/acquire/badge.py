"""BADGE: k-means++ on gradient embeddings (Ash et al. 2020, arXiv 1906.03671).

The gradient embedding of an item is g = (p − onehot(argmax p)) ⊗ h: the gradient of the loss in the last
layer if the predicted label were right. Its C·d numbers are never formed, because
g_i·g_j = (a_i·a_j)(h_i·h_j).
"""

from __future__ import annotations

import numpy as np

from star_al.acquire.greedy import BoolArray, first_best
from star_al.types import Float32Array, FloatArray

SAME = 1e-12
"""Squared distances below this share of the squared lengths are rounding."""


class Badge:
    """The BADGE rule; implements ``GreedyRule``.

    The first candidate is the one with the longest gradient, as in the authors' code. Each further one is
    drawn with probability ∝ its squared distance to the nearest chosen candidate; if all distances are 0, the
    best ranked is next.

    Args:
        probs_M_C: Predictive means of the candidates.
        embeddings_M_d: Their last hidden states h.
        rng: Source of the draws.

    Raises:
        ValueError: The arrays have different lengths, or hold NaN or infinity.
    """

    def __init__(self, probs_M_C: FloatArray, embeddings_M_d: Float32Array, rng: np.random.Generator) -> None:
        if len(probs_M_C) != len(embeddings_M_d):
            raise ValueError(f"{len(probs_M_C)} predictions, {len(embeddings_M_d)} embeddings")
        if not (np.isfinite(probs_M_C).all() and np.isfinite(embeddings_M_d).all()):
            raise ValueError("predictions or embeddings are not finite")
        self._errors_M_C = probs_M_C.copy()  # a = p − onehot(argmax p)
        self._errors_M_C[np.arange(len(probs_M_C)), probs_M_C.argmax(axis=1)] -= 1.0
        self._hidden_M_d = embeddings_M_d.astype(np.float64)
        self._squares_M = (self._errors_M_C**2).sum(axis=1) * (self._hidden_M_d**2).sum(axis=1)
        self._nearest_M: FloatArray | None = None
        self._rng = rng

    def pick(self, allowed_M: BoolArray) -> int:
        """See ``GreedyRule.pick``."""
        if self._nearest_M is None:
            return first_best(self._squares_M, allowed_M)
        mass_M = np.where(allowed_M, self._nearest_M, 0.0).cumsum()
        point = self._rng.random() * mass_M[-1]
        if not mass_M[-1] > 0:
            return int(allowed_M.argmax())
        last = int(np.searchsorted(mass_M, mass_M[-1]))  # rounding may put the point at the very end
        return min(int(np.searchsorted(mass_M, point, side="right")), last)

    def add(self, position: int) -> None:
        """See ``GreedyRule.add``."""
        errors_M = self._errors_M_C @ self._errors_M_C[position]
        hidden_M = self._hidden_M_d @ self._hidden_M_d[position]
        lengths_M = self._squares_M + self._squares_M[position]
        distances_M = lengths_M - 2.0 * errors_M * hidden_M
        # The difference of nearly equal numbers: rounding must not leave equal items a distance,
        # or they would be drawn.
        distances_M[distances_M <= SAME * lengths_M] = 0.0
        distances_M[position] = 0.0
        nearest_M = distances_M if self._nearest_M is None else np.minimum(self._nearest_M, distances_M)
        self._nearest_M = nearest_M
