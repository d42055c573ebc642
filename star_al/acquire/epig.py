"""EPIG: what an answer would tell about the answers that matter (Bickford Smith et al. 2023, arXiv 2304.08151).

    EPIG(x) = mean over targets x* of I(y; y* | x, x*) = mean Σ_y* p̄(y*) KL(p(y | y*) ‖ p̄(y))

p(y | y*) is the mean over coherent samples, weighted by p_k(y*) as in ``joint_information``.
"""

from __future__ import annotations

import numpy as np

from star_al.acquire.joint_information import coherent_probs, expected_entropy, sample_weights
from star_al.acquire.measures import divide_by_log_options, predictive_mean_log
from star_al.types import FloatArray

ANSWERS = 8
"""Answers of each target that are used: all of them, or so many drawn if it has more labels.

Which ones are drawn moves the scores of all items nearly alike, and far less than other targets would: in a
made-up pool with 77 labels by 7 %, against 21 % with 200 other targets, and with a rank correlation above
0.999.
"""

_GOLDEN = (5**0.5 - 1) / 2


def epig(
    log_probs_N_K_C: FloatArray,
    targets_T_K_C: FloatArray,
    *,
    per_option: bool = False,
    answers: int = ANSWERS,
) -> FloatArray:
    """Compute the expected predictive information gain in bounded memory.

    The score of an item depends on the item and the targets only, so a pool may be scored in shards.

    Args:
        log_probs_N_K_C: Predictions of the items.
        targets_T_K_C: Predictions of the targets. Sample k must be the same function as for the items.
        per_option: See ``measures``.
        answers: See ``ANSWERS``.

    Returns:
        Scores in nats, (N,), at least 0; 0 everywhere if K = 1.

    Raises:
        ValueError: There is NaN, there are no targets, or the numbers of samples differ.
    """
    n_targets, samples, _ = targets_T_K_C.shape
    if n_targets == 0 or log_probs_N_K_C.shape[1] != samples:
        raise ValueError(f"{log_probs_N_K_C.shape[1]} samples of the items, {samples} of {n_targets} targets")
    share_S, weights_S_K = _answers(targets_T_K_C, answers)
    probs_N_K_C = coherent_probs(log_probs_N_K_C)
    log_mean_N_C = predictive_mean_log(log_probs_N_K_C)
    # Σ p KL(p(y | y*) ‖ p̄) is a cross-entropy minus an entropy. The cross-entropy is linear in p(y | y*), so
    # the mean over answers can be taken first.
    expected_N_C = np.einsum("k,nkc->nc", share_S @ weights_S_K, probs_N_K_C)
    cross_N = -(expected_N_C * np.where(expected_N_C > 0, log_mean_N_C, 0.0)).sum(axis=1)
    scores_N = np.maximum(cross_N - expected_entropy(share_S, weights_S_K, probs_N_K_C), 0.0)
    return divide_by_log_options(scores_N, log_probs_N_K_C) if per_option else scores_N


def _answers(targets_T_K_C: FloatArray, answers: int) -> tuple[FloatArray, FloatArray]:
    """Return answers of the targets as configurations: their shares, (S,), and the samples' weights, (S, K)."""
    share_T_C = coherent_probs(targets_T_K_C).mean(axis=1)
    n_targets, n_labels = share_T_C.shape
    if n_labels > answers:
        # Systematic sampling: even steps through a target's distribution, whose start moves from target to
        # target by the golden ratio. Each answer is drawn with probability p̄(y*), without a seed.
        starts_T_1 = (np.arange(n_targets) * _GOLDEN % 1.0)[:, None]
        points_T_A = (starts_T_1 + np.arange(answers)) / answers
        cumulative_T_C = share_T_C.cumsum(axis=1)
        below_T_A_C = cumulative_T_C[:, None] <= points_T_A[..., None] * cumulative_T_C[:, None, -1:]
        share_T_C = np.zeros_like(share_T_C)
        np.add.at(share_T_C, (np.arange(n_targets)[:, None], below_T_A_C.sum(axis=-1)), 1.0 / answers)
    drawn_T_C = share_T_C > 0
    _, weights_S_K = sample_weights(targets_T_K_C.transpose(0, 2, 1)[drawn_T_C])
    return share_T_C[drawn_T_C] / n_targets, weights_S_K
