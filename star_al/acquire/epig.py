"""EPIG: what an answer would tell of the answers that matter (Bickford Smith et al. 2023, arXiv 2304.08151).

    EPIG(x) = mean over targets x* of I(y; y* | x, x*) = mean Σ_y* p̄(y*) KL(p(y | y*) ‖ p̄(y))

p(y | y*) is the mean over the coherent samples, weighted by p_k(y*) as in ``joint``.
"""

from __future__ import annotations

import numpy as np

from star_al.acquire.joint import coherent_probs, expected_entropy, reweighted
from star_al.acquire.measures import divide_by_log_options, predictive_mean_log
from star_al.types import FloatArray

RARE = 1e-3
"""Answers of a target that together have at most this probability are left out.

They could add this times log K at most, nearly the same for all items, and with many labels most answers are
of this kind.
"""


def epig(
    log_probs_N_K_C: FloatArray,
    targets_T_K_C: FloatArray,
    *,
    per_option: bool = False,
    rare: float = RARE,
) -> FloatArray:
    """Expected predictive information gain in nats, (N,), at least 0; in bounded memory.

    Sample k must be the same function for items and targets. An item looks at itself and the targets alone,
    so a pool may be scored in shards. ``per_option`` as in ``measures``. Zero where K = 1.

    Raises:
        ValueError: NaN, no targets, or different numbers of samples.
    """
    n_targets, samples, _ = targets_T_K_C.shape
    if n_targets == 0 or log_probs_N_K_C.shape[1] != samples:
        raise ValueError(f"{log_probs_N_K_C.shape[1]} samples of the items, {samples} of {n_targets} targets")
    share_S, weights_S_K = _answers(targets_T_K_C, rare)
    probs_N_K_C = coherent_probs(log_probs_N_K_C)
    log_mean_N_C = predictive_mean_log(log_probs_N_K_C)
    expected_N_C = np.einsum("k,nkc->nc", share_S @ weights_S_K, probs_N_K_C)
    cross_N = -(expected_N_C * np.where(expected_N_C > 0, log_mean_N_C, 0.0)).sum(axis=1)
    scores_N = np.maximum(cross_N - expected_entropy(share_S, weights_S_K, probs_N_K_C), 0.0)
    return divide_by_log_options(scores_N, log_probs_N_K_C) if per_option else scores_N


def _answers(targets_T_K_C: FloatArray, rare: float) -> tuple[FloatArray, FloatArray]:
    """The targets' answers that are not rare: p̄(y*) / T, (S,), and the weights of the samples, (S, K)."""
    probs_T_C = coherent_probs(targets_T_K_C).mean(axis=1)
    order_T_C = probs_T_C.argsort(axis=1, kind="stable")
    mass_T_C = np.take_along_axis(probs_T_C, order_T_C, axis=1).cumsum(axis=1)
    kept_T_C = np.zeros(probs_T_C.shape, dtype=bool)
    np.put_along_axis(kept_T_C, order_T_C, mass_T_C > rare, axis=1)
    kept_T_C &= probs_T_C > 0
    _, weights_S_K = reweighted(targets_T_K_C.transpose(0, 2, 1)[kept_T_C])
    return probs_T_C[kept_T_C] / len(targets_T_K_C), weights_S_K
