"""Information that several items share, from coherent posterior samples.

A configuration s is an answer, or a tuple of answers, that some items could get. Once it is known, the K
samples have the weights w_sk ∝ p_k(s) instead of 1/K, and the prediction for an item becomes Σ_k w_sk p_k.
"""

from __future__ import annotations

import numpy as np

from star_al.types import FloatArray

BLOCK = 1 << 20
"""Numbers held at once: 8 MiB an array."""


def expected_entropy(share_S: FloatArray, weights_S_K: FloatArray, probs_N_K_C: FloatArray) -> FloatArray:
    """Compute Σ_s share_s H[Σ_k w_sk p_k] in bounded memory.

    Args:
        share_S: Probabilities of configurations; they need not sum to one.
        weights_S_K: Weights of the samples given each configuration.
        probs_N_K_C: Predictions p.

    Returns:
        Entropies in nats, (N,).
    """
    n, samples, labels = probs_N_K_C.shape
    totals_N = np.zeros(n)
    # The mixtures (S, N, C) may exceed memory by far, so both items and configurations go in blocks.
    rows = max(1, BLOCK // (max(1, len(share_S)) * labels))
    some = max(1, BLOCK // labels)
    for start in range(0, n, rows):
        block = slice(start, start + rows)
        probs_K_X = probs_N_K_C[block].transpose(1, 0, 2).reshape(samples, -1)
        for first in range(0, len(share_S), some):
            mixed_S_X = weights_S_K[first : first + some] @ probs_K_X
            np.maximum(mixed_S_X, np.finfo(float).tiny, out=mixed_S_X)  # 0·log 0 = 0
            terms_S_X = np.log(mixed_S_X)
            terms_S_X *= mixed_S_X
            totals_N[block] -= (share_S[first : first + some] @ terms_S_X).reshape(-1, labels).sum(axis=1)
    return totals_N


def sample_weights(log_likelihoods_S_K: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Compute the samples' weights given each configuration.

    Args:
        log_likelihoods_S_K: log p_k(s). Each configuration must be possible under at least one sample.

    Returns:
        The log-probability of each configuration, log 1/K Σ_k p_k(s), (S,), and the weights w_sk, (S, K).
    """
    # Relative to the most likely sample, so that long configurations do not underflow.
    highest_S_1 = log_likelihoods_S_K.max(axis=1, keepdims=True)
    weights_S_K = np.exp(log_likelihoods_S_K - highest_S_1)
    totals_S_1 = weights_S_K.sum(axis=1, keepdims=True)
    log_probs_S = (highest_S_1 + np.log(totals_S_1 / log_likelihoods_S_K.shape[1]))[:, 0]
    return log_probs_S, weights_S_K / totals_S_1


def coherent_probs(log_probs_N_K_C: FloatArray) -> FloatArray:
    """Return probabilities (N, K, C).

    Raises:
        ValueError: There is NaN: an item lacks samples, and joint scores need the same samples of all items.
    """
    if np.isnan(log_probs_N_K_C).any():
        raise ValueError("joint scores need all samples of all items, and some are NaN")
    return np.exp(log_probs_N_K_C)
