"""Samples from the Laplace approximation of the head's posterior.

Samples come by perturbation: draw g ~ N(0, Λ) from the terms of the precision Λ, one noise vector for each example and
one for the prior, and solve Λ δ = g. That is exact to the tolerance, whatever the number of labels and features; a
Kronecker or block-diagonal factor is not. Directions that no example spans keep the prior.

The posterior of a head with a weak penalty is far too wide: its curvature vanishes where the fit is sure, and on the
development sets two samples agreed on 5 to 60 % of the texts. So it is a tempered posterior: samples are scaled until
their logits vary over the pool as much as the jackknife over the folds of cross-validation says that logits do. Then
BALD is 10 to 30 % of the entropy (with neighbours), and the mean over samples is as well calibrated as the fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import softmax
from threadpoolctl import threadpool_limits

from star_al.head.curvature import Curvature
from star_al.types import FloatArray, IntArray

BLOCK = 16
"""Samples that are solved together. Blocks are always whole, so a sample does not depend on the others asked for."""

TOLERANCE = 1e-3
"""Relative residual of the solution; a sample need not be more exact than its scale, known to a few percent."""

UNKNOWN_VARIANCE = 1.0
"""Variance of the logits of a head with fewer than two labelled texts, which has no folds."""

_MEASURED = 400  # texts of the pool on which the variance of the logits is compared


@dataclass(frozen=True)
class Posterior:
    """What samples of the head are drawn from.

    Attributes:
        examples_n_r: Scaled features of the examples.
        logits_n_C: Fitted logits of the examples, offsets included.
        weights_n: How much each example counts.
        strength: Of the penalty on weights.
        bias_sd: Of the biases' prior.
        variance: ``logit_variance`` over the pool that samples are scaled to.
    """

    examples_n_r: FloatArray
    logits_n_C: FloatArray
    weights_n: FloatArray
    strength: float
    bias_sd: float
    variance: float

    def deviations(self, block: int, seed: int) -> tuple[FloatArray, FloatArray]:
        """Return what the samples of one block add to weights and biases before scaling, (S, r, C) and (S, C).

        Args:
            block: Number of the block; it holds samples ``BLOCK * block`` and following.
            seed: With a sample's number it decides the sample.
        """
        with threadpool_limits(1):
            basis_q_r, curvature = self._curvature()
            noise = [self._noise(seed, BLOCK * block + k, curvature) for k in range(BLOCK)]
            solution_q_S_C = curvature.solve(np.stack([right for right, _ in noise], axis=1), TOLERANCE)
            weights_S_r_C = np.stack([free for _, free in noise])
            for k, free_r_C in enumerate(weights_S_r_C):
                free_r_C += basis_q_r.T @ (solution_q_S_C[:-1, k] - basis_q_r @ free_r_C)
        return weights_S_r_C, solution_q_S_C[-1]

    def _curvature(self) -> tuple[FloatArray, Curvature]:
        left_n_q, singular_q, basis_q_r = _decomposed(self.examples_n_r)
        curvature = Curvature(
            np.column_stack([left_n_q * singular_q, np.ones(len(left_n_q))]),
            softmax(self.logits_n_C, axis=1),
            self.weights_n,
            np.append(np.full(len(singular_q), self.strength), self.bias_sd**-2.0),
        )
        return basis_q_r, curvature

    def _noise(self, seed: int, sample: int, curvature: Curvature) -> tuple[FloatArray, FloatArray]:
        """Return the right-hand side of one sample, and its draw from the prior, (r, C)."""
        generator = np.random.default_rng([seed, sample])
        n_labels = self.logits_n_C.shape[1]
        free_r_C = generator.standard_normal((self.examples_n_r.shape[1], n_labels)) / np.sqrt(self.strength)
        prior_q_C = generator.standard_normal((len(curvature.ridge_q), n_labels))
        data_n_C = generator.standard_normal(self.logits_n_C.shape)
        return curvature.noise(data_n_C, prior_q_C), free_r_C


def _decomposed(examples_n_r: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    left_n_q, singular_q, basis_q_r = np.linalg.svd(examples_n_r, full_matrices=False)
    kept = singular_q > 1e-9 * max(float(singular_q.max(initial=0.0)), 1e-30)
    return left_n_q[:, kept], singular_q[kept], basis_q_r[kept]


def measured_rows(n_texts: int) -> IntArray:
    """Return rows of the pool, evenly spread, on which the variance of the logits is compared."""
    return np.arange(0, n_texts, max(1, -(-n_texts // _MEASURED)))


def logit_variance(logits_S_N_C: FloatArray, probs_N_C: FloatArray) -> float:
    """Return how much logits vary over S functions, averaged over texts.

    It is the variance of the differences between a text's logits, weighted by its probabilities: labels that are out of
    the question do not count, nor does a shift of all logits.

    Args:
        logits_S_N_C: Logits of each function, or their deviations from those of the fit.
        probs_N_C: Fitted probabilities.
    """
    deviations = logits_S_N_C - logits_S_N_C.mean(axis=0)
    deviations = deviations - (deviations * probs_N_C).sum(axis=2, keepdims=True)
    return float((deviations**2 * probs_N_C).sum(axis=2).mean())


def jackknife_variance(logits_K_N_C: FloatArray, probs_N_C: FloatArray) -> float:
    """Return the ``logit_variance`` of a fit on all folds, from fits that leave out one of K folds each.

    Args:
        logits_K_N_C: Logits of these fits.
        probs_N_C: Fitted probabilities.
    """
    return (len(logits_K_N_C) - 1) * logit_variance(logits_K_N_C, probs_N_C)


def blocks_of(draws: range) -> list[tuple[int, IntArray]]:
    """Return the blocks that hold these samples, each with the places of the samples in it."""
    numbers = np.asarray(draws, dtype=np.int64)
    return [(int(block), numbers[numbers // BLOCK == block] % BLOCK) for block in np.unique(numbers // BLOCK)]
