"""BatchBALD: the batch whose answers together say most of the model (Kirsch et al. 2019, arXiv 1906.08158).

Greedily, the next item is the one that adds most to the mutual information I(y_1, …, y_b; θ):

    I(y; θ | y_1, …, y_n) = Σ_s p(s) (H[Σ_k w_sk p_k(y)] − Σ_k w_sk H[p_k(y)])

over the configurations s of the answers of the n chosen items, weighted as in ``joint``. All configurations
are gone through while they are few, as in the paper; then a fixed number is drawn, each from one posterior
sample, and goes on with every further item. Unlike the paper's estimate of the joint entropy this form has no
terms that cancel, and each configuration adds at least 0, so that a few hundred of them serve.

The information is at most log K. Where nothing is left to learn, ranking decides.
"""

from __future__ import annotations

import numpy as np
from scipy.special import entr

from star_al.acquire.diverse import BoolArray, first_best
from star_al.acquire.joint import coherent_probs, expected_entropy, reweighted
from star_al.types import FloatArray, IntArray

CONFIGURATIONS = 256
"""How many are gone through, or drawn where there are more."""

TIE = 1e-6
"""Differences of information, in nats, that say nothing."""


class BatchBald:
    """Implements ``Strategy`` for candidates with coherent samples (M, K, C)."""

    def __init__(
        self, log_probs_M_K_C: FloatArray, rng: np.random.Generator, configurations: int = CONFIGURATIONS
    ) -> None:
        self._log_probs_M_K_C = log_probs_M_K_C
        self._probs_M_K_C = coherent_probs(log_probs_M_K_C)
        self._entropy_M_K: FloatArray = entr(self._probs_M_K_C).sum(axis=-1)
        self._rng, self._limit = rng, configurations
        self._chosen: list[int] = []
        self._log_likelihoods_S_K = np.zeros((1, log_probs_M_K_C.shape[1]))  # of the empty configuration
        self._drawn_by_S: IntArray | None = None  # the sample that each was drawn from; null: all are here

    def pick(self, allowed_M: BoolArray) -> int:
        """See ``Strategy.pick``."""
        return first_best(self.gains(), allowed_M, TIE)

    def add(self, position: int) -> None:
        """See ``Strategy.add``."""
        self._chosen.append(position)
        if self._drawn_by_S is not None:
            self._draw(position)
            return
        log_probs_C_K = self._log_probs_M_K_C[position].T
        log_probs_C_K = log_probs_C_K[np.isfinite(log_probs_C_K).any(axis=1)]
        longer_S_C_K = self._log_likelihoods_S_K[:, None] + log_probs_C_K
        longer_S_K = longer_S_C_K.reshape(-1, longer_S_C_K.shape[-1])
        longer_S_K = longer_S_K[np.isfinite(longer_S_K).any(axis=1)]
        if len(longer_S_K) <= self._limit:
            self._log_likelihoods_S_K = longer_S_K
            return
        samples = longer_S_K.shape[1]
        self._drawn_by_S = np.arange(self._limit) % samples
        self._log_likelihoods_S_K = np.zeros((self._limit, samples))
        for earlier in self._chosen:
            self._draw(earlier)

    def gains(self) -> FloatArray:
        """I(y; θ | the chosen ones' answers) of each candidate in nats, (M,)."""
        log_share_S, weights_S_K = reweighted(self._log_likelihoods_S_K)
        drawn = self._drawn_by_S is not None
        share_S = np.full(len(log_share_S), 1.0 / self._limit) if drawn else np.exp(log_share_S)
        open_S = weights_S_K.max(axis=1) < 1.0  # where one sample is left nothing is to be learnt
        share_S, weights_S_K = share_S[open_S], weights_S_K[open_S]
        known_M: FloatArray = self._entropy_M_K @ (share_S @ weights_S_K)
        return np.maximum(expected_entropy(share_S, weights_S_K, self._probs_M_K_C) - known_M, 0.0)

    def _draw(self, position: int) -> None:
        """Draw each configuration's answer of one more item."""
        assert self._drawn_by_S is not None
        cumulative_S_C = self._probs_M_K_C[position][self._drawn_by_S].cumsum(axis=1)
        cumulative_S_C /= cumulative_S_C[:, -1:]
        below_S_C = cumulative_S_C <= self._rng.random((len(cumulative_S_C), 1))
        self._log_likelihoods_S_K += self._log_probs_M_K_C[position].T[below_S_C.sum(axis=1)]
