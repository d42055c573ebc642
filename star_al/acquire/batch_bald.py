"""BatchBALD: the batch whose answers together say most about the model (Kirsch et al. 2019, arXiv 1906.08158).

Greedily, the next item is the one that adds most to the mutual information I(y_1, …, y_b; θ):

    I(y; θ | y_1, …, y_n) = Σ_s p(s) (H[Σ_k w_sk p_k(y)] − Σ_k w_sk H[p_k(y)])

over the configurations s of answers of the n chosen items, with weights as in ``joint_information``. All
configurations are enumerated while they are few, as in the paper. After that, a fixed number is drawn, each
from one posterior sample, and extended with every further item. Unlike the paper's estimate of the joint
entropy, this form has no terms that cancel, and each configuration adds at least 0, so that a few hundred of
them suffice.

The information is at most log K. When nothing is left to learn, the ranking decides.
"""

from __future__ import annotations

import numpy as np
from scipy.special import entr

from star_al.acquire.greedy import BoolArray, first_best
from star_al.acquire.joint_information import coherent_probs, expected_entropy, sample_weights
from star_al.types import FloatArray, IntArray

CONFIGURATIONS = 256
"""How many configurations are enumerated; if there are more, so many are drawn."""

TIE = 1e-6
"""Differences of information, in nats, below which candidates count as equal."""


class BatchBald:
    """The BatchBALD rule; implements ``GreedyRule``.

    Args:
        log_probs_M_K_C: Predictions of the candidates by coherent posterior samples.
        rng: Source of drawn configurations.
        configurations: See ``CONFIGURATIONS``.
    """

    def __init__(
        self, log_probs_M_K_C: FloatArray, rng: np.random.Generator, configurations: int = CONFIGURATIONS
    ) -> None:
        self._log_probs_M_K_C = log_probs_M_K_C
        self._probs_M_K_C = coherent_probs(log_probs_M_K_C)
        self._entropy_M_K: FloatArray = entr(self._probs_M_K_C).sum(axis=-1)
        self._rng, self._limit = rng, configurations
        self._chosen: list[int] = []
        self._log_likelihoods_S_K = np.zeros((1, log_probs_M_K_C.shape[1]))  # of the empty configuration
        # The sample that each configuration was drawn from; None while all are enumerated.
        self._drawn_by_S: IntArray | None = None

    def pick(self, allowed_M: BoolArray) -> int:
        """See ``GreedyRule.pick``."""
        return first_best(self.gains(), allowed_M, TIE)

    def add(self, position: int) -> None:
        """See ``GreedyRule.add``."""
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
        # Too many to enumerate: draw configurations, with answers for all items chosen so far.
        samples = longer_S_K.shape[1]
        self._drawn_by_S = np.arange(self._limit) % samples
        self._log_likelihoods_S_K = np.zeros((self._limit, samples))
        for earlier in self._chosen:
            self._draw(earlier)

    def gains(self) -> FloatArray:
        """Return I(y; θ | answers of the chosen items) of each candidate in nats, (M,)."""
        log_share_S, weights_S_K = sample_weights(self._log_likelihoods_S_K)
        drawn = self._drawn_by_S is not None
        share_S = np.full(len(log_share_S), 1.0 / self._limit) if drawn else np.exp(log_share_S)
        # If a configuration leaves one sample only, the model is known and nothing is left to learn.
        open_S = weights_S_K.max(axis=1) < 1.0
        share_S, weights_S_K = share_S[open_S], weights_S_K[open_S]
        known_M: FloatArray = self._entropy_M_K @ (share_S @ weights_S_K)
        return np.maximum(expected_entropy(share_S, weights_S_K, self._probs_M_K_C) - known_M, 0.0)

    def _draw(self, position: int) -> None:
        """Draw each configuration's answer for one more item, from the sample that the configuration belongs to."""
        assert self._drawn_by_S is not None
        cumulative_S_C = self._probs_M_K_C[position][self._drawn_by_S].cumsum(axis=1)
        cumulative_S_C /= cumulative_S_C[:, -1:]
        below_S_C = cumulative_S_C <= self._rng.random((len(cumulative_S_C), 1))
        self._log_likelihoods_S_K += self._log_probs_M_K_C[position].T[below_S_C.sum(axis=1)]
