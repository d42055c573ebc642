"""Uncertainty about answers that a model wrote, from draws of K posterior samples (docs/methods.md, "Open answers").

Each of K coherent samples draws m answers to an item, and every distinct answer is scored under every sample: l_ki is
the logarithm of the probability that sample k writes answer i, its end included. All draws together are draws from
the mixture p̄ = 1/K Σ_k p_k. With the balance heuristic w_ki = p_k(y_i)/p̄(y_i) (Veach and Guibas 1995) they serve each
sample: the mean of w_ki·f(y_i) over the draws is an unbiased estimate of the mean of f under sample k.

Natural logarithms in float64. Every function looks at one item alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr, logsumexp

from star_al.types import FloatArray, IntArray

ENOUGH = 2
"""Classes tell where samples disagree if the effective number of draws is this many times those of one sample."""


@dataclass(frozen=True)
class Answers:
    """The A distinct answers that K samples drew to one item.

    Attributes:
        log_likelihoods_K_A: l_ki, the end of the answer included.
        counts_K_A: How often each sample drew each answer.
        classes_A: The class of each answer, from 0; answers that mean the same share one.
        lengths_A: Tokens of each answer, its end included.
    """

    log_likelihoods_K_A: FloatArray
    counts_K_A: FloatArray
    classes_A: IntArray
    lengths_A: IntArray

    @property
    def n(self) -> float:
        """The number of draws."""
        return float(self.counts_K_A.sum())

    @property
    def log_weights_K_A(self) -> FloatArray:
        """The logarithm of what each distinct answer counts for each sample: its draws times w_ki, which is ≤ K."""
        with np.errstate(divide="ignore"):
            log_counts_A = np.log(self.counts_K_A.sum(axis=0))
        log_weights_K_A: FloatArray = log_counts_A + log_balance_weights(self.log_likelihoods_K_A)
        return log_weights_K_A


def log_balance_weights(log_likelihoods_K_A: FloatArray) -> FloatArray:
    """Return log w_ki = log K + log softmax_k l_ki, (K, A): how much likelier an answer is to sample k than to all."""
    mixture_A = logsumexp(log_likelihoods_K_A, axis=0)
    log_weights_K_A: FloatArray = log_likelihoods_K_A - mixture_A + np.log(len(log_likelihoods_K_A))
    return log_weights_K_A


def class_log_probs(answers: Answers, rest: float | None = None) -> FloatArray:
    """Return the distribution of each sample over the classes and, in a last column, any other answer.

    Args:
        answers: The draws.
        rest: ρ, the probability of any other answer; by default 1/(n + 1). Being the same for all items, it keeps
            their order by entropy and mutual information. It makes every label's likelihood finite.

    Returns:
        Log-probabilities (K, C + 1).
    """
    log_weights_K_A, columns = answers.log_weights_K_A, int(answers.classes_A.max()) + 1
    log_probs_K_C = np.stack(
        [logsumexp(log_weights_K_A[:, answers.classes_A == column], axis=1) for column in range(columns)],
        axis=1,
    )
    log_probs_K_C -= logsumexp(log_probs_K_C, axis=1, keepdims=True)
    # A little below 1/(n + 1), so that rounding puts no class of a draw below it: one of n classes has 1/n of the rest.
    rho = (1 - 1e-9) / (answers.n + 1) if rest is None else rest
    with np.errstate(divide="ignore"):
        last_K_1 = np.full((len(log_probs_K_C), 1), np.log(rho))
    log_probs: FloatArray = np.concatenate([log_probs_K_C + np.log1p(-rho), last_K_1], axis=1)
    return np.minimum(log_probs, 0.0)


def effective_draws(answers: Answers) -> FloatArray:
    """Return (Σ_i w_ki)²/Σ_i w_ki² over the draws, (K,): how many draws of its own would tell as much of sample k.

    It is K·m where all samples agree, and m where each gives all other samples' answers no probability.
    """
    log_weights_K_A = log_balance_weights(answers.log_likelihoods_K_A)
    counts_A = answers.counts_K_A.sum(axis=0)
    sums_K = logsumexp(log_weights_K_A, axis=1, b=counts_A)
    effective_K: FloatArray = np.exp(2 * sums_K - logsumexp(2 * log_weights_K_A, axis=1, b=counts_A))
    return effective_K


def sequence_entropy(answers: Answers) -> float:
    """Return −1/n Σ_i l_k(i)i/L_i, in nats a token: the mean surprise at one's own answers (Malinin and Gales 2021)."""
    surprise_K_A = -answers.log_likelihoods_K_A / answers.lengths_A
    drawn_K_A = answers.counts_K_A > 0
    return float((answers.counts_K_A[drawn_K_A] * surprise_K_A[drawn_K_A]).sum() / answers.n)


def token_entropy(log_probs_L_V: FloatArray) -> float:
    """Return the mean entropy of the next token along an answer, in nats."""
    return float(entr(np.exp(log_probs_L_V)).sum(axis=-1).mean())


def token_bald(log_probs_K_L_V: FloatArray) -> float:
    """Return the mean mutual information of next token and sample along an answer, in nats; 0 where samples agree."""
    if (log_probs_K_L_V == log_probs_K_L_V[:1]).all():
        return 0.0
    mixture_L_V = logsumexp(log_probs_K_L_V, axis=0) - np.log(len(log_probs_K_L_V))
    own = float(np.mean([token_entropy(log_probs_L_V) for log_probs_L_V in log_probs_K_L_V]))
    return max(0.0, token_entropy(mixture_L_V) - own)


def has_enough_draws(effective_N: FloatArray, draws: int) -> NDArray[np.bool_]:
    """Return where the mutual information of classes is no mere bias, (N,).

    Long answers are so improbable that a sample gives those of other samples no weight. Each then sees only its own,
    and the samples seem to disagree whether they do or not.

    Args:
        effective_N: The smallest effective number of draws of an item's samples.
        draws: m, the draws of each sample.
    """
    # Rounding must not decide where all samples agree and K = 2.
    enough_N: NDArray[np.bool_] = effective_N >= ENOUGH * draws * (1 - 1e-9)
    return enough_N


def trusted_bald(
    class_bald_N: FloatArray,
    token_bald_N: FloatArray,
    lengths_N: FloatArray,
    effective_N: FloatArray,
    draws: int,
    samples: int,
) -> FloatArray:
    """Return the mutual information of classes where there are enough draws for it, else that of the tokens, (N,).

    Of the tokens it is their sum along the answer, at most log K, so that both are nats an answer.

    Args:
        class_bald_N: By classes.
        token_bald_N: Its mean a token.
        lengths_N: Tokens of the answers.
        effective_N: See ``has_enough_draws``.
        draws: m.
        samples: K.
    """
    by_tokens_N = np.minimum(token_bald_N * lengths_N, np.log(samples))
    return np.where(has_enough_draws(effective_N, draws), class_bald_N, by_tokens_N)
