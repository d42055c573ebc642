"""How uncertain a text's set of labels is, from all samples of the labels' probabilities.

A prediction has columns for few of the 2^L sets, and where a text is uncertain, the others have most of the
probability. So entropy and mutual information are not computed from columns but from what is known of a mixture of
products. The entropy of a product is the sum of its labels' entropies. For the mutual information of the set and the
sample there is no formula, but there are bounds.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import entr, logsumexp, rel_entr

from star_al.types import FloatArray

_CELLS = 2**21
"""Pairs of samples that are compared at once."""


def set_measures(log_probs_N_K_C: FloatArray, probs_N_K_L: FloatArray) -> Mapping[str, FloatArray]:
    """Return the measures of sets by name, (N,) each.

    Args:
        log_probs_N_K_C: Log-probabilities of the likeliest sets, without a column for the others.
        probs_N_K_L: Probabilities of the labels, none of them 0 or 1.
    """
    aleatoric_N = (entr(probs_N_K_L) + entr(1.0 - probs_N_K_L)).sum(axis=2).mean(axis=1)
    bald_N = set_information(probs_N_K_L)
    best_N_2 = np.sort(np.exp(log_probs_N_K_C).mean(axis=1), axis=1)[:, -2:]
    return {
        "entropy": aleatoric_N + bald_N,
        "margin": 1.0 - (best_N_2[:, 1] - best_N_2[:, 0]),
        "least_confidence": 1.0 - best_N_2[:, 1],
        "bald": bald_N,
    }


def set_information(probs_N_K_L: FloatArray) -> FloatArray:
    """Estimate the mutual information of a text's set and the sample (BALD), in nats, (N,).

    It is the geometric mean of Kolchinsky and Tracey's bounds, by the Bhattacharyya and the Kullback-Leibler
    distances of samples (2017, arXiv 1706.02419), each of which has a closed form for products. It is exactly 0
    where samples agree, right to the first order where they differ little, and log K where they have no set in
    common. Two more bounds hold it: it is at least the largest of the labels' own mutual informations, and at most
    their sum.

    Args:
        probs_N_K_L: Probabilities of the labels, none of them 0 or 1.
    """
    n, samples, _ = probs_N_K_L.shape
    rows = max(1, _CELLS // samples**2)
    blocks = [_information(probs_N_K_L[first : first + rows]) for first in range(0, n, rows)]
    return np.concatenate(blocks) if blocks else np.zeros(0)


def _information(probs_N_K_L: FloatArray) -> FloatArray:
    agree_N = (probs_N_K_L == probs_N_K_L[:, :1]).all(axis=(1, 2))
    far_N, near_N = _pair_bound(_kullback_leibler(probs_N_K_L)), _pair_bound(_bhattacharyya(probs_N_K_L))
    mean_N_1_L = probs_N_K_L.mean(axis=1, keepdims=True)
    given_N_K_L = rel_entr(probs_N_K_L, mean_N_1_L) + rel_entr(1.0 - probs_N_K_L, 1.0 - mean_N_1_L)
    labels_N_L = given_N_K_L.mean(axis=1)
    found_N = np.clip(np.sqrt(far_N * near_N), labels_N_L.max(axis=1), labels_N_L.sum(axis=1))
    information_N: FloatArray = np.where(agree_N, 0.0, found_N)
    return information_N


def _pair_bound(distances_N_K_K: FloatArray) -> FloatArray:
    """A bound of the mutual information by distances of samples, between 0 and log K."""
    shared_N_K = logsumexp(-distances_N_K_K, axis=2) - np.log(distances_N_K_K.shape[2])
    bound_N: FloatArray = np.maximum(-shared_N_K.mean(axis=1), 0.0)
    return bound_N


def _kullback_leibler(probs_N_K_L: FloatArray) -> FloatArray:
    cross_N_K_K = sum(
        -side_N_K_L @ np.log(side_N_K_L).transpose(0, 2, 1) for side_N_K_L in (probs_N_K_L, 1.0 - probs_N_K_L)
    )
    own_N_K = np.diagonal(cross_N_K_K, axis1=1, axis2=2)
    distances_N_K_K: FloatArray = np.maximum(cross_N_K_K - own_N_K[:, :, None], 0.0)
    return distances_N_K_K


def _bhattacharyya(probs_N_K_L: FloatArray) -> FloatArray:
    n, samples, labels = probs_N_K_L.shape
    distances_N_K_K = np.zeros((n, samples, samples))
    yes_N_K_L, no_N_K_L = np.sqrt(probs_N_K_L), np.sqrt(1.0 - probs_N_K_L)
    for label in range(labels):
        yes_N_K, no_N_K = yes_N_K_L[:, :, label], no_N_K_L[:, :, label]
        shared_N_K_K = yes_N_K[:, :, None] * yes_N_K[:, None] + no_N_K[:, :, None] * no_N_K[:, None]
        distances_N_K_K -= np.log(shared_N_K_K)
    return np.maximum(distances_N_K_K, 0.0)
